/* What has hurt users of pools elsewhere: workers that are killed, tasks that fork, start threads, spoil signals, open
 * pools. SPDX-License-Identifier: MIT */
#include "gate.h"
#include "harness.h"

#include <errno.h>
#include <mproc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the heap. */
struct board {
    struct gate gate;
    _Atomic int started, children;
};

#include "pool_use.h"

struct order {
    struct board *board;
    int number;
};

/* The newest child: pools are children of the test. */
static int supervisor_pid(void)
{
    int children[8];
    int count = harness_children(getpid(), children, 8);
    assert_true(count > 0);
    return children[count - 1];
}

static void check_works(mproc_pool *pool)
{
    enum { N = 100 };
    int in[N], out[N] = { 0 };
    for (int i = 0; i < N; i++)
        in[i] = i;
    assert_int_equal(mproc_map(pool, add_one, in, out, N), 0);
    for (int i = 0; i < N; i++)
        assert_int_equal(out[i], i + 1);
}

/* ---- workers and supervisors that end (cpython 66587, 96062) */

/* Waits until the supervisor has so many workers, of which none is `gone`. */
static void wait_replaced(int supervisor, int count, int gone)
{
    for (;;) {
        int workers[8], found = harness_children(supervisor, workers, 8);
        bool there = false;
        for (int i = 0; i < found; i++)
            there |= workers[i] == gone;
        if (found == count && !there)
            return;
        harness_sleep_ms(1);
    }
}

static void a_killed_idle_worker_is_replaced(void **state)
{
    (void)state;
    mproc_pool *pool = open_pool(2);
    int supervisor = supervisor_pid();
    for (int round = 0; round < 10; round++) {
        int workers[2], number = round, result = 0;
        mproc_future *future = NULL;
        assert_int_equal(harness_children(supervisor, workers, 2), 2);
        kill(workers[round % 2], SIGKILL);
        wait_replaced(supervisor, 2, workers[round % 2]); /* though nobody asks for anything */
        assert_int_equal(mproc_submit(&future, pool, add_one, &number, &result), 0);
        assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
        assert_int_equal(result, round + 1);
        assert_int_equal(mproc_future_free(future), 0);
        check_works(pool);
    }
    assert_int_equal(mproc_pool_close(pool), 0);
}

static int end_if_odd(const int *number, int *result)
{
    if (*number % 4 == 1)
        exit(*number);
    if (*number % 4 == 3)
        _exit(0);
    *result = *number;
    return 0;
}
MPROC_TASK(end_if_odd);

static void a_worker_that_exits_inside_a_task_costs_one_item(void **state)
{
    (void)state;
    enum { N = 60 };
    int in[N], out[N];
    struct mproc_outcome outcomes[N];
    mproc_future *future = NULL;
    for (int i = 0; i < N; i++)
        in[i] = i;
    mproc_pool *pool = open_pool(2);
    assert_int_equal(mproc_map_async(&future, pool, end_if_odd, in, out, N, .outcomes = outcomes), 0);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), N / 2);
    for (int i = 0; i < N; i++) {
        assert_int_equal(outcomes[i].kind, i % 2 ? MPROC_CRASHED : MPROC_OK);
        assert_int_equal(outcomes[i].exit_status, i % 4 == 1 ? i : 0);
        if (i % 2 == 0)
            assert_int_equal(out[i], i);
    }
    assert_int_equal(mproc_future_free(future), 0);
    check_works(pool);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static int kill_supervisor(const struct order *order, int *result)
{
    *result = 0;
    if (order->board->started++ == 0) {
        gate_pass(&order->board->gate);
        kill(getppid(), SIGKILL);
    }
    harness_sleep_ms(1000000);
    return 0;
}
MPROC_TASK(kill_supervisor);

static _Atomic int calls;

static void count_call(mproc_future *future, void *context)
{
    (void)future;
    (void)context;
    calls++;
}

