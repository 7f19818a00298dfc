/* How items end, and what is said about it; on every backend. Compiled once for each; BACKEND and METHOD say which.
 * SPDX-License-Identifier: MIT */
#include "pool_shared.h"

#include <sys/wait.h>
#include <time.h>

static struct mproc_outcome outcome; /* of the last APPLY */
static int result;

/* Carries out one order, with options. Returns what mproc_apply does. */
#define APPLY(pool, board, deed, number, ...)                                                                          \
    mproc_apply(pool, act, (&(struct order) { board, deed, number }), &result, .outcomes = &outcome, __VA_ARGS__)

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return MPROC_SEC(time.tv_sec) + time.tv_nsec;
}

/* ---- failed */

enum { FAILING_LINE = __LINE__ + 4 };
static int fail_here(const int *code, int *out)
{
    *out = 0;
    return mproc_task_fail(*code, "code %d", *code);
}
MPROC_TASK(fail_here);

static const char long_path[] = "/a/path/that/is/too/long/to/be/kept/whole/as/it/is/longer/than/that.c";

static int fail_elsewhere(const int *way, int *out)
{
    *out = 0;
    switch (*way) {
    case 0: mproc_task_fail_at(long_path, 77, 1, "there"); break;
    case 1: mproc_task_fail_at(NULL, 77, 1, "nowhere"); break;
    case 2: break;
    case 3: mproc_task_fail(5, "not five"); break;
    }
    return 6;
}
MPROC_TASK(fail_elsewhere);

static void a_failure_says_where_it_was(void **state)
{
    (void)state;
    int code = -4711, out;
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_apply(pool, fail_here, &code, &out, .outcomes = &outcome), 1);
    assert_int_equal(outcome.kind, MPROC_FAILED);
    assert_int_equal(outcome.code, -4711);
    assert_string_equal(outcome.message, "code -4711");
    assert_int_equal(outcome.line, FAILING_LINE);
    assert_non_null(strstr(outcome.file, "test_outcomes.c"));
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void the_place_of_a_failure_is_what_the_task_said(void **state)
{
    (void)state;
    int ways[4] = { 0, 1, 2, 3 }, out[4];
    struct mproc_outcome outcomes[4];
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_map(pool, fail_elsewhere, ways, out, 4, .outcomes = outcomes), 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(outcomes[i].code, 6); /* what it returned in the end */
    size_t length = strlen(outcomes[0].file);
    assert_in_range(length, 1, MPROC_LOCATION_SIZE - 1);
    assert_string_equal(outcomes[0].file, long_path + sizeof long_path - 1 - length);
    assert_int_equal(long_path[sizeof long_path - 1 - length - 1], '/');
    assert_int_equal(outcomes[0].line, 77);
    assert_string_equal(outcomes[0].message, "there");
    assert_string_equal(outcomes[1].file, "");
    assert_string_equal(outcomes[1].message, "nowhere");
    assert_string_equal(outcomes[2].file, "");
    assert_int_equal(outcomes[2].line, 0);
    assert_string_equal(outcomes[2].message, "");
    assert_string_equal(outcomes[3].message, "not five");
    assert_int_equal(mproc_pool_close(pool), 0);
}

/* ---- crashed */

static void check_crash(mproc_pool *pool, struct board *board, enum deed deed, int signal, int exit_status)
{
    assert_int_equal(APPLY(pool, board, deed, 1, .chunk = 0), 1);
    assert_int_equal(outcome.kind, MPROC_CRASHED);
    assert_int_equal(outcome.signal, signal);
    assert_int_equal(outcome.exit_status, exit_status);
    assert_int_equal(outcome.code, 0);
    assert_int_equal(outcome.attempts, 1);
    assert_true(outcome.pid > 0 && outcome.pid != getpid());
    assert_true(outcome.worker >= 0 && outcome.worker < 2);
    assert_false(outcome.out_of_memory);
    assert_string_equal(outcome.message, "");
}

/* A program that has no processes ends with its task. */
static int status_of_program(struct board *board, enum deed deed)
{
    int status;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        mproc_pool *pool = open_pool(1);
        APPLY(pool, board, deed, 1, .chunk = 0);
        _exit(77);
    }
    waitpid(pid, &status, 0);
    return status;
}

