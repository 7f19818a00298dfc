/* Connections to Python's multiprocessing.connection: PYTHON is the interpreter, PEER tests/python/peer.py.
 * SPDX-License-Identifier: MIT */
#include "../unit/connection_use.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

static const size_t sizes[] = { 0, 1, 2, 16383, 16384, 16384 + 1, 1 << 20, 0, 7 };
enum { SIZES = sizeof sizes / sizeof *sizes };

/* What this process has of the connections to a Python. */
struct peer {
    mproc_connection *reader, *writer; /* one, over a socket */
    pid_t pid;
};

static _Noreturn void be_python(const char *mode, const int fds[2], const size_t *its_sizes, int count)
{
    char words[2 + SIZES][24];
    const char *arguments[8 + SIZES] = { PYTHON, PEER, mode };
    for (int i = 0; i < 2; i++) {
        fcntl(fds[i], F_SETFD, 0);
        snprintf(words[i], sizeof words[i], "%d", fds[i]);
        arguments[3 + i] = words[i];
    }
    for (int i = 0; i < count; i++) {
        snprintf(words[2 + i], sizeof words[2 + i], "%zu", its_sizes[i]);
        arguments[5 + i] = words[2 + i];
    }
    execv(PYTHON, (char **)(uintptr_t)arguments);
    _exit(126);
}

static struct peer start_python(bool over_pipes, const char *mode, const size_t *its_sizes, int count)
{
    struct peer peer = { NULL, NULL, 0 };
    int ours[2], its[2];
    if (over_pipes) {
        int there[2], back[2];
        assert_int_equal(pipe2(there, O_CLOEXEC), 0);
        assert_int_equal(pipe2(back, O_CLOEXEC), 0);
        its[0] = there[0];
        its[1] = back[1];
        ours[0] = back[0];
        ours[1] = there[1];
        assert_int_equal(mproc_connection_open(&peer.writer, ours[1]), 0);
    } else {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ours), 0);
        its[0] = its[1] = ours[1];
    }
    assert_int_equal(mproc_connection_open(&peer.reader, ours[0]), 0);
    if (!over_pipes)
        peer.writer = peer.reader;
    peer.pid = fork();
    if (peer.pid == 0)
        be_python(mode, its, its_sizes, count);
    close(its[0]);
    if (over_pipes)
        close(its[1]);
    return peer;
}

static void expect_end(mproc_connection *reader)
{
    for (int i = 0; i < 2; i++)
        assert_int_equal(mproc_connection_receive(reader, NULL, 0, NULL, PATIENCE), MPROC_E_END_OF_STREAM);
}

static void close_writer(struct peer *peer)
{
    assert_int_equal(mproc_connection_close(peer->writer), 0);
    if (peer->reader == peer->writer)
        peer->reader = NULL;
}

static void finish(struct peer peer)
{
    assert_int_equal(end_of(peer.pid), 0);
    assert_int_equal(mproc_connection_close(peer.reader), 0);
}

static void python_sends_back_what_it_gets(void **state)
{
    (void)state;
    for (int over_pipes = 0; over_pipes < 2; over_pipes++) {
        struct peer peer = start_python(over_pipes, "echo", NULL, 0);
        for (unsigned i = 0; i < WAYS * SIZES; i++) {
            assert_int_equal(send_filled(peer.writer, sizes[i % SIZES], i, PATIENCE), 0);
            assert_true(comes(peer.reader, i / SIZES, sizes[i % SIZES], i));
        }
        close_writer(&peer);
        if (peer.reader)
            expect_end(peer.reader);
        finish(peer);
    }
}

