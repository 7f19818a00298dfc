/* Inputs and results of any length, on every backend. Compiled once for each; BACKEND and METHOD say which. The harness
 * sees to it that nothing is left of them. SPDX-License-Identifier: MIT */
#include "pool_shared.h"

enum { MB = 1 << 20 };

/* ---- tasks */

static int invert(const struct mproc_bytes *in, struct mproc_bytes *out)
{
    unsigned char *room = mproc_bytes_allocate(out, in->size);
    if (!room)
        return mproc_task_fail(errno, "no room for %zu bytes", in->size);
    if (out->data != room || out->size != in->size)
        return mproc_task_fail(1, "the result is not the room");
    for (size_t i = 0; i < in->size; i++)
        room[i] = (unsigned char)~((unsigned char *)in->data)[i];
    return 0;
}
MPROC_TASK(invert, struct mproc_bytes, struct mproc_bytes);

static int copy(const struct mproc_bytes *in, struct mproc_bytes *out)
{
    int err = mproc_bytes_copy(out, in->data, in->size);
    return err ? mproc_task_fail(err, "%s", mproc_strerror(err)) : 0;
}
MPROC_TASK(copy);

static int say_nothing(const struct mproc_bytes *in, struct mproc_bytes *out)
{
    (void)in;
    (void)out;
    return 0;
}
MPROC_TASK(say_nothing);

struct place {
    uintptr_t address;
    size_t size;
};

static int where(const struct mproc_bytes *in, struct place *place)
{
    *place = (struct place) { (uintptr_t)in->data, in->size };
    return 0;
}
MPROC_TASK(where);

/* The result holds the address that it was written at. */
static int tell_address(const int *size, struct mproc_bytes *out)
{
    void **room = mproc_bytes_allocate(out, (size_t)*size);
    if (!room)
        return mproc_task_fail(errno, "no room");
    *room = room;
    return 0;
}
MPROC_TASK(tell_address);

static int change_its_mind(const int *size, struct mproc_bytes *out)
{
    for (int i = 0; i < 10; i++)
        if (!mproc_bytes_allocate(out, (size_t)(*size + i * 70000)) || mproc_bytes_copy(out, "meanwhile", 10) != 0)
            return mproc_task_fail(1, "no room");
    char *room = mproc_bytes_allocate(out, (size_t)*size);
    if (!room)
        return mproc_task_fail(1, "no room");
    strcpy(room, "final");
    out->size = 6;
    return 0;
}
MPROC_TASK(change_its_mind);

/* Allocates, then does the deed. */
static int allocate_and(const struct order *order, struct mproc_bytes *out)
{
    char *room = mproc_bytes_allocate(out, (size_t)order->number);
    if (!room)
        return mproc_task_fail(1, "no room");
    memset(room, 7, (size_t)order->number);
    order->board->started++;
    if (order->deed == CRASH && mproc_task_attempt() > 1)
        return 0;
    return carry_out(order);
}
MPROC_TASK(allocate_and);

static int misuse(const int *unused, struct mproc_bytes *out)
{
    (void)unused;
    errno = 0;
    if (mproc_bytes_allocate(NULL, 5) || errno != EINVAL)
        return mproc_task_fail(1, "no result");
    if (mproc_bytes_copy(NULL, "x", 1) != -EINVAL || mproc_bytes_copy(out, NULL, 1) != -EINVAL)
        return mproc_task_fail(2, "no data");
    errno = 0;
    if (mproc_bytes_allocate(out, SIZE_MAX) || errno != ENOMEM)
        return mproc_task_fail(3, "all memory");
    if (mproc_bytes_copy(out, NULL, 0) != 0)
        return mproc_task_fail(4, "no bytes");
    return 0;
}
MPROC_TASK(misuse);

/* ---- helpers */

static unsigned char *random_bytes(size_t size)
{
    unsigned char *bytes = malloc(size + 1);
    uint32_t seed = (uint32_t)size;
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)((seed = seed * 1664525 + 1013904223) >> 24);
    return bytes;
}

static bool is_inverse(const unsigned char *bytes, const struct mproc_bytes *result, size_t size)
{
    const unsigned char *inverse = result->data;
    bool right = result->size == size;
    for (size_t i = 0; right && i < size; i++)
        right = (inverse[i] ^ bytes[i]) == 255;
    return right;
}

