/* Waiting for futures, one, any and all; descriptors; futures that are used too late; on every backend. Compiled once
 * for each; BACKEND and METHOD say which. SPDX-License-Identifier: MIT */
#include "pool_shared.h"

#include <poll.h>
#include <sys/wait.h>

static void wait_and_free(mproc_future *future)
{
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    assert_int_equal(mproc_future_free(future), 0);
}

/* ---- any and all */

static void the_first_that_has_ended_is_found(void **state)
{
    (void)state;
    struct board *board = board_make();
    int results[3] = { -1, -1, -1 };
    mproc_pool *pool = open_pool(2);
    mproc_future *held = begin(pool, board, GATE, 1, &results[0]);
    gate_wait_arrived(&board->gate, 1);
    mproc_future *futures[5] = { NULL, held, NULL, begin(pool, board, WORK, 2, &results[1]),
                                 begin(pool, board, WORK, 3, &results[2]) };
    int first = mproc_future_wait_any(&futures[2], 3, MPROC_FOREVER);
    assert_true(first == 1 || first == 2);
    wait_ready(futures[3]);
    wait_ready(futures[4]);
    assert_int_equal(mproc_future_wait_any(&futures[2], 3, MPROC_FOREVER), 1);
    assert_int_equal(mproc_future_wait_any(futures, 5, 0), IS_SERIAL ? 1 : 3);
    assert_int_equal(results[1], 4);
    if (!IS_SERIAL) {
        assert_int_equal(mproc_future_wait_any(futures, 3, 0), -ETIMEDOUT);
        assert_int_equal(mproc_future_wait_any(futures, 3, MPROC_MS(5)), -ETIMEDOUT);
        assert_int_equal(mproc_future_wait_all(futures, 5, MPROC_MS(5)), -ETIMEDOUT);
        assert_int_equal(results[0], -1);
    }
    gate_open(&board->gate);
    assert_int_equal(mproc_future_wait_any(futures, 2, MPROC_FOREVER), 1);
    assert_int_equal(results[0], 2);
    assert_int_equal(mproc_future_wait_all(futures, 5, MPROC_FOREVER), 0);
    assert_int_equal(results[2], 6);
    for (int i = 0; i < 5; i++)
        assert_int_equal(mproc_future_free(futures[i]), 0);
    end(pool, board);
}

static void nothing_to_wait_for_is_refused(void **state)
{
    (void)state;
    struct board *board = board_make();
    int result;
    mproc_pool *pool = open_pool(1);
    mproc_future *nothing[3] = { NULL }, *one = begin(pool, board, WORK, 1, &result);
    assert_int_equal(mproc_future_wait_any(NULL, 1, MPROC_FOREVER), -EINVAL);
    assert_int_equal(mproc_future_wait_all(NULL, 1, MPROC_FOREVER), -EINVAL);
    assert_int_equal(mproc_future_wait_any(nothing, 3, MPROC_FOREVER), -EINVAL);
    assert_int_equal(mproc_future_wait_all(nothing, 3, MPROC_FOREVER), -EINVAL);
    assert_int_equal(mproc_future_wait_any(&one, 0, MPROC_FOREVER), -EINVAL);
    assert_int_equal(mproc_future_wait_any(&one, -1, MPROC_FOREVER), -EINVAL);
    assert_int_equal(mproc_future_wait_all(&one, 0, MPROC_FOREVER), -EINVAL);
    wait_and_free(one);
    nothing[1] = one;
    assert_int_equal(mproc_future_wait_any(nothing, 3, 0), MPROC_E_CLOSED);
    assert_int_equal(mproc_future_wait_all(nothing, 3, 0), MPROC_E_CLOSED);
    end(pool, board);
}

