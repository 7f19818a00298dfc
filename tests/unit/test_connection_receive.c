/* Connections whose other end writes bytes as it likes: in pieces, cut off, senseless. SPDX-License-Identifier: MIT */
#include "connection_use.h"

#include "os/sanitizer.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

/* A message with its header, as it goes over the stream. To be freed. */
static unsigned char *make_frame(size_t size, unsigned number, bool long_header, size_t *whole)
{
    unsigned char *frame = malloc(12 + size);
    *whole = put_header(frame, long_header ? (uint64_t)1 << 32 : size);
    if (long_header)
        for (size_t i = 0; i < 8; i++)
            frame[11 - i] = (unsigned char)((uint64_t)size >> 8 * i);
    fill(frame + *whole, size, number);
    *whole += size;
    return frame;
}

static struct half open_half_pipe(void)
{
    struct half half = { NULL, -1 };
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(mproc_connection_open(&half.connection, fds[0]), 0);
    half.fd = fds[1];
    return half;
}

/* ---- pieces */

enum { MIXED = WAYS };

static void expect_nothing_yet(struct half half, enum way way, size_t size)
{
    char *copy = NULL;
    size_t got = 4711;
    assert_int_equal(receive_by(way, half.connection, size, &copy, &got, 0), -ETIMEDOUT);
    assert_null(copy);
    assert_int_equal(got, 4711);
}

/* Receives after each piece, and gets nothing before the last. */
static void pass_in_pieces(struct half half, size_t size, size_t piece, int way, bool long_header)
{
    size_t whole, written = 0;
    unsigned char *frame = make_frame(size, (unsigned)piece, long_header, &whole);
    for (unsigned turn = 0; written < whole; turn++) {
        size_t some = whole - written < piece ? whole - written : piece;
        write_bytes(half.fd, frame + written, some);
        written += some;
        if (written < whole)
            expect_nothing_yet(half, way == MIXED ? turn % WAYS : (unsigned)way, size);
    }
    assert_true(comes(half.connection, way == MIXED ? size % WAYS : (unsigned)way, size, (unsigned)piece));
    free(frame);
}

static void pass_all_in_pieces(struct half half)
{
    for (int way = 0; way <= MIXED; way++)
        for (int long_header = 0; long_header < 2; long_header++) {
            for (size_t size = 0; size < 40; size++)
                pass_in_pieces(half, size, 1 + size % 3, way, long_header);
            pass_in_pieces(half, 3000, 1, way, long_header);
            pass_in_pieces(half, 300000, 4099, way, long_header);
            pass_in_pieces(half, 3 << 20, 60000, way, long_header);
        }
}

static void timeouts_lose_nothing_of_a_message_in_pieces(void **state)
{
    (void)state;
    struct half half = open_half();
    pass_all_in_pieces(half);
    close_half(half);
}

static void nor_over_a_pipe(void **state)
{
    (void)state;
    struct half half = open_half_pipe();
    pass_all_in_pieces(half);
    close_half(half);
}

static int write_byte_by_byte(int fd)
{
    for (unsigned i = 0; i < WAYS; i++) {
        size_t whole;
        unsigned char *frame = make_frame(20, i, i % 2, &whole);
        for (size_t at = 0; at < whole; at++) {
            CHECK(write(fd, frame + at, 1) == 1);
            harness_sleep_ms(1);
        }
        free(frame);
    }
    return 0;
}

static void nor_while_the_time_runs_out_in_mid_wait(void **state)
{
    (void)state;
    struct half half = open_half();
    pid_t writer = fork();
    if (writer == 0)
        _exit(write_byte_by_byte(half.fd));
    unsigned turn = 0;
    for (unsigned i = 0; i < WAYS; i++) {
        char *copy = NULL;
        size_t size;
        int err;
        do
            err = receive_by(turn++ % WAYS, half.connection, 20, &copy, &size, MPROC_US(300));
        while (err == -ETIMEDOUT);
        assert_int_equal(err, 0);
        assert_int_equal(size, 20);
        assert_true(is_filled(copy, size, i));
        free(copy);
    }
    assert_int_equal(end_of(writer), 0);
    close_half(half);
}

