/* Calls that return before their items have ended, and what their futures deliver; on every backend. Compiled once for
 * each; BACKEND and METHOD say which. SPDX-License-Identifier: MIT */
#include "pool_shared.h"

#include <limits.h>

/* ---- mproc_apply */

static void apply_runs_one_task_and_waits(void **state)
{
    (void)state;
    int number = 7, odd = -1;
    int64_t result = 0;
    struct mproc_outcome outcome;
    struct mproc_error error;
    mproc_pool *pool = open_pool(2);
    assert_int_equal(mproc_apply(pool, square, &number, &result), 0);
    assert_int_equal(result, 49);
    assert_int_equal(mproc_apply(pool, fail_if_odd, &number, &odd, .outcomes = &outcome, .error = &error), 1);
    assert_int_equal(outcome.kind, MPROC_FAILED);
    assert_int_equal(outcome.code, 7);
    assert_int_equal(error.code, 1);
    assert_int_equal(error.item, 0);
    number = 8;
    assert_int_equal(mproc_apply(pool, fail_if_odd, &number, &odd, .timeout = MPROC_SEC(1000)), 0);
    assert_int_equal(odd, 8);
    assert_int_equal(mproc_pool_close(pool), 0);
}

/* ---- delivery */

static void a_future_is_not_ready_before_its_task_has_ended(void **state)
{
    (void)state;
    if (IS_SERIAL)
        harness_skip("the task has ended when the call returns");
    struct board *board = board_make();
    struct mproc_outcome outcome;
    int result = -1;
    mproc_pool *pool = open_pool(2);
    mproc_future *future = begin(pool, board, GATE, 21, &result);
    gate_wait_arrived(&board->gate, 1);
    assert_false(mproc_future_is_ready(future));
    assert_int_equal(mproc_future_wait(future, 0), -ETIMEDOUT);
    assert_int_equal(mproc_future_wait(future, MPROC_MS(5)), -ETIMEDOUT);
    assert_int_equal(mproc_future_outcome(future, 0, &outcome), -EAGAIN);
    assert_null(mproc_future_value(future, 0));
    gate_open(&board->gate);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    assert_int_equal(result, 42);
    assert_int_equal(mproc_future_free(future), 0);
    end(pool, board);
}

static void results_are_delivered_by_the_first_that_waits(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct order orders[2] = { { board, WORK, 4 }, { board, FAIL, 5 } };
    int results[2] = { -1, -1 };
    struct mproc_outcome outcomes[2] = { { .code = 1234 } }, outcome;
    struct mproc_error error = { .code = 1234 };
    mproc_future *future = NULL;
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_map_async(&future, pool, act, orders, results, 2, .outcomes = outcomes, .error = &error), 0);
    wait_ready(future);
    assert_int_equal(mproc_future_outcome(future, 0, &outcome), -EAGAIN);
    assert_null(mproc_future_value(future, 0));
    assert_int_equal(results[0], -1);
    assert_int_equal(outcomes[0].code, 1234);
    assert_int_equal(error.code, 1234);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mproc_future_wait(future, i ? 0 : MPROC_FOREVER), 1);
        assert_int_equal(results[0], i ? -3 : 8);
        results[0] = -3; /* it is delivered once */
    }
    assert_int_equal(outcomes[0].kind, MPROC_OK);
    assert_int_equal(outcomes[0].code, 0);
    assert_int_equal(outcomes[1].kind, MPROC_FAILED);
    assert_string_equal(outcomes[1].message, "5 fails");
    assert_int_equal(error.code, 1);
    assert_int_equal(error.item, 1);
    assert_int_equal(mproc_future_outcome(future, 1, &outcome), 0);
    assert_int_equal(outcome.code, 5);
    assert_int_equal(mproc_future_outcome(future, 2, &outcome), -EINVAL);
    assert_int_equal(mproc_future_outcome(future, SIZE_MAX, &outcome), -EINVAL);
    assert_int_equal(mproc_future_free(future), 0);
    end(pool, board);
}