static void a_crash_costs_its_item_or_the_program(void **state)
{
    (void)state;
    struct board *board = board_make();
    if (!IS_PROCESSES) {
        assert_int_equal(status_of_program(board, CRASH), SIGKILL);
        assert_int_equal(status_of_program(board, EXIT), 3 << 8);
        assert_int_equal(mproc_free(board), 0);
        return;
    }
    mproc_pool *pool = open_pool(2);
    check_crash(pool, board, CRASH, SIGKILL, 0);
    check_crash(pool, board, EXIT, 0, 3);
    assert_int_equal(APPLY(pool, board, WORK, 4, .chunk = 0), 0);
    assert_int_equal(result, 8);
    end(pool, board);
}

/* ---- timed out */

static void check_timed_out(void)
{
    assert_int_equal(outcome.kind, MPROC_TIMED_OUT);
    assert_int_equal(outcome.code, 0);
    assert_int_equal(outcome.signal, 0);
    assert_int_equal(outcome.exit_status, 0);
    assert_int_equal(outcome.attempts, 1);
    assert_int_equal(outcome.pid != getpid(), IS_PROCESSES);
    assert_int_equal(outcome.worker, 0);
    assert_string_equal(outcome.message, "");
}

static int is_asked(const int *unused, int *asked)
{
    (void)unused;
    *asked = mproc_stop_requested();
    return 0;
}
MPROC_TASK(is_asked);

static void an_item_that_runs_too_long_is_asked_to_stop(void **state)
{
    (void)state;
    struct board *board = board_make();
    int asked = -1, unused = 0;
    mproc_pool *pool = OPEN(.workers = 1, .ask_grace = MPROC_SEC(1000));
    for (int round = 1; round <= 3; round++) {
        int64_t start = now();
        assert_int_equal(APPLY(pool, board, UNTIL_ASKED, 1, .timeout = MPROC_MS(5)), 1);
        assert_true(now() - start >= MPROC_MS(5));
        check_timed_out();
        assert_true(outcome.ran >= MPROC_MS(5));
        assert_int_equal(board->asked, round);
        assert_int_equal(board->ended, round);
        assert_int_equal(mproc_apply(pool, is_asked, &unused, &asked), 0);
        assert_int_equal(asked, 0); /* that was another item */
    }
    assert_false(mproc_stop_requested());
    end(pool, board);
}

/* A worker may stand still until the signal is there, before it is prepared for it. So it is tried some times. */
enum { TRIES = 30 };

static void an_item_that_does_not_listen_gets_a_signal(void **state)
{
    (void)state;
    if (!IS_PROCESSES)
        harness_skip("threads can only be asked");
    struct board *board = board_make();
    mproc_pool *pool = OPEN(.workers = 1, .ask_grace = MPROC_MS(1), .terminate_grace = MPROC_FOREVER);
    for (int i = 1; i <= TRIES && board->signals == 0; i++) {
        assert_int_equal(APPLY(pool, board, UNTIL_SIGNAL, 1, .timeout = MPROC_MS(5 * i)), 1);
        check_timed_out();
    }
    assert_int_equal(board->signals, 1);
    assert_int_equal(APPLY(pool, board, WORK, 4, .chunk = 0), 0);
    end(pool, board);
}

static void an_item_that_ignores_the_signal_is_killed(void **state)
{
    (void)state;
    if (!IS_PROCESSES)
        harness_skip("threads can only be asked");
    struct board *board = board_make();
    mproc_pool *pool = OPEN(.workers = 1, .ask_grace = MPROC_MS(1), .terminate_grace = MPROC_MS(5));
    for (int i = 1; i <= TRIES && board->ready == 0; i++) {
        assert_int_equal(APPLY(pool, board, HANG, 1, .timeout = MPROC_MS(5 * i)), 1);
        check_timed_out();
    }
    assert_int_equal(board->ready, 1);
    assert_int_equal(board->ended, 0);
    assert_int_equal(APPLY(pool, board, WORK, 4, .chunk = 0), 0);
    end(pool, board);
}