static void a_buffer_too_small_leaves_the_message(void **state)
{
    (void)state;
    struct half half = open_half();
    for (size_t size = 1; size < 200000; size = size * 3 + 1) {
        size_t whole, got = 0;
        unsigned char *frame = make_frame(size, 1, false, &whole);
        char *buffer = malloc(size);
        write_bytes(half.fd, frame, 4);
        for (int i = 0; i < 3; i++) {
            got = 0;
            assert_int_equal(mproc_connection_receive(half.connection, buffer, size - 1, &got, 0), -EMSGSIZE);
            assert_int_equal(got, size);
            assert_int_equal(mproc_connection_receive(half.connection, NULL, 0, NULL, 0), -EMSGSIZE);
        }
        write_bytes(half.fd, frame + 4, size / 2);
        expect_nothing_yet(half, size % WAYS, size);
        assert_int_equal(mproc_connection_receive(half.connection, buffer, size - 1, NULL, 0), -EMSGSIZE);
        write_bytes(half.fd, frame + 4 + size / 2, size - size / 2);
        assert_int_equal(mproc_connection_receive(half.connection, buffer, size - 1, NULL, 0), -EMSGSIZE);
        assert_true(comes(half.connection, size % WAYS, size, 1));
        free(frame);
        free(buffer);
    }
    close_half(half);
}

static void nothing_of_the_next_message_is_taken(void **state)
{
    (void)state;
    static const unsigned char two[] = { 0, 0, 0, 1, 'a', 0, 0, 0, 2, 'b', 'c' };
    for (enum way way = 0; way < WAYS; way++) {
        struct half half = open_half();
        char *copy = NULL, rest[20];
        size_t size;
        int left = 0;
        write_bytes(half.fd, two, sizeof two);
        assert_int_equal(receive_by(way, half.connection, 20, &copy, &size, 0), 0);
        free(copy);
        assert_int_equal(ioctl(mproc_connection_fd(half.connection), FIONREAD, &left), 0);
        assert_int_equal(left, 6);
        assert_int_equal(read(mproc_connection_fd(half.connection), rest, sizeof rest), 6);
        assert_memory_equal(rest, two + 5, 6);
        close_half(half);
    }
}

static void polling_sees_what_has_begun_to_come(void **state)
{
    (void)state;
    struct half half = open_half();
    assert_int_equal(mproc_connection_poll(half.connection, 0), -ETIMEDOUT);
    assert_int_equal(mproc_connection_poll(half.connection, MPROC_MS(2)), -ETIMEDOUT);
    write_bytes(half.fd, "\0\0", 2);
    assert_int_equal(mproc_connection_poll(half.connection, MPROC_FOREVER), 0);
    expect_nothing_yet(half, BORROWED, 1);
    assert_int_equal(mproc_connection_poll(half.connection, 0), 0);
    write_bytes(half.fd, "\0\1x", 3);
    assert_int_equal(mproc_connection_poll(half.connection, 0), 0);
    assert_int_equal(mproc_connection_receive(half.connection, &(char) { 0 }, 1, NULL, 0), 0);
    assert_int_equal(mproc_connection_poll(half.connection, 0), -ETIMEDOUT);
    close(half.fd);
    half.fd = -1;
    assert_int_equal(mproc_connection_poll(half.connection, 0), 0);
    close_half(half);
}

/* ---- streams that are cut off */