static void an_error_is_left_alone_if_all_is_well(void **state)
{
    (void)state;
    int number = 3;
    int64_t result;
    struct mproc_error error = { .code = 1234 };
    mproc_future *future = NULL;
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_submit(&future, pool, square, &number, &result, .error = &error), 0);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    assert_int_equal(error.code, 1234);
    assert_int_equal(mproc_future_free(future), 0);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void the_input_may_change_once_the_call_has_returned(void **state)
{
    (void)state;
    enum { N = 200 };
    struct board *board = board_make();
    struct order *orders = malloc(N * sizeof *orders);
    int results[N];
    mproc_future *future = NULL;
    mproc_pool *pool = open_pool(2);
    orders_fill(orders, N, board, GATE);
    assert_int_equal(mproc_map_async(&future, pool, act, orders, results, N, .chunk = 1), 0);
    memset(orders, 0x55, N * sizeof *orders);
    free(orders);
    gate_open(&board->gate);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    for (int i = 0; i < N; i++)
        assert_int_equal(results[i], 2 * i);
    assert_int_equal(mproc_future_free(future), 0);
    end(pool, board);
}

static void arrays_in_the_heap_are_used_in_place(void **state)
{
    (void)state;
    enum { N = 100 };
    int *numbers = mproc_calloc(N, sizeof *numbers);
    int64_t *squares = mproc_calloc(N, sizeof *squares);
    mproc_future *future = NULL;
    mproc_pool *pool = open_pool(2);
    for (int i = 0; i < N; i++)
        numbers[i] = i;
    assert_int_equal(mproc_map_async(&future, pool, square, numbers, squares, N), 0);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    for (int i = 0; i < N; i++) {
        assert_int_equal(squares[i], i * i);
        if (!IS_CLUSTER) /* whose machines do not see the heap */
            assert_ptr_equal(mproc_future_value(future, (size_t)i), &squares[i]);
    }
    assert_int_equal(mproc_future_free(future), 0);
    assert_int_equal(mproc_pool_close(pool), 0);
    mproc_free(numbers);
    mproc_free(squares);
}

static void a_value_can_be_looked_at_where_it_was_written(void **state)
{
    (void)state;
    enum { N = 50 };
    struct board *board = board_make();
    struct order orders[N];
    const int *values[N];
    int *nowhere = NULL;
    mproc_future *future = NULL;
    mproc_pool *pool = open_pool(2);
    orders_fill(orders, N, board, WORK);
    orders[9].deed = FAIL;
    assert_int_equal(mproc_map_async(&future, pool, act, orders, nowhere, N), 0);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 1);
    for (int i = 0; i < N; i++) {
        values[i] = mproc_future_value(future, (size_t)i);
        assert_ptr_equal(mproc_future_value(future, (size_t)i), values[i]);
        assert_int_equal(values[i] == NULL, i == 9);
    }
    assert_null(mproc_future_value(future, N));
    assert_null(mproc_future_value(future, SIZE_MAX));
    assert_null(mproc_future_value(NULL, 0));
    end(pool, board);
    for (int i = 0; i < N; i++) /* also when the pool is gone */
        if (i != 9)
            assert_int_equal(*values[i], 2 * i);
    assert_int_equal(mproc_future_free(future), 0);
}

static void no_items_have_ended_at_once(void **state)
{
    (void)state;
    int *none = NULL;
    int64_t *nothing = NULL;
    struct mproc_outcome outcome;
    mproc_future *future = NULL;
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_map_async(&future, pool, square, none, nothing, 0), 0);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    assert_int_equal(mproc_future_outcome(future, 0, &outcome), -EINVAL);
    assert_int_equal(mproc_future_free(future), 0);
    assert_int_equal(mproc_pool_close(pool), 0);
}

/* ---- many */

static void ten_thousand_futures_at_once(void **state)
{
    (void)state;
    enum { N = 10000 };
    mproc_future **futures = calloc(N, sizeof(mproc_future *));
    int64_t *squares = calloc(N, sizeof *squares);
    mproc_pool *pool = open_pool(3);
    for (int i = 0; i < N; i++) {
        int number = i;
        assert_int_equal(mproc_submit(&futures[i], pool, square, &number, &squares[i]), 0);
    }
    for (int i = N - 1; i >= 0; i--) {
        assert_int_equal(mproc_future_wait(futures[i], MPROC_FOREVER), 0);
        assert_int_equal(squares[i], (int64_t)i * i);
    }
    for (int i = 0; i < N; i++)
        assert_int_equal(mproc_future_free(futures[i]), 0);
    assert_int_equal(mproc_pool_close(pool), 0);
    free(futures);
    free(squares);
}

