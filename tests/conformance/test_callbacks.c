/* What is called when a call has ended: once, in the documented thread and place; on every backend. Compiled once for
 * each; BACKEND and METHOD say which. SPDX-License-Identifier: MIT */
#include "pool_shared.h"

#include <poll.h>

struct call {
    mproc_pool *pool;
    struct board *board;
    mproc_future *future; /* that the callback got */
    pthread_t thread;     /* that it was called in */
    _Atomic int calls;
    int result, kind, value, left; /* as the callback found them */
};

static void note(mproc_future *future, void *context)
{
    struct call *call = context;
    struct mproc_outcome outcome;
    call->calls++;
    call->future = future;
    call->thread = pthread_self();
    call->kind = mproc_future_outcome(future, 0, &outcome) == 0 ? (int)outcome.kind : -1;
    const int *value = mproc_future_value(future, 0);
    call->value = value ? *value : -1;
    call->left = call->result;
}

static mproc_future *begin_noted(struct call *call, enum deed deed, int number)
{
    struct order order = { call->board, deed, number };
    mproc_future *future = NULL;
    call->result = -1;
    assert_int_equal(
        mproc_submit(&future, call->pool, act, &order, &call->result, .on_done = note, .on_done_context = call), 0);
    return future;
}

static void begin_for_nobody(struct call *call, enum deed deed, int number)
{
    struct order order = { call->board, deed, number };
    call->result = -1;
    assert_int_equal(
        mproc_submit(NULL, call->pool, act, &order, &call->result, .on_done = note, .on_done_context = call), 0);
}

static void check_called(struct call *call, int number)
{
    assert_int_equal(call->calls, 1);
    assert_true(pthread_equal(call->thread, pthread_self()));
    assert_int_equal(call->kind, MPROC_OK);
    assert_int_equal(call->left, 2 * number);
    assert_int_equal(call->value, 2 * number);
}

/* ---- where */

static void waiting_calls_back(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct call calls[3] = { { .pool = open_pool(2), .board = board } };
    calls[1] = calls[2] = calls[0];
    mproc_future *futures[3];
    for (int i = 0; i < 3; i++) {
        futures[i] = begin_noted(&calls[i], WORK, i + 1);
        wait_ready(futures[i]);
        assert_int_equal(calls[i].calls, 0);
    }
    assert_int_equal(mproc_future_wait(futures[0], MPROC_FOREVER), 0);
    assert_int_equal(mproc_future_wait_any(&futures[1], 1, MPROC_FOREVER), 0);
    assert_int_equal(mproc_future_wait_all(futures, 3, MPROC_FOREVER), 0);
    assert_int_equal(mproc_pool_dispatch(calls[0].pool), 0);
    assert_int_equal(mproc_pool_join(calls[0].pool, MPROC_FOREVER), 0);
    for (int i = 0; i < 3; i++) {
        check_called(&calls[i], i + 1);
        assert_ptr_equal(calls[i].future, futures[i]);
        assert_int_equal(mproc_future_wait(futures[i], MPROC_FOREVER), 0);
        assert_int_equal(calls[i].calls, 1);
        assert_int_equal(mproc_future_free(futures[i]), 0);
    }
    end(calls[0].pool, board);
    assert_int_equal(calls[0].calls, 1);
}

/* Dispatches until so many callbacks were called. */
static void dispatch(mproc_pool *pool, int count)
{
    while (count > 0) {
        int called = mproc_pool_dispatch(pool);
        assert_true(called >= 0 && called <= count);
        count -= called;
        if (called == 0)
            harness_sleep_ms(1);
    }
    assert_int_equal(mproc_pool_dispatch(pool), 0);
}

static void dispatching_calls_back_and_delivers(void **state)
{
    (void)state;
    enum { N = 50 };
    struct board *board = board_make();
    static struct call calls[N];
    mproc_future *futures[N] = { NULL }, *plain;
    int result = -1;
    mproc_pool *pool = open_pool(2);
    plain = begin(pool, board, WORK, 60, &result);
    for (int i = 0; i < N; i++) {
        calls[i] = (struct call) { .pool = pool, .board = board };
        if (i % 2)
            futures[i] = begin_noted(&calls[i], WORK, i);
        else
            begin_for_nobody(&calls[i], WORK, i);
    }
    wait_ready(plain);
    dispatch(pool, N);
    assert_int_equal(result, -1); /* it has no callback, and nobody has waited for it */
    for (int i = 0; i < N; i++) {
        check_called(&calls[i], i);
        assert_int_equal(calls[i].result, 2 * i);
        assert_int_equal(mproc_future_free(futures[i]), 0);
    }
    assert_int_equal(mproc_future_wait(plain, MPROC_FOREVER), 0);
    assert_int_equal(result, 120);
    assert_int_equal(mproc_future_free(plain), 0);
    end(pool, board);
}

