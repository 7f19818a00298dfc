/* Connections: handles, what is refused, forks. SPDX-License-Identifier: MIT */
#include "connection_use.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* ---- what is received, and where */

static void empty_messages_have_an_address_too(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    const void *borrowed = NULL;
    void *data = NULL;
    size_t size = 1;
    for (int i = 0; i < 3; i++)
        assert_int_equal(mproc_connection_send(pair.here, NULL, 0, 0), 0);
    assert_int_equal(mproc_connection_receive_borrowed(pair.there, &borrowed, &size, 0), 0);
    assert_non_null(borrowed);
    assert_int_equal(size, 0);
    size = 1;
    assert_int_equal(mproc_connection_receive_new(pair.there, &data, &size, 0), 0);
    assert_non_null(data);
    assert_int_equal(size, 0);
    free(data);
    size = 1;
    assert_int_equal(mproc_connection_receive(pair.there, NULL, 0, &size, 0), 0);
    assert_int_equal(size, 0);
    close_pair(pair);
}

static void what_is_borrowed_stays_until_the_next_is_received(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    const void *first = NULL, *second = NULL;
    size_t size;
    assert_int_equal(send_filled(pair.here, 1000, 1, 0), 0);
    assert_int_equal(send_filled(pair.here, 100000, 2, 0), 0);
    assert_int_equal(mproc_connection_receive_borrowed(pair.there, &first, &size, 0), 0);
    assert_int_equal(mproc_connection_poll(pair.there, 0), 0);
    assert_int_equal(send_filled(pair.there, 10, 3, 0), 0);
    assert_int_equal(mproc_connection_take_fds(pair.there, NULL, 0), 0);
    assert_true(is_filled(first, 1000, 1));
    assert_int_equal(mproc_connection_receive_borrowed(pair.there, &second, &size, 0), 0);
    assert_int_equal(size, 100000);
    assert_true(is_filled(second, size, 2));
    close_pair(pair);
}

static void what_is_new_is_the_callers(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    void *data[COUNT];
    size_t sizes[COUNT];
    struct pair pair = open_pair();
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(send_filled(pair.here, i * 1000, i, 0), 0);
        assert_int_equal(mproc_connection_receive_new(pair.there, &data[i], &sizes[i], 0), 0);
    }
    close_pair(pair);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(sizes[i], i * 1000);
        assert_true(is_filled(data[i], sizes[i], i));
        free(data[i]);
    }
}

static void failures_leave_the_output_untouched(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    const void *borrowed = &pair;
    void *data = &pair;
    char buffer[4] = "abc";
    size_t size = 4711;
    for (int ended = 0; ended < 2; ended++) {
        int expected = ended ? MPROC_E_END_OF_STREAM : -ETIMEDOUT;
        assert_int_equal(mproc_connection_receive_borrowed(pair.here, &borrowed, &size, 0), expected);
        assert_int_equal(mproc_connection_receive_new(pair.here, &data, &size, 0), expected);
        assert_int_equal(mproc_connection_receive(pair.here, buffer, sizeof buffer, &size, 0), expected);
        if (!ended)
            assert_int_equal(mproc_connection_close(pair.there), 0);
    }
    assert_ptr_equal(borrowed, &pair);
    assert_ptr_equal(data, &pair);
    assert_string_equal(buffer, "abc");
    assert_int_equal(size, 4711);
    assert_int_equal(mproc_connection_close(pair.here), 0);
}

/* ---- descriptors */

