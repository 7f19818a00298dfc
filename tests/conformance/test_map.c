/* mproc_map, the same on every backend. Compiled once for each; BACKEND says which. SPDX-License-Identifier: MIT */
#include "conformance.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- tasks */

static int fail_without_words(const int *number, int *result)
{
    *result = 1;
    return -*number;
}
MPROC_TASK(fail_without_words);

static int say_but_succeed(const int *number, int *result)
{
    mproc_task_fail(1, "never mind");
    *result = *number;
    return 0;
}
MPROC_TASK(say_but_succeed);

static int talk(const int *number, int *result)
{
    *result = 0;
    return mproc_task_fail(1, "%0*d", *number, 0);
}
MPROC_TASK(talk);

static int who(const int *unused, pid_t *pid)
{
    (void)unused;
    *pid = getpid();
    return 0;
}
MPROC_TASK(who);

struct big {
    char bytes[70000];
};

static int reverse(const struct big *in, struct big *out)
{
    for (size_t i = 0; i < sizeof in->bytes; i++)
        out->bytes[i] = in->bytes[sizeof in->bytes - 1 - i];
    return 0;
}
MPROC_TASK(reverse);

static int count_bits(const unsigned char *byte, unsigned char *bits)
{
    *bits = (unsigned char)__builtin_popcount(*byte);
    return 0;
}
MPROC_TASK(count_bits);

static int map_inside(const int *n, int64_t *sum)
{
    int numbers[10];
    int64_t squares[10];
    for (int i = 0; i < 10; i++)
        numbers[i] = *n + i;
    int err = mproc_map(NULL, square, numbers, squares, 10);
    *sum = 0;
    for (int i = 0; i < 10; i++)
        *sum += squares[i];
    return err;
}
MPROC_TASK(map_inside);

static int pool_inside(const int *n, int64_t *result)
{
    mproc_pool *pool;
    int err = mproc_pool_open(&pool, .backend = BACKEND, .workers = 2, .fork_with_threads = true);
    if (err)
        return mproc_task_fail(err, "open: %s", mproc_strerror(err));
    err = mproc_map(pool, square, n, result, 1);
    int closed = mproc_pool_close(pool);
    return err ? err : closed;
}
MPROC_TASK(pool_inside);

/* ---- helpers */

static int *count_up(size_t n)
{
    int *numbers = malloc(n * sizeof *numbers);
    for (size_t i = 0; i < n; i++)
        numbers[i] = (int)i;
    return numbers;
}

