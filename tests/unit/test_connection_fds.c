/* Descriptors that go with messages. SPDX-License-Identifier: MIT */
#include "connection_use.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

enum { MOST = MPROC_CONNECTION_FDS_MAX };

/* Ends of pipes, to be told apart by what is written into them. */
struct pipes {
    int reads[MOST], writes[MOST], count;
};

static struct pipes make_pipes(int count)
{
    struct pipes pipes = { .count = count };
    for (int i = 0; i < count; i++) {
        int fds[2];
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pipes.reads[i] = fds[0];
        pipes.writes[i] = fds[1];
    }
    return pipes;
}

static void close_all(const int *fds, int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(close(fds[i]), 0);
}

static void close_pipes(struct pipes pipes)
{
    close_all(pipes.reads, pipes.count);
    close_all(pipes.writes, pipes.count);
}

/* True if what is written into `to` comes out of `from`. */
static bool leads_to(int to, int from)
{
    static unsigned char written;
    unsigned char got;
    written++;
    return write(to, &written, 1) == 1 && read(from, &got, 1) == 1 && got == written;
}

/* Sends the write ends of pipes with a message, and looks at what comes. */
static void check_passing(struct pair pair, int count, size_t size, enum way way)
{
    struct pipes pipes = make_pipes(count);
    char *data = malloc(size + 1);
    fill(data, size, 5);
    assert_int_equal(mproc_connection_send_fds(pair.here, data, size, pipes.writes, count, PATIENCE), 0);
    int got[MOST + 1];
    assert_true(comes(pair.there, way, size, 5));
    assert_int_equal(mproc_connection_take_fds(pair.there, got, MOST + 1), count);
    for (int i = 0; i < count; i++) {
        assert_true(leads_to(got[i], pipes.reads[i]));
        assert_int_equal(fcntl(got[i], F_GETFD), FD_CLOEXEC);
    }
    assert_int_equal(mproc_connection_take_fds(pair.there, got, MOST), 0);
    close_all(got, count);
    close_pipes(pipes);
    free(data);
}

static void descriptors_arrive_with_their_message(void **state)
{
    (void)state;
    static const int counts[] = { 1, 2, 63, MOST };
    struct pair pair = open_pair();
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (enum way way = 0; way < WAYS; way++) {
            check_passing(pair, counts[i], 0, way);
            check_passing(pair, counts[i], 1, way);
            check_passing(pair, counts[i], 30000, way);
        }
    close_pair(pair);
}

static int use_what_comes(struct pair pair)
{
    int fds[MOST];
    CHECK(mproc_connection_close(pair.here) == 0);
    for (int i = 0; i < 2; i++) {
        CHECK(comes(pair.there, NEW, 2 << 20, 1));
        int count = mproc_connection_take_fds(pair.there, fds, MOST);
        CHECK(count == (i ? MOST : 1));
        for (unsigned char j = 0; j < count; j++) {
            CHECK(write(fds[j], &j, 1) == 1);
            CHECK(close(fds[j]) == 0);
        }
    }
    CHECK(mproc_connection_close(pair.there) == 0);
    return 0;
}

static void in_another_process_too(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    pid_t child = fork();
    if (child == 0)
        _exit(use_what_comes(pair));
    struct pipes pipes = make_pipes(MOST);
    char *data = malloc(2 << 20);
    fill(data, 2 << 20, 1);
    assert_int_equal(mproc_connection_send_fds(pair.here, data, 2 << 20, pipes.writes, 1, PATIENCE), 0);
    unsigned char got;
    assert_int_equal(read(pipes.reads[0], &got, 1), 1);
    assert_int_equal(mproc_connection_send_fds(pair.here, data, 2 << 20, pipes.writes, MOST, PATIENCE), 0);
    for (int i = 0; i < MOST; i++) {
        assert_int_equal(read(pipes.reads[i], &got, 1), 1);
        assert_int_equal(got, i);
    }
    assert_int_equal(end_of(child), 0);
    free(data);
    close_pipes(pipes);
    close_pair(pair);
}