static void the_descriptor_tells_event_loops_what_comes(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    struct pollfd what = { .fd = mproc_connection_fd(pair.here), .events = POLLIN };
    assert_true(what.fd > STDERR_FILENO);
    assert_int_equal(fcntl(what.fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(poll(&what, 1, 0), 0);
    assert_int_equal(send_filled(pair.there, 10, 0, 0), 0);
    assert_int_equal(poll(&what, 1, 0), 1);
    assert_true(comes(pair.here, INTO_BUFFER, 10, 0));
    assert_int_equal(poll(&what, 1, 0), 0);
    close_pair(pair);
    assert_int_equal(fcntl(what.fd, F_GETFD), -1);
}

static void a_descriptor_stays_as_it_was(void **state)
{
    (void)state;
    for (int flags = 0; flags < 4; flags++) {
        int fds[2], type = SOCK_STREAM | (flags & 1 ? SOCK_CLOEXEC : 0) | (flags & 2 ? SOCK_NONBLOCK : 0);
        struct pair pair = { NULL, NULL };
        assert_int_equal(socketpair(AF_UNIX, type, 0, fds), 0);
        assert_int_equal(mproc_connection_open(&pair.here, fds[0]), 0);
        assert_int_equal(mproc_connection_open(&pair.there, fds[1]), 0);
        assert_int_equal(mproc_connection_receive(pair.here, NULL, 0, NULL, MPROC_MS(2)), -ETIMEDOUT);
        assert_int_equal(send_filled(pair.here, 10, 0, 0), 0);
        assert_true(comes(pair.there, NEW, 10, 0));
        assert_int_equal(mproc_connection_fd(pair.here), fds[0]);
        assert_int_equal(fcntl(fds[0], F_GETFD), flags & 1 ? FD_CLOEXEC : 0);
        assert_int_equal(fcntl(fds[0], F_GETFL) & O_NONBLOCK, flags & 2 ? O_NONBLOCK : 0);
        close_pair(pair);
    }
}

static void named_pipes_are_connections(void **state)
{
    (void)state;
    char path[] = "/tmp/mproc-test-XXXXXX", name[sizeof path + 5];
    assert_non_null(mkdtemp(path));
    snprintf(name, sizeof name, "%s/fifo", path);
    assert_int_equal(mkfifo(name, 0600), 0);
    mproc_connection *both = NULL;
    int fd = open(name, O_RDWR | O_CLOEXEC);
    assert_int_equal(mproc_connection_open(&both, fd), 0);
    assert_int_equal(send_filled(both, 1000, 1, 0), 0);
    assert_true(comes(both, INTO_BUFFER, 1000, 1));
    assert_int_equal(mproc_connection_close(both), 0);
    unlink(name);
    rmdir(path);
}

static void refuse(int fd, int expected)
{
    mproc_connection *connection = NULL;
    assert_int_equal(mproc_connection_open(&connection, fd), expected);
    assert_null(connection);
    if (fd >= 0 && expected != -EBADF)
        assert_int_equal(close(fd), 0); /* it stayed the caller's */
}

static void what_is_no_stream_is_refused(void **state)
{
    (void)state;
    int fds[2];
    refuse(-1, -EBADF);
    int closed = dup(0);
    close(closed);
    refuse(closed, -EBADF);
    refuse(open("/proc/self/exe", O_RDONLY | O_CLOEXEC), -EINVAL);
    refuse(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), -EINVAL);
    refuse(open("/dev/null", O_RDWR | O_CLOEXEC), -EINVAL);
    refuse(eventfd(0, EFD_CLOEXEC), -EINVAL);
    refuse(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), -EINVAL);
    for (int type = SOCK_DGRAM; type <= SOCK_SEQPACKET; type += SOCK_SEQPACKET - SOCK_DGRAM) {
        assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), 0);
        refuse(fds[0], -EINVAL);
        refuse(fds[1], -EINVAL);
    }
}

/* ---- directions */

static void expect_to_receive_only(mproc_connection *connection)
{
    int zero = 0;
    assert_int_equal(mproc_connection_send(connection, "x", 1, MPROC_FOREVER), -EBADF);
    assert_int_equal(mproc_connection_send_fds(connection, "x", 1, &zero, 1, MPROC_FOREVER), -EBADF);
}

