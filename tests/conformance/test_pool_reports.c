/* What a pool tells of its work: progress, statistics, a trace; on every backend. Compiled once for each; BACKEND and
 * METHOD say which. SPDX-License-Identifier: MIT */
#include "pool_shared.h"

#include <ctype.h>

/* ---- progress */

struct reports {
    struct board *board;
    pthread_t thread;
    size_t n; /* as it should be */
    int count, over, wrong;
    int open_at; /* the gate is opened by that report; 0: by none */
    struct mproc_progress last;
};

static void note(const struct mproc_progress *progress, void *context)
{
    struct reports *reports = context;
    const struct mproc_progress *last = &reports->last;
    reports->count++;
    reports->over += progress->over;
    reports->wrong += !pthread_equal(reports->thread, pthread_self());
    reports->wrong += progress->n != reports->n || progress->ended > progress->n;
    reports->wrong += progress->ended < last->ended || progress->unsuccessful < last->unsuccessful;
    reports->wrong += progress->unsuccessful > progress->ended || progress->elapsed < last->elapsed;
    reports->wrong += strcmp(progress->name, "act") != 0 || progress->rate < 0 || progress->left < -1;
    reports->wrong += last->over; /* that was to be the last */
    reports->last = *progress;
    if (reports->count == reports->open_at)
        gate_open(&reports->board->gate);
}

static void check_reports(const struct reports *reports, size_t ended, size_t unsuccessful)
{
    assert_int_equal(reports->wrong, 0);
    assert_int_equal(reports->over, 1);
    assert_true(reports->last.over);
    assert_int_equal(reports->last.ended, ended);
    assert_int_equal(reports->last.unsuccessful, unsuccessful);
    assert_true(reports->last.elapsed > 0);
}

static void progress_is_told_while_results_are_waited_for(void **state)
{
    (void)state;
    enum { N = 50 };
    struct board *board = board_make();
    struct order orders[N];
    int results[N];
    struct reports reports = { .board = board, .thread = pthread_self(), .n = N, .open_at = IS_SERIAL ? 0 : 3 };
    mproc_pool *pool = open_pool(2);
    orders_fill(orders, N, board, WORK);
    orders[10].deed = orders[49].deed = FAIL;
    orders[30].deed = GATE;
    assert_int_equal(
        mproc_map(pool, act, orders, results, N, .progress = note, .progress_context = &reports, .chunk = 1), 2);
    check_reports(&reports, N, 2);
    assert_true(reports.count >= (IS_SERIAL ? 1 : 3));
    reports = (struct reports) { .board = board, .thread = pthread_self(), .n = 1 };
    assert_int_equal(mproc_apply(pool, act, &orders[0], &results[0], .progress = note, .progress_context = &reports),
                     0);
    check_reports(&reports, 1, 0);
    end(pool, board);
}

static void progress_is_told_to_those_that_wait_for_futures(void **state)
{
    (void)state;
    enum { N = 20 };
    struct board *board = board_make();
    struct order orders[N];
    int results[N];
    struct reports reports = { .board = board, .thread = pthread_self(), .n = N, .open_at = IS_SERIAL ? 0 : 2 };
    mproc_future *future = NULL;
    mproc_pool *pool = open_pool(2);
    orders_fill(orders, N, board, WORK);
    orders[5].deed = GATE;
    assert_int_equal(
        mproc_map_async(&future, pool, act, orders, results, N, .progress = note, .progress_context = &reports), 0);
    assert_int_equal(reports.count, 0); /* nobody waits */
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    check_reports(&reports, N, 0);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    check_reports(&reports, N, 0);
    assert_int_equal(mproc_future_free(future), 0);
    end(pool, board);
}

static void progress_is_told_to_those_that_iterate(void **state)
{
    (void)state;
    enum { N = 20 };
    struct board *board = board_make();
    struct order orders[N];
    int result;
    struct mproc_imap_item item;
    struct reports reports = { .board = board, .thread = pthread_self(), .n = N, .open_at = IS_SERIAL ? 0 : 2 };
    mproc_imap *results = NULL;
    mproc_pool *pool = open_pool(2);
    orders_fill(orders, N, board, WORK);
    orders[5].deed = GATE;
    orders[6].deed = FAIL;
    assert_int_equal(
        mproc_imap(&results, pool, act, orders, &result, N, .progress = note, .progress_context = &reports), 0);
    for (int i = 0; i < N; i++)
        assert_int_equal(mproc_imap_next(results, &item, MPROC_FOREVER), 1);
    assert_int_equal(mproc_imap_next(results, &item, MPROC_FOREVER), 0);
    check_reports(&reports, N, 1);
    assert_int_equal(mproc_imap_free(results), 0);
    check_reports(&reports, N, 1);
    end(pool, board);
}

