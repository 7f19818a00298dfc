/* Connections whose other end does not read, or is gone; and signals. SPDX-License-Identifier: MIT */
#include "connection_use.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

/* The connection sends. */
static struct half open_half_pipe(void)
{
    struct half half = { NULL, -1 };
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(mproc_connection_open(&half.connection, fds[1]), 0);
    half.fd = fds[0];
    return half;
}

/* Sends numbers until there is no room. Returns how many. */
static int fill_up(mproc_connection *connection)
{
    for (int i = 0;; i++) {
        int err = mproc_connection_send(connection, &i, sizeof i, 0);
        if (err == -ETIMEDOUT)
            return i;
        assert_int_equal(err, 0);
    }
}

/* Receives so many numbers, from 0 on. */
static int check_numbers(int fd, int count)
{
    mproc_connection *connection = NULL;
    CHECK(mproc_connection_open(&connection, dup(fd)) == 0);
    for (int i = 0, number; i < count; i++) {
        CHECK(mproc_connection_receive(connection, &number, sizeof number, NULL, PATIENCE) == 0);
        CHECK(number == i);
    }
    CHECK(mproc_connection_close(connection) == 0);
    return 0;
}

static void check_full(struct half half)
{
    int count = fill_up(half.connection);
    assert_true(count > 10);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mproc_connection_send(half.connection, "x", 1, 0), -ETIMEDOUT);
        assert_int_equal(mproc_connection_send(half.connection, "x", 1, MPROC_MS(2)), -ETIMEDOUT);
    }
    assert_int_equal(check_numbers(half.fd, count), 0);
    int zero = 0;
    assert_int_equal(mproc_connection_send(half.connection, &zero, sizeof zero, 0), 0);
    assert_int_equal(check_numbers(half.fd, 1), 0);
    struct pollfd rest = { .fd = half.fd, .events = POLLIN };
    assert_int_equal(poll(&rest, 1, 0), 0);
    close_half(half);
}

static void what_finds_no_room_in_time_is_not_sent(void **state)
{
    (void)state;
    check_full(open_half());
    check_full(open_half_pipe());
}

/* Reads a message of that size, in pieces. */
static int read_slowly(struct half half, size_t size)
{
    char *frame = malloc(size + 4);
    CHECK(mproc_connection_close(half.connection) == 0);
    for (size_t got = 0; got < size + 4;) {
        size_t some = size + 4 - got < 99999 ? size + 4 - got : 99999;
        ssize_t count = read(half.fd, frame + got, some);
        CHECK(count > 0);
        got += (size_t)count;
        if (got < 1 << 20)
            harness_sleep_ms(5);
    }
    CHECK(is_filled(frame + 4, size, 9));
    free(frame);
    return 0;
}

static void a_message_that_has_begun_is_sent_to_its_end(void **state)
{
    (void)state;
    static const int64_t timeouts[] = { 0, 1, MPROC_MS(1), MPROC_FOREVER };
    for (unsigned i = 0; i < 8; i++) {
        struct half half = i % 2 ? open_half() : open_half_pipe();
        pid_t reader = fork();
        if (reader == 0)
            _exit(read_slowly(half, 5 << 20));
        assert_int_equal(send_filled(half.connection, 5 << 20, 9, timeouts[i / 2]), 0);
        assert_int_equal(end_of(reader), 0);
        close_half(half);
    }
}

static void who_stops_reading_in_mid_message_breaks_the_stream(void **state)
{
    (void)state;
    struct half half = open_half();
    assert_int_equal(send_filled(half.connection, 5 << 20, 0, 0), MPROC_E_STREAM_BROKEN);
    for (int i = 0; i < 3; i++)
        assert_int_equal(mproc_connection_send(half.connection, "x", 1, MPROC_FOREVER), MPROC_E_STREAM_BROKEN);
    /* the other direction is as it was */
    write_bytes(half.fd, "\0\0\0\1x", 5);
    assert_int_equal(mproc_connection_receive(half.connection, &(char) { 0 }, 1, NULL, PATIENCE), 0);
    close_half(half);
}