static void expect_to_send_only(mproc_connection *connection)
{
    char *copy;
    size_t size;
    for (enum way way = 0; way < WAYS; way++)
        assert_int_equal(receive_by(way, connection, 10, &copy, &size, MPROC_FOREVER), -EBADF);
    assert_int_equal(mproc_connection_poll(connection, MPROC_FOREVER), -EBADF);
}

static void one_way_pipes_refuse_the_other_way(void **state)
{
    (void)state;
    struct pair pair = { NULL, NULL };
    int fds[2];
    for (int i = 0; i < 2; i++) {
        if (i == 0)
            assert_int_equal(mproc_pipe_one_way(&pair.here, &pair.there), 0);
        else {
            assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
            assert_int_equal(mproc_connection_open(&pair.here, fds[0]), 0);
            assert_int_equal(mproc_connection_open(&pair.there, fds[1]), 0);
        }
        expect_to_receive_only(pair.here);
        expect_to_send_only(pair.there);
        assert_int_equal(send_filled(pair.there, 100, 0, 0), 0);
        assert_true(comes(pair.here, NEW, 100, 0));
        close_pair(pair);
    }
}

static void whoever_opens_such_an_end_anew_is_kept_from_it_by_the_kernel(void **state)
{
    (void)state;
    struct pair pair = { NULL, NULL };
    mproc_connection *reader = NULL, *writer = NULL;
    assert_int_equal(mproc_pipe_one_way(&pair.here, &pair.there), 0);
    assert_int_equal(mproc_connection_open(&reader, dup(mproc_connection_fd(pair.here))), 0);
    assert_int_equal(mproc_connection_open(&writer, dup(mproc_connection_fd(pair.there))), 0);
    close_pair(pair);
    assert_int_equal(mproc_connection_send(reader, "x", 1, PATIENCE), -EPIPE);
    assert_int_equal(mproc_connection_receive(writer, NULL, 0, NULL, PATIENCE), MPROC_E_END_OF_STREAM);
    assert_int_equal(send_filled(writer, 100, 0, 0), 0);
    assert_true(comes(reader, NEW, 100, 0));
    close_pair((struct pair) { reader, writer });
}

/* ---- handles */

static void expect_closed(mproc_connection *stale)
{
    char *copy;
    size_t size;
    for (enum way way = 0; way < WAYS; way++)
        assert_int_equal(receive_by(way, stale, 10, &copy, &size, MPROC_FOREVER), MPROC_E_CLOSED);
    assert_int_equal(mproc_connection_send(stale, "x", 1, MPROC_FOREVER), MPROC_E_CLOSED);
    assert_int_equal(mproc_connection_send_fds(stale, "x", 1, NULL, 0, MPROC_FOREVER), MPROC_E_CLOSED);
    assert_int_equal(mproc_connection_take_fds(stale, NULL, 0), MPROC_E_CLOSED);
    assert_int_equal(mproc_connection_poll(stale, MPROC_FOREVER), MPROC_E_CLOSED);
    assert_int_equal(mproc_connection_fd(stale), MPROC_E_CLOSED);
    assert_int_equal(mproc_connection_set_limit(stale, 1), MPROC_E_CLOSED);
    assert_int_equal(mproc_connection_close(stale), MPROC_E_CLOSED);
}

static void stale_handles_are_recognised(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    close_pair(pair);
    expect_closed(pair.here);
    expect_closed((mproc_connection *)(void *)&pair);
    struct pair later = open_pair(); /* in the same places */
    expect_closed(pair.here);
    expect_closed(pair.there);
    assert_int_equal(send_filled(later.here, 10, 0, 0), 0);
    assert_true(comes(later.there, NEW, 10, 0));
    close_pair(later);
}