static void cut_off(struct half half, const unsigned char *frame, size_t cut, size_t whole, enum way way, bool tried)
{
    char *copy = NULL;
    size_t size, body = 7;
    write_bytes(half.fd, frame, cut);
    if (tried && cut < whole)
        expect_nothing_yet(half, (cut + way) % WAYS, body);
    close(half.fd);
    half.fd = -1;
    if (cut == whole)
        assert_true(comes(half.connection, way, body, 3));
    for (int i = 0; i < 2 * WAYS; i++)
        assert_int_equal(receive_by((way + (unsigned)i) % WAYS, half.connection, body, &copy, &size, MPROC_FOREVER),
                         cut == 0 || cut == whole ? MPROC_E_END_OF_STREAM : MPROC_E_STREAM_BROKEN);
    assert_int_equal(mproc_connection_poll(half.connection, 0), 0);
    close_half(half);
}

static void a_message_that_is_cut_off_anywhere_is_told(void **state)
{
    (void)state;
    for (int long_header = 0; long_header < 2; long_header++) {
        size_t whole;
        unsigned char *frame = make_frame(7, 3, long_header, &whole);
        for (size_t cut = 0; cut <= whole; cut++)
            for (enum way way = 0; way < WAYS; way++)
                for (int tried = 0; tried < 2; tried++) {
                    cut_off(open_half(), frame, cut, whole, way, tried);
                    cut_off(open_half_pipe(), frame, cut, whole, way, tried);
                }
        free(frame);
    }
}

static void a_long_one_as_well(void **state)
{
    (void)state;
    for (enum way way = 0; way < WAYS; way++) {
        struct half half = open_half();
        size_t whole, size;
        char *copy = NULL;
        unsigned char *frame = make_frame(300000, 0, false, &whole);
        write_bytes(half.fd, frame, 100000);
        expect_nothing_yet(half, way, 300000);
        write_bytes(half.fd, frame + 100000, 100000);
        close(half.fd);
        half.fd = -1;
        assert_int_equal(receive_by(way, half.connection, 300000, &copy, &size, PATIENCE), MPROC_E_STREAM_BROKEN);
        free(frame);
        close_half(half);
    }
}

/* ---- lengths */

/* Bytes more of memory than there are now. A sanitizer's cannot be limited, and refuses great sizes by itself. */
static void limit_memory(size_t more)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_int_equal(fscanf(file, "%ld", &pages), 1);
    fclose(file);
    size_t bytes = (size_t)pages * (size_t)sysconf(_SC_PAGESIZE) + more;
    if (!OS_ADDRESS_SANITIZER)
        assert_int_equal(setrlimit(RLIMIT_AS, &(struct rlimit) { bytes, RLIM_INFINITY }), 0);
}

static void lift_the_limit(void)
{
    assert_int_equal(setrlimit(RLIMIT_AS, &(struct rlimit) { RLIM_INFINITY, RLIM_INFINITY }), 0);
}

static void refuse(const void *header, size_t header_size, enum way way, size_t limit)
{
    struct half half = open_half();
    char *copy = NULL;
    size_t size;
    assert_int_equal(mproc_connection_set_limit(half.connection, limit), 0);
    write_bytes(half.fd, header, header_size);
    write_bytes(half.fd, "body", 4);
    for (int i = 0; i < 2 * WAYS; i++)
        assert_int_equal(receive_by((way + (unsigned)i) % WAYS, half.connection, 100, &copy, &size, PATIENCE),
                         -EOVERFLOW);
    assert_int_equal(mproc_connection_poll(half.connection, 0), 0);
    assert_int_equal(mproc_connection_send(half.connection, "still", 5, PATIENCE), 0);
    close_half(half);
}

static void lengths_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const unsigned char senseless[][12] = {
        { 0xff, 0xff, 0xff, 0xfe },
        { 0x80, 0, 0, 0 },
        { 0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0 },
        { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe },
        { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
    };
    limit_memory(64 << 20);
    for (size_t i = 0; i < sizeof senseless / sizeof *senseless; i++)
        for (enum way way = 0; way < WAYS; way++)
            refuse(senseless[i], i < 2 ? 4 : 12, way, SIZE_MAX);
}