static void those_that_did_not_succeed_are_counted(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct order orders[4];
    int results[10], more[4];
    mproc_future *futures[11] = { NULL };
    mproc_pool *pool = open_pool(2);
    for (int i = 0; i < 10; i++)
        futures[i] = begin(pool, board, i % 3 ? WORK : FAIL, i + 1, &results[i]);
    orders_fill(orders, 4, board, FAIL);
    assert_int_equal(mproc_map_async(&futures[10], pool, act, orders, more, 4), 0);
    assert_int_equal(mproc_future_wait_all(futures, 11, MPROC_FOREVER), 5);
    assert_int_equal(mproc_future_wait(futures[10], 0), 3); /* order 0 fails with code 0, which is no failure */
    for (int i = 0; i < 11; i++)
        assert_int_equal(mproc_future_free(futures[i]), 0);
    end(pool, board);
}

static void futures_of_several_pools_are_waited_for_together(void **state)
{
    (void)state;
    enum { POOLS = 3, N = 30 };
    struct board *board = board_make();
    mproc_pool *pools[POOLS];
    mproc_future *futures[N];
    int results[N] = { 0 };
    for (int i = 0; i < POOLS; i++)
        pools[i] = open_pool(1);
    for (int i = 0; i < N; i++)
        futures[i] = begin(pools[i % POOLS], board, i % POOLS ? GATE : WORK, i, &results[i]);
    for (int left = N / POOLS; left > 0; left--) {
        int i = mproc_future_wait_any(futures, N, MPROC_FOREVER);
        assert_int_equal(i % POOLS, 0);
        assert_int_equal(results[i], 2 * i);
        assert_int_equal(mproc_future_free(futures[i]), 0);
        futures[i] = NULL;
        if (IS_SERIAL)
            break;
    }
    gate_open(&board->gate);
    for (int i = 0; i < POOLS; i++)
        assert_int_equal(mproc_pool_join(pools[i], MPROC_FOREVER), 0);
    assert_int_equal(mproc_future_wait_all(futures, N, MPROC_FOREVER), 0);
    for (int i = 0; i < N; i++) {
        assert_int_equal(results[i], 2 * i);
        assert_int_equal(mproc_future_free(futures[i]), 0);
    }
    for (int i = 1; i < POOLS; i++)
        assert_int_equal(mproc_pool_close(pools[i]), 0);
    end(pools[0], board);
}

static void *wait_in_thread(void *future)
{
    return (void *)(intptr_t)mproc_future_wait(future, MPROC_FOREVER);
}

static void several_threads_wait_for_one_future(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct order orders[10];
    int results[10] = { 0 };
    mproc_pool *pool = open_pool(2);
    mproc_future *future = NULL;
    pthread_t threads[6];
    orders_fill(orders, 10, board, GATE);
    orders[5].deed = FAIL;
    assert_int_equal(mproc_map_async(&future, pool, act, orders, results, 10), 0);
    for (int i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wait_in_thread, future), 0);
    gate_open(&board->gate);
    for (int i = 0; i < 6; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_ptr_equal(result, (void *)1);
    }
    assert_int_equal(results[9], 18);
    assert_int_equal(mproc_future_free(future), 0);
    end(pool, board);
}

/* ---- signals */

static volatile sig_atomic_t interrupts;

static void count_interrupt(int signal)
{
    (void)signal;
    interrupts++;
}

struct interrupter {
    pthread_t thread, target;
    int target_id;
    _Atomic int stop;
};

static void *interrupt_until_told(void *argument)
{
    struct interrupter *interrupter = argument;
    while (!interrupter->stop) {
        harness_wait_asleep(interrupter->target_id, HARNESS_PATIENCE);
        pthread_kill(interrupter->target, SIGUSR1);
        harness_sleep_ms(5);
    }
    return NULL;
}