static void wrong_arguments_are_refused(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    mproc_connection *other = NULL;
    const void *borrowed;
    void *data;
    size_t size;
    assert_int_equal(mproc_pipe(NULL, &other), -EINVAL);
    assert_int_equal(mproc_pipe(&other, NULL), -EINVAL);
    assert_int_equal(mproc_pipe_one_way(NULL, &other), -EINVAL);
    assert_int_equal(mproc_pipe_one_way(&other, NULL), -EINVAL);
    assert_int_equal(mproc_connection_open(NULL, 0), -EINVAL);
    assert_int_equal(mproc_connection_send(NULL, "x", 1, 0), -EINVAL);
    assert_int_equal(mproc_connection_send(pair.here, NULL, 1, 0), -EINVAL);
    assert_int_equal(mproc_connection_receive(NULL, &size, sizeof size, NULL, 0), -EINVAL);
    assert_int_equal(mproc_connection_receive(pair.here, NULL, 1, &size, 0), -EINVAL);
    assert_int_equal(mproc_connection_receive_borrowed(NULL, &borrowed, &size, 0), -EINVAL);
    assert_int_equal(mproc_connection_receive_borrowed(pair.here, NULL, &size, 0), -EINVAL);
    assert_int_equal(mproc_connection_receive_borrowed(pair.here, &borrowed, NULL, 0), -EINVAL);
    assert_int_equal(mproc_connection_receive_new(NULL, &data, &size, 0), -EINVAL);
    assert_int_equal(mproc_connection_receive_new(pair.here, NULL, &size, 0), -EINVAL);
    assert_int_equal(mproc_connection_receive_new(pair.here, &data, NULL, 0), -EINVAL);
    assert_int_equal(mproc_connection_take_fds(NULL, NULL, 0), -EINVAL);
    assert_int_equal(mproc_connection_poll(NULL, 0), -EINVAL);
    assert_int_equal(mproc_connection_fd(NULL), -EINVAL);
    assert_int_equal(mproc_connection_set_limit(NULL, 1), -EINVAL);
    assert_int_equal(mproc_connection_close(NULL), 0);
    assert_null(other);
    close_pair(pair);
}

static void the_limits_on_handles_and_descriptors_are_told(void **state)
{
    (void)state;
    enum { PAIRS = MPROC_CONNECTIONS_MAX / 2 };
    static struct pair pairs[PAIRS];
    struct pair more = { NULL, NULL };
    struct rlimit limit;
    int fds[2];
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < MPROC_CONNECTIONS_MAX + 100)
        harness_skip("not so many descriptors are allowed");
    setrlimit(RLIMIT_NOFILE, &(struct rlimit) { MPROC_CONNECTIONS_MAX + 100, limit.rlim_max });
    for (int i = 0; i < PAIRS; i++)
        pairs[i] = open_pair();
    assert_int_equal(mproc_pipe(&more.here, &more.there), -EMFILE);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(mproc_connection_open(&more.here, fds[0]), -EMFILE);
    assert_int_equal(mproc_connection_close(pairs[0].here), 0);
    assert_int_equal(mproc_pipe(&more.here, &more.there), -EMFILE); /* there is room for one end */
    assert_int_equal(mproc_connection_open(&pairs[0].here, fds[0]), 0);
    close(fds[1]);
    for (int i = 0; i < PAIRS; i++)
        close_pair(pairs[i]);
    int one_left = dup(0);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit) { (rlim_t)one_left + 1, limit.rlim_max });
    close(one_left);
    assert_int_equal(mproc_pipe(&more.here, &more.there), -EMFILE);
    assert_int_equal(mproc_pipe_one_way(&more.here, &more.there), -EMFILE);
    assert_null(more.here);
    assert_null(more.there);
}

/* ---- forks */

static int use_copies(struct pair pair)
{
    CHECK(comes(pair.there, NEW, 1000, 1));
    CHECK(send_filled(pair.there, 1000, 2, 0) == 0);
    CHECK(mproc_connection_close(pair.there) == 0);
    CHECK(mproc_connection_close(pair.here) == 0);
    CHECK(mproc_connection_close(pair.here) == MPROC_E_CLOSED);
    return 0;
}