static void a_descriptor_tells_when_to_dispatch(void **state)
{
    (void)state;
    enum { N = 20 };
    struct board *board = board_make();
    static struct call calls[N];
    mproc_pool *pool = open_pool(2);
    struct pollfd entry = { .fd = mproc_pool_fd(pool), .events = POLLIN };
    assert_true(entry.fd > 2);
    assert_int_equal(mproc_pool_fd(pool), entry.fd);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            calls[i] = (struct call) { .pool = pool, .board = board };
            begin_for_nobody(&calls[i], i % 2 ? GATE : WORK, i);
        }
        gate_open(&board->gate);
        for (int left = N; left > 0;) {
            assert_int_equal(poll(&entry, 1, HARNESS_PATIENCE), 1);
            assert_int_equal(entry.revents, POLLIN);
            int called = mproc_pool_dispatch(pool);
            assert_true(called >= 0);
            left -= called;
        }
        for (int i = 0; i < N; i++)
            check_called(&calls[i], i);
        /* Unreadable again, but for the times that it is to be on the safe side. */
        int unreadable = 0;
        while (!unreadable) {
            assert_int_equal(mproc_pool_dispatch(pool), 0);
            unreadable = poll(&entry, 1, 0) == 0;
        }
    }
    end(pool, board);
}

static void joining_calls_back(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct call calls[2] = { { .pool = open_pool(2), .board = board } };
    calls[1] = calls[0];
    begin_for_nobody(&calls[0], GATE, 1);
    mproc_future *future = begin_noted(&calls[1], GATE, 2);
    if (!IS_SERIAL) {
        assert_int_equal(mproc_pool_join(calls[0].pool, 0), -ETIMEDOUT);
        assert_int_equal(mproc_pool_join(calls[0].pool, MPROC_MS(5)), -ETIMEDOUT);
    }
    assert_int_equal(calls[0].calls + calls[1].calls, 0);
    gate_open(&board->gate);
    assert_int_equal(mproc_pool_join(calls[0].pool, MPROC_FOREVER), 0);
    check_called(&calls[0], 1);
    check_called(&calls[1], 2);
    assert_int_equal(mproc_future_free(future), 0);
    end(calls[0].pool, board);
    assert_int_equal(calls[0].calls, 1);
}

static void closing_calls_back(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct call calls[3] = { { .pool = open_pool(2), .board = board } };
    calls[1] = calls[2] = calls[0];
    begin_for_nobody(&calls[0], GATE, 1);
    mproc_future *future = begin_noted(&calls[1], GATE, 2);
    assert_int_equal(mproc_future_free(begin_noted(&calls[2], GATE, 3)), 0);
    gate_open(&board->gate);
    end(calls[0].pool, board);
    check_called(&calls[0], 1);
    check_called(&calls[1], 2);
    assert_int_equal(calls[2].calls, 1);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    assert_int_equal(calls[1].calls, 1);
    assert_int_equal(mproc_future_free(future), 0);
}

/* ---- how often */

static void *wait_in_thread(void *future)
{
    return (void *)(intptr_t)mproc_future_wait(future, MPROC_FOREVER);
}

static void many_that_wait_are_one_call(void **state)
{
    (void)state;
    struct board *board = board_make();
    mproc_pool *pool = open_pool(2);
    for (int round = 0; round < 20; round++) {
        struct call call = { .pool = pool, .board = board };
        pthread_t threads[4];
        mproc_future *future = begin_noted(&call, round == 0 ? GATE : WORK, round);
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, wait_in_thread, future), 0);
        gate_open(&board->gate);
        assert_true(mproc_pool_dispatch(pool) >= 0);
        for (int i = 0; i < 4; i++) {
            void *result;
            pthread_join(threads[i], &result);
            assert_null(result);
        }
        assert_int_equal(mproc_pool_join(pool, MPROC_FOREVER), 0);
        assert_int_equal(call.calls, 1);
        assert_int_equal(call.left, 2 * round);
        assert_int_equal(mproc_future_free(future), 0);
    }
    end(pool, board);
}

static void the_callback_of_a_freed_future_is_called_and_the_arrays_left_alone(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct call calls[2] = { { .pool = open_pool(2), .board = board } };
    calls[1] = calls[0];
    mproc_future *held = begin_noted(&calls[0], GATE, 1), *ended = begin_noted(&calls[1], WORK, 2);
    wait_ready(ended);
    assert_int_equal(mproc_future_free(held), 0);
    assert_int_equal(mproc_future_free(ended), 0);
    assert_int_equal(mproc_future_free(held), MPROC_E_CLOSED);
    gate_open(&board->gate);
    dispatch(calls[0].pool, 2 - calls[0].calls - calls[1].calls);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(calls[i].calls, 1);
        assert_int_equal(calls[i].result, -1);
    }
    end(calls[0].pool, board);
}