/* ---- what goes in and comes out */

static void check_round_trip(mproc_pool *pool, size_t size)
{
    unsigned char *bytes = random_bytes(size);
    struct mproc_bytes in = { bytes, size }, out = { 0 };
    assert_int_equal(mproc_apply(pool, invert, &in, &out), 0);
    assert_true(is_inverse(bytes, &out, size));
    assert_true(size == 0 || mproc_is_shared(out.data));
    assert_int_equal(mproc_bytes_free(&out), 0);
    assert_null(out.data);
    assert_int_equal(out.size, 0);
    free(bytes);
}

static void bytes_of_any_number_go_in_and_come_out(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 15, 16, 17, 4096, 32768, 32769, 65536, 65537, 1000000 };
    mproc_pool *pool = open_pool(2);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        check_round_trip(pool, sizes[i]);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void a_hundred_megabytes_go_in_and_come_out(void **state)
{
    (void)state;
    mproc_pool *pool = open_pool(1);
    check_round_trip(pool, 100 * MB + 1);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void many_of_different_sizes_and_places_go_together(void **state)
{
    (void)state;
    enum { N = 500, MOST = 3000 };
    static unsigned char fixed[MOST];
    unsigned char *own = random_bytes(MOST);
    struct mproc_bytes in[N], out[N];
    mproc_pool *pool = open_pool(3);
    memcpy(fixed, own, MOST);
    for (int i = 0; i < N; i++) {
        size_t size = (size_t)(i * 37 % MOST + 1);
        void *const places[4] = { own, fixed, i % 4 == 2 ? memcpy(mproc_alloc(size), own, size) : NULL, NULL };
        in[i] = (struct mproc_bytes) { places[i % 4], places[i % 4] ? size : 0 };
    }
    assert_int_equal(mproc_map(pool, invert, in, out, N), 0);
    for (int i = 0; i < N; i++) {
        assert_true(is_inverse(own, &out[i], in[i].size));
        assert_int_equal(mproc_bytes_free(&out[i]), 0);
        if (i % 4 == 2)
            assert_int_equal(mproc_free(in[i].data), 0);
    }
    assert_int_equal(mproc_pool_close(pool), 0);
    free(own);
}

static void copying_is_allocating_and_filling(void **state)
{
    (void)state;
    char text[] = "five and twenty characters";
    struct mproc_bytes in[2] = { { text, sizeof text }, { NULL, 0 } }, out[2];
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_map(pool, copy, in, out, 2), 0);
    assert_int_equal(out[0].size, sizeof text);
    assert_string_equal(out[0].data, text);
    assert_int_equal(out[1].size, 0);
    assert_int_equal(mproc_bytes_free(&out[0]), 0);
    assert_int_equal(mproc_bytes_free(&out[1]), 0);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void a_task_that_says_nothing_has_no_bytes(void **state)
{
    (void)state;
    enum { N = 100 };
    struct mproc_bytes in[N], out[N];
    mproc_pool *pool = open_pool(2);
    for (int i = 0; i < N; i++)
        in[i] = (struct mproc_bytes) { (void *)"x", 1 };
    memset(out, 0x55, sizeof out);
    assert_int_equal(mproc_map(pool, say_nothing, in, out, N), 0);
    for (int i = 0; i < N; i++) {
        assert_null(out[i].data);
        assert_int_equal(out[i].size, 0);
    }
    assert_int_equal(mproc_pool_close(pool), 0);
}

/* ---- in place */

static void what_lies_in_the_shared_heap_is_not_copied(void **state)
{
    (void)state;
    if (IS_CLUSTER)
        harness_skip("other machines do not see the heap");
    enum { N = 50 };
    struct mproc_bytes in[N];
    struct place places[N];
    char *block = mproc_alloc(1000), *large = mproc_alloc(MB);
    mproc_future *future = NULL;
    mproc_pool *pool = open_pool(2);
    for (int i = 0; i < N; i++)
        in[i] = (struct mproc_bytes) { i % 2 ? block + i : large + i, i % 2 ? 1000 - 50 : MB - 50 };
    assert_int_equal(mproc_map(pool, where, in, places, N), 0);
    for (int i = 0; i < N; i++) {
        assert_int_equal(places[i].address, (uintptr_t)in[i].data);
        assert_int_equal(places[i].size, in[i].size);
    }
    assert_int_equal(mproc_map_async(&future, pool, where, in, places, N), 0);
    memset(places, 0, sizeof places);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    for (int i = 0; i < N; i++)
        assert_int_equal(places[i].address, (uintptr_t)in[i].data);
    assert_int_equal(mproc_future_free(future), 0);
    assert_int_equal(mproc_pool_close(pool), 0);
    mproc_free(block);
    mproc_free(large);
}

static void results_are_not_copied(void **state)
{
    (void)state;
    if (IS_CLUSTER)
        harness_skip("they come over the network");
    int sizes[4] = { 8, 100, 40000, 3 * MB };
    struct mproc_bytes out[4];
    mproc_pool *pool = open_pool(2);
    assert_int_equal(mproc_map(pool, tell_address, sizes, out, 4), 0);
    assert_int_equal(mproc_pool_close(pool), 0);
    for (int i = 0; i < 4; i++) { /* they stay when the pool is gone */
        assert_int_equal(out[i].size, sizes[i]);
        assert_ptr_equal(*(void **)out[i].data, out[i].data);
        assert_int_equal(mproc_bytes_free(&out[i]), 0);
    }
}

static void what_a_result_had_before_is_freed(void **state)
{
    (void)state;
    int sizes[3] = { 10, 1000, 200000 };
    struct mproc_bytes out[3];
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_map(pool, change_its_mind, sizes, out, 3), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(out[i].size, 6);
        assert_string_equal(out[i].data, "final");
        assert_int_equal(mproc_bytes_free(&out[i]), 0);
    }
    assert_int_equal(mproc_pool_close(pool), 0);
}