static void a_forked_child_has_copies_of_the_handles(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    pid_t child = fork();
    if (child == 0)
        _exit(use_copies(pair));
    assert_int_equal(send_filled(pair.here, 1000, 1, 0), 0);
    assert_true(comes(pair.here, NEW, 1000, 2));
    assert_int_equal(end_of(child), 0);
    assert_int_equal(send_filled(pair.here, 1000, 3, 0), 0); /* its closing was its own affair */
    assert_true(comes(pair.there, NEW, 1000, 3));
    close_pair(pair);
}

static void the_end_comes_when_the_last_copy_is_gone(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(1);
    }
    assert_int_equal(mproc_connection_close(pair.there), 0);
    assert_int_equal(mproc_connection_receive(pair.here, NULL, 0, NULL, 0), -ETIMEDOUT);
    kill(child, SIGKILL);
    assert_int_equal(mproc_connection_receive(pair.here, NULL, 0, NULL, PATIENCE), MPROC_E_END_OF_STREAM);
    assert_int_equal(end_of(child), -SIGKILL);
    assert_int_equal(mproc_connection_close(pair.here), 0);
}

static void *receive_hundred(void *connection)
{
    return comes(connection, NEW, 100, 1) ? NULL : connection;
}

static int look_at_copy(mproc_connection *connection)
{
    void *data;
    size_t size;
    CHECK(mproc_connection_receive_new(connection, &data, &size, PATIENCE) == MPROC_E_STREAM_BROKEN);
    CHECK(mproc_connection_send(connection, "child", 5, PATIENCE) == 0);
    CHECK(mproc_connection_close(connection) == 0);
    return 0;
}

static void what_another_thread_was_receiving_is_cut_off_in_the_child_only(void **state)
{
    (void)state;
    struct half half = open_half();
    char frame[104] = "\0\0\0\144", text[9];
    void *failed;
    pthread_t thread;
    fill(frame + 4, 100, 1);
    write_bytes(half.fd, frame, 50);
    assert_int_equal(pthread_create(&thread, NULL, receive_hundred, half.connection), 0);
    struct pollfd taken = { .fd = mproc_connection_fd(half.connection), .events = POLLIN };
    while (poll(&taken, 1, 0) != 0)
        harness_sleep_ms(1);
    pid_t child = fork();
    if (child == 0)
        _exit(look_at_copy(half.connection));
    assert_int_equal(end_of(child), 0);
    assert_int_equal(read(half.fd, text, sizeof text), 9);
    assert_memory_equal(text + 4, "child", 5);
    write_bytes(half.fd, frame + 50, 54);
    pthread_join(thread, &failed);
    assert_null(failed);
    close_half(half);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(empty_messages_have_an_address_too),
    cmocka_unit_test(what_is_borrowed_stays_until_the_next_is_received),
    cmocka_unit_test(what_is_new_is_the_callers),
    cmocka_unit_test(failures_leave_the_output_untouched),
    cmocka_unit_test(the_descriptor_tells_event_loops_what_comes),
    cmocka_unit_test(a_descriptor_stays_as_it_was),
    cmocka_unit_test(named_pipes_are_connections),
    cmocka_unit_test(what_is_no_stream_is_refused),
    cmocka_unit_test(one_way_pipes_refuse_the_other_way),
    cmocka_unit_test(whoever_opens_such_an_end_anew_is_kept_from_it_by_the_kernel),
    cmocka_unit_test(stale_handles_are_recognised),
    cmocka_unit_test(wrong_arguments_are_refused),
    cmocka_unit_test(the_limits_on_handles_and_descriptors_are_told),
    cmocka_unit_test(a_forked_child_has_copies_of_the_handles),
    cmocka_unit_test(the_end_comes_when_the_last_copy_is_gone),
    cmocka_unit_test(what_another_thread_was_receiving_is_cut_off_in_the_child_only),
};

HARNESS_MAIN(tests)