/* ---- nobody reads */

static void expect_no_reader(mproc_connection *connection)
{
    static char large[1 << 20];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mproc_connection_send(connection, NULL, 0, 0), -EPIPE);
        assert_int_equal(mproc_connection_send(connection, "x", 1, MPROC_FOREVER), -EPIPE);
        assert_int_equal(mproc_connection_send(connection, large, sizeof large, PATIENCE), -EPIPE);
    }
}

/* SIGPIPE would end the process. */
static void without_a_reader_sending_fails_and_raises_no_signal(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_DFL);
    for (int i = 0; i < 2; i++) {
        struct half half = i ? open_half() : open_half_pipe();
        sigset_t before, after, pending;
        close(half.fd);
        half.fd = -1;
        pthread_sigmask(SIG_SETMASK, NULL, &before);
        expect_no_reader(half.connection);
        pthread_sigmask(SIG_SETMASK, NULL, &after);
        sigpending(&pending);
        assert_int_equal(sigismember(&after, SIGPIPE), sigismember(&before, SIGPIPE));
        assert_int_equal(sigismember(&pending, SIGPIPE), 0);
        close_half(half);
    }
}

static void a_pending_signal_of_the_programs_own_stays(void **state)
{
    (void)state;
    sigset_t pipe_signal, pending;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL);
    for (int i = 0; i < 4; i++) {
        struct half half = i % 2 ? open_half() : open_half_pipe();
        close(half.fd);
        half.fd = -1;
        expect_no_reader(half.connection);
        sigpending(&pending);
        assert_int_equal(sigismember(&pending, SIGPIPE), 0);
        assert_int_equal(i < 2 ? raise(SIGPIPE) : kill(getpid(), SIGPIPE), 0);
        expect_no_reader(half.connection);
        sigpending(&pending);
        assert_int_equal(sigismember(&pending, SIGPIPE), 1);
        while (sigtimedwait(&pipe_signal, NULL, &(struct timespec) { 0 }) == SIGPIPE) {
        }
        close_half(half);
    }
}

/* ---- signals */

static void note(int signal)
{
    (void)signal;
}

/* Interrupts the process again and again until it says that a call was interrupted. */
static int interrupt_until_told(pid_t process, _Atomic int *told)
{
    for (int i = 0, before = atomic_load(told); atomic_load(told) == before; i++) {
        CHECK(i < HARNESS_PATIENCE);
        kill(process, SIGUSR1);
        harness_sleep_ms(1);
    }
    return 0;
}