static void the_graces_have_defaults(void **state)
{
    (void)state;
    if (!IS_PROCESSES)
        harness_skip("threads can only be asked");
    struct board *board = board_make();
    mproc_pool *pool = OPEN(.workers = 1);
    for (int i = 1; i <= TRIES && board->ready == 0; i++) {
        assert_int_equal(APPLY(pool, board, HANG, 1, .timeout = MPROC_MS(5 * i)), 1);
        check_timed_out();
    }
    assert_true(outcome.ran >= MPROC_MS(1100)); /* 0.1 s to SIGTERM, 1 s to SIGKILL */
    end(pool, board);
}

static void items_that_run_too_long_do_not_hold_up_others(void **state)
{
    (void)state;
    enum { N = 100, LATE = 5 };
    struct board *board = board_make();
    struct order orders[N];
    struct mproc_outcome outcomes[N];
    int results[N], late = 0;
    mproc_pool *pool = OPEN(.workers = 2, .ask_grace = MPROC_SEC(1000));
    orders_fill(orders, N, board, WORK);
    for (int i = 0; i < LATE; i++)
        orders[i * 19].deed = UNTIL_ASKED;
    int bad = mproc_map(pool, act, orders, results, N, .outcomes = outcomes, .timeout = MPROC_MS(300), .chunk = 10);
    for (int i = 0; i < N; i++) {
        late += outcomes[i].kind == MPROC_TIMED_OUT;
        if (orders[i].deed == WORK && outcomes[i].kind == MPROC_OK) /* the machine may have stood still for so long */
            assert_int_equal(results[i], 2 * i);
        else
            assert_int_equal(outcomes[i].kind, MPROC_TIMED_OUT);
    }
    assert_int_equal(bad, late);
    assert_true(late >= LATE && late < N);
    assert_int_equal(board->ended, N);
    end(pool, board);
}

static void time_that_an_item_waits_does_not_count(void **state)
{
    (void)state;
    struct board *board = board_make();
    mproc_pool *pool = open_pool(1);
    int tries = 0, err;
    do {
        struct order order = { board, WORK, 1 };
        mproc_future *held = begin(pool, board, GATE, 1, &result), *future = NULL;
        assert_int_equal(mproc_submit(&future, pool, act, &order, &result, .timeout = MPROC_MS(100)), 0);
        harness_sleep_ms(150);
        gate_let(&board->gate, IS_SERIAL ? 0 : 1);
        err = mproc_future_wait(future, MPROC_FOREVER);
        assert_int_equal(mproc_future_wait(held, MPROC_FOREVER), 0);
        mproc_future_free(held);
        mproc_future_free(future);
    } while (err != 0 && ++tries < 10); /* the machine may stand still now and then */
    assert_int_equal(err, 0);
    end(pool, board);
}

/* ---- cancelled */

static void what_has_not_started_is_cancelled_at_once(void **state)
{
    (void)state;
    enum { N = 8 };
    struct board *board = board_make();
    struct order orders[N];
    int results[N], kept_result;
    mproc_future *future = NULL;
    mproc_pool *pool = OPEN(.workers = 1, .ask_grace = MPROC_SEC(1000));
    mproc_future *held = begin(pool, board, GATE, 0, &result), *kept;
    gate_wait_arrived(&board->gate, 1);
    orders_fill(orders, N, board, WORK);
    memset(results, 0x55, sizeof results);
    assert_int_equal(mproc_map_async(&future, pool, act, orders, results, N), 0);
    kept = begin(pool, board, WORK, 30, &kept_result);
    assert_int_equal(mproc_future_cancel(future), 0);
    assert_int_equal(mproc_future_cancel(future), 0);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), IS_SERIAL ? 0 : N);
    for (int i = 0; i < N; i++) {
        assert_int_equal(mproc_future_outcome(future, (size_t)i, &outcome), 0);
        assert_int_equal(outcome.kind, IS_SERIAL ? MPROC_OK : MPROC_CANCELLED);
        assert_int_equal(outcome.attempts, IS_SERIAL);
        assert_int_equal(results[i], IS_SERIAL ? 2 * i : 0x55555555);
        if (IS_SERIAL)
            continue;
        assert_int_equal(outcome.pid, 0);
        assert_int_equal(outcome.worker, -1);
    }
    gate_open(&board->gate);
    assert_int_equal(mproc_future_wait(held, MPROC_FOREVER), 0);
    assert_int_equal(mproc_future_wait(kept, MPROC_FOREVER), 0);
    assert_int_equal(kept_result, 60);
    assert_int_equal(board->ended, IS_SERIAL ? N + 2 : 2);
    assert_int_equal(mproc_future_free(held), 0);
    assert_int_equal(mproc_future_free(kept), 0);
    assert_int_equal(mproc_future_free(future), 0);
    end(pool, board);
}