static void a_signal_interrupts_the_wait_but_not_the_call(void **state)
{
    (void)state;
    if (IS_SERIAL)
        harness_skip("there is no wait to break");
    struct board *board = board_make();
    struct sigaction action = { .sa_handler = count_interrupt }; /* no SA_RESTART */
    struct interrupter interrupter = { .target = pthread_self(), .target_id = gettid() };
    sigaction(SIGUSR1, &action, NULL);
    int result = -1;
    mproc_pool *pool = open_pool(1);
    mproc_future *future = begin(pool, board, GATE, 5, &result);
    assert_int_equal(pthread_create(&interrupter.thread, NULL, interrupt_until_told, &interrupter), 0);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), -EINTR);
    assert_int_equal(mproc_future_wait_any(&future, 1, MPROC_FOREVER), -EINTR);
    assert_int_equal(mproc_future_wait_all(&future, 1, MPROC_FOREVER), -EINTR);
    assert_int_equal(mproc_pool_join(pool, MPROC_FOREVER), -EINTR);
    interrupter.stop = 1;
    pthread_join(interrupter.thread, NULL);
    assert_true(interrupts >= 4);
    assert_false(mproc_future_is_ready(future));
    gate_open(&board->gate);
    wait_and_free(future);
    assert_int_equal(result, 10);
    end(pool, board);
}

/* ---- descriptors */

/* True once it polls readable. */
static bool is_readable(int fd, int milliseconds)
{
    struct pollfd entry = { .fd = fd, .events = POLLIN };
    assert_true(poll(&entry, 1, milliseconds) >= 0);
    assert_int_equal(entry.revents & ~POLLIN, 0);
    return entry.revents & POLLIN;
}

static void a_descriptor_tells_when_to_look_at_a_future(void **state)
{
    (void)state;
    struct board *board = board_make();
    int result = -1, err;
    mproc_pool *pool = open_pool(1);
    mproc_future *future = begin(pool, board, GATE, 5, &result);
    int fd = mproc_future_fd(future);
    assert_true(fd > 2);
    assert_int_equal(mproc_future_fd(future), fd);
    gate_open(&board->gate);
    for (;;) {
        assert_true(is_readable(fd, HARNESS_PATIENCE));
        if ((err = mproc_future_wait(future, 0)) != -ETIMEDOUT)
            break;
    }
    assert_int_equal(err, 0);
    assert_int_equal(result, 10);
    assert_int_equal(mproc_future_free(future), 0);
    future = begin(pool, board, WORK, 6, &result);
    wait_ready(future);
    assert_true(is_readable(mproc_future_fd(future), HARNESS_PATIENCE)); /* asked for when it has ended already */
    wait_and_free(future);
    end(pool, board);
}

static void descriptors_of_many_futures_are_polled_together(void **state)
{
    (void)state;
    enum { N = 40 };
    struct board *board = board_make();
    struct pollfd entries[N];
    mproc_future *futures[N];
    int results[N] = { 0 }, left = N;
    mproc_pool *pool = open_pool(2);
    for (int i = 0; i < N; i++) {
        futures[i] = begin(pool, board, GATE, i, &results[i]);
        entries[i] = (struct pollfd) { .fd = mproc_future_fd(futures[i]), .events = POLLIN };
        assert_true(entries[i].fd > 2);
    }
    gate_open(&board->gate);
    while (left > 0) {
        assert_true(poll(entries, N, HARNESS_PATIENCE) > 0);
        for (int i = 0; i < N; i++) {
            if (entries[i].fd < 0 || !entries[i].revents)
                continue;
            int err = mproc_future_wait(futures[i], 0);
            if (err == -ETIMEDOUT)
                continue;
            assert_int_equal(err, 0);
            assert_int_equal(results[i], 2 * i);
            entries[i].fd = -1;
            left--;
        }
    }
    for (int i = 0; i < N; i++)
        assert_int_equal(mproc_future_free(futures[i]), 0);
    end(pool, board);
}