static void the_bar_is_drawn_where_it_is_told(void **state)
{
    (void)state;
    int numbers[10] = { 0, 2, 4, 6, 8, 10, 12, 14, 16, 17 }, results[10];
    char text[4096];
    FILE *file = tmpfile();
    mproc_pool *pool = open_pool(1);
    assert_int_equal(
        mproc_map(pool, fail_if_odd, numbers, results, 10, .progress = mproc_progress_bar, .progress_context = file),
        1);
    rewind(file);
    size_t length = fread(text, 1, sizeof text - 1, file);
    text[length] = '\0';
    fclose(file);
    assert_non_null(strstr(text, "fail_if_odd"));
    assert_non_null(strstr(text, "100%"));
    assert_non_null(strstr(text, "10/10"));
    assert_non_null(strstr(text, "1 failed"));
    assert_null(strchr(text, '\r')); /* it is no terminal */
    assert_null(strchr(text, '\033'));
    assert_int_equal(text[length - 1], '\n');
    assert_int_equal(mproc_pool_close(pool), 0);
}

/* ---- statistics */

static struct mproc_pool_statistics statistics_of(mproc_pool *pool)
{
    struct mproc_pool_statistics statistics = { .size = sizeof statistics };
    assert_int_equal(mproc_pool_statistics(pool, &statistics), 0);
    return statistics;
}

static void check_sums(mproc_pool *pool, int workers, uint64_t items)
{
    uint64_t done = 0, starts = 0;
    for (int i = 0; i < workers; i++) {
        struct mproc_worker_statistics worker = { .size = sizeof worker };
        assert_int_equal(mproc_pool_worker_statistics(pool, i, &worker), 0);
        assert_int_equal(worker.pid != getpid(), IS_PROCESSES);
        assert_true(worker.busy >= 0 && worker.idle_time >= 0 && (IS_CLUSTER || worker.starts >= 1));
        done += worker.items;
        starts += worker.starts;
    }
    assert_int_equal(done, items);
    assert_int_equal(starts, statistics_of(pool).workers_started);
}

static void check_quantiles(const struct mproc_pool_statistics *statistics)
{
    assert_true(statistics->latency_p50 > 0 && statistics->run_p50 > 0);
    assert_true(statistics->latency_p50 <= statistics->latency_p90);
    assert_true(statistics->latency_p90 <= statistics->latency_p99);
    assert_true(statistics->latency_p99 <= statistics->latency_max);
    assert_true(statistics->run_p50 <= statistics->run_p90);
    assert_true(statistics->run_p90 <= statistics->run_p99);
    assert_true(statistics->run_p99 <= statistics->run_max);
}

static void statistics_add_up(void **state)
{
    (void)state;
    if (IS_SERIAL)
        harness_skip("see statistics_are_refused_where_there_are_none");
    enum { N = 200 };
    struct board *board = board_make();
    struct order orders[N];
    int results[N], workers = IS_CLUSTER ? CLUSTER_WORKERS : 3;
    mproc_pool *pool = open_pool(3);
    struct mproc_pool_statistics now = statistics_of(pool);
    assert_int_equal(now.workers_started, IS_CLUSTER ? 0 : 3); /* machines do not tell */
    assert_true(now.items == 0 && now.unsuccessful == 0 && now.calls == 0 && now.waiting == 0);
    orders_fill(orders, N, board, WORK);
    orders[3].deed = orders[4].deed = FAIL;
    orders[5].deed = IS_PROCESSES ? CRASH : FAIL;
    orders[5].number = 5;
    assert_int_equal(mproc_map(pool, act, orders, results, N, .chunk = 1), 3);
    do /* figures may be a moment old */
        now = statistics_of(pool);
    while (now.items < N || now.calls > 0 || now.workers != workers || now.idle != workers);
    assert_int_equal(now.items, N);
    assert_int_equal(now.unsuccessful, 3);
    assert_int_equal(now.waiting, 0);
    assert_int_equal(now.workers_started, IS_CLUSTER ? 0 : IS_PROCESSES ? 4 : 3);
    assert_int_equal(now.workers_crashed, IS_PROCESSES && !IS_CLUSTER);
    assert_true(now.uptime > 0 && now.busy > 0 && now.idle_time >= 0);
    assert_true(IS_CLUSTER || now.busy + now.idle_time <= 4 * statistics_of(pool).uptime);
    check_quantiles(&now);
    check_sums(pool, IS_CLUSTER ? 1 : 3, N);
    end(pool, board);
}

