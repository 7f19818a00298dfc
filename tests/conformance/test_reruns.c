/* Items that are started again, at once or by another run of the program; on every backend. Compiled once for each;
 * BACKEND and METHOD say which. SPDX-License-Identifier: MIT */
#include "pool_shared.h"

#include "os/sanitizer.h"

static struct mproc_outcome outcome;
static int result;

/* Does the deed until that attempt, which succeeds. */
struct trial {
    struct board *board;
    enum deed deed;
    int good_attempt;
};

static int try(const struct trial *trial, int *attempt)
{
    struct order order = { trial->board, trial->deed, 100 + mproc_task_attempt() };
    trial->board->started++;
    *attempt = mproc_task_attempt();
    if (*attempt >= trial->good_attempt)
        return 0;
    trial->board->asked += 1000; /* that there was one before */
    return carry_out(&order);
}
MPROC_TASK(try);

#define TRY(pool, board, deed, good_attempt, ...)                                                                      \
    mproc_apply(pool, try, (&(struct trial) { board, deed, good_attempt }), &result, .outcomes = &outcome, __VA_ARGS__)

static void check_succeeded_at(int attempt)
{
    assert_int_equal(outcome.kind, MPROC_OK);
    assert_int_equal(outcome.attempts, attempt);
    assert_int_equal(outcome.code, 0);
    assert_int_equal(outcome.signal, 0);
    assert_string_equal(outcome.message, "");
    assert_int_equal(result, attempt);
}

/* ---- retries */

static void an_item_is_started_once_unless_told_otherwise(void **state)
{
    (void)state;
    struct board *board = board_make();
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_task_attempt(), 0);
    assert_int_equal(TRY(pool, board, FAIL, 2, .retry_on = MPROC_RETRY_FAILED), 1);
    assert_int_equal(outcome.attempts, 1);
    assert_int_equal(TRY(pool, board, WORK, 1, .retries = 5), 0);
    check_succeeded_at(1);
    assert_int_equal(board->started, 2);
    assert_int_equal(mproc_task_attempt(), 0);
    end(pool, board);
}

static void a_failure_is_final_unless_told_otherwise(void **state)
{
    (void)state;
    struct board *board = board_make();
    mproc_pool *pool = open_pool(1);
    assert_int_equal(TRY(pool, board, FAIL, 2, .retries = 5), 1);
    assert_int_equal(outcome.kind, MPROC_FAILED);
    assert_int_equal(outcome.attempts, 1);
    assert_int_equal(TRY(pool, board, FAIL, 2, .retries = 5, .retry_on = MPROC_RETRY_CRASHED | MPROC_RETRY_TIMED_OUT),
                     1);
    assert_int_equal(outcome.attempts, 1);
    assert_int_equal(board->started, 2);
    end(pool, board);
}

static void a_failure_can_be_tried_again(void **state)
{
    (void)state;
    struct board *board = board_make();
    mproc_pool *pool = open_pool(2);
    assert_int_equal(TRY(pool, board, FAIL, 4, .retries = 5, .retry_on = MPROC_RETRY_FAILED), 0);
    check_succeeded_at(4);
    assert_int_equal(board->started, 4);
    end(pool, board);
}

static void the_last_attempt_is_the_one_that_counts(void **state)
{
    (void)state;
    struct board *board = board_make();
    mproc_pool *pool = open_pool(1);
    assert_int_equal(TRY(pool, board, FAIL, 1000, .retries = 100, .retry_on = MPROC_RETRY_FAILED), 1);
    assert_int_equal(outcome.kind, MPROC_FAILED);
    assert_int_equal(outcome.attempts, 101);
    assert_int_equal(outcome.code, 201);
    assert_string_equal(outcome.message, "201 fails");
    assert_int_equal(board->started, 101);
    end(pool, board);
}

static void a_crash_is_tried_again(void **state)
{
    (void)state;
    if (!IS_PROCESSES)
        harness_skip("the program would crash");
    struct board *board = board_make();
    mproc_pool *pool = open_pool(2);
    assert_int_equal(TRY(pool, board, CRASH, 3, .retries = 2), 0);
    check_succeeded_at(3);
    assert_int_equal(TRY(pool, board, EXIT, 3, .retries = 5), 0);
    check_succeeded_at(3);
    assert_int_equal(TRY(pool, board, CRASH, 3, .retries = 1), 1);
    assert_int_equal(outcome.kind, MPROC_CRASHED);
    assert_int_equal(outcome.attempts, 2);
    assert_int_equal(TRY(pool, board, CRASH, 3, .retries = 5, .retry_on = MPROC_RETRY_FAILED), 1);
    assert_int_equal(outcome.kind, MPROC_CRASHED);
    assert_int_equal(outcome.attempts, 1);
    end(pool, board);
}

