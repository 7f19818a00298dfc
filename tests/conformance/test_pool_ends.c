/* Pools that are joined, closed and terminated, and what becomes of the calls; on every backend. Compiled once for
 * each; BACKEND and METHOD say which. SPDX-License-Identifier: MIT */
#include "pool_shared.h"

static _Atomic int calls;

static void count_call(mproc_future *future, void *context)
{
    (void)future;
    (void)context;
    calls++;
}

static mproc_future *begin_counted(mproc_pool *pool, struct board *board, enum deed deed, int number, int *result)
{
    struct order order = { board, deed, number };
    mproc_future *future = NULL;
    assert_int_equal(mproc_submit(&future, pool, act, &order, result, .on_done = count_call), 0);
    return future;
}

/* ---- joining */

static void joining_an_idle_pool_returns_at_once(void **state)
{
    (void)state;
    struct board *board = board_make();
    int result = -1;
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_pool_join(pool, 0), 0);
    assert_int_equal(mproc_pool_join(pool, MPROC_FOREVER), 0);
    mproc_future *future = begin(pool, board, WORK, 4, &result);
    assert_int_equal(mproc_pool_join(pool, MPROC_FOREVER), 0);
    assert_int_equal(result, 8); /* it delivers */
    assert_int_equal(mproc_pool_join(pool, 0), 0);
    assert_int_equal(mproc_future_wait(future, 0), 0);
    assert_int_equal(mproc_future_free(future), 0);
    future = begin(pool, board, WORK, 5, &result); /* the pool stays open */
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    assert_int_equal(result, 10);
    assert_int_equal(mproc_future_free(future), 0);
    end(pool, board);
}

/* ---- closing */

struct closing {
    mproc_pool *pool;
    int (*call)(mproc_pool *);
    _Atomic int thread, over;
    int result;
};

static void *call_it(void *argument)
{
    struct closing *closing = argument;
    closing->thread = gettid();
    closing->result = closing->call(closing->pool);
    closing->over = 1;
    return NULL;
}

static int join_it(mproc_pool *pool)
{
    return mproc_pool_join(pool, MPROC_FOREVER);
}

static void closing_waits_for_all_that_was_submitted(void **state)
{
    (void)state;
    enum { N = 50 };
    struct board *board = board_make();
    struct closing closing = { .pool = open_pool(2), .call = mproc_pool_close };
    mproc_future *futures[N];
    int results[N];
    pthread_t thread;
    memset(results, 0x55, sizeof results);
    for (int i = 0; i < N; i++)
        futures[i] = begin(closing.pool, board, GATE, i, &results[i]);
    assert_int_equal(pthread_create(&thread, NULL, call_it, &closing), 0);
    wait_until(&closing.thread, 1);
    for (int i = 0; i < 5 && !IS_SERIAL; i++) {
        assert_true(harness_wait_asleep(closing.thread, HARNESS_PATIENCE));
        assert_int_equal(closing.over, 0);
    }
    gate_open(&board->gate);
    pthread_join(thread, NULL);
    assert_int_equal(closing.result, 0);
    assert_int_equal(board->ended, N);
    assert_int_equal(mproc_pool_close(closing.pool), MPROC_E_CLOSED);
    for (int i = 0; i < N; i++) { /* futures stay good, and have their results */
        assert_true(mproc_future_is_ready(futures[i]));
        assert_int_equal(mproc_future_wait(futures[i], MPROC_FOREVER), 0);
        assert_int_equal(results[i], 2 * i);
        assert_int_equal(*(const int *)mproc_future_value(futures[i], 0), 2 * i);
        assert_int_equal(mproc_future_free(futures[i]), 0);
    }
    assert_int_equal(mproc_free(board), 0);
}

static void many_pools_are_closed_with_work_to_do(void **state)
{
    (void)state;
    enum { ROUNDS = 30, N = 20 };
    struct board *board = board_make();
    int results[N];
    for (int round = 0; round < ROUNDS; round++) {
        mproc_pool *pool = open_pool(2);
        for (int i = 0; i < N; i++)
            assert_int_equal(mproc_future_free(begin(pool, board, WORK, i, &results[i])), 0);
        assert_int_equal(mproc_pool_close(pool), 0);
        assert_int_equal(board->ended, (round + 1) * N);
    }
    assert_int_equal(mproc_free(board), 0);
}

/* What a thread submits until the pool is closed. */
struct submitter {
    mproc_pool *pool;
    struct board *board;
    int err, result; /* written when the pool is closed, too */
};