static void a_task_that_kills_the_supervisor_ends_all_calls(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct order order = { board, 0 };
    int number = 1, results[3], result;
    struct mproc_outcome outcome;
    struct mproc_imap_item item;
    mproc_future *first = NULL, *second = NULL;
    mproc_imap *iteration = NULL;
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_submit(&first, pool, kill_supervisor, &order, &results[0], .on_done = count_call), 0);
    assert_int_equal(mproc_submit(&second, pool, add_one, &number, &results[1]), 0);
    assert_int_equal(mproc_submit(NULL, pool, add_one, &number, &results[2], .on_done = count_call), 0);
    assert_int_equal(mproc_imap(&iteration, pool, add_one, &number, &result, 1), 0);
    assert_int_equal(mproc_imap_next(iteration, &item, 0), -ETIMEDOUT);
    gate_open(&board->gate);
    assert_int_equal(mproc_future_wait(second, MPROC_FOREVER), MPROC_E_SUPERVISOR_DIED);
    assert_int_equal(mproc_future_wait(first, MPROC_FOREVER), MPROC_E_SUPERVISOR_DIED);
    assert_int_equal(mproc_future_outcome(first, 0, &outcome), 0);
    assert_int_equal(outcome.kind, MPROC_LOST);
    assert_int_equal(mproc_future_outcome(second, 0, &outcome), 0);
    assert_int_equal(outcome.kind, MPROC_CANCELLED);
    assert_int_equal(mproc_imap_next(iteration, &item, MPROC_FOREVER), MPROC_E_SUPERVISOR_DIED);
    assert_int_equal(mproc_pool_join(pool, MPROC_FOREVER), 0);
    assert_int_equal(calls, 2);
    assert_int_equal(mproc_apply(pool, add_one, &number, &result), MPROC_E_SUPERVISOR_DIED);
    assert_int_equal(mproc_imap_free(iteration), 0);
    assert_int_equal(mproc_pool_close(pool), MPROC_E_SUPERVISOR_DIED);
    assert_int_equal(mproc_future_free(first), 0);
    assert_int_equal(mproc_future_free(second), 0);
    assert_int_equal(mproc_free(board), 0);
}

/* ---- much */

enum { HUGE = 48 << 20, VAST = 256 << 20 };

struct huge {
    unsigned char bytes[HUGE];
};

static void paint(unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(i * 2654435761u >> 16);
}

static bool is_painted(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != (unsigned char)(i * 2654435761u >> 16))
            return false;
    return true;
}

static int paint_huge(const int *number, struct huge *huge)
{
    paint(huge->bytes, sizeof huge->bytes);
    huge->bytes[0] = (unsigned char)*number;
    return 0;
}
MPROC_TASK(paint_huge);

static int paint_vast(const int *number, struct mproc_bytes *vast)
{
    unsigned char *room = mproc_bytes_allocate(vast, VAST);
    if (!room)
        return mproc_task_fail(errno, "no room");
    paint(room, VAST);
    room[0] = (unsigned char)*number;
    return 0;
}
MPROC_TASK(paint_vast);

static void a_result_larger_than_any_buffer_arrives(void **state)
{
    (void)state;
    int numbers[2] = { 7, 8 };
    struct huge *huge = malloc(2 * sizeof *huge);
    struct mproc_bytes vast;
    assert_non_null(huge);
    mproc_pool *pool = open_pool(2);
    assert_int_equal(mproc_map(pool, paint_huge, numbers, huge, 2), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(huge[i].bytes[0], numbers[i]);
        huge[i].bytes[0] = 0;
        assert_true(is_painted(huge[i].bytes, HUGE));
    }
    assert_int_equal(mproc_apply(pool, paint_vast, &numbers[1], &vast), 0);
    assert_int_equal(vast.size, VAST);
    assert_int_equal(*(unsigned char *)vast.data, 8);
    *(unsigned char *)vast.data = 0;
    assert_true(is_painted(vast.data, VAST));
    assert_int_equal(mproc_bytes_free(&vast), 0);
    assert_int_equal(mproc_pool_close(pool), 0);
    free(huge);
}