#ifdef MPROC_WAIT_FUTURE
static void futures_are_waited_for_beside_other_things(void **state)
{
    (void)state;
    struct board *board = board_make();
    mproc_event *event = mproc_calloc(1, sizeof *event);
    int results[2];
    mproc_pool *pool = open_pool(2);
    mproc_future *futures[2] = { begin(pool, board, GATE, 5, &results[0]), begin(pool, board, WORK, 6, &results[1]) };
    struct mproc_waitable what[3] = { MPROC_WAIT_EVENT(event), MPROC_WAIT_FUTURE(futures[0]),
                                      MPROC_WAIT_FUTURE(futures[1]) };
    if (!IS_SERIAL) {
        assert_int_equal(mproc_wait(what, 2, 0), -ETIMEDOUT);
        assert_int_equal(mproc_wait(what, 2, MPROC_MS(5)), -ETIMEDOUT);
        assert_int_equal(mproc_wait(what, 3, MPROC_FOREVER), 1);
        assert_true(what[2].ready && !what[1].ready);
        mproc_event_set(event);
        assert_int_equal(mproc_wait(what, 2, MPROC_FOREVER), 1);
        assert_true(what[0].ready);
        mproc_event_clear(event);
    }
    gate_open(&board->gate);
    assert_int_equal(mproc_wait(what, 2, MPROC_FOREVER), 1);
    assert_true(what[1].ready);
    assert_int_equal(what[1].result, 0);
    assert_int_equal(mproc_wait(what, 2, MPROC_FOREVER), 1); /* nothing was taken */
    wait_and_free(futures[0]);
    assert_int_equal(mproc_wait(what, 2, MPROC_FOREVER), 1);
    assert_true(what[1].ready);
    assert_int_equal(what[1].result, MPROC_E_CLOSED);
    wait_and_free(futures[1]);
    mproc_free(event);
    end(pool, board);
}
#endif

/* ---- handles that are no good */

static bool all_return(mproc_future *future, int expected)
{
    struct mproc_outcome outcome;
    return mproc_future_wait(future, 0) == expected && mproc_future_outcome(future, 0, &outcome) == expected &&
           mproc_future_cancel(future) == expected && mproc_future_fd(future) == expected &&
           !mproc_future_value(future, 0);
}

static void a_freed_future_is_recognised(void **state)
{
    (void)state;
    struct board *board = board_make();
    int result;
    mproc_pool *pool = open_pool(1);
    mproc_future *first = begin(pool, board, WORK, 1, &result);
    wait_and_free(first);
    assert_true(all_return(first, MPROC_E_CLOSED));
    assert_int_equal(mproc_future_free(first), MPROC_E_CLOSED);
    mproc_future *second = begin(pool, board, WORK, 2, &result); /* may take the same place */
    assert_true(all_return(first, MPROC_E_CLOSED));
    assert_int_equal(mproc_future_free(first), MPROC_E_CLOSED);
    assert_int_equal(mproc_future_wait_any(&first, 1, 0), MPROC_E_CLOSED);
    wait_and_free(second);
    assert_true(all_return(NULL, -EINVAL));
    assert_int_equal(mproc_future_free(NULL), 0);
    end(pool, board);
    assert_true(all_return(second, MPROC_E_CLOSED));
}