static void *submit_for_ever(void *argument)
{
    struct submitter *submitter = argument;
    struct order order = { submitter->board, WORK, 1 };
    do
        submitter->err = mproc_submit(NULL, submitter->pool, act, &order, &submitter->result);
    while (submitter->err == 0);
    return NULL;
}

static void closing_ends_while_other_threads_submit(void **state)
{
    (void)state;
    enum { THREADS = 3 };
    struct board *board = board_make();
    struct submitter submitter[THREADS];
    pthread_t threads[THREADS];
    mproc_pool *pool = open_pool(2);
    for (int i = 0; i < THREADS; i++) {
        submitter[i] = (struct submitter) { .pool = pool, .board = board };
        assert_int_equal(pthread_create(&threads[i], NULL, submit_for_ever, &submitter[i]), 0);
    }
    wait_until(&board->ended, 100);
    assert_int_equal(mproc_pool_close(pool), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(submitter[i].err, MPROC_E_CLOSED);
    }
    assert_int_equal(board->started, board->ended);
    assert_int_equal(mproc_free(board), 0);
}

struct report {
    mproc_pool *pool;
    mproc_future *future;
    int calls, closed, waited;
};

/* Does what it may not, and then what it may. */
static void close_and_wait(const struct mproc_progress *progress, void *context)
{
    struct report *report = context;
    report->closed = mproc_pool_close(report->pool);
    if (report->future && !progress->over)
        report->waited = mproc_future_wait(report->future, MPROC_FOREVER);
    report->calls++;
}

static void a_report_of_progress_may_not_close_its_pool(void **state)
{
    (void)state;
    int numbers[4] = { 1, 2, 3, 4 };
    int64_t squares[4];
    struct report report = { .pool = open_pool(1) };
    assert_int_equal(
        mproc_map(report.pool, square, numbers, squares, 4, .progress = close_and_wait, .progress_context = &report),
        0);
    assert_int_equal(report.closed, -EDEADLK);
    assert_true(report.calls > 0);
    assert_int_equal(mproc_pool_close(report.pool), 0);
}

static void a_report_of_progress_may_wait_for_its_future(void **state)
{
    (void)state;
    int pause[2] = { 250, 250 }, result[2]; /* longer than it takes until progress is reported */
    struct report report = { .pool = open_pool(1), .waited = 77 };
    assert_int_equal(mproc_map_async(&report.future, report.pool, wait_ms, pause, result, 2, .progress = close_and_wait,
                                     .progress_context = &report),
                     0);
    assert_int_equal(mproc_future_wait(report.future, MPROC_FOREVER), 0);
    assert_int_equal(report.waited, IS_SERIAL ? 77 : 0); /* there, all is over when it has begun */
    assert_int_equal(mproc_future_free(report.future), 0);
    assert_int_equal(mproc_pool_close(report.pool), 0);
}

struct config {
    struct board *board;
};

struct worker_state {
    int unused;
};

static int begin_worker(const struct config *config, struct worker_state *worker_state)
{
    (void)worker_state;
    config->board->started++;
    return 0;
}
MPROC_TASK(begin_worker);

static int never_end_worker(const struct config *config, struct worker_state *worker_state)
{
    (void)worker_state;
    config->board->ready++;
    while (!config->board->gate.passes) /* nobody opens it */
        harness_sleep_ms(100);
    return 0;
}
MPROC_TASK(never_end_worker);

static void a_worker_that_does_not_end_is_killed(void **state)
{
    (void)state;
    if (!IS_PROCESSES)
        harness_skip("threads cannot be killed");
    struct board *board = board_make();
    struct config config = { board };
    int number = 5;
    int64_t squared;
    mproc_pool *pool = OPEN(.workers = 2, .initializer = MPROC_INITIALIZER(begin_worker, &config, struct worker_state),
                            .finalizer = MPROC_FINALIZER(never_end_worker, &config, struct worker_state));
    assert_int_equal(mproc_apply(pool, square, &number, &squared), 0);
    wait_until(&board->started, 2);
    assert_int_equal(mproc_pool_close(pool), 0);
    if (IS_CLUSTER) /* machines close their pools soon after this one */
        wait_until(&board->ready, 2);
    assert_int_equal(board->ready, 2);
    assert_int_equal(mproc_free(board), 0);
}

/* ---- terminating */

static void check_kind(mproc_future *future, enum mproc_outcome_kind kind)
{
    struct mproc_outcome outcome;
    assert_int_equal(mproc_future_outcome(future, 0, &outcome), 0);
    assert_int_equal(outcome.kind, kind);
}

