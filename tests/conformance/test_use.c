/* Wrong use of pools and maps, and their end, the same on every backend. Compiled once for each; BACKEND says which.
 * SPDX-License-Identifier: MIT */
#include "conformance.h"
#include "gate.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int not_registered(const int *number, int *result)
{
    *result = *number;
    return 0;
}

/* ---- wrong use */

static void null_arrays_are_refused(void **state)
{
    (void)state;
    int numbers[2] = { 0 }, *no_numbers = NULL;
    int64_t squares[2], *no_squares = NULL;
    struct mproc_error error;
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_map(pool, square, no_numbers, squares, 2, .error = &error), -EINVAL);
    assert_string_equal(error.message, "mproc_map of 'square': the input array is NULL: invalid argument");
    assert_int_equal(error.item, SIZE_MAX);
    assert_int_equal(mproc_map(pool, square, numbers, no_squares, 2), -EINVAL);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void an_unregistered_task_is_refused_by_name(void **state)
{
    (void)state;
    int in[2] = { 0 }, out[2];
    struct mproc_error error;
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_map(pool, not_registered, in, out, 2, .error = &error), MPROC_E_UNREGISTERED);
    assert_string_equal(error.message, "'not_registered' is not registered as a task: write MPROC_TASK with its name "
                                       "after its definition");
    int (*no_task)(const int *, int *) = NULL;
    assert_int_equal(mproc_map(pool, no_task, in, out, 2, .error = &error), -EINVAL);
    assert_string_equal(error.message, "mproc_map: the task 'no_task' is NULL: invalid argument");
    assert_int_equal(mproc_pool_close(pool), 0);
}

static struct mproc_map_arguments plain_arguments(const int *in, int64_t *out)
{
    return (struct mproc_map_arguments) {
        .size = sizeof(struct mproc_map_arguments),
        .name = "square",
        .input = in,
        .input_size = sizeof *in,
        .output = out,
        .output_size = sizeof *out,
        .n = 2,
    };
}