static void a_forked_child_cannot_use_its_parents_futures(void **state)
{
    (void)state;
    struct board *board = board_make();
    int result = -1, status;
    mproc_pool *pool = open_pool(1);
    mproc_future *future = begin(pool, board, WORK, 4, &result);
    wait_ready(future);
    pid_t pid = fork();
    if (pid == 0) {
        bool right = all_return(future, MPROC_E_FORKED) && mproc_future_free(future) == MPROC_E_FORKED &&
                     mproc_future_wait_any(&future, 1, 0) == MPROC_E_FORKED &&
                     mproc_future_wait_all(&future, 1, 0) == MPROC_E_FORKED && result == -1 &&
                     mproc_pool_join(pool, 0) == MPROC_E_FORKED && mproc_pool_dispatch(pool) == MPROC_E_FORKED &&
                     mproc_pool_fd(pool) == MPROC_E_FORKED && mproc_pool_resize(pool, 2) == MPROC_E_FORKED;
        _exit(right ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    wait_and_free(future);
    assert_int_equal(result, 8);
    end(pool, board);
}

static void a_closed_pool_takes_no_calls(void **state)
{
    (void)state;
    int number = 3;
    int64_t result;
    mproc_future *future = (mproc_future *)state;
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_submit(&future, pool, square, &number, &result), MPROC_E_CLOSED);
    assert_ptr_equal(future, state);
    assert_int_equal(mproc_pool_join(pool, 0), MPROC_E_CLOSED);
    assert_int_equal(mproc_pool_dispatch(pool), MPROC_E_CLOSED);
    assert_int_equal(mproc_pool_fd(pool), MPROC_E_CLOSED);
    assert_int_equal(mproc_pool_resize(pool, 2), MPROC_E_CLOSED);
}

/* ---- from within a task */

struct inside {
    mproc_pool *pool;
    int number;
};

/* Returns what is wrong. */
static int submit_inside(const struct inside *inside, int64_t *result)
{
    mproc_future *future = NULL, *other = NULL;
    if (mproc_submit(&future, inside->pool, square, &inside->number, result) != 0)
        return mproc_task_fail(1, "its own pool takes no task");
    if (!mproc_future_is_ready(future) || mproc_future_wait(future, 0) != 0)
        return mproc_task_fail(2, "it has not ended in line");
    if (*result != (int64_t)inside->number * inside->number)
        return mproc_task_fail(3, "the result is not there");
    if (inside->pool && mproc_pool_join(inside->pool, 0) != -EDEADLK)
        return mproc_task_fail(4, "it may wait for itself");
    if (mproc_submit(&other, NULL, square, &inside->number, result) != 0 || mproc_future_free(other) != 0)
        return mproc_task_fail(5, "the default pool takes no task");
    return mproc_future_free(future);
}
MPROC_TASK(submit_inside);

static void a_task_that_submits_to_its_own_pool_does_it_in_line(void **state)
{
    (void)state;
    enum { N = 20 };
    struct inside inside[N];
    int64_t squares[N] = { 0 };
    struct mproc_error error = { .message = "" };
    mproc_pool *pool = OPEN(.workers = 2, .backlog = 1);
    for (int i = 0; i < N; i++)
        inside[i] = (struct inside) { IS_CLUSTER ? NULL : pool, i }; /* a handle means nothing on another machine */
    int err = mproc_map(pool, submit_inside, inside, squares, N, .error = &error);
    assert_string_equal(error.message, "");
    assert_int_equal(err, 0);
    for (int i = 0; i < N; i++)
        assert_int_equal(squares[i], i * i);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_first_that_has_ended_is_found),
    cmocka_unit_test(nothing_to_wait_for_is_refused),
    cmocka_unit_test(those_that_did_not_succeed_are_counted),
    cmocka_unit_test(futures_of_several_pools_are_waited_for_together),
    cmocka_unit_test(several_threads_wait_for_one_future),
    cmocka_unit_test(a_signal_interrupts_the_wait_but_not_the_call),
    cmocka_unit_test(a_descriptor_tells_when_to_look_at_a_future),
    cmocka_unit_test(descriptors_of_many_futures_are_polled_together),
#ifdef MPROC_WAIT_FUTURE
    cmocka_unit_test(futures_are_waited_for_beside_other_things),
#endif
    cmocka_unit_test(a_freed_future_is_recognised),
    cmocka_unit_test(a_forked_child_cannot_use_its_parents_futures),
    cmocka_unit_test(a_closed_pool_takes_no_calls),
    cmocka_unit_test(a_task_that_submits_to_its_own_pool_does_it_in_line),
};

CONFORMANCE_MAIN(tests)