static void a_callback_is_called_whatever_becomes_of_the_items(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct call calls[2] = { { .pool = open_pool(1), .board = board } };
    calls[1] = calls[0];
    mproc_future *failed = begin_noted(&calls[0], FAIL, 5), *cancelled = begin_noted(&calls[1], GATE, 6);
    mproc_future_cancel(cancelled);
    gate_open(&board->gate);
    assert_int_equal(mproc_future_wait(failed, MPROC_FOREVER), 1);
    int result = mproc_future_wait(cancelled, MPROC_FOREVER);
    assert_true(result == 0 || result == 1); /* it may have begun */
    assert_int_equal(calls[0].calls, 1);
    assert_int_equal(calls[0].kind, MPROC_FAILED);
    assert_int_equal(calls[1].calls, 1);
    assert_int_equal(calls[1].kind, result ? MPROC_CANCELLED : MPROC_OK);
    assert_int_equal(mproc_future_free(failed), 0);
    assert_int_equal(mproc_future_free(cancelled), 0);
    end(calls[0].pool, board);
}

/* ---- what a callback may do */

struct chain {
    mproc_pool *pool;
    struct board *board;
    mproc_future *own;
    int links, waited, freed, result, map_result;
    int results[2];
};

/* Calls what it may: another map, a future of another call, and the next link. */
static void next_link(mproc_future *future, void *context)
{
    struct chain *chain = context;
    struct order orders[2] = { { chain->board, WORK, 1 }, { chain->board, WORK, 2 } };
    mproc_future *other = NULL;
    chain->links++;
    chain->waited |= mproc_future_wait(future, 0) != 0;
    chain->waited |= mproc_future_wait(future, MPROC_FOREVER) != 0;
    chain->freed |= mproc_future_free(future) != 0;
    chain->map_result |= mproc_map(chain->pool, act, orders, chain->results, 2);
    chain->map_result |= mproc_submit(&other, chain->pool, act, orders, chain->results);
    chain->map_result |= mproc_future_wait(other, MPROC_FOREVER);
    chain->map_result |= mproc_future_free(other);
    if (chain->links < 100)
        chain->map_result |= mproc_submit(NULL, chain->pool, act, orders, &chain->result, .on_done = next_link,
                                          .on_done_context = chain);
}

static void a_callback_may_call_anything_and_free_its_future(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct chain chain = { .pool = open_pool(2), .board = board };
    struct order order = { board, WORK, 3 };
    mproc_future *first = NULL;
    assert_int_equal(
        mproc_submit(&first, chain.pool, act, &order, &chain.result, .on_done = next_link, .on_done_context = &chain),
        0);
    assert_int_equal(mproc_future_wait(first, MPROC_FOREVER), 0);
    while (chain.links < 100) {
        assert_true(mproc_pool_dispatch(chain.pool) >= 0);
        harness_sleep_ms(chain.links < 50);
    }
    assert_int_equal(chain.waited, 0);
    assert_int_equal(chain.freed, 0);
    assert_int_equal(chain.map_result, 0);
    assert_int_equal(mproc_future_free(first), MPROC_E_CLOSED); /* its callback did that */
    end(chain.pool, board);
}

/* What is submitted in callbacks while a pool is joined has ended, too, when that returns. */
static void joining_goes_on_with_what_callbacks_submit(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct chain chain = { .pool = open_pool(2), .board = board };
    struct order order = { board, WORK, 3 };
    assert_int_equal(
        mproc_submit(NULL, chain.pool, act, &order, &chain.result, .on_done = next_link, .on_done_context = &chain), 0);
    assert_int_equal(mproc_pool_join(chain.pool, MPROC_FOREVER), 0);
    assert_int_equal(chain.links, 100);
    assert_int_equal(chain.map_result, 0);
    end(chain.pool, board);
}

static void the_callback_of_many_items_is_one(void **state)
{
    (void)state;
    enum { N = 1000 };
    struct board *board = board_make();
    struct order *orders = malloc(N * sizeof *orders);
    int *results = calloc(N, sizeof *results);
    struct call call = { .pool = open_pool(2), .board = board };
    orders_fill(orders, N, board, WORK);
    assert_int_equal(
        mproc_map_async(NULL, call.pool, act, orders, results, N, .on_done = note, .on_done_context = &call), 0);
    dispatch(call.pool, 1);
    assert_int_equal(call.calls, 1);
    for (int i = 0; i < N; i++)
        assert_int_equal(results[i], 2 * i);
    free(orders);
    free(results);
    end(call.pool, board);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(waiting_calls_back),
    cmocka_unit_test(dispatching_calls_back_and_delivers),
    cmocka_unit_test(a_descriptor_tells_when_to_dispatch),
    cmocka_unit_test(joining_calls_back),
    cmocka_unit_test(closing_calls_back),
    cmocka_unit_test(many_that_wait_are_one_call),
    cmocka_unit_test(the_callback_of_a_freed_future_is_called_and_the_arrays_left_alone),
    cmocka_unit_test(a_callback_is_called_whatever_becomes_of_the_items),
    cmocka_unit_test(a_callback_may_call_anything_and_free_its_future),
    cmocka_unit_test(joining_goes_on_with_what_callbacks_submit),
    cmocka_unit_test(the_callback_of_many_items_is_one),
};

CONFORMANCE_MAIN(tests)