static void attempts_count_in_statistics(void **state)
{
    (void)state;
    if (IS_SERIAL)
        harness_skip("see statistics_are_refused_where_there_are_none");
    struct board *board = board_make();
    struct order order = { board, FAIL, 4 };
    struct mproc_pool_statistics now;
    int result;
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_apply(pool, act, &order, &result, .retries = 4, .retry_on = MPROC_RETRY_FAILED), 1);
    do
        now = statistics_of(pool);
    while (now.unsuccessful < 5);
    assert_int_equal(now.unsuccessful, 5);
    end(pool, board);
}

static void statistics_tell_what_waits(void **state)
{
    (void)state;
    if (IS_SERIAL)
        harness_skip("see statistics_are_refused_where_there_are_none");
    enum { N = 30 };
    struct board *board = board_make();
    struct order orders[N];
    int results[N], result;
    struct mproc_pool_statistics now;
    mproc_future *futures[2] = { NULL };
    mproc_pool *pool = open_pool(2);
    orders_fill(orders, N, board, GATE);
    assert_int_equal(mproc_map_async(&futures[0], pool, act, orders, results, N, .chunk = 1), 0);
    futures[1] = begin(pool, board, GATE, 1, &result);
    gate_wait_arrived(&board->gate, 2);
    do
        now = statistics_of(pool);
    while ((now.idle > 0 && !IS_CLUSTER) || now.calls != 2 || now.waiting != N + 1 - (IS_CLUSTER ? 6 : 2));
    gate_open(&board->gate);
    assert_int_equal(mproc_future_wait_all(futures, 2, MPROC_FOREVER), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(mproc_future_free(futures[i]), 0);
    end(pool, board);
}

static void statistics_are_refused_where_there_are_none(void **state)
{
    (void)state;
    struct mproc_pool_statistics statistics = { .size = sizeof statistics };
    struct mproc_worker_statistics worker = { .size = sizeof worker };
    mproc_pool *pool = open_pool(2);
    while (IS_CLUSTER && mproc_pool_machines(pool, NULL, 0) == 0)
        harness_sleep_ms(1);
    assert_int_equal(mproc_pool_statistics(pool, NULL), -EINVAL);
    assert_int_equal(mproc_pool_worker_statistics(pool, 0, NULL), -EINVAL);
    assert_int_equal(mproc_pool_statistics(pool, &statistics), IS_SERIAL ? -ENOTSUP : 0);
    assert_int_equal(mproc_pool_worker_statistics(pool, 0, &worker), IS_SERIAL ? -ENOTSUP : 0);
    if (!IS_SERIAL) {
        assert_int_equal(mproc_pool_worker_statistics(pool, -1, &worker), -EINVAL);
        assert_int_equal(mproc_pool_worker_statistics(pool, 2, &worker), -EINVAL);
        assert_int_equal(mproc_pool_worker_statistics(pool, MPROC_WORKERS_MAX, &worker), -EINVAL);
        statistics.size = worker.size = 0;
        assert_int_equal(mproc_pool_statistics(pool, &statistics), MPROC_E_STRUCT_SIZE);
        assert_int_equal(mproc_pool_worker_statistics(pool, 0, &worker), MPROC_E_STRUCT_SIZE);
    }
    assert_int_equal(mproc_pool_close(pool), 0);
    statistics.size = sizeof statistics;
    worker.size = sizeof worker;
    assert_int_equal(mproc_pool_statistics(pool, &statistics), MPROC_E_CLOSED);
    assert_int_equal(mproc_pool_worker_statistics(pool, 0, &worker), MPROC_E_CLOSED);
}

/* ---- the trace */

static const char *skip_space(const char *text)
{
    while (text && isspace((unsigned char)*text))
        text++;
    return text;
}

static const char *skip_string(const char *text)
{
    for (text++; *text && *text != '"'; text++)
        if ((unsigned char)*text < ' ' || (*text == '\\' && !*++text))
            return NULL;
    return *text ? text + 1 : NULL;
}

/* Behind one JSON value; NULL if there is none. Numbers are taken for good if strtod does. */
static const char *skip_json(const char *text)
{
    text = skip_space(text);
    if (!text || !*text)
        return NULL;
    if (*text == '"')
        return skip_string(text);
    if (*text != '{' && *text != '[') {
        static const char *const words[] = { "true", "false", "null" };
        for (int i = 0; i < 3; i++)
            if (strncmp(text, words[i], strlen(words[i])) == 0)
                return text + strlen(words[i]);
        char *behind;
        strtod(text, &behind);
        return behind == text ? NULL : behind;
    }
    char close = *text == '{' ? '}' : ']';
    text = skip_space(text + 1);
    if (*text == close)
        return text + 1;
    for (;;) {
        if (close == '}') {
            text = skip_space(*text == '"' ? skip_string(text) : NULL);
            if (!text || *text++ != ':')
                return NULL;
        }
        text = skip_space(skip_json(text));
        if (!text || (*text != ',' && *text != close))
            return NULL;
        if (*text++ == close)
            return text;
        text = skip_space(text);
    }
}

static int count_events(const char *path)
{
    static char text[100000];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    assert_true(length < sizeof text - 1);
    text[length] = '\0';
    const char *behind = skip_space(skip_json(text));
    assert_true(behind && *behind == '\0');
    int count = 0;
    for (const char *event = text; (event = strstr(event, "\"ph\"")); count += *event == '"' && event[1] == 'X') {
        event = strchr(event + 4, ':');
        assert_non_null(event);
        event = skip_space(event + 1);
    }
    assert_non_null(strstr(text, "act"));
    return count;
}

static void each_item_is_in_the_trace(void **state)
{
    (void)state;
    enum { N = 100 };
    struct board *board = board_make();
    struct order orders[N];
    int results[N], result;
    char path[] = "/tmp/mproc-trace-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_true(write(fd, "old", 3) == 3);
    close(fd);
    mproc_pool *pool = OPEN(.workers = 2, .trace = path, .name = "a \"pool\" \\ with\na name");
    orders_fill(orders, N, board, WORK);
    orders[7].deed = FAIL;
    orders[8].deed = IS_PROCESSES ? CRASH : WORK;
    assert_int_equal(mproc_map(pool, act, orders, results, N), IS_PROCESSES ? 2 : 1);
    mproc_future *future = begin(pool, board, WORK, 4, &result);
    assert_int_equal(mproc_future_free(future), 0);
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(count_events(path), N + 1);
    unlink(path);
    assert_int_equal(mproc_free(board), 0);
}

static void a_trace_that_cannot_be_written_is_refused(void **state)
{
    (void)state;
    mproc_pool *pool = (mproc_pool *)state;
    struct mproc_error error;
    assert_int_equal(mproc_pool_open(&pool, .backend = BACKEND, .method = METHOD, .cluster = CLUSTER_URL,
                                     .error = &error, .trace = "/nonexistent/mproc/trace"),
                     -ENOENT);
    assert_non_null(strstr(error.message, "/nonexistent/mproc/trace"));
    assert_ptr_equal(pool, state);
    int err =
        mproc_pool_open(&pool, .backend = BACKEND, .method = METHOD, .cluster = CLUSTER_URL, .trace = "/dev/full");
    int number = 3;
    int64_t squared;
    if (err == 0) {
        assert_int_equal(mproc_apply(pool, square, &number, &squared), 0);
        err = mproc_pool_close(pool);
    }
    assert_int_equal(err, -ENOSPC);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(progress_is_told_while_results_are_waited_for),
    cmocka_unit_test(progress_is_told_to_those_that_wait_for_futures),
    cmocka_unit_test(progress_is_told_to_those_that_iterate),
    cmocka_unit_test(the_bar_is_drawn_where_it_is_told),
    cmocka_unit_test(statistics_add_up),
    cmocka_unit_test(attempts_count_in_statistics),
    cmocka_unit_test(statistics_tell_what_waits),
    cmocka_unit_test(statistics_are_refused_where_there_are_none),
    cmocka_unit_test(each_item_is_in_the_trace),
    cmocka_unit_test(a_trace_that_cannot_be_written_is_refused),
};

CONFORMANCE_MAIN(tests)