static void what_ran_too_long_can_be_tried_again(void **state)
{
    (void)state;
    struct board *board = board_make();
    mproc_pool *pool = OPEN(.workers = 1, .ask_grace = MPROC_SEC(1000));
    assert_int_equal(TRY(pool, board, UNTIL_ASKED, 3, .retries = 1, .timeout = MPROC_MS(2)), 1);
    assert_int_equal(outcome.kind, MPROC_TIMED_OUT);
    assert_int_equal(outcome.attempts, 1);
    assert_int_equal(
        TRY(pool, board, UNTIL_ASKED, 1000, .retries = 2, .retry_on = MPROC_RETRY_TIMED_OUT, .timeout = MPROC_MS(2)),
        1);
    assert_int_equal(outcome.kind, MPROC_TIMED_OUT);
    assert_int_equal(outcome.attempts, 3);
    assert_int_equal(
        TRY(pool, board, UNTIL_ASKED, 3, .retries = 100, .retry_on = MPROC_RETRY_TIMED_OUT, .timeout = MPROC_MS(20)),
        0);
    assert_true(outcome.attempts >= 3); /* the machine may have stood still in the third */
    check_succeeded_at(outcome.attempts);
    end(pool, board);
}

static void what_took_too_much_memory_can_be_tried_again(void **state)
{
    (void)state;
    if (!IS_PROCESSES || OS_ADDRESS_SANITIZER)
        harness_skip("only processes have memory of their own, and AddressSanitizer takes much");
    struct board *board = board_make();
    mproc_pool *pool = OPEN(.workers = 1, .memory_limit = 64 << 20);
    assert_int_equal(TRY(pool, board, GROW, 2, .retries = 2), 1);
    assert_int_equal(outcome.kind, MPROC_OVER_MEMORY);
    assert_int_equal(outcome.attempts, 1);
    assert_int_equal(TRY(pool, board, GROW, 3, .retries = 2, .retry_on = MPROC_RETRY_OVER_MEMORY), 0);
    check_succeeded_at(3);
    end(pool, board);
}

static void each_item_of_many_has_its_own_attempts(void **state)
{
    (void)state;
    enum { N = 300 };
    struct board *board = board_make();
    struct trial trials[N];
    struct mproc_outcome outcomes[N];
    int attempts[N], starts = 0, bad = 0;
    mproc_pool *pool = open_pool(3);
    for (int i = 0; i < N; i++) {
        trials[i] = (struct trial) { board, i % 2 && IS_PROCESSES ? CRASH : FAIL, 1 + i % 5 };
        starts += 1 + i % 5 < 4 ? 1 + i % 5 : 4;
        bad += 1 + i % 5 > 4;
    }
    assert_int_equal(mproc_map(pool, try, trials, attempts, N, .retries = 3,
                               .retry_on = MPROC_RETRY_FAILED | MPROC_RETRY_CRASHED, .outcomes = outcomes),
                     bad);
    for (int i = 0; i < N; i++) {
        int expected = 1 + i % 5;
        assert_int_equal(outcomes[i].attempts, expected < 4 ? expected : 4);
        assert_int_equal(outcomes[i].kind == MPROC_OK, expected <= 4);
        if (expected <= 4)
            assert_int_equal(attempts[i], expected);
        else
            assert_int_equal(outcomes[i].kind, trials[i].deed == CRASH ? MPROC_CRASHED : MPROC_FAILED);
    }
    assert_int_equal(board->started, starts);
    end(pool, board);
}

/* ---- job logs */

enum { LINES = 64, FIELDS = 9 };

struct log {
    char path[40];
    char text[8192];
    char *fields[LINES][FIELDS];
    int lines; /* without the heading */
};