/* ---- freeing */

static void only_results_are_freed(void **state)
{
    (void)state;
    char own[4] = "own", *block = mproc_alloc(100);
    struct mproc_bytes bytes = { own, 4 }, in = { (void *)"abc", 4 }, out;
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_bytes_free(&bytes), MPROC_E_NOT_ALLOCATED);
    assert_ptr_equal(bytes.data, own);
    assert_int_equal(bytes.size, 4);
    bytes = (struct mproc_bytes) { block + 8, 10 };
    assert_int_equal(mproc_bytes_free(&bytes), MPROC_E_NOT_ALLOCATED);
    assert_ptr_equal(bytes.data, block + 8);
    assert_int_equal(mproc_bytes_free(NULL), 0);
    bytes = (struct mproc_bytes) { 0 };
    assert_int_equal(mproc_bytes_free(&bytes), 0);
    assert_int_equal(mproc_apply(pool, copy, &in, &out), 0);
    bytes = out;
    assert_int_equal(mproc_bytes_free(&out), 0);
    assert_int_equal(mproc_bytes_free(&out), 0);
    assert_int_equal(mproc_bytes_free(&bytes), MPROC_E_NOT_ALLOCATED); /* it is freed already */
    assert_int_equal(mproc_free(block), 0);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void wrong_use_in_a_task_is_refused(void **state)
{
    (void)state;
    int unused = 0;
    struct mproc_bytes out;
    struct mproc_error error = { .message = "" };
    mproc_pool *pool = open_pool(1);
    int err = mproc_apply(pool, misuse, &unused, &out, .error = &error);
    assert_string_equal(error.message, "");
    assert_int_equal(err, 0);
    assert_int_equal(mproc_bytes_free(&out), 0);
    assert_int_equal(mproc_pool_close(pool), 0);
}

/* ---- tasks that do not succeed; what they allocated would be found by the harness */

static char somewhere[8];

static int point_elsewhere(const int *unused, struct mproc_bytes *out)
{
    (void)unused;
    *out = (struct mproc_bytes) { somewhere, sizeof somewhere };
    return 0;
}
MPROC_TASK(point_elsewhere, int, struct mproc_bytes);