static void *submit_and_wait(void *pool)
{
    for (int i = 0; i < 300; i++) {
        int number = i;
        int64_t result = -1;
        mproc_future *future = NULL;
        assert_int_equal(mproc_submit(&future, pool, square, &number, &result), 0);
        if (i % 7 != 6) {
            assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
            assert_int_equal(result, i * i);
        }
        assert_int_equal(mproc_future_free(future), 0);
    }
    return NULL;
}

static void several_threads_submit_to_one_pool(void **state)
{
    (void)state;
    mproc_pool *pool = OPEN(.workers = 2, .backlog = 5);
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, submit_and_wait, pool), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void a_call_goes_on_though_its_future_is_freed(void **state)
{
    (void)state;
    enum { N = 100 };
    struct board *board = board_make();
    int results[N];
    memset(results, 0x55, sizeof results);
    mproc_pool *pool = open_pool(2);
    for (int i = 0; i < N; i++)
        assert_int_equal(mproc_future_free(begin(pool, board, GATE, i, &results[i])), 0);
    gate_open(&board->gate);
    assert_int_equal(mproc_pool_join(pool, MPROC_FOREVER), 0);
    assert_int_equal(board->ended, N);
    for (int i = 0; i < N; i++)
        assert_int_equal(results[i], 0x55555555);
    end(pool, board);
}

static void nobody_has_to_ask_for_the_results(void **state)
{
    (void)state;
    enum { N = 10 };
    struct board *board = board_make();
    struct order orders[N];
    int results[N] = { 0 };
    mproc_pool *pool = open_pool(2);
    orders_fill(orders, N, board, WORK);
    assert_int_equal(mproc_map_async(NULL, pool, act, orders, results, N), 0);
    assert_int_equal(mproc_submit(NULL, pool, act, &orders[3], &results[3]), 0);
    assert_int_equal(mproc_pool_join(pool, MPROC_FOREVER), 0);
    assert_int_equal(board->ended, N + 1);
    end(pool, board);
}

/* ---- the backlog */

static void a_full_backlog_is_refused_by_those_that_do_not_wait(void **state)
{
    (void)state;
    enum { MOST = 3 };
    struct board *board = board_make();
    struct order order = { board, WORK, 9 };
    int results[MOST], result = -1;
    mproc_future *futures[MOST], *future = (mproc_future *)state;
    mproc_pool *pool = OPEN(.workers = 1, .backlog = MOST);
    for (int i = 0; i < MOST; i++)
        futures[i] = begin(pool, board, GATE, i, &results[i]);
    int expected = IS_SERIAL ? 0 : -EAGAIN; /* there, nothing ever waits */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mproc_submit(&future, pool, act, &order, &result, .no_wait = true), expected);
        if (IS_SERIAL)
            assert_int_equal(mproc_future_free(future), 0);
        else
            assert_ptr_equal(future, state);
        assert_int_equal(mproc_map(pool, act, &order, &result, 1, .no_wait = true), expected);
        assert_int_equal(mproc_apply(pool, act, &order, &result, .no_wait = true), expected);
    }
    assert_int_equal(board->ended, IS_SERIAL ? MOST + 9 : 0);
    gate_open(&board->gate);
    assert_int_equal(mproc_future_wait_all(futures, MOST, MPROC_FOREVER), 0);
    assert_int_equal(mproc_apply(pool, act, &order, &result, .no_wait = true), 0);
    assert_int_equal(result, 18);
    for (int i = 0; i < MOST; i++)
        assert_int_equal(mproc_future_free(futures[i]), 0);
    end(pool, board);
}

/* What has ended does not count, whether it was delivered or not. */
static void the_backlog_holds_only_what_has_not_ended(void **state)
{
    (void)state;
    mproc_future *futures[20];
    int64_t squares[20];
    mproc_pool *pool = OPEN(.workers = 2, .backlog = 1);
    for (int i = 0; i < 20; i++) {
        int number = i, err;
        while ((err = mproc_submit(&futures[i], pool, square, &number, &squares[i], .no_wait = true)) == -EAGAIN)
            harness_sleep_ms(1);
        assert_int_equal(err, 0);
    }
    assert_int_equal(mproc_future_wait_all(futures, 20, MPROC_FOREVER), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(squares[i], i * i);
        assert_int_equal(mproc_future_free(futures[i]), 0);
    }
    assert_int_equal(mproc_pool_close(pool), 0);
}