static void the_plain_function_finds_a_task_by_name(void **state)
{
    (void)state;
    int in[2] = { 3, 4 };
    int64_t out[2];
    struct mproc_map_arguments arguments = plain_arguments(in, out);
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_map_with(pool, &arguments), 0);
    assert_int_equal(out[1], 16);
    arguments.name = "nobody";
    assert_int_equal(mproc_map_with(pool, &arguments), MPROC_E_UNREGISTERED);
    arguments.name = NULL;
    assert_int_equal(mproc_map_with(pool, &arguments), -EINVAL);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void the_plain_function_refuses_other_sizes(void **state)
{
    (void)state;
    int in[2] = { 3, 4 };
    int64_t out[2] = { -1, -1 };
    struct mproc_error error;
    struct mproc_map_arguments arguments = plain_arguments(in, out);
    mproc_pool *pool = open_pool(1);
    arguments.input_size = 8;
    arguments.error = &error;
    assert_int_equal(mproc_map_with(pool, &arguments), MPROC_E_TYPE_MISMATCH);
    assert_string_equal(error.message, "mproc_map of 'square': elements of 8 and 8 bytes, but the task takes 4 and 8: "
                                       "pass arrays of the types that the task takes");
    arguments.input_size = 4;
    arguments.output_size = 1;
    assert_int_equal(mproc_map_with(pool, &arguments), MPROC_E_TYPE_MISMATCH);
    arguments.name = "fail_if_odd";
    assert_int_equal(mproc_map_with(pool, &arguments), MPROC_E_TYPE_UNKNOWN);
    assert_int_equal(out[0], -1);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void an_argument_struct_without_a_size_is_refused(void **state)
{
    (void)state;
    int in[2] = { 3, 4 };
    int64_t out[2];
    struct mproc_map_arguments arguments = plain_arguments(in, out);
    mproc_pool *pool = open_pool(1);
    arguments.size = 0;
    assert_int_equal(mproc_map_with(pool, &arguments), MPROC_E_STRUCT_SIZE);
    arguments.size = sizeof arguments + 1;
    assert_int_equal(mproc_map_with(pool, &arguments), MPROC_E_STRUCT_SIZE);
    assert_int_equal(mproc_map_with(pool, NULL), -EINVAL);
    struct mproc_pool_open_arguments open = { .pool = &pool };
    assert_int_equal(mproc_pool_open_with(&open), MPROC_E_STRUCT_SIZE);
    assert_int_equal(mproc_pool_open_with(NULL), -EINVAL);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void more_bytes_than_there_can_be_are_refused(void **state)
{
    (void)state;
    int in[1] = { 0 };
    int64_t out[1];
    struct mproc_map_arguments arguments = plain_arguments(in, out);
    mproc_pool *pool = open_pool(1);
    arguments.n = SIZE_MAX / 4;
    assert_int_equal(mproc_map_with(pool, &arguments), -EOVERFLOW);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void options_out_of_range_are_refused(void **state)
{
    (void)state;
    mproc_pool *pool = (mproc_pool *)state;
    struct mproc_error error;
    assert_int_equal(mproc_pool_open(&pool, .backend = BACKEND, .workers = -1), -EINVAL);
    assert_int_equal(mproc_pool_open(&pool, .backend = BACKEND, .workers = MPROC_WORKERS_MAX + 1, .error = &error),
                     -EINVAL);
    assert_string_equal(error.message, "mproc_pool_open: 1025 workers, but 1 to 1024 are possible: invalid argument");
    assert_int_equal(mproc_pool_open(&pool, .backend = (enum mproc_backend)17), -EINVAL);
    assert_ptr_equal(pool, (mproc_pool *)state);
    assert_int_equal(mproc_pool_open(NULL, .backend = BACKEND), -EINVAL);
}

static void a_closed_pool_is_recognised(void **state)
{
    (void)state;
    int in[2] = { 3, 4 };
    int64_t out[2];
    mproc_pool *pool = open_pool(2), *stale = pool;
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_map(stale, square, in, out, 2), MPROC_E_CLOSED);
    assert_int_equal(mproc_pool_close(stale), MPROC_E_CLOSED);
    assert_int_equal(mproc_pool_terminate(stale), MPROC_E_CLOSED);
    mproc_pool *other = open_pool(2); /* takes the same place in the table */
    assert_int_equal(mproc_map(stale, square, in, out, 2), MPROC_E_CLOSED);
    assert_int_equal(mproc_map(other, square, in, out, 2), 0);
    assert_int_equal(mproc_pool_close(other), 0);
}

static void closing_nothing_does_nothing(void **state)
{
    (void)state;
    assert_int_equal(mproc_pool_close(NULL), 0);
    assert_int_equal(mproc_pool_terminate(NULL), 0);
}

/* ---- ending a pool that is in use */

static struct gate *gate;

/* 0: done at once. */
static int wait_at_gate(const int *milliseconds, int *result)
{
    if (*milliseconds > 0)
        gate_pass(gate);
    harness_sleep_ms(*milliseconds);
    *result = *milliseconds;
    return 0;
}
MPROC_TASK(wait_at_gate);

enum { QUICK = 4 };

struct long_map {
    mproc_pool *pool;
    int result, milliseconds;
    _Atomic int over;
    struct mproc_outcome outcomes[40];
    struct mproc_error error;
};

static void *run_long_map(void *argument)
{
    struct long_map *map = argument;
    int milliseconds[40], results[40];
    for (int i = 0; i < 40; i++)
        milliseconds[i] = i < QUICK ? 0 : map->milliseconds;
    map->result = mproc_map(map->pool, wait_at_gate, milliseconds, results, 40, .chunk = 1, .outcomes = map->outcomes,
                            .error = &map->error);
    map->over = 1;
    return NULL;
}

static void closing_waits_for_the_maps_in_progress(void **state)
{
    (void)state;
    gate = gate_make();
    struct long_map map = { .pool = open_pool(2), .milliseconds = 5 };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_long_map, &map), 0);
    gate_wait_arrived(gate, 1);
    gate_open(gate);
    assert_int_equal(mproc_pool_close(map.pool), 0);
    pthread_join(thread, NULL);
    assert_int_equal(map.result, 0);
}

/* Threads cannot be killed in an item, so those in one have to come to its end once the pool is being terminated. Only
 * a few at a time: the call may stand still before it breaks the map off. */
static void *let_go_when_closed(void *argument)
{
    struct long_map *map = argument;
    int *none = NULL;
    while (mproc_map(map->pool, wait_at_gate, none, none, 0) != MPROC_E_CLOSED)
        harness_sleep_ms(1);
    for (int i = 0; !map->over; i++) {
        if (i % 1000 == 0)
            gate_let(gate, 2);
        harness_sleep_ms(1);
    }
    return NULL;
}