static void terminating_breaks_off_what_has_not_ended(void **state)
{
    (void)state;
    struct board *board = board_make();
    int results[4] = { -1, -1, -1, -1 };
    struct mproc_outcome outcome;
    mproc_pool *pool = open_pool(1);
    mproc_future *delivered = begin_counted(pool, board, WORK, 1, &results[0]);
    assert_int_equal(mproc_future_wait(delivered, MPROC_FOREVER), 0);
    mproc_future *ended = begin_counted(pool, board, WORK, 2, &results[1]);
    wait_ready(ended);
    if (IS_SERIAL) {
        assert_int_equal(mproc_pool_terminate(pool), 0);
        assert_int_equal(mproc_future_wait(delivered, 0), 0);
        check_kind(delivered, MPROC_OK);
        assert_int_equal(mproc_future_free(delivered), 0);
        assert_int_equal(mproc_future_free(ended), 0);
        assert_int_equal(mproc_free(board), 0);
        return;
    }
    mproc_future *running = begin_counted(pool, board, UNTIL_ASKED, 3, &results[2]);
    wait_until(&board->started, 3);
    mproc_future *waiting = begin_counted(pool, board, WORK, 4, &results[3]);
    assert_int_equal(mproc_pool_terminate(pool), 0);
    assert_int_equal(mproc_pool_terminate(pool), MPROC_E_CLOSED);
    assert_true(IS_PROCESSES || board->asked == 1); /* threads are waited for */
    assert_int_equal(mproc_future_wait(delivered, MPROC_FOREVER), 0);
    check_kind(delivered, MPROC_OK);
    int err = mproc_future_wait(ended, MPROC_FOREVER);
    assert_true(err == 0 || err == MPROC_E_TERMINATED);
    check_kind(ended, MPROC_OK);
    assert_int_equal(results[1], 4);
    assert_int_equal(mproc_future_wait(running, MPROC_FOREVER), MPROC_E_TERMINATED);
    assert_int_equal(mproc_future_outcome(running, 0, &outcome), 0);
    assert_true(outcome.kind == MPROC_LOST || (!IS_PROCESSES && outcome.kind == MPROC_OK));
    assert_int_equal(mproc_future_wait(waiting, MPROC_FOREVER), MPROC_E_TERMINATED);
    assert_int_equal(mproc_future_outcome(waiting, 0, &outcome), 0);
    assert_true(outcome.kind == MPROC_CANCELLED || (IS_CLUSTER && outcome.kind == MPROC_LOST)); /* on its way there */
    assert_int_equal(results[3], -1);
    assert_int_equal(board->started, 3);
    assert_int_equal(calls, 4); /* each as its future was waited for */
    mproc_future *const all[4] = { delivered, ended, running, waiting };
    for (int i = 0; i < 4; i++)
        assert_int_equal(mproc_future_free(all[i]), 0);
    assert_int_equal(mproc_free(board), 0);
}

struct waiter {
    mproc_pool *pool;
    struct board *board;
    mproc_future *future;
    pthread_t thread;
    _Atomic int id;
    int result;
};

static void *wait_for_future(void *argument)
{
    struct waiter *waiter = argument;
    waiter->id = gettid();
    waiter->result = mproc_future_wait(waiter->future, MPROC_FOREVER);
    return NULL;
}

static void *map_for_long(void *argument)
{
    struct waiter *waiter = argument;
    struct order orders[5];
    int results[5];
    orders_fill(orders, 5, waiter->board, UNTIL_ASKED);
    waiter->id = gettid();
    waiter->result = mproc_map(waiter->pool, act, orders, results, 5);
    return NULL;
}

static void *iterate_for_long(void *argument)
{
    struct waiter *waiter = argument;
    struct order orders[5];
    int result;
    struct mproc_imap_item item;
    mproc_imap *results = NULL;
    orders_fill(orders, 5, waiter->board, UNTIL_ASKED);
    waiter->result = mproc_imap(&results, waiter->pool, act, orders, &result, 5);
    waiter->id = gettid();
    while (waiter->result >= 0)
        waiter->result = mproc_imap_next(results, &item, MPROC_FOREVER);
    mproc_imap_free(results);
    return NULL;
}

static void *join_for_long(void *argument)
{
    struct waiter *waiter = argument;
    waiter->id = gettid();
    waiter->result = mproc_pool_join(waiter->pool, MPROC_FOREVER);
    return NULL;
}