static void each_message_has_its_own(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    struct pipes pipes = make_pipes(6);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mproc_connection_send_fds(pair.here, "with", 4, pipes.writes + i * 2, 2, 0), 0);
        assert_int_equal(mproc_connection_send(pair.here, "without", 7, 0), 0);
    }
    for (int i = 0; i < 3; i++) {
        char text[10];
        int fds[4];
        assert_int_equal(mproc_connection_receive(pair.there, text, sizeof text, NULL, PATIENCE), 0);
        assert_int_equal(mproc_connection_take_fds(pair.there, fds, 1), 1);
        assert_int_equal(mproc_connection_take_fds(pair.there, fds + 1, 3), 1);
        assert_int_equal(mproc_connection_take_fds(pair.there, fds, 0), 0);
        assert_int_equal(mproc_connection_take_fds(pair.there, NULL, 0), 0);
        assert_true(leads_to(fds[0], pipes.reads[i * 2]) && leads_to(fds[1], pipes.reads[i * 2 + 1]));
        close_all(fds, 2);
        assert_int_equal(mproc_connection_receive(pair.there, text, sizeof text, NULL, PATIENCE), 0);
        assert_int_equal(mproc_connection_take_fds(pair.there, fds, 4), 0);
    }
    close_pipes(pipes);
    close_pair(pair);
}

static void those_that_are_not_taken_are_closed(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    struct pipes pipes = make_pipes(3);
    int before = harness_count_descriptors(), one;
    for (enum way way = 0; way < WAYS; way++) {
        assert_int_equal(mproc_connection_send_fds(pair.here, "", 0, pipes.writes, 3, 0), 0);
        assert_int_equal(mproc_connection_send(pair.here, "", 0, 0), 0);
        assert_true(comes(pair.there, way, 0, 0));
        assert_int_equal(harness_count_descriptors(), before + 3);
        assert_int_equal(mproc_connection_take_fds(pair.there, &one, 1), 1);
        assert_true(comes(pair.there, way, 0, 0));
        assert_int_equal(harness_count_descriptors(), before + 1);
        close(one);
    }
    assert_int_equal(mproc_connection_send_fds(pair.here, "", 0, pipes.writes, 3, 0), 0);
    assert_int_equal(mproc_connection_send_fds(pair.here, "later", 5, pipes.writes, 3, 0), 0);
    assert_true(comes(pair.there, NEW, 0, 0));
    assert_int_equal(mproc_connection_receive(pair.there, NULL, 0, NULL, 0), -EMSGSIZE);
    close_pair(pair);
    assert_int_equal(harness_count_descriptors(), before - 2);
    close_pipes(pipes);
}

/* ---- other senders */

/* Bytes with descriptors, as another program might send them. */
static void send_raw(int fd, const void *bytes, size_t size, const int *fds, int count)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * 200)];
        struct cmsghdr aligned;
    } control = { .bytes = { 0 } };
    struct iovec part = { (void *)(uintptr_t)bytes, size };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
    memcpy(CMSG_DATA(rights), fds, sizeof(int) * (size_t)count);
    assert_int_equal(sendmsg(fd, &message, 0), (ssize_t)size);
}

static void they_may_come_with_any_byte_and_between_timeouts(void **state)
{
    (void)state;
    static const unsigned char frame[] = { 0, 0, 0, 3, 'a', 'b', 'c' };
    struct half half = open_half();
    struct pipes pipes = make_pipes(sizeof frame);
    for (enum way way = 0; way < WAYS; way++) {
        char *copy = NULL;
        size_t size;
        int fds[MOST];
        for (unsigned i = 0; i < sizeof frame; i++) {
            send_raw(half.fd, frame + i, 1, pipes.writes + i, 1);
            assert_int_equal(receive_by((way + i) % WAYS, half.connection, 3, &copy, &size, 0),
                             i < sizeof frame - 1 ? -ETIMEDOUT : 0);
        }
        assert_memory_equal(copy, "abc", 3);
        free(copy);
        assert_int_equal(mproc_connection_take_fds(half.connection, fds, MOST), sizeof frame);
        for (unsigned i = 0; i < sizeof frame; i++)
            assert_true(leads_to(fds[i], pipes.reads[i]));
        close_all(fds, sizeof frame);
    }
    close_pipes(pipes);
    close_half(half);
}