static void a_result_that_was_not_allocated_fails(void **state)
{
    (void)state;
    int in = 0;
    struct mproc_bytes out = { NULL, 0 };
    struct mproc_error error;
    struct mproc_outcome outcome;
    mproc_pool *pool = open_pool(1);
    for (int watched = 0; watched < 2; watched++) {
        assert_int_equal(
            mproc_apply(pool, point_elsewhere, &in, &out, .error = &error, .outcomes = watched ? &outcome : NULL), 1);
        assert_int_equal(error.outcome.kind, MPROC_FAILED);
        assert_int_equal(error.outcome.code, MPROC_E_NOT_ALLOCATED);
        assert_non_null(strstr(error.message, "mproc_bytes_allocate"));
        assert_null(out.data);
    }
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void a_failing_task_leaves_nothing(void **state)
{
    (void)state;
    enum { N = 60 };
    struct board *board = board_make();
    struct order orders[N];
    struct mproc_bytes out[N];
    memset(out, 0x55, sizeof out);
    mproc_pool *pool = open_pool(2);
    for (int i = 0; i < N; i++)
        orders[i] = (struct order) { board, i % 3 ? FAIL : WORK, i * 7000 + 1 };
    assert_int_equal(mproc_map(pool, allocate_and, orders, out, N), N - N / 3);
    for (int i = 0; i < N; i++) {
        if (i % 3 == 0)
            assert_int_equal(mproc_bytes_free(&out[i]), 0);
        else if (IS_PROCESSES) /* otherwise it was used in place */
            assert_int_equal(out[i].size, 0x5555555555555555);
    }
    end(pool, board);
}

static void a_task_that_is_tried_again_leaves_only_its_last_result(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct order order = { board, IS_PROCESSES ? CRASH : FAIL, 5000 };
    struct mproc_bytes out;
    mproc_pool *pool = open_pool(1);
    int err = mproc_apply(pool, allocate_and, &order, &out, .retries = 3,
                          .retry_on = MPROC_RETRY_CRASHED | MPROC_RETRY_FAILED);
    assert_int_equal(board->started, IS_PROCESSES ? 2 : 4);
    assert_int_equal(err, !IS_PROCESSES);
    if (err == 0)
        assert_int_equal(mproc_bytes_free(&out), 0);
    end(pool, board);
}

static void a_worker_that_is_killed_leaves_nothing(void **state)
{
    (void)state;
    if (!IS_PROCESSES)
        harness_skip("there are no processes to kill");
    enum { N = 40 };
    struct board *board = board_make();
    struct order orders[N];
    struct mproc_bytes out[N];
    mproc_pool *pool = OPEN(.workers = 2, .ask_grace = MPROC_MS(1), .terminate_grace = MPROC_MS(1));
    for (int i = 0; i < N; i++)
        orders[i] = (struct order) { board, i % 4 == 1 ? CRASH : i % 4 == 2 ? EXIT : WORK, i * 9000 + 1 };
    assert_int_equal(mproc_map(pool, allocate_and, orders, out, N), N / 2);
    for (int i = 0; i < N; i++)
        if (orders[i].deed == WORK)
            assert_int_equal(mproc_bytes_free(&out[i]), 0);
    orders[0].deed = HANG;
    assert_int_equal(mproc_apply(pool, allocate_and, &orders[0], &out[0], .timeout = MPROC_MS(20)), 1);
    end(pool, board);
}

static void interrupt(int signal)
{
    (void)signal;
}

static pthread_t caller;

static void *interrupt_when_started(void *argument)
{
    struct board *board = argument;
    wait_until(&board->started, 2);
    while (!board->gate.passes) { /* again and again, as the first ones may come before the caller sleeps */
        pthread_kill(caller, SIGUSR1);
        harness_sleep_ms(1);
    }
    return NULL;
}

static size_t heap_bytes(void)
{
    struct mproc_heap_statistics statistics = { .size = sizeof statistics };
    assert_int_equal(mproc_heap_statistics(&statistics), 0);
    return statistics.bytes_in_use;
}

/* The tasks go on, and their results come when nobody is there any more. */
static void bytes_that_come_after_an_interruption_are_freed(void **state)
{
    (void)state;
    if (!IS_PROCESSES)
        harness_skip("the caller waits for those that are running");
    enum { LARGE = 1 << 20 };
    struct board *board = board_make();
    struct sigaction action = { .sa_handler = interrupt };
    struct order orders[2] = { { board, GATE, LARGE }, { board, GATE, LARGE } };
    struct mproc_bytes out[2] = { { NULL, 0 } };
    pthread_t thread;
    mproc_pool *pool = open_pool(2);
    struct order nothing = { board, WORK, 1 };
    assert_int_equal(mproc_apply(pool, allocate_and, &nothing, &out[0]), 0); /* the workers are there */
    assert_int_equal(mproc_bytes_free(&out[0]), 0);
    size_t before = heap_bytes();
    sigaction(SIGUSR1, &action, NULL);
    caller = pthread_self();
    assert_int_equal(pthread_create(&thread, NULL, interrupt_when_started, board), 0);
    assert_int_equal(mproc_map(pool, allocate_and, orders, out, 2, .chunk = 1), -EINTR);
    gate_open(&board->gate);
    pthread_join(thread, NULL);
    while (heap_bytes() >= before + LARGE) { /* a call looks for what is left of earlier ones */
        struct order order = { board, WORK, 1 };
        assert_int_equal(mproc_apply(pool, allocate_and, &order, &out[0]), 0);
        assert_int_equal(mproc_bytes_free(&out[0]), 0);
        harness_sleep_ms(1);
    }
    end(pool, board);
}

/* ---- futures */

static void the_bytes_of_a_future_go_with_it(void **state)
{
    (void)state;
    enum { N = 10 };
    struct mproc_bytes in[N], *nowhere = NULL;
    mproc_future *future = NULL;
    mproc_pool *pool = open_pool(2);
    for (int i = 0; i < N; i++)
        in[i] = (struct mproc_bytes) { (void *)"0123456789", (size_t)i };
    assert_int_equal(mproc_map_async(&future, pool, copy, in, nowhere, N), 0);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    for (int i = 0; i < N; i++) {
        const struct mproc_bytes *value = mproc_future_value(future, (size_t)i);
        assert_non_null(value);
        assert_int_equal(value->size, i);
        assert_memory_equal(value->data, "0123456789", (size_t)i);
    }
    assert_int_equal(mproc_future_free(future), 0);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void the_bytes_of_a_future_are_the_callers_if_they_were_delivered_to_it(void **state)
{
    (void)state;
    struct mproc_bytes in = { (void *)"abcdef", 7 }, out = { 0 };
    mproc_future *future = NULL;
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_submit(&future, pool, copy, &in, &out), 0);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    assert_int_equal(mproc_future_free(future), 0);
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_string_equal(out.data, "abcdef");
    assert_int_equal(mproc_bytes_free(&out), 0);
}

static void bytes_that_nobody_asks_for_are_freed(void **state)
{
    (void)state;
    struct mproc_bytes in = { (void *)"abcdef", 7 }, out[3] = { { 0 } };
    mproc_future *futures[3];
    mproc_pool *pool = open_pool(1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(mproc_submit(&futures[i], pool, copy, &in, &out[i]), 0);
    assert_int_equal(mproc_future_free(futures[0]), 0); /* at once */
    wait_ready(futures[1]);
    assert_int_equal(mproc_future_free(futures[1]), 0); /* when it has ended */
    assert_int_equal(mproc_pool_terminate(pool), 0);
    assert_int_equal(mproc_future_free(futures[2]), 0); /* when the pool is gone */
    assert_null(out[0].data);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(bytes_of_any_number_go_in_and_come_out),
    cmocka_unit_test(a_hundred_megabytes_go_in_and_come_out),
    cmocka_unit_test(many_of_different_sizes_and_places_go_together),
    cmocka_unit_test(copying_is_allocating_and_filling),
    cmocka_unit_test(a_task_that_says_nothing_has_no_bytes),
    cmocka_unit_test(what_lies_in_the_shared_heap_is_not_copied),
    cmocka_unit_test(results_are_not_copied),
    cmocka_unit_test(what_a_result_had_before_is_freed),
    cmocka_unit_test(only_results_are_freed),
    cmocka_unit_test(wrong_use_in_a_task_is_refused),
    cmocka_unit_test(a_result_that_was_not_allocated_fails),
    cmocka_unit_test(a_failing_task_leaves_nothing),
    cmocka_unit_test(a_task_that_is_tried_again_leaves_only_its_last_result),
    cmocka_unit_test(a_worker_that_is_killed_leaves_nothing),
    cmocka_unit_test(bytes_that_come_after_an_interruption_are_freed),
    cmocka_unit_test(the_bytes_of_a_future_go_with_it),
    cmocka_unit_test(the_bytes_of_a_future_are_the_callers_if_they_were_delivered_to_it),
    cmocka_unit_test(bytes_that_nobody_asks_for_are_freed),
};

CONFORMANCE_MAIN(tests)
