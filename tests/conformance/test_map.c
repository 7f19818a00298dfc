/* mproc_map, the same on every backend. Compiled once for each; BACKEND says which. SPDX-License-Identifier: MIT */
#include "harness.h"

#include <errno.h>
#include <limits.h>
#include <mproc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define IS_PROCESSES (BACKEND == MPROC_PROCESSES)

/* ---- tasks */

static int square(const int *number, int64_t *result)
{
    *result = (int64_t)*number * *number;
    return 0;
}
MPROC_TASK(square, int, int64_t);

static int fail_if_odd(const int *number, int *result)
{
    if (*number % 2)
        return mproc_task_fail(*number, "%d is odd", *number);
    *result = *number;
    return 0;
}
MPROC_TASK(fail_if_odd);

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

static int wait_ms(const int *milliseconds, int *result)
{
    harness_sleep_ms(*milliseconds);
    *result = *milliseconds;
    return 0;
}
MPROC_TASK(wait_ms);

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

static int not_registered(const int *number, int *result)
{
    *result = *number;
    return 0;
}

/* ---- helpers */

static mproc_pool *open_pool(int workers)
{
    mproc_pool *pool;
    assert_int_equal(mproc_pool_open(&pool, .backend = BACKEND, .workers = workers), 0);
    return pool;
}

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
    assert_string_equal(error.message, "500 of 1001 items of 'fail_if_odd' did not succeed; the first is item 1, which "
                                       "failed with code 1: 1 is odd");
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

struct long_map {
    mproc_pool *pool;
    int result, milliseconds;
    struct mproc_outcome outcomes[40];
    struct mproc_error error;
};

static void *run_long_map(void *argument)
{
    struct long_map *map = argument;
    int milliseconds[40], results[40];
    for (int i = 0; i < 40; i++)
        milliseconds[i] = map->milliseconds;
    map->result = mproc_map(map->pool, wait_ms, milliseconds, results, 40, .chunk = 1, .outcomes = map->outcomes,
                            .error = &map->error);
    return NULL;
}

static void closing_waits_for_the_maps_in_progress(void **state)
{
    (void)state;
    struct long_map map = { .pool = open_pool(2), .milliseconds = 5 };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_long_map, &map), 0);
    harness_sleep_ms(20);
    assert_int_equal(mproc_pool_close(map.pool), 0);
    pthread_join(thread, NULL);
    assert_int_equal(map.result, 0);
}

static void terminating_breaks_off_the_maps_in_progress(void **state)
{
    (void)state;
    struct long_map map = { .pool = open_pool(2), .milliseconds = 100 };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_long_map, &map), 0);
    harness_sleep_ms(250);
    double start = harness_now();
    assert_int_equal(mproc_pool_terminate(map.pool), 0);
    pthread_join(thread, NULL);
    assert_true(harness_now() - start < 1);
    assert_int_equal(map.result, MPROC_E_TERMINATED);
    int counts[5] = { 0 };
    for (int i = 0; i < 40; i++)
        counts[map.outcomes[i].kind]++;
    assert_true(counts[MPROC_OK] > 0);
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