static void more_than_can_come_are_told_and_do_not_leak(void **state)
{
    (void)state;
    struct half half = open_half();
    struct pipes pipes = make_pipes(1);
    int many[100], fds[MOST], before = harness_count_descriptors();
    for (int i = 0; i < 100; i++)
        many[i] = pipes.writes[0];
    for (int pieces = 1; pieces <= 2; pieces++) {
        if (pieces == 1)
            send_raw(half.fd, "\0\0\0\1", 4, many, 100);
        else {
            send_raw(half.fd, "\0\0", 2, many, 50);
            send_raw(half.fd, "\0\1", 2, many, 50);
        }
        write_bytes(half.fd, "x\0\0\0\0", 5);
        assert_int_equal(mproc_connection_receive(half.connection, &(char) { 0 }, 1, NULL, PATIENCE), 0);
        for (int i = 0; i < 2; i++)
            assert_int_equal(mproc_connection_take_fds(half.connection, fds, MOST), -EMFILE);
        assert_int_equal(mproc_connection_receive(half.connection, NULL, 0, NULL, PATIENCE), 0);
        assert_int_equal(mproc_connection_take_fds(half.connection, fds, MOST), 0);
        assert_int_equal(harness_count_descriptors(), before);
    }
    send_raw(half.fd, "\0\0\0\7begun", 9, many, 60);
    assert_int_equal(mproc_connection_receive(half.connection, many, sizeof many, NULL, 0), -ETIMEDOUT);
    close_half(half);
    assert_int_equal(harness_count_descriptors(), before - 2);
    close_pipes(pipes);
}

/* ---- what cannot be */

static void a_process_that_may_not_have_more_is_told(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    struct pipes pipes = make_pipes(5);
    struct rlimit limit, few;
    int fds[MOST], before = harness_count_descriptors();
    getrlimit(RLIMIT_NOFILE, &limit);
    int next = dup(0);
    close(next);
    for (int room = 0; room < 5; room++) {
        assert_int_equal(mproc_connection_send_fds(pair.here, "data", 4, pipes.writes, 5, 0), 0);
        assert_int_equal(mproc_connection_send_fds(pair.here, "", 0, pipes.writes, 5, 0), 0);
        char text[4] = "";
        few = (struct rlimit) { (rlim_t)(next + room), limit.rlim_max };
        setrlimit(RLIMIT_NOFILE, &few);
        int err = mproc_connection_receive(pair.there, text, sizeof text, NULL, PATIENCE);
        setrlimit(RLIMIT_NOFILE, &limit);
        assert_int_equal(err, 0);
        assert_memory_equal(text, "data", 4);
        assert_int_equal(mproc_connection_take_fds(pair.there, fds, MOST), -EMFILE);
        assert_int_equal(mproc_connection_receive(pair.there, NULL, 0, NULL, PATIENCE), 0);
        assert_int_equal(mproc_connection_take_fds(pair.there, fds, MOST), 5);
        close_all(fds, 5);
        assert_int_equal(harness_count_descriptors(), before);
    }
    close_pipes(pipes);
    close_pair(pair);
}

static void a_bad_descriptor_among_them_sends_nothing(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    int bad[3] = { 0, -1, 1 }, closed = dup(0);
    close(closed);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mproc_connection_send_fds(pair.here, "not sent", 8, bad, 3, 0), -EBADF);
        assert_int_equal(mproc_connection_poll(pair.there, 0), -ETIMEDOUT);
        bad[1] = closed;
    }
    assert_int_equal(send_filled(pair.here, 10, 0, 0), 0);
    assert_true(comes(pair.there, NEW, 10, 0));
    close_pair(pair);
}

static void a_pipe_carries_none(void **state)
{
    (void)state;
    int fds[2], left, zero = 0;
    mproc_connection *connection = NULL;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(mproc_connection_open(&connection, fds[1]), 0);
    assert_int_equal(mproc_connection_send_fds(connection, "x", 1, &zero, 1, 0), -ENOTSOCK);
    assert_int_equal(ioctl(fds[0], FIONREAD, &left), 0);
    assert_int_equal(left, 0);
    assert_int_equal(mproc_connection_send_fds(connection, "x", 1, NULL, 0, 0), 0);
    assert_int_equal(mproc_connection_close(connection), 0);
    close(fds[0]);
}