static void check_squares(mproc_pool *pool, size_t n, size_t chunk)
{
    int *numbers = count_up(n);
    int64_t *squares = calloc(n, sizeof *squares);
    assert_int_equal(mproc_map(pool, square, numbers, squares, n, .chunk = chunk), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(squares[i], (int64_t)i * (int64_t)i);
    free(numbers);
    free(squares);
}

/* ---- results */

static void every_item_is_done_once_and_in_its_place(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 2, 3, 7, 64, 65, 1000, 100000, 1000000 };
    mproc_pool *pool = open_pool(3);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        check_squares(pool, sizes[i], 0);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void any_chunk_size_gives_the_same_results(void **state)
{
    (void)state;
    static const size_t chunks[] = { 1, 2, 7, 999, 1000, 1001, SIZE_MAX };
    mproc_pool *pool = open_pool(2);
    for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++)
        check_squares(pool, 1000, chunks[i]);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void any_number_of_workers_gives_the_same_results(void **state)
{
    (void)state;
    static const int workers[] = { 1, 2, 5, 65, 130 };
    for (size_t i = 0; i < sizeof workers / sizeof workers[0]; i++) {
        mproc_pool *pool = open_pool(workers[i]);
        check_squares(pool, 10000, 0);
        check_squares(pool, 300, 1);
        assert_int_equal(mproc_pool_close(pool), 0);
    }
}

static void the_default_number_of_workers_is_the_usable_cpus(void **state)
{
    (void)state;
    mproc_pool *pool = open_pool(0);
    check_squares(pool, 1000, 0);
    int children[16], supervisor[1];
    if (IS_PROCESSES) {
        assert_int_equal(harness_children(getpid(), supervisor, 1), 1);
        assert_int_equal(harness_children(supervisor[0], children, 16), mproc_cpu_count());
    }
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void large_elements_arrive_whole(void **state)
{
    (void)state;
    enum { N = 20 };
    struct big *in = malloc(N * sizeof *in), *out = calloc(N, sizeof *out);
    for (int i = 0; i < N; i++)
        for (size_t j = 0; j < sizeof in->bytes; j++)
            in[i].bytes[j] = (char)(j * 7 + (size_t)i);
    mproc_pool *pool = open_pool(2);
    assert_int_equal(mproc_map(pool, reverse, in, out, N), 0);
    for (int i = 0; i < N; i++)
        for (size_t j = 0; j < sizeof in->bytes; j++)
            assert_int_equal(out[i].bytes[j], in[i].bytes[sizeof in->bytes - 1 - j]);
    assert_int_equal(mproc_pool_close(pool), 0);
    free(in);
    free(out);
}

static void single_bytes_do_not_disturb_their_neighbours(void **state)
{
    (void)state;
    enum { N = 5000 };
    unsigned char in[N], out[N];
    for (int i = 0; i < N; i++)
        in[i] = (unsigned char)i;
    mproc_pool *pool = open_pool(3);
    for (int round = 0; round < 20; round++) {
        memset(out, 0xff, sizeof out);
        assert_int_equal(mproc_map(pool, count_bits, in, out, N, .chunk = 1), 0);
        for (int i = 0; i < N; i++)
            assert_int_equal(out[i], __builtin_popcount(in[i]));
    }
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void workers_are_where_the_backend_says(void **state)
{
    (void)state;
    int in[100] = { 0 };
    pid_t pids[100];
    mproc_pool *pool = open_pool(2);
    assert_int_equal(mproc_map(pool, who, in, pids, 100), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(pids[i] != getpid(), IS_PROCESSES);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void constant_input_is_accepted(void **state)
{
    (void)state;
    static const int numbers[3] = { 2, 3, 4 };
    int64_t squares[3];
    mproc_pool *pool = open_pool(2);
    assert_int_equal(mproc_map(pool, square, numbers, squares, 3), 0);
    assert_int_equal(squares[2], 16);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void no_items_is_fine_and_does_nothing(void **state)
{
    (void)state;
    mproc_pool *pool = open_pool(2);
    struct mproc_error error = { .code = 12345 };
    int *none = NULL;
    int64_t *nothing = NULL;
    assert_int_equal(mproc_map(pool, square, none, nothing, 0, .error = &error), 0);
    assert_int_equal(error.code, 12345);
    assert_int_equal(mproc_pool_close(pool), 0);
}

/* ---- many maps */

static void ten_thousand_tiny_maps(void **state)
{
    (void)state;
    mproc_pool *pool = open_pool(2);
    for (int round = 0; round < 10000; round++) {
        int numbers[2] = { round, round + 1 };
        int64_t squares[2] = { 0 };
        assert_int_equal(mproc_map(pool, square, numbers, squares, 2), 0);
        assert_int_equal(squares[0], (int64_t)round * round);
        assert_int_equal(squares[1], (int64_t)(round + 1) * (round + 1));
    }
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void *map_in_thread(void *pool)
{
    for (int round = 0; round < 50; round++)
        check_squares(pool, 200, round % 3);
    return NULL;
}

static void sixteen_threads_map_on_one_pool(void **state)
{
    (void)state;
    mproc_pool *pool = open_pool(3);
    pthread_t threads[16];
    for (int i = 0; i < 16; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, map_in_thread, pool), 0);
    for (int i = 0; i < 16; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void *map_waiting(void *pool)
{
    int milliseconds[1] = { 20 }, result[1] = { 0 };
    assert_int_equal(mproc_map(pool, wait_ms, milliseconds, result, 1), 0);
    assert_int_equal(result[0], 20);
    return NULL;
}

static void more_maps_at_a_time_than_a_pool_has_places_for(void **state)
{
    (void)state;
    enum { THREADS = 100 };
    mproc_pool *pool = open_pool(8);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, map_waiting, pool), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void pools_side_by_side(void **state)
{
    (void)state;
    mproc_pool *pools[5];
    for (int i = 0; i < 5; i++)
        pools[i] = BACKEND == MPROC_THREADS || i == 0 ? open_pool(2) : open_pool(i);
    for (int i = 0; i < 5; i++)
        check_squares(pools[i], 1000, 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(mproc_pool_close(pools[i]), 0);
}

static void a_hundred_pools_one_after_the_other(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        mproc_pool *pool = open_pool(2);
        check_squares(pool, 10, 0);
        assert_int_equal(mproc_pool_close(pool), 0);
    }
}

/* ---- outcomes */

static void a_failed_item_says_its_code_and_message(void **state)
{
    (void)state;
    enum { N = 1001 };
    int *numbers = count_up(N), *results = malloc(N * sizeof *results);
    struct mproc_outcome *outcomes = malloc(N * sizeof *outcomes);
    struct mproc_error error;
    memset(results, 0x55, N * sizeof *results);
    mproc_pool *pool = open_pool(2);
    assert_int_equal(mproc_map(pool, fail_if_odd, numbers, results, N, .outcomes = outcomes, .error = &error), N / 2);
    for (int i = 0; i < N; i++) {
        if (i % 2 == 0) {
            assert_int_equal(outcomes[i].kind, MPROC_OK);
            assert_int_equal(results[i], i);
            continue;
        }
        char message[32];
        snprintf(message, sizeof message, "%d is odd", i);
        assert_int_equal(outcomes[i].kind, MPROC_FAILED);
        assert_int_equal(outcomes[i].code, i);
        assert_string_equal(outcomes[i].message, message);
        assert_int_equal(outcomes[i].pid != getpid(), IS_PROCESSES);
        assert_int_equal(results[i], 0x55555555);
    }
    assert_int_equal(error.code, N / 2);
    assert_int_equal(error.item, 1);
    assert_int_equal(error.outcome.kind, MPROC_FAILED);
    assert_string_equal(error.outcome.message, "1 is odd");
    assert_non_null(strstr(error.message, "500 of 1001 items of 'fail_if_odd' did not succeed; the first is item 1, "
                                          "which failed with code 1 at "));
    assert_non_null(strstr(error.message, "conformance.h:"));
    assert_non_null(strstr(error.message, ": 1 is odd"));
    assert_int_equal(mproc_pool_close(pool), 0);
    free(numbers);
    free(results);
    free(outcomes);
}

static void failures_are_counted_without_outcomes_too(void **state)
{
    (void)state;
    int numbers[5] = { 1, 2, 3, 4, 5 }, results[5];
    struct mproc_error error;
    mproc_pool *pool = open_pool(2);
    assert_int_equal(mproc_map(pool, fail_if_odd, numbers, results, 5), 3);
    assert_int_equal(mproc_map(pool, fail_without_words, numbers, results, 5, .error = &error), 5);
    assert_int_equal(error.item, 0);
    assert_int_equal(error.outcome.code, -1);
    assert_string_equal(error.outcome.message, "");
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void a_message_without_a_failure_is_dropped(void **state)
{
    (void)state;
    int numbers[2] = { 1, 2 }, results[2];
    struct mproc_outcome outcomes[2];
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_map(pool, say_but_succeed, numbers, results, 2, .outcomes = outcomes), 0);
    assert_int_equal(outcomes[0].kind, MPROC_OK);
    assert_string_equal(outcomes[0].message, "");
    assert_int_equal(mproc_map(pool, fail_without_words, numbers, results, 2, .outcomes = outcomes), 2);
    assert_string_equal(outcomes[0].message, "");
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void a_long_message_is_cut_and_marked(void **state)
{
    (void)state;
    int lengths[2] = { MPROC_MESSAGE_SIZE - 1, MPROC_MESSAGE_SIZE }, results[2];
    struct mproc_outcome outcomes[2];
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_map(pool, talk, lengths, results, 2, .outcomes = outcomes), 2);
    assert_int_equal(strlen(outcomes[0].message), MPROC_MESSAGE_SIZE - 1);
    assert_null(strstr(outcomes[0].message, "..."));
    assert_int_equal(strlen(outcomes[1].message), MPROC_MESSAGE_SIZE - 1);
    assert_string_equal(outcomes[1].message + MPROC_MESSAGE_SIZE - 4, "...");
    assert_int_equal(mproc_pool_close(pool), 0);
}

/* ---- nesting */

static mproc_pool *shared_pool;

static int map_on_shared_pool(const int *n, int64_t *result)
{
    return mproc_map(shared_pool, square, n, result, 1);
}
MPROC_TASK(map_on_shared_pool);

static void a_map_on_its_own_pool_inside_a_task_runs_in_line(void **state)
{
    (void)state;
    int numbers[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    int64_t squares[8] = { 0 };
    struct mproc_outcome outcomes[8];
    shared_pool = NULL;
    shared_pool = open_pool(2); /* workers that are processes were forked while this was still NULL */
    assert_int_equal(mproc_map(shared_pool, map_on_shared_pool, numbers, squares, 8, .outcomes = outcomes), 0);
    for (int i = 0; i < 8; i++)
        assert_int_equal(squares[i], (i + 1) * (i + 1));
    assert_int_equal(mproc_pool_close(shared_pool), 0);
}

static void a_map_on_the_default_pool_inside_a_task_runs_in_line(void **state)
{
    (void)state;
    int numbers[4] = { 0, 10, 20, 30 };
    int64_t sums[4];
    mproc_pool *pool = open_pool(2);
    assert_int_equal(mproc_map(pool, map_inside, numbers, sums, 4), 0);
    for (int i = 0; i < 4; i++) {
        int64_t expected = 0;
        for (int64_t j = numbers[i]; j < numbers[i] + 10; j++)
            expected += j * j;
        assert_int_equal(sums[i], expected);
    }
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void a_task_may_open_a_pool_of_its_own(void **state)
{
    (void)state;
    int numbers[4] = { 1, 2, 3, 4 };
    int64_t squares[4];
    struct mproc_error error = { .message = "" };
    mproc_pool *pool = open_pool(2);
    int err = mproc_map(pool, pool_inside, numbers, squares, 4, .error = &error);
    assert_string_equal(error.message, "");
    assert_int_equal(err, 0);
    assert_int_equal(squares[3], 16);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_item_is_done_once_and_in_its_place),
    cmocka_unit_test(any_chunk_size_gives_the_same_results),
    cmocka_unit_test(any_number_of_workers_gives_the_same_results),
    cmocka_unit_test(the_default_number_of_workers_is_the_usable_cpus),
    cmocka_unit_test(large_elements_arrive_whole),
    cmocka_unit_test(single_bytes_do_not_disturb_their_neighbours),
    cmocka_unit_test(workers_are_where_the_backend_says),
    cmocka_unit_test(constant_input_is_accepted),
    cmocka_unit_test(no_items_is_fine_and_does_nothing),
    cmocka_unit_test(ten_thousand_tiny_maps),
    cmocka_unit_test(sixteen_threads_map_on_one_pool),
    cmocka_unit_test(more_maps_at_a_time_than_a_pool_has_places_for),
    cmocka_unit_test(pools_side_by_side),
    cmocka_unit_test(a_hundred_pools_one_after_the_other),
    cmocka_unit_test(a_failed_item_says_its_code_and_message),
    cmocka_unit_test(failures_are_counted_without_outcomes_too),
    cmocka_unit_test(a_message_without_a_failure_is_dropped),
    cmocka_unit_test(a_long_message_is_cut_and_marked),
    cmocka_unit_test(a_map_on_its_own_pool_inside_a_task_runs_in_line),
    cmocka_unit_test(a_map_on_the_default_pool_inside_a_task_runs_in_line),
    cmocka_unit_test(a_task_may_open_a_pool_of_its_own),
};

HARNESS_MAIN(tests)