static void what_is_longer_than_the_limit_is_refused(void **state)
{
    (void)state;
    static const struct {
        uint64_t length;
        size_t limit;
    } refused[] = {
        { 1, 0 }, { 11, 10 }, { INT32_MAX, 1000 }, { UINT64_C(1) << 31, INT32_MAX }, { UINT64_C(1) << 62, 1 << 20 }
    };
    limit_memory(64 << 20);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        for (enum way way = 0; way < WAYS; way++) {
            unsigned char header[12];
            refuse(header, put_header(header, refused[i].length), way, refused[i].limit);
        }
}

static void what_is_just_as_long_as_the_limit_arrives(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    for (unsigned i = 0; i < WAYS; i++) {
        assert_int_equal(mproc_connection_set_limit(pair.there, i * 500), 0);
        assert_int_equal(send_filled(pair.here, i * 500, i, PATIENCE), 0);
        assert_true(comes(pair.there, i, i * 500, i));
    }
    close_pair(pair);
}

static void no_memory_is_taken_for_what_has_not_come(void **state)
{
    (void)state;
    limit_memory(64 << 20);
    for (enum way way = BORROWED; way < WAYS; way++) {
        struct half half = open_half();
        unsigned char header[12];
        char *piece = calloc(1, 100000), *copy;
        size_t size;
        write_bytes(half.fd, header, put_header(header, UINT64_C(1) << 60));
        for (int i = 0; i < 20; i++) {
            write_bytes(half.fd, piece, 100000);
            assert_int_equal(receive_by(way, half.connection, 0, &copy, &size, 0), -ETIMEDOUT);
        }
        assert_int_equal(mproc_connection_receive(half.connection, piece, 100000, &size, 0), -EMSGSIZE);
        assert_int_equal(size, (size_t)1 << 60);
        free(piece);
        close_half(half);
    }
}

static int send_hundred_megabytes(struct pair pair)
{
    CHECK(mproc_connection_close(pair.here) == 0);
    CHECK(send_filled(pair.there, 100 << 20, 0, MPROC_FOREVER) == 0);
    CHECK(send_filled(pair.there, 1000, 1, MPROC_FOREVER) == 0);
    return 0;
}

static void a_message_that_finds_no_memory_can_still_be_received(void **state)
{
    (void)state;
    if (OS_ADDRESS_SANITIZER)
        harness_skip("a sanitizer's memory cannot be limited");
    for (enum way way = 0; way < WAYS; way++) {
        struct pair pair = open_pair();
        char *copy = NULL;
        size_t size;
        pid_t sender = fork();
        if (sender == 0)
            _exit(send_hundred_megabytes(pair));
        limit_memory(80 << 20);
        for (int i = 0; i < 3; i++)
            assert_int_equal(receive_by(BORROWED + i % 2, pair.here, 0, &copy, &size, PATIENCE), -ENOMEM);
        lift_the_limit();
        assert_true(comes(pair.here, way, 100 << 20, 0));
        assert_true(comes(pair.here, way, 1000, 1));
        assert_int_equal(end_of(sender), 0);
        close_pair(pair);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(timeouts_lose_nothing_of_a_message_in_pieces),
    cmocka_unit_test(nor_over_a_pipe),
    cmocka_unit_test(nor_while_the_time_runs_out_in_mid_wait),
    cmocka_unit_test(a_buffer_too_small_leaves_the_message),
    cmocka_unit_test(nothing_of_the_next_message_is_taken),
    cmocka_unit_test(polling_sees_what_has_begun_to_come),
    cmocka_unit_test(a_message_that_is_cut_off_anywhere_is_told),
    cmocka_unit_test(a_long_one_as_well),
    cmocka_unit_test(lengths_that_make_no_sense_are_refused),
    cmocka_unit_test(what_is_longer_than_the_limit_is_refused),
    cmocka_unit_test(what_is_just_as_long_as_the_limit_arrives),
    cmocka_unit_test(no_memory_is_taken_for_what_has_not_come),
    cmocka_unit_test(a_message_that_finds_no_memory_can_still_be_received),
};

HARNESS_MAIN(tests)