/* Over the loopback interface. */
static struct half open_internet(void)
{
    struct half half = { NULL, -1 };
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    half.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (void *)&address, sizeof address) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (void *)&address, &size) != 0 || connect(half.fd, (void *)&address, size) != 0)
        harness_skip("there is no loopback interface");
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_int_equal(mproc_connection_open(&half.connection, fd), 0);
    close(listener);
    return half;
}

static void nor_does_the_internet(void **state)
{
    (void)state;
    struct half half = open_internet();
    mproc_connection *other = NULL;
    int zero = 0;
    assert_int_equal(mproc_connection_open(&other, half.fd), 0);
    assert_int_equal(mproc_connection_send_fds(half.connection, "x", 1, &zero, 1, 0), -ENOTSOCK);
    for (unsigned i = 0; i < WAYS; i++) {
        assert_int_equal(send_filled(half.connection, i * 1000, i, PATIENCE), 0);
        assert_true(comes(other, i, i * 1000, i));
    }
    assert_int_equal(mproc_connection_close(other), 0);
    assert_int_equal(mproc_connection_receive(half.connection, NULL, 0, NULL, PATIENCE), MPROC_E_END_OF_STREAM);
    half.fd = -1;
    close_half(half);
}

static void counts_out_of_range_are_refused(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    int fds[MOST + 1] = { 0 };
    assert_int_equal(mproc_connection_send_fds(pair.here, "x", 1, fds, MOST + 1, 0), -EINVAL);
    assert_int_equal(mproc_connection_send_fds(pair.here, "x", 1, fds, -1, 0), -EINVAL);
    assert_int_equal(mproc_connection_send_fds(pair.here, "x", 1, NULL, 1, 0), -EINVAL);
    assert_int_equal(mproc_connection_send_fds(pair.here, NULL, 1, fds, 1, 0), -EINVAL);
    assert_int_equal(mproc_connection_take_fds(pair.there, fds, -1), -EINVAL);
    assert_int_equal(mproc_connection_take_fds(pair.there, NULL, 1), -EINVAL);
    assert_int_equal(mproc_connection_take_fds(pair.there, fds, 1), 0);
    assert_int_equal(mproc_connection_poll(pair.there, 0), -ETIMEDOUT);
    close_pair(pair);
}

static void a_connection_can_pass_another_and_itself(void **state)
{
    (void)state;
    struct pair pair = open_pair(), other = open_pair();
    int fds[2] = { mproc_connection_fd(other.there), mproc_connection_fd(pair.there) };
    assert_int_equal(mproc_connection_send_fds(pair.here, "", 0, fds, 2, 0), 0);
    assert_int_equal(mproc_connection_close(other.there), 0);
    assert_true(comes(pair.there, BORROWED, 0, 0));
    assert_int_equal(mproc_connection_take_fds(pair.there, fds, 2), 2);
    assert_int_equal(mproc_connection_close(pair.there), 0);
    assert_int_equal(mproc_connection_open(&other.there, fds[0]), 0);
    assert_int_equal(mproc_connection_open(&pair.there, fds[1]), 0);
    assert_int_equal(send_filled(other.here, 100, 1, 0), 0);
    assert_int_equal(send_filled(pair.here, 100, 2, 0), 0);
    assert_true(comes(other.there, NEW, 100, 1));
    assert_true(comes(pair.there, NEW, 100, 2));
    close_pair(pair);
    close_pair(other);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(descriptors_arrive_with_their_message),
    cmocka_unit_test(in_another_process_too),
    cmocka_unit_test(each_message_has_its_own),
    cmocka_unit_test(those_that_are_not_taken_are_closed),
    cmocka_unit_test(they_may_come_with_any_byte_and_between_timeouts),
    cmocka_unit_test(more_than_can_come_are_told_and_do_not_leak),
    cmocka_unit_test(a_process_that_may_not_have_more_is_told),
    cmocka_unit_test(a_bad_descriptor_among_them_sends_nothing),
    cmocka_unit_test(a_pipe_carries_none),
    cmocka_unit_test(nor_does_the_internet),
    cmocka_unit_test(counts_out_of_range_are_refused),
    cmocka_unit_test(a_connection_can_pass_another_and_itself),
};

HARNESS_MAIN(tests)