static void log_make(struct log *log)
{
    strcpy(log->path, "/tmp/mproc-joblog-XXXXXX");
    int fd = mkstemp(log->path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(unlink(log->path), 0);
}

/* Reads it, and checks that it is as GNU parallel's. */
static void log_read(struct log *log)
{
    FILE *file = fopen(log->path, "r");
    assert_non_null(file);
    size_t length = fread(log->text, 1, sizeof log->text - 1, file);
    fclose(file);
    log->text[length] = '\0';
    assert_true(length > 0 && length < sizeof log->text - 1 && log->text[length - 1] == '\n');
    char *rest = log->text, *line = strsep(&rest, "\n");
    assert_string_equal(line, "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand");
    for (log->lines = 0; (line = strsep(&rest, "\n")) && *line; log->lines++) {
        assert_true(log->lines < LINES);
        for (int i = 0; i < FIELDS; i++)
            assert_non_null(log->fields[log->lines][i] = strsep(&line, "\t"));
        assert_null(line);
    }
}

static void log_write(struct log *log, const char *text)
{
    FILE *file = fopen(log->path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

/* Runs items 0 to n - 1, of which those divisible by 3 fail as long as `fails`. */
static int run_logged(mproc_pool *pool, struct board *board, struct log *log, int n, bool fails, bool resume,
                      struct mproc_outcome *outcomes, int *results)
{
    struct order orders[LINES];
    orders_fill(orders, n, board, WORK);
    for (int i = 0; i < n; i++) {
        orders[i].deed = fails && i % 3 == 0 ? FAIL : WORK;
        orders[i].number = i + 1;
        results[i] = -1;
    }
    return mproc_map(pool, act, orders, results, (size_t)n, .joblog = log->path, .resume = resume,
                     .outcomes = outcomes);
}

static void a_job_log_has_a_line_for_each_item(void **state)
{
    (void)state;
    enum { N = 30 };
    struct board *board = board_make();
    struct log log;
    struct mproc_outcome outcomes[N];
    int results[N], seen[N + 1] = { 0 };
    mproc_pool *pool = open_pool(2);
    log_make(&log);
    assert_int_equal(run_logged(pool, board, &log, N, true, false, outcomes, results), N / 3);
    log_read(&log);
    assert_int_equal(log.lines, N);
    for (int i = 0; i < N; i++) {
        int seq = atoi(log.fields[i][0]);
        assert_true(seq >= 1 && seq <= N);
        assert_int_equal(seen[seq]++, 0);
        assert_int_equal(atoi(log.fields[i][6]), (seq - 1) % 3 == 0 ? seq : 0);
        assert_int_equal(atoi(log.fields[i][7]), 0);
        assert_true(atof(log.fields[i][2]) > 1e9); /* seconds since 1970 */
        assert_true(atof(log.fields[i][3]) >= 0);
        assert_non_null(strstr(log.fields[i][8], "act"));
    }
    unlink(log.path);
    end(pool, board);
}

static void resuming_runs_only_what_was_not_done(void **state)
{
    (void)state;
    enum { N = 30 };
    struct board *board = board_make();
    struct log log;
    struct mproc_outcome outcomes[N];
    int results[N];
    mproc_pool *pool = open_pool(2);
    log_make(&log);
    assert_int_equal(run_logged(pool, board, &log, 15, true, true, outcomes, results), 5); /* there is no log yet */
    assert_int_equal(board->started, 15);
    assert_int_equal(run_logged(pool, board, &log, N, false, true, outcomes, results), 0);
    assert_int_equal(board->started, 15 + 5 + 15);
    for (int i = 0; i < N; i++) {
        bool skipped = i < 15 && i % 3;
        assert_int_equal(outcomes[i].kind, skipped ? MPROC_SKIPPED : MPROC_OK);
        assert_int_equal(results[i], skipped ? -1 : 2 * (i + 1));
        assert_int_equal(outcomes[i].attempts, !skipped);
    }
    assert_int_equal(run_logged(pool, board, &log, N, false, true, outcomes, results), 0);
    assert_int_equal(board->started, 35);
    log_read(&log);
    assert_int_equal(log.lines, 35);
    assert_int_equal(run_logged(pool, board, &log, N, false, false, outcomes, results), 0); /* all of it anew */
    assert_int_equal(board->started, 35 + N);
    unlink(log.path);
    end(pool, board);
}

static void what_did_not_succeed_is_not_listed_as_done(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct log log;
    struct order orders[4] = {
        { board, FAIL, -256 }, { board, UNTIL_ASKED, 2 }, { board, CRASH, 3 }, { board, EXIT, 4 }
    };
    struct mproc_outcome outcomes[4];
    int results[4], n = IS_PROCESSES ? 4 : 2;
    mproc_pool *pool = OPEN(.workers = 1, .ask_grace = MPROC_SEC(1000));
    log_make(&log);
    for (int round = 1; round <= 2; round++) {
        assert_int_equal(mproc_map(pool, act, orders, results, (size_t)n, .joblog = log.path, .resume = true,
                                   .outcomes = outcomes, .timeout = MPROC_MS(round * 10)),
                         n);
        assert_int_equal(board->started, round * n);
    }
    log_read(&log);
    assert_int_equal(log.lines, 2 * n);
    for (int i = 0; i < log.lines; i++)
        assert_true(atoi(log.fields[i][6]) != 0 || atoi(log.fields[i][7]) != 0);
    unlink(log.path);
    end(pool, board);
}

static void a_line_that_was_cut_off_does_not_count(void **state)
{
    (void)state;
    enum { N = 12 };
    struct board *board = board_make();
    struct log log;
    struct mproc_outcome outcomes[N];
    int results[N];
    mproc_pool *pool = open_pool(1);
    log_make(&log);
    assert_int_equal(run_logged(pool, board, &log, N, false, false, outcomes, results), 0);
    FILE *file = fopen(log.path, "r");
    size_t length = fread(log.text, 1, sizeof log.text - 1, file);
    fclose(file);
    assert_int_equal(truncate(log.path, (off_t)length - 6), 0);
    assert_int_equal(run_logged(pool, board, &log, N, false, true, outcomes, results), 0);
    assert_int_equal(board->started, N + 1);
    log_read(&log);
    assert_int_equal(log.lines, N);
    unlink(log.path);
    end(pool, board);
}

static void a_job_log_that_is_none_is_refused(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct log log;
    struct mproc_outcome outcomes[4];
    struct mproc_error error;
    int results[4], number = 4;
    int64_t squared;
    mproc_pool *pool = open_pool(1);
    log_make(&log);
    log_write(&log, "Dear diary\n");
    assert_int_equal(run_logged(pool, board, &log, 4, false, false, outcomes, results), MPROC_E_JOBLOG);
    assert_int_equal(run_logged(pool, board, &log, 4, false, true, outcomes, results), MPROC_E_JOBLOG);
    log_write(&log, "");
    assert_int_equal(run_logged(pool, board, &log, 4, false, true, outcomes, results), 0);
    assert_int_equal(mproc_apply(pool, square, &number, &squared, .joblog = log.path, .resume = true, .error = &error),
                     MPROC_E_JOBLOG);
    assert_int_equal(error.code, MPROC_E_JOBLOG);
    assert_non_null(strstr(error.message, log.path));
    assert_int_equal(mproc_apply(pool, square, &number, &squared, .joblog = "/nonexistent/mproc/log"), -ENOENT);
    assert_int_equal(board->started, 4);
    unlink(log.path);
    end(pool, board);
}

static void futures_have_job_logs_too(void **state)
{
    (void)state;
    enum { N = 20 };
    struct board *board = board_make();
    struct log log;
    struct order orders[N];
    int results[N];
    mproc_pool *pool = open_pool(2);
    log_make(&log);
    orders_fill(orders, N, board, WORK);
    for (int round = 0; round < 2; round++) {
        mproc_future *future = NULL;
        assert_int_equal(mproc_map_async(&future, pool, act, orders, results, N, .joblog = log.path, .resume = true),
                         0);
        assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
        assert_int_equal(mproc_future_outcome(future, 7, &outcome), 0);
        assert_int_equal(outcome.kind, round ? MPROC_SKIPPED : MPROC_OK);
        assert_int_equal(mproc_future_free(future), 0);
        assert_int_equal(board->started, N);
    }
    log_read(&log);
    assert_int_equal(log.lines, N);
    unlink(log.path);
    end(pool, board);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_item_is_started_once_unless_told_otherwise),
    cmocka_unit_test(a_failure_is_final_unless_told_otherwise),
    cmocka_unit_test(a_failure_can_be_tried_again),
    cmocka_unit_test(the_last_attempt_is_the_one_that_counts),
    cmocka_unit_test(a_crash_is_tried_again),
    cmocka_unit_test(what_ran_too_long_can_be_tried_again),
    cmocka_unit_test(what_took_too_much_memory_can_be_tried_again),
    cmocka_unit_test(each_item_of_many_has_its_own_attempts),
    cmocka_unit_test(a_job_log_has_a_line_for_each_item),
    cmocka_unit_test(resuming_runs_only_what_was_not_done),
    cmocka_unit_test(what_did_not_succeed_is_not_listed_as_done),
    cmocka_unit_test(a_line_that_was_cut_off_does_not_count),
    cmocka_unit_test(a_job_log_that_is_none_is_refused),
    cmocka_unit_test(futures_have_job_logs_too),
};

CONFORMANCE_MAIN(tests)