static _Atomic int *begin_interrupts(void)
{
    sigaction(SIGUSR1, &(struct sigaction) { .sa_handler = note, .sa_flags = SA_RESTART }, NULL);
    return mmap(NULL, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

enum { INTERRUPTED_SIZE = 10 };

static int write_with_interrupts(int fd, pid_t receiver, _Atomic int *told)
{
    for (unsigned i = 0; i < 2 * WAYS; i++) {
        unsigned char frame[12 + INTERRUPTED_SIZE];
        size_t whole = put_header(frame, INTERRUPTED_SIZE) + INTERRUPTED_SIZE;
        fill(frame + whole - INTERRUPTED_SIZE, INTERRUPTED_SIZE, i);
        for (size_t at = 0; at < whole; at++) {
            CHECK(interrupt_until_told(receiver, told) == 0);
            CHECK(write(fd, frame + at, 1) == 1);
        }
    }
    return 0;
}

static void signals_lose_nothing_of_a_message_in_pieces(void **state)
{
    (void)state;
    struct half half = open_half();
    _Atomic int *told = begin_interrupts();
    pid_t receiver = getpid(), writer = fork();
    unsigned turn = 0;
    if (writer == 0)
        _exit(write_with_interrupts(half.fd, receiver, told));
    for (unsigned i = 0; i < 2 * WAYS; i++) {
        char *copy;
        size_t size;
        for (int err;;) {
            err = receive_by(i < WAYS ? i : turn++ % WAYS, half.connection, INTERRUPTED_SIZE, &copy, &size, PATIENCE);
            if (err == 0)
                break;
            assert_int_equal(err, -EINTR);
            atomic_fetch_add(told, 1);
        }
        assert_int_equal(size, INTERRUPTED_SIZE);
        assert_true(is_filled(copy, size, i));
        free(copy);
    }
    assert_int_equal(end_of(writer), 0);
    assert_true(atomic_load(told) >= 2 * WAYS * (4 + INTERRUPTED_SIZE));
    munmap((void *)told, sizeof(int));
    close_half(half);
}

static void a_signal_ends_polling(void **state)
{
    (void)state;
    struct half half = open_half();
    _Atomic int *told = begin_interrupts();
    pid_t caller = getpid(), other = fork();
    if (other == 0)
        _exit(interrupt_until_told(caller, told));
    assert_int_equal(mproc_connection_poll(half.connection, PATIENCE), -EINTR);
    atomic_store(told, 1);
    assert_int_equal(end_of(other), 0);
    munmap((void *)told, sizeof(int));
    close_half(half);
}

static void what_a_signal_interrupts_before_it_has_begun_is_not_sent(void **state)
{
    (void)state;
    struct half half = open_half();
    _Atomic int *told = begin_interrupts();
    int count = fill_up(half.connection);
    pid_t sender = getpid(), other = fork();
    if (other == 0)
        _exit(interrupt_until_told(sender, told));
    assert_int_equal(mproc_connection_send(half.connection, "x", 1, PATIENCE), -EINTR);
    atomic_store(told, 1);
    assert_int_equal(end_of(other), 0);
    assert_int_equal(check_numbers(half.fd, count), 0);
    struct pollfd rest = { .fd = half.fd, .events = POLLIN };
    assert_int_equal(poll(&rest, 1, 0), 0);
    munmap((void *)told, sizeof(int));
    close_half(half);
}

/* The reader interrupts before it reads each piece. */
static int read_with_interrupts(struct half half, pid_t sender, size_t size)
{
    char *frame = malloc(size + 4);
    CHECK(mproc_connection_close(half.connection) == 0);
    for (size_t got = 0; got < size + 4;) {
        size_t some = size + 4 - got < 50000 ? size + 4 - got : 50000;
        kill(sender, SIGUSR1);
        harness_sleep_ms(1);
        ssize_t count = read(half.fd, frame + got, some);
        CHECK(count > 0);
        got += (size_t)count;
    }
    CHECK(is_filled(frame + 4, size, 9));
    free(frame);
    return 0;
}

static void signals_do_not_end_what_has_begun(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct half half = i ? open_half() : open_half_pipe();
        size_t size = 2 << 20;
        char *data = malloc(size);
        fill(data, size, 9);
        begin_interrupts();
        pid_t sender = getpid(), reader = fork();
        if (reader == 0)
            _exit(read_with_interrupts(half, sender, size));
        assert_int_equal(mproc_connection_send(half.connection, data, size, MPROC_FOREVER), 0);
        assert_int_equal(end_of(reader), 0);
        free(data);
        close_half(half);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_finds_no_room_in_time_is_not_sent),
    cmocka_unit_test(a_message_that_has_begun_is_sent_to_its_end),
    cmocka_unit_test(who_stops_reading_in_mid_message_breaks_the_stream),
    cmocka_unit_test(without_a_reader_sending_fails_and_raises_no_signal),
    cmocka_unit_test(a_pending_signal_of_the_programs_own_stays),
    cmocka_unit_test(signals_lose_nothing_of_a_message_in_pieces),
    cmocka_unit_test(a_signal_ends_polling),
    cmocka_unit_test(what_a_signal_interrupts_before_it_has_begun_is_not_sent),
    cmocka_unit_test(signals_do_not_end_what_has_begun),
};

HARNESS_MAIN(tests)