struct late {
    mproc_pool *pool;
    struct board *board;
    _Atomic int thread, submitted;
    int result;
};

static void *submit_late(void *argument)
{
    struct late *late = argument;
    late->thread = gettid();
    mproc_future *future = begin(late->pool, late->board, WORK, 50, &late->result);
    late->submitted = 1;
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    assert_int_equal(mproc_future_free(future), 0);
    return NULL;
}

static void a_full_backlog_is_waited_for(void **state)
{
    (void)state;
    if (IS_SERIAL)
        harness_skip("the backlog is never full");
    struct board *board = board_make();
    int results[2];
    struct late late = { .pool = OPEN(.workers = 1, .backlog = 2), .board = board };
    pthread_t thread;
    mproc_future *futures[2] = { begin(late.pool, board, GATE, 0, &results[0]),
                                 begin(late.pool, board, GATE, 1, &results[1]) };
    assert_int_equal(pthread_create(&thread, NULL, submit_late, &late), 0);
    wait_until(&late.thread, 1);
    for (int i = 0; i < 5; i++)
        assert_true(harness_wait_asleep(late.thread, HARNESS_PATIENCE));
    assert_int_equal(late.submitted, 0);
    gate_open(&board->gate);
    pthread_join(thread, NULL);
    assert_int_equal(late.result, 100);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mproc_future_wait(futures[i], MPROC_FOREVER), 0);
        assert_int_equal(mproc_future_free(futures[i]), 0);
    }
    end(late.pool, board);
}

/* ---- priorities */

static void items_of_a_higher_priority_are_taken_first(void **state)
{
    (void)state;
    enum { N = 14 };
    static const int priorities[N] = { 0, -3, 2, 1, 3, -1, 0, -2, 3, 2, -3, 1, -1, -2 };
    struct board *board = board_make();
    int held, results[N];
    mproc_future *futures[N + 1];
    mproc_pool *pool = open_pool(1);
    futures[N] = begin(pool, board, GATE, 99, &held);
    gate_wait_arrived(&board->gate, 1);
    for (int i = 0; i < N; i++) {
        struct order order = { board, WORK, priorities[i] };
        assert_int_equal(mproc_submit(&futures[i], pool, act, &order, &results[i], .priority = priorities[i]), 0);
    }
    gate_open(&board->gate);
    assert_int_equal(mproc_future_wait_all(futures, N + 1, MPROC_FOREVER), 0);
    for (int i = 0; i < N; i++) {
        int number = board->numbers[i + 1];
        assert_int_equal(results[i], 2 * priorities[i]);
        if (IS_SERIAL)
            assert_int_equal(number, priorities[i]); /* each when it was submitted */
        else if (i > (IS_CLUSTER ? 4 : 0))           /* what is on its way to a machine is not overtaken */
            assert_true(number <= board->numbers[i]);
    }
    for (int i = 0; i <= N; i++)
        assert_int_equal(mproc_future_free(futures[i]), 0);
    end(pool, board);
}

/* A call of a higher priority goes between the items of one that is under way. */
static void a_running_map_gives_way_to_a_higher_priority(void **state)
{
    (void)state;
    enum { N = 20 };
    struct board *board = board_make();
    struct order orders[N], urgent = { board, WORK, 77 };
    int results[N], result;
    mproc_future *map = NULL, *first = NULL;
    mproc_pool *pool = open_pool(1);
    orders_fill(orders, N, board, GATE);
    assert_int_equal(mproc_map_async(&map, pool, act, orders, results, N, .chunk = 1, .priority = -1), 0);
    gate_wait_arrived(&board->gate, 1);
    assert_int_equal(mproc_submit(&first, pool, act, &urgent, &result, .priority = 1), 0);
    gate_open(&board->gate);
    assert_int_equal(mproc_future_wait(map, MPROC_FOREVER), 0);
    assert_int_equal(mproc_future_wait(first, MPROC_FOREVER), 0);
    int place = 0;
    while (board->numbers[place] != 77)
        place++;
    if (IS_CLUSTER) /* behind what was on its way to the machine */
        assert_in_range(place, 1, N / 2);
    else
        assert_int_equal(place, IS_SERIAL ? N : 1);
    assert_int_equal(mproc_future_free(map), 0);
    assert_int_equal(mproc_future_free(first), 0);
    end(pool, board);
}