static void terminating_breaks_off_the_maps_in_progress(void **state)
{
    (void)state;
    gate = gate_make();
    struct long_map map = { .pool = open_pool(2), .milliseconds = 1 };
    pthread_t thread, helper;
    assert_int_equal(pthread_create(&thread, NULL, run_long_map, &map), 0);
    gate_wait_arrived(gate, BACKEND == MPROC_SERIAL ? 1 : 2);
    assert_int_equal(pthread_create(&helper, NULL, let_go_when_closed, &map), 0);
    assert_int_equal(mproc_pool_terminate(map.pool), 0);
    pthread_join(thread, NULL);
    pthread_join(helper, NULL);
    assert_int_equal(map.result, MPROC_E_TERMINATED);
    int counts[MPROC_SKIPPED + 1] = { 0 };
    for (int i = 0; i < 40; i++)
        counts[map.outcomes[i].kind]++;
    assert_true(counts[MPROC_OK] >= QUICK);
    assert_true(counts[MPROC_CANCELLED] > 0);
    assert_true(counts[MPROC_LOST] <= (IS_PROCESSES ? 2 : 0));
    assert_int_equal(counts[MPROC_OK] + counts[MPROC_CANCELLED] + counts[MPROC_LOST], 40);
    assert_true(map.error.item < 40);
    assert_int_equal(map.error.code, MPROC_E_TERMINATED);
}

/* More maps than a pool has places for, so that some have begun, some are about to and some wait for a place. */
static void terminating_breaks_off_maps_that_are_about_to_begin(void **state)
{
    (void)state;
    enum { THREADS = 70 };
    static struct long_map maps[THREADS];
    pthread_t threads[THREADS];
    gate = gate_make();
    gate_open(gate);
    for (int round = 0; round < 3; round++) {
        mproc_pool *pool = open_pool(2);
        for (int i = 0; i < THREADS; i++) {
            maps[i] = (struct long_map) { .pool = pool, .milliseconds = 5 };
            assert_int_equal(pthread_create(&threads[i], NULL, run_long_map, &maps[i]), 0);
        }
        harness_sleep_ms(20 * round);
        assert_int_equal(mproc_pool_terminate(pool), 0);
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
            assert_true(maps[i].result == MPROC_E_TERMINATED || maps[i].result == MPROC_E_CLOSED ||
                        maps[i].result == 0);
        }
    }
}

static mproc_pool *own_pool;

static int close_own_pool(const int *unused, int *result)
{
    *result = *unused;
    return mproc_pool_close(own_pool) == (IS_PROCESSES ? MPROC_E_FORKED : -EDEADLK) ? 0 : 1;
}
MPROC_TASK(close_own_pool);

static void a_task_cannot_close_its_own_pool(void **state)
{
    (void)state;
    int in[1] = { 0 }, out[1];
    /* Workers inherit the program as it is when the pool opens, so the handle goes into memory that they share. */
    mproc_pool *first = open_pool(1);
    own_pool = first;
    if (IS_PROCESSES) {
        mproc_pool *second = open_pool(1);
        assert_int_equal(mproc_map(second, close_own_pool, in, out, 1), 0);
        assert_int_equal(mproc_pool_close(second), 0);
    } else {
        assert_int_equal(mproc_map(first, close_own_pool, in, out, 1), 0);
    }
    assert_int_equal(mproc_pool_close(first), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(null_arrays_are_refused),
    cmocka_unit_test(an_unregistered_task_is_refused_by_name),
    cmocka_unit_test(the_plain_function_finds_a_task_by_name),
    cmocka_unit_test(the_plain_function_refuses_other_sizes),
    cmocka_unit_test(an_argument_struct_without_a_size_is_refused),
    cmocka_unit_test(more_bytes_than_there_can_be_are_refused),
    cmocka_unit_test(options_out_of_range_are_refused),
    cmocka_unit_test(a_closed_pool_is_recognised),
    cmocka_unit_test(closing_nothing_does_nothing),
    cmocka_unit_test(closing_waits_for_the_maps_in_progress),
    cmocka_unit_test(terminating_breaks_off_the_maps_in_progress),
    cmocka_unit_test(terminating_breaks_off_maps_that_are_about_to_begin),
    cmocka_unit_test(a_task_cannot_close_its_own_pool),
};

HARNESS_MAIN(tests)