static void what_python_sends_arrives_and_then_the_end(void **state)
{
    (void)state;
    for (int over_pipes = 0; over_pipes < 2; over_pipes++) {
        struct peer peer = start_python(over_pipes, "send", sizes, SIZES);
        for (unsigned i = 0; i < SIZES; i++)
            assert_true(comes(peer.reader, i % WAYS, sizes[i], i));
        expect_end(peer.reader);
        assert_true(harness_wait_gone(peer.pid, HARNESS_PATIENCE));
        assert_int_equal(mproc_connection_send(peer.writer, "x", 1, PATIENCE), -EPIPE);
        if (over_pipes)
            close_writer(&peer);
        finish(peer);
    }
}

static void python_gets_what_is_sent_and_then_the_end(void **state)
{
    (void)state;
    for (int over_pipes = 0; over_pipes < 2; over_pipes++) {
        struct peer peer = start_python(over_pipes, "receive", sizes, SIZES);
        for (unsigned i = 0; i < SIZES; i++)
            assert_int_equal(send_filled(peer.writer, sizes[i], i, PATIENCE), 0);
        close_writer(&peer);
        finish(peer);
    }
}

static void pythons_objects_pass_through_as_bytes(void **state)
{
    (void)state;
    for (int over_pipes = 0; over_pipes < 2; over_pipes++) {
        struct peer peer = start_python(over_pipes, "drive", sizes, SIZES);
        int err, count = 0;
        for (const void *data;; count++) {
            size_t size;
            err = mproc_connection_receive_borrowed(peer.reader, &data, &size, PATIENCE);
            if (err != 0)
                break;
            assert_int_equal(mproc_connection_send(peer.writer, data, size, PATIENCE), 0);
        }
        assert_int_equal(err, MPROC_E_END_OF_STREAM);
        assert_true(count > SIZES);
        if (over_pipes)
            close_writer(&peer);
        finish(peer);
    }
}

/* ---- by `make soak` only: messages whose lengths take 8 bytes */

enum { BLOCK = 1 << 26 };

static const size_t gigabytes[] = { INT32_MAX, (size_t)1 << 31, (size_t)3 << 30 };
enum { GIGABYTES = sizeof gigabytes / sizeof *gigabytes };

/* One block of memory, at as many addresses as needed. */
static char *repeat_block(size_t size)
{
    int file = memfd_create("block", MFD_CLOEXEC);
    assert_int_equal(ftruncate(file, BLOCK), 0);
    char *base = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (size_t at = 0; at < size; at += BLOCK)
        assert_ptr_equal(mmap(base + at, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0), base + at);
    close(file);
    fill(base, BLOCK, 0);
    return base;
}

static void gigabytes_go_both_ways(void **state)
{
    (void)state;
    if (!getenv("MPROC_SOAK_SECONDS"))
        harness_skip("`make soak` does it");
    char *block = repeat_block((size_t)3 << 30);
    for (int over_pipes = 0; over_pipes < 2; over_pipes++) {
        struct peer peer = start_python(over_pipes, "gigabytes", gigabytes + over_pipes, GIGABYTES - 2 * over_pipes);
        for (int i = over_pipes; i < GIGABYTES - over_pipes; i++) {
            void *data;
            size_t size;
            assert_int_equal(mproc_connection_send(peer.writer, block, gigabytes[i], MPROC_FOREVER), 0);
            assert_int_equal(mproc_connection_receive_new(peer.reader, &data, &size, MPROC_FOREVER), 0);
            assert_int_equal(size, gigabytes[i]);
            assert_int_equal(memcmp(data, block, size), 0);
            free(data);
        }
        close_writer(&peer);
        finish(peer);
    }
    munmap(block, (size_t)3 << 30);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(python_sends_back_what_it_gets),
    cmocka_unit_test(what_python_sends_arrives_and_then_the_end),
    cmocka_unit_test(python_gets_what_is_sent_and_then_the_end),
    cmocka_unit_test(pythons_objects_pass_through_as_bytes),
    cmocka_unit_test(gigabytes_go_both_ways),
};

HARNESS_MAIN_SECONDS(tests, getenv("MPROC_SOAK_SECONDS") ? 900 : HARNESS_SECONDS)