/* ---- wrong use */

#define REFUSE(word, ...)                                                                                              \
    do {                                                                                                               \
        struct mproc_error refused;                                                                                    \
        mproc_future *none = (mproc_future *)state;                                                                    \
        assert_int_equal(mproc_submit(&none, pool, square, &number, &result, .error = &refused, __VA_ARGS__),          \
                         -EINVAL);                                                                                     \
        assert_ptr_equal(none, state);                                                                                 \
        assert_int_equal(refused.code, -EINVAL);                                                                       \
        assert_non_null(strstr(refused.message, word));                                                                \
        assert_int_equal(mproc_apply(pool, square, &number, &result, __VA_ARGS__), -EINVAL);                           \
    } while (0)

static void options_out_of_their_range_are_refused(void **state)
{
    (void)state;
    int number = 3;
    int64_t result = -1;
    mproc_pool *pool = open_pool(1);
    REFUSE("priority", .priority = MPROC_PRIORITY_MAX + 1);
    REFUSE("priority", .priority = -MPROC_PRIORITY_MAX - 1);
    REFUSE("retries", .retries = -1);
    REFUSE("retries", .retries = 101);
    REFUSE("retry_on", .retries = 1, .retry_on = 16);
    assert_int_equal(result, -1);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void what_cannot_begin_leaves_no_future(void **state)
{
    (void)state;
    int numbers[2] = { 3, 4 }, *no_numbers = NULL;
    int64_t squares[2];
    mproc_future *future = (mproc_future *)state;
    int (*no_task)(const int *, int64_t *) = NULL;
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_submit(&future, pool, square, no_numbers, squares), -EINVAL);
    assert_int_equal(mproc_submit(&future, pool, no_task, numbers, squares), -EINVAL);
    assert_int_equal(mproc_map_async(&future, pool, square, numbers, squares, SIZE_MAX), -EOVERFLOW);
    assert_int_equal(mproc_map_async_with(&future, pool, NULL), -EINVAL);
    struct mproc_map_arguments unsized_arguments = { .name = "square", .input = numbers, .output = squares, .n = 2 };
    assert_int_equal(mproc_map_async_with(&future, pool, &unsized_arguments), MPROC_E_STRUCT_SIZE);
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_submit(&future, pool, square, numbers, squares), MPROC_E_CLOSED);
    assert_ptr_equal(future, state);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(apply_runs_one_task_and_waits),
    cmocka_unit_test(a_future_is_not_ready_before_its_task_has_ended),
    cmocka_unit_test(results_are_delivered_by_the_first_that_waits),
    cmocka_unit_test(an_error_is_left_alone_if_all_is_well),
    cmocka_unit_test(the_input_may_change_once_the_call_has_returned),
    cmocka_unit_test(arrays_in_the_heap_are_used_in_place),
    cmocka_unit_test(a_value_can_be_looked_at_where_it_was_written),
    cmocka_unit_test(no_items_have_ended_at_once),
    cmocka_unit_test(ten_thousand_futures_at_once),
    cmocka_unit_test(several_threads_submit_to_one_pool),
    cmocka_unit_test(a_call_goes_on_though_its_future_is_freed),
    cmocka_unit_test(nobody_has_to_ask_for_the_results),
    cmocka_unit_test(a_full_backlog_is_refused_by_those_that_do_not_wait),
    cmocka_unit_test(the_backlog_holds_only_what_has_not_ended),
    cmocka_unit_test(a_full_backlog_is_waited_for),
    cmocka_unit_test(items_of_a_higher_priority_are_taken_first),
    cmocka_unit_test(a_running_map_gives_way_to_a_higher_priority),
    cmocka_unit_test(options_out_of_their_range_are_refused),
    cmocka_unit_test(what_cannot_begin_leaves_no_future),
};

CONFORMANCE_MAIN(tests)