static void nobody_waits_for_a_pool_that_is_terminated(void **state)
{
    (void)state;
    if (IS_SERIAL)
        harness_skip("nobody waits");
    void *(*const calls_for_long[])(void *) = { wait_for_future, map_for_long, iterate_for_long, join_for_long,
                                                map_for_long };
    enum { N = sizeof calls_for_long / sizeof calls_for_long[0] };
    struct board *board = board_make();
    struct waiter waiters[N];
    int result;
    mproc_pool *pool = OPEN(.workers = 2, .backlog = 3); /* some wait for the backlog */
    mproc_future *future = begin(pool, board, UNTIL_ASKED, 1, &result);
    wait_until(&board->started, 1);
    for (int i = 0; i < N; i++) {
        waiters[i] = (struct waiter) { .pool = pool, .board = board, .future = future };
        assert_int_equal(pthread_create(&waiters[i].thread, NULL, calls_for_long[i], &waiters[i]), 0);
        wait_until(&waiters[i].id, 1);
    }
    for (int i = 0; i < N; i++)
        assert_true(harness_wait_asleep(waiters[i].id, HARNESS_PATIENCE));
    assert_int_equal(mproc_pool_terminate(pool), 0);
    for (int i = 0; i < N; i++) {
        pthread_join(waiters[i].thread, NULL);
        bool right = waiters[i].result == MPROC_E_TERMINATED || (i > 0 && waiters[i].result == MPROC_E_CLOSED) ||
                     (calls_for_long[i] == join_for_long && waiters[i].result == 0);
        if (!right)
            fail_msg("waiter %d: %s", i, mproc_strerror(waiters[i].result));
    }
    assert_int_equal(mproc_future_free(future), 0);
    assert_int_equal(mproc_free(board), 0);
}

static void a_pool_that_is_joined_can_be_closed(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct closing joining = { .pool = open_pool(1), .call = join_it };
    int result = -1;
    pthread_t thread;
    mproc_future *future = begin(joining.pool, board, GATE, 5, &result);
    assert_int_equal(pthread_create(&thread, NULL, call_it, &joining), 0);
    wait_until(&joining.thread, 1);
    gate_open(&board->gate);
    assert_int_equal(mproc_pool_close(joining.pool), 0);
    pthread_join(thread, NULL);
    assert_true(joining.result == 0 || joining.result == MPROC_E_CLOSED);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    assert_int_equal(result, 10);
    assert_int_equal(mproc_future_free(future), 0);
    assert_int_equal(mproc_free(board), 0);
}

/* ---- options */

static void options_of_pools_out_of_range_are_refused(void **state)
{
    (void)state;
    mproc_pool *pool = (mproc_pool *)state;
    static const struct {
        const char *word;
        struct mproc_pool_open_arguments arguments;
    } wrong[] = {
        { "workers", { .workers = -1 } },
        { "workers", { .workers = MPROC_WORKERS_MAX + 1 } },
        { "workers_least", { .workers = 2, .workers_least = 3 } },
        { "workers_least", { .workers = 2, .workers_least = -1 } },
        { "backlog", { .backlog = MPROC_BACKLOG_MAX + 1 } },
        { "start_failures", { .start_failures = -1 } },
        { "method", { .method = (enum mproc_start_method)7 } },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct mproc_pool_open_arguments arguments = wrong[i].arguments;
        struct mproc_error error = { .code = 0 };
        arguments.size = sizeof arguments;
        arguments.pool = &pool;
        arguments.backend = BACKEND;
        arguments.cluster = CLUSTER_URL;
        if (!arguments.method)
            arguments.method = METHOD;
        arguments.error = &error;
        int err = mproc_pool_open_with(&arguments);
        if (err != -EINVAL || error.code != -EINVAL || !strstr(error.message, wrong[i].word))
            fail_msg("%s is not refused", wrong[i].word);
        assert_ptr_equal(pool, state);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(joining_an_idle_pool_returns_at_once),
    cmocka_unit_test(closing_waits_for_all_that_was_submitted),
    cmocka_unit_test(many_pools_are_closed_with_work_to_do),
    cmocka_unit_test(closing_ends_while_other_threads_submit),
    cmocka_unit_test(a_report_of_progress_may_not_close_its_pool),
    cmocka_unit_test(a_report_of_progress_may_wait_for_its_future),
    cmocka_unit_test(a_worker_that_does_not_end_is_killed),
    cmocka_unit_test(terminating_breaks_off_what_has_not_ended),
    cmocka_unit_test(nobody_waits_for_a_pool_that_is_terminated),
    cmocka_unit_test(a_pool_that_is_joined_can_be_closed),
    cmocka_unit_test(options_of_pools_out_of_range_are_refused),
};

CONFORMANCE_MAIN(tests)