static void check_cancelled_while_running(mproc_pool *pool, struct board *board, enum deed deed)
{
    int started = board->started, ready = board->ready, unset = -1;
    mproc_future *future = begin(pool, board, deed, 3, &unset);
    wait_until(&board->started, started + 1);
    wait_until(&board->ready, deed == UNTIL_ASKED ? ready : ready + 1);
    assert_int_equal(mproc_future_cancel(future), 0);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 1);
    assert_int_equal(mproc_future_outcome(future, 0, &outcome), 0);
    assert_int_equal(outcome.kind, MPROC_CANCELLED);
    assert_int_equal(outcome.attempts, 1);
    assert_int_equal(outcome.signal, 0);
    assert_int_equal(outcome.worker, 0);
    assert_int_equal(unset, -1);
    assert_int_equal(mproc_future_free(future), 0);
    assert_int_equal(APPLY(pool, board, WORK, 4, .chunk = 0), 0);
    assert_int_equal(result, 8);
}

static void what_is_running_is_stopped(void **state)
{
    (void)state;
    if (IS_SERIAL)
        harness_skip("it has ended when the call returns");
    struct board *board = board_make();
    mproc_pool *pool = OPEN(.workers = 1, .ask_grace = MPROC_SEC(1000));
    check_cancelled_while_running(pool, board, UNTIL_ASKED);
    assert_int_equal(board->asked, 1);
    assert_int_equal(mproc_pool_close(pool), 0);
    if (IS_PROCESSES) {
        pool = OPEN(.workers = 1, .ask_grace = MPROC_MS(1), .terminate_grace = MPROC_FOREVER);
        check_cancelled_while_running(pool, board, UNTIL_SIGNAL);
        assert_int_equal(board->signals, 1);
        assert_int_equal(mproc_pool_close(pool), 0);
        pool = OPEN(.workers = 1, .ask_grace = MPROC_MS(1), .terminate_grace = MPROC_MS(1));
        check_cancelled_while_running(pool, board, HANG);
        assert_int_equal(mproc_pool_close(pool), 0);
    }
    assert_int_equal(mproc_free(board), 0);
}

static void cancelling_what_has_ended_changes_nothing(void **state)
{
    (void)state;
    struct board *board = board_make();
    mproc_pool *pool = open_pool(1);
    mproc_future *future = begin(pool, board, WORK, 5, &result);
    wait_ready(future);
    assert_int_equal(mproc_future_cancel(future), 0);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    assert_int_equal(mproc_future_cancel(future), 0);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    assert_int_equal(mproc_future_outcome(future, 0, &outcome), 0);
    assert_int_equal(outcome.kind, MPROC_OK);
    assert_int_equal(result, 10);
    assert_int_equal(mproc_future_free(future), 0);
    end(pool, board);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_failure_says_where_it_was),
    cmocka_unit_test(the_place_of_a_failure_is_what_the_task_said),
    cmocka_unit_test(a_crash_costs_its_item_or_the_program),
    cmocka_unit_test(an_item_that_runs_too_long_is_asked_to_stop),
    cmocka_unit_test(an_item_that_does_not_listen_gets_a_signal),
    cmocka_unit_test(an_item_that_ignores_the_signal_is_killed),
    cmocka_unit_test(the_graces_have_defaults),
    cmocka_unit_test(items_that_run_too_long_do_not_hold_up_others),
    cmocka_unit_test(time_that_an_item_waits_does_not_count),
    cmocka_unit_test(what_has_not_started_is_cancelled_at_once),
    cmocka_unit_test(what_is_running_is_stopped),
    cmocka_unit_test(cancelling_what_has_ended_changes_nothing),
};

CONFORMANCE_MAIN(tests)