static void ten_thousand_tiny_calls(void **state)
{
    (void)state;
    mproc_pool *pool = open_pool(2);
    for (int i = 0; i < 10000; i++) {
        int numbers[2] = { i, i + 1 }, results[2] = { 0 }, one = 0;
        mproc_future *future = NULL;
        assert_int_equal(mproc_map(pool, add_one, numbers, results, 2), 0);
        assert_int_equal(mproc_submit(&future, pool, add_one, &numbers[1], &one), 0);
        assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
        assert_int_equal(mproc_future_free(future), 0);
        assert_true(results[0] == i + 1 && results[1] == i + 2 && one == i + 2);
    }
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void *call_in_thread(void *pool)
{
    enum { N = 150 };
    int in[N], out[N], one;
    struct mproc_imap_item item;
    for (int i = 0; i < N; i++)
        in[i] = i;
    for (int round = 0; round < 30; round++) {
        mproc_future *future = NULL;
        mproc_imap *results = NULL;
        memset(out, 0, sizeof out);
        if (round % 3 == 0)
            assert_int_equal(mproc_map(pool, add_one, in, out, N, .chunk = (size_t)round % 4), 0);
        if (round % 3 == 1) {
            assert_int_equal(mproc_map_async(&future, pool, add_one, in, out, N), 0);
            assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
            assert_int_equal(mproc_future_free(future), 0);
        }
        if (round % 3 == 2) {
            assert_int_equal(mproc_imap(&results, pool, add_one, in, &one, N, .unordered = true), 0);
            while (mproc_imap_next(results, &item, MPROC_FOREVER) == 1)
                out[item.index] = one;
            assert_int_equal(mproc_imap_free(results), 0);
        }
        for (int i = 0; i < N; i++)
            assert_int_equal(out[i], i + 1);
    }
    return NULL;
}

static void calls_from_sixteen_threads_at_once(void **state)
{
    (void)state;
    mproc_pool *pool = open_pool(3);
    pthread_t threads[16];
    for (int i = 0; i < 16; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_in_thread, pool), 0);
    for (int i = 0; i < 16; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(mproc_pool_close(pool), 0);
}

/* (cpython 115634) */
static void workers_are_replaced_while_a_map_runs(void **state)
{
    (void)state;
    enum { N = 400 };
    int in[N], out[N], workers[4];
    for (int i = 0; i < N; i++)
        in[i] = i;
    for (size_t each = 1; each <= 3; each++) {
        mproc_pool *pool;
        mproc_future *futures[N];
        struct mproc_pool_statistics statistics = { .size = sizeof statistics };
        assert_int_equal(mproc_pool_open(&pool, .workers = 3, .items_per_worker = each), 0);
        assert_int_equal(mproc_map(pool, add_one, in, out, N, .chunk = 7), 0);
        for (int i = 0; i < N; i++)
            assert_int_equal(out[i], i + 1);
        for (int i = 0; i < N; i++)
            assert_int_equal(mproc_submit(&futures[i], pool, add_one, &in[i], &out[i]), 0);
        assert_int_equal(mproc_future_wait_all(futures, N, MPROC_FOREVER), 0);
        for (int i = 0; i < N; i++)
            assert_int_equal(mproc_future_free(futures[i]), 0);
        assert_int_equal(mproc_pool_statistics(pool, &statistics), 0);
        assert_true(statistics.workers_started >= 2 * N / each - 3);
        while (harness_children(supervisor_pid(), workers, 4) != 3)
            harness_sleep_ms(1);
        assert_int_equal(mproc_pool_close(pool), 0);
    }
}

/* ---- what tasks leave behind */

/* The child returns from the task as well, some at once and some much later. */
static int fork_and_both_return(const struct order *order, int *pid)
{
    struct board *board = order->board;
    board->started++;
    pid_t child = fork();
    if (child < 0)
        return mproc_task_fail(errno, "cannot fork");
    if (child == 0) {
        if (order->number % 2)
            gate_pass(&board->gate);
        board->children++;
        return 77;
    }
    *pid = getpid();
    return 0;
}
MPROC_TASK(fork_and_both_return);

static void a_task_may_fork_and_its_child_return_too(void **state)
{
    (void)state;
    enum { N = 40 };
    struct board *board = board_make();
    struct order orders[N];
    struct mproc_outcome outcomes[N];
    int pids[N];
    mproc_pool *pool = open_pool(2);
    for (int i = 0; i < N; i++)
        orders[i] = (struct order) { board, i };
    assert_int_equal(mproc_map(pool, fork_and_both_return, orders, pids, N, .outcomes = outcomes), 0);
    for (int i = 0; i < N; i++) {
        assert_int_equal(outcomes[i].kind, MPROC_OK);
        assert_int_equal(outcomes[i].pid, pids[i]); /* the worker's */
    }
    while (board->children < N / 2)
        harness_sleep_ms(1);
    check_works(pool);
    gate_open(&board->gate);
    while (board->children < N) /* they return while the workers do something else */
        check_works(pool);
    check_works(pool);
    assert_int_equal(board->started, N);
    end(pool, board);
}

static void *count_for_ever(void *board)
{
    for (;;) {
        ((struct board *)board)->children++;
        harness_sleep_ms(1);
    }
    return NULL;
}

static int start_threads(const struct order *order, int *result)
{
    pthread_t thread;
    for (int i = 0; i < 3; i++) {
        if (pthread_create(&thread, NULL, count_for_ever, order->board) != 0)
            return mproc_task_fail(1, "no thread");
        pthread_detach(thread);
    }
    *result = order->number;
    return 0;
}
MPROC_TASK(start_threads);

static void a_task_may_leave_threads_running(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct order orders[4] = { { board, 0 }, { board, 1 }, { board, 2 }, { board, 3 } };
    int results[4];
    mproc_pool *pool = open_pool(2);
    assert_int_equal(mproc_map(pool, start_threads, orders, results, 4), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(results[i], i);
    check_works(pool);
    for (int count = board->children; board->children < count + 10;)
        check_works(pool);
    end(pool, board);
}

static void ignore(int signal)
{
    (void)signal;
}

/* Odd: spoils what it can. Even: returns the number of the first signal that is not as it should be, or -1 if children
 * cannot be waited for. */
static int spoil_or_check(const int *number, int *wrong)
{
    sigset_t mask;
    *wrong = 0;
    if (*number % 2) {
        signal(SIGCHLD, SIG_IGN);
        signal(SIGTERM, SIG_IGN);
        signal(SIGUSR1, ignore);
        signal(SIGINT, SIG_DFL);
        signal(SIGRTMIN + 1, ignore);
        sigfillset(&mask);
        sigprocmask(SIG_BLOCK, &mask, NULL);
        usleep(1000);
        return 0;
    }
    sigprocmask(SIG_BLOCK, NULL, &mask);
    for (int signal = SIGRTMIN + 1; signal > 0; signal--) {
        struct sigaction action;
        if (signal >= 32 && signal < SIGRTMIN)
            continue; /* the C library's */
        sigaction(signal, NULL, &action);
        if (sigismember(&mask, signal) || action.sa_handler != (signal == SIGINT ? SIG_IGN : SIG_DFL))
            *wrong = signal;
    }
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(5);
    if (waitpid(pid, &status, 0) != pid || status != 5 << 8 || system("exit 3") != 3 << 8)
        *wrong = -1;
    return 0;
}
MPROC_TASK(spoil_or_check);

static void a_task_that_spoils_signals_does_not_spoil_the_next(void **state)
{
    (void)state;
    enum { N = 20 };
    int numbers[N], wrong[N];
    mproc_pool *pool = open_pool(1);
    for (int i = 0; i < N; i++)
        numbers[i] = i;
    struct mproc_outcome outcomes[N];
    for (int measured = 0; measured < 2; measured++) {
        assert_int_equal(mproc_map(pool, spoil_or_check, numbers, wrong, N, .outcomes = measured ? outcomes : NULL), 0);
        for (int i = 0; i < N; i++)
            assert_int_equal(wrong[i], 0);
    }
    for (int i = 1; i < 5; i++) {
        assert_int_equal(mproc_apply(pool, spoil_or_check, &numbers[i], &wrong[i]), 0);
        assert_int_equal(wrong[i], 0);
    }
    assert_int_equal(mproc_pool_close(pool), 0);
}

/* ---- a task that changes its user */

static int become_nobody(const struct order *order, int *pid)
{
    *pid = getpid();
    return order->number && setuid(65534) != 0;
}
MPROC_TASK(become_nobody);

static int hang(const struct order *order, int *pid)
{
    order->board->started = *pid = getpid();
    while (order->board->started)
        harness_sleep_ms(1000);
    return 0;
}
MPROC_TASK(hang);

/* Its worker may not tell the supervisor, which is root's, that it has begun an item with a limit. */
static void a_task_that_changes_its_user_does_not_put_off_the_limits_of_others(void **state)
{
    (void)state;
    if (geteuid() != 0)
        harness_skip("only root can change its user");
    struct board *board = board_make();
    struct order order = { board, 1 };
    mproc_pool *pool = open_pool(1);
    int pid, other;
    assert_int_equal(mproc_apply(pool, become_nobody, &order, &pid), 0);
    harness_sleep_ms(50); /* until the supervisor does not look by itself any more, if the machine is not very slow */
    struct mproc_outcome outcome;
    assert_int_equal(mproc_apply(pool, hang, &order, &other, .timeout = MPROC_MS(50), .outcomes = &outcome), 1);
    assert_int_equal(outcome.kind, MPROC_TIMED_OUT);
    end(pool, board);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_killed_idle_worker_is_replaced),
    cmocka_unit_test(a_worker_that_exits_inside_a_task_costs_one_item),
    cmocka_unit_test(a_task_that_kills_the_supervisor_ends_all_calls),
    cmocka_unit_test(a_result_larger_than_any_buffer_arrives),
    cmocka_unit_test(ten_thousand_tiny_calls),
    cmocka_unit_test(calls_from_sixteen_threads_at_once),
    cmocka_unit_test(workers_are_replaced_while_a_map_runs),
    cmocka_unit_test(a_task_may_fork_and_its_child_return_too),
    cmocka_unit_test(a_task_may_leave_threads_running),
    cmocka_unit_test(a_task_that_spoils_signals_does_not_spoil_the_next),
    cmocka_unit_test(a_task_that_changes_its_user_does_not_put_off_the_limits_of_others),
};

HARNESS_MAIN(tests)
