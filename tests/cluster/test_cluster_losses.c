/* A cluster's server that goes away, comes back, or is full. SPDX-License-Identifier: MIT */
#include "cluster_use.h"

#include <sys/wait.h>

/* Most that anything here may take beyond the patience: it says that something hangs. */
enum { SLACK_SECONDS = 30, ITEMS_MOST = 400 };

static struct server server;
static struct test_agent agent;

static struct call {
    int n, quick; /* so many are done at once; the others wait */
    struct piece pieces[ITEMS_MOST];
    int results[ITEMS_MOST];
    struct mproc_outcome outcomes[ITEMS_MOST];
    mproc_future *future;
} call;

static void submit(int n, int quick, int retries)
{
    call.n = n;
    call.quick = quick;
    for (int i = 0; i < n; i++) {
        call.pieces[i] = (struct piece) { .number = i };
        if (i >= quick)
            memcpy(call.pieces[i].folder, server.folder, sizeof call.pieces[i].folder);
    }
    assert_int_equal(mproc_map_async(&call.future, pool, work, call.pieces, call.results, (size_t)n, .chunk = 1,
                                     .retries = retries, .outcomes = call.outcomes, .error = &error),
                     0);
}

static int finish(void)
{
    int result = mproc_future_wait(call.future, MPROC_MS(HARNESS_PATIENCE));
    assert_int_equal(mproc_future_free(call.future), 0);
    return result;
}

static void expect_all_well(void)
{
    int result = finish();
    if (result != 0) {
        agent_show(&agent);
        fail_msg("%s", error.message);
    }
    for (int i = 0; i < call.n; i++) {
        assert_int_equal(call.outcomes[i].kind, MPROC_OK);
        assert_int_equal(call.results[i], 2 * i);
    }
}

static void wait_items(uint64_t count)
{
    struct mproc_pool_statistics statistics = { .size = sizeof statistics };
    double deadline = harness_now() + HARNESS_PATIENCE / 1000.0;
    do {
        assert_true(harness_now() < deadline);
        harness_sleep_ms(5);
        assert_int_equal(mproc_pool_statistics(pool, &statistics), 0);
    } while (statistics.items < count);
}

/* ---- for good */

static void a_server_that_is_gone_for_good_ends_the_map(void **state)
{
    (void)state;
    server_make(&server);
    server_start(&server, "%s", "");
    AGENT(&agent, .url = server.url, .patience = 2000);
    OPEN_WELL(.cluster = server.url, .cluster_options.patience = MPROC_SEC(2));
    submit(20, 5, 3);
    wait_begun(server.folder, call.n, 2);
    wait_items(2); /* the agent has four at a time, so that it has sent the results of two */
    server_kill(&server);
    double began = harness_now();
    expect_error(finish(), MPROC_E_SERVER_GONE, "for 2 s: ");
    assert_true(harness_now() - began < 2 + SLACK_SECONDS);
    int ended = 0;
    for (int i = 0; i < call.n; i++) {
        enum mproc_outcome_kind kind = call.outcomes[i].kind;
        ended += kind == MPROC_OK;
        if (kind == MPROC_OK)
            assert_int_equal(call.results[i], 2 * i);
        else
            assert_true(kind == MPROC_LOST || kind == MPROC_CANCELLED);
        if (file_exists(server.folder, "begun", i))
            assert_int_equal(kind, MPROC_LOST);
    }
    assert_true(ended >= 2 && ended <= call.quick);
    expect_error(mproc_apply(pool, work, call.pieces, call.results, .error = &error), MPROC_E_SERVER_GONE, "server");
    assert_int_equal(mproc_pool_close(pool), MPROC_E_SERVER_GONE);
    agent_expect_end(&agent, 1, "MPROC_E_SERVER_GONE");
    server_end(&server);
}

static void an_idle_pool_survives_only_as_long_as_its_patience(void **state)
{
    (void)state;
    server_make(&server);
    server_start(&server, "%s", "");
    OPEN_WELL(.cluster = server.url, .cluster_options.patience = MPROC_SEC(1));
    server_kill(&server);
    harness_sleep_ms(3000);
    expect_error(mproc_apply(pool, work, call.pieces, call.results, .error = &error), MPROC_E_SERVER_GONE, "for 1 s: ");
    assert_int_equal(mproc_pool_close(pool), MPROC_E_SERVER_GONE);
    server_end(&server);
}

static void a_pool_is_closed_soon_though_the_server_is_gone(void **state)
{
    (void)state;
    server_make(&server);
    server_start(&server, "%s", "");
    for (int signal = SIGKILL, i = 0; i < 2; i++, signal = SIGSTOP) {
        OPEN_WELL(.cluster = server.url);
        kill(server.pid, signal);
        double began = harness_now();
        assert_int_equal(mproc_pool_terminate(pool), 0);
        assert_true(harness_now() - began < SLACK_SECONDS);
        if (signal == SIGKILL) {
            server_kill(&server);
            server_start_again(&server);
        }
    }
    server_end(&server);
}

/* ---- for a while */

static void start_with_items(const char *options, int n, int retries)
{
    server_make(&server);
    server_start(&server, "%s", options);
    AGENT(&agent, .url = server.url);
    OPEN_WELL(.cluster = server.url);
    submit(n, 0, retries);
    wait_begun(server.folder, n, 2);
}

static void end_well(void)
{
    file_make(server.folder, "go", 0);
    expect_all_well();
    check_map();
    assert_int_equal(mproc_pool_close(pool), 0);
    agent_leave(&agent);
    server_end(&server);
}

static void stop_server(int milliseconds)
{
    kill(server.pid, SIGSTOP);
    harness_sleep_ms(milliseconds);
    kill(server.pid, SIGCONT);
}

static void a_server_may_stand_still(void **state)
{
    (void)state;
    start_with_items("", 40, 2);
    stop_server(2000);
    end_well();
}

/* Longer than commands are waited for. */
static void a_server_may_stand_still_for_long(void **state)
{
    (void)state;
    start_with_items("", 40, 2);
    stop_server(8000);
    end_well();
}

static void a_server_may_stand_still_in_the_midst_of_results(void **state)
{
    (void)state;
    start_with_items("", ITEMS_MOST, 2);
    file_make(server.folder, "go", 0);
    wait_items(20);
    stop_server(1500);
    end_well();
}

/* Nothing has to be begun again, as no machine was lost. It stands still for more than two leases, or than four. */
static void a_server_that_stands_still_loses_nothing(void **state)
{
    (void)state;
    server_make(&server);
    server_start(&server, "%s", "");
    AGENT(&agent, .url = server.url, .lease = 3000);
    OPEN_WELL(.cluster = server.url, .cluster_options.lease = MPROC_SEC(3));
    submit(ITEMS_MOST, 0, 0);
    wait_begun(server.folder, call.n, 2);
    file_make(server.folder, "go", 0);
    for (int i = 1; i <= 2; i++) {
        wait_items((uint64_t)(20 * i));
        stop_server(i == 1 ? 8000 : 14000);
        harness_sleep_ms(2000);
    }
    end_well();
}

/* It is told so meanwhile: what it still has to read, of connections that were given up, comes before that, or late. */
static void a_server_may_stand_still_until_it_has_forgotten_all(void **state)
{
    (void)state;
    start_with_items("", ITEMS_MOST, 5);
    file_make(server.folder, "go", 0);
    for (int i = 1; i <= 2; i++) {
        wait_items((uint64_t)(20 * i));
        kill(server.pid, SIGSTOP);
        int flusher = server_begin_command(&server, "flushall");
        harness_sleep_ms(8000);
        kill(server.pid, SIGCONT);
        assert_int_equal(waitpid(flusher, NULL, 0), flusher);
    }
    end_well();
}

static void a_server_that_kept_all_on_disk_may_be_started_again(void **state)
{
    (void)state;
    start_with_items("appendonly yes\nappendfsync always\n", 40, 3);
    server_kill(&server);
    harness_sleep_ms(2000);
    server_start_again(&server);
    end_well();
}

static void it_may_be_killed_in_the_midst_of_results(void **state)
{
    (void)state;
    start_with_items("appendonly yes\nappendfsync always\n", ITEMS_MOST, 3);
    file_make(server.folder, "go", 0);
    for (int i = 1; i <= 3; i++) {
        wait_items((uint64_t)(20 * i));
        server_kill(&server);
        server_start_again(&server);
    }
    end_well();
}

static void a_server_that_has_forgotten_all_is_told_again(void **state)
{
    (void)state;
    start_with_items("", 40, 3);
    server_kill(&server);
    harness_sleep_ms(1000);
    server_start_again(&server);
    end_well();
}

/* Without .retries, what was on its way may have run, and is not run again. */
static void what_a_server_forgets_is_lost_without_retries(void **state)
{
    (void)state;
    int lost = 0;
    start_with_items("", 40, 0);
    server_kill(&server);
    server_start_again(&server);
    file_make(server.folder, "go", 0);
    int result = finish();
    for (int i = 0; i < call.n; i++) {
        assert_true(call.outcomes[i].kind == MPROC_OK || call.outcomes[i].kind == MPROC_LOST);
        lost += call.outcomes[i].kind == MPROC_LOST;
        if (call.outcomes[i].kind == MPROC_OK)
            assert_int_equal(call.results[i], 2 * i);
    }
    assert_int_equal(result, lost);
    assert_true(lost >= 2 && lost < call.n);
    check_map();
    assert_int_equal(mproc_pool_close(pool), 0);
    agent_leave(&agent);
    server_end(&server);
}

/* ---- memory */

/* What begins with a piece is as that. */
static int weigh(const struct mproc_bytes *bytes, int *weight)
{
    struct piece piece;
    int number;
    memcpy(&piece, bytes->data, sizeof piece);
    work(&piece, &number);
    *weight = (int)bytes->size;
    return 0;
}
MPROC_TASK(weigh, struct mproc_bytes, int);

static int fill(const int *size, struct mproc_bytes *result)
{
    char *room = mproc_bytes_allocate(result, (size_t)*size);
    if (!room)
        return 1;
    memset(room, *size % 251, (size_t)*size);
    return 0;
}
MPROC_TASK(fill, int, struct mproc_bytes);

static void start_small(int workers, int64_t patience)
{
    server_make(&server);
    server_start(&server, "maxmemory-policy noeviction\nmaxmemory 4mb\n");
    AGENT(&agent, .url = server.url, .workers = workers);
    OPEN_WELL(.cluster = server.url, .cluster_options.patience = patience);
    wait_machines(1);
}

/* As many inputs, all of the same bytes. */
static void make_inputs(struct mproc_bytes *inputs, int n, size_t size, const char *folder)
{
    struct piece piece = { .number = 0 };
    snprintf(piece.folder, sizeof piece.folder, "%s", folder);
    char *data = calloc(1, size);
    assert_non_null(data);
    memcpy(data, &piece, sizeof piece);
    for (int i = 0; i < n; i++)
        inputs[i] = (struct mproc_bytes) { data, size };
}

enum { LARGE = 12 };

static void a_full_server_ends_the_map(void **state)
{
    (void)state;
    struct mproc_bytes inputs[LARGE];
    struct mproc_outcome outcomes[LARGE];
    int weights[LARGE];
    start_small(1, MPROC_SEC(3));
    make_inputs(inputs, LARGE, 1500000, server.folder);
    double began = harness_now();
    int result = mproc_map(pool, weigh, inputs, weights, LARGE, .outcomes = outcomes, .error = &error);
    expect_error(result, MPROC_E_SERVER_GONE, "maxmemory");
    assert_true(harness_now() - began < 3 + SLACK_SECONDS);
    for (int i = 0; i < LARGE; i++)
        assert_true(outcomes[i].kind == MPROC_LOST || outcomes[i].kind == MPROC_CANCELLED);
    assert_int_equal(mproc_pool_close(pool), MPROC_E_SERVER_GONE);
    free(inputs[0].data);
    agent_leave(&agent);
    server_end(&server);
}

static void a_server_that_is_full_now_and_then_takes_all(void **state)
{
    (void)state;
    enum { N = 60 };
    struct mproc_bytes inputs[N];
    int weights[N] = { 0 };
    start_small(4, MPROC_SEC(30));
    make_inputs(inputs, N, 700000, "");
    int result = mproc_map(pool, weigh, inputs, weights, N, .error = &error);
    if (result != 0)
        fail_msg("%s", error.message);
    for (int i = 0; i < N; i++)
        assert_int_equal(weights[i], 700000);
    assert_int_equal(mproc_pool_close(pool), 0);
    free(inputs[0].data);
    agent_leave(&agent);
    server_end(&server);
}

static void a_pool_does_not_open_on_a_full_server(void **state)
{
    (void)state;
    server_make(&server);
    server_start(&server, "maxmemory-policy noeviction\nmaxmemory 1000\n");
    expect_error(OPEN(.cluster = server.url), MPROC_E_SERVER_GONE, "maxmemory");
    server_command(&server, "config set maxmemory 0");
    OPEN_WELL(.cluster = server.url);
    assert_int_equal(mproc_pool_close(pool), 0);
    server_end(&server);
}

static void results_that_fill_a_server_are_taken_from_it(void **state)
{
    (void)state;
    enum { N = 60 };
    int sizes[N];
    struct mproc_bytes results[N] = { { .data = NULL } };
    start_small(4, MPROC_SEC(30));
    for (int i = 0; i < N; i++)
        sizes[i] = 700000 + i;
    int result = mproc_map(pool, fill, sizes, results, N, .error = &error);
    if (result != 0)
        fail_msg("%s", error.message);
    for (int i = 0; i < N; i++) {
        assert_int_equal(results[i].size, sizes[i]);
        assert_int_equal(((unsigned char *)results[i].data)[sizes[i] - 1], sizes[i] % 251);
        assert_int_equal(mproc_bytes_free(&results[i]), 0);
    }
    assert_int_equal(mproc_pool_close(pool), 0);
    agent_leave(&agent);
    server_end(&server);
}

/* ---- what is large */

static int turn(const struct mproc_bytes *bytes, struct mproc_bytes *result)
{
    char *room = mproc_bytes_allocate(result, bytes->size);
    for (size_t i = 0; room && i < bytes->size; i++)
        room[i] = ((const char *)bytes->data)[bytes->size - 1 - i];
    return room ? 0 : 1;
}
MPROC_TASK(turn, struct mproc_bytes, struct mproc_bytes);

static void what_is_larger_than_the_server_takes_goes_in_parts(void **state)
{
    (void)state;
    enum { SIZE = 40000001 };
    struct mproc_bytes input = { malloc(SIZE), SIZE }, output = { .data = NULL };
    server_make(&server);
    server_start(&server, "proto-max-bulk-len 1mb\n");
    AGENT(&agent, .url = server.url);
    OPEN_WELL(.cluster = server.url);
    for (size_t i = 0; i < SIZE; i++)
        ((char *)input.data)[i] = (char)(i * 31 >> 3);
    int result = mproc_apply(pool, turn, &input, &output, .error = &error);
    if (result != 0)
        fail_msg("%s; %s", error.message, error.outcome.message);
    assert_int_equal(output.size, SIZE);
    for (size_t i = 0; i < SIZE; i++)
        if (((char *)output.data)[i] != ((char *)input.data)[SIZE - 1 - i])
            fail_msg("byte %zu is wrong", i);
    assert_int_equal(mproc_bytes_free(&output), 0);
    free(input.data);
    assert_int_equal(mproc_pool_close(pool), 0);
    agent_leave(&agent);
    server_end(&server);
}

/* ---- parts, which take memory as long as the pool is open */

static void wait_no_parts(void)
{
    double deadline = harness_now() + HARNESS_PATIENCE / 1000.0;
    while (!server_has_no(&server, "*:parts")) {
        assert_true(harness_now() < deadline);
        harness_sleep_ms(50);
    }
}

static void start_with_large_items(struct mproc_bytes *inputs, int *weights, int n, int retries)
{
    server_make(&server);
    server_start(&server, "%s", "");
    AGENT(&agent, .url = server.url, .name = "one", .workers = 1);
    OPEN_WELL(.cluster = server.url);
    make_inputs(inputs, n, 1500000, server.folder);
    assert_int_equal(mproc_map_async(&call.future, pool, weigh, inputs, weights, (size_t)n, .retries = retries,
                                     .outcomes = call.outcomes, .error = &error),
                     0);
    wait_begun(server.folder, 1, 1);
    assert_false(server_has_no(&server, "*:parts"));
}

static void cancelled_items_leave_no_parts(void **state)
{
    (void)state;
    struct mproc_bytes inputs[LARGE];
    int weights[LARGE];
    start_with_large_items(inputs, weights, LARGE, 0);
    assert_int_equal(mproc_future_cancel(call.future), 0);
    expect_error(finish(), LARGE, "cancelled");
    wait_no_parts();
    assert_int_equal(mproc_pool_close(pool), 0);
    free(inputs[0].data);
    agent_leave(&agent);
    server_end(&server);
}

static void lost_items_leave_no_parts(void **state)
{
    (void)state;
    struct mproc_bytes inputs[LARGE];
    int weights[LARGE];
    struct test_agent second;
    start_with_large_items(inputs, weights, LARGE, 0);
    agent_kill(&agent);
    file_make(server.folder, "go", 0);
    AGENT(&second, .url = server.url, .name = "two");
    int result = finish();
    assert_true(result >= 1 && result < LARGE);
    wait_no_parts();
    assert_int_equal(mproc_pool_close(pool), 0);
    free(inputs[0].data);
    agent_leave(&second);
    server_end(&server);
}

/* As large as the input, and of its process alone. */
static int sign(const struct mproc_bytes *bytes, struct mproc_bytes *result)
{
    struct piece piece;
    int number, *room = mproc_bytes_allocate(result, bytes->size);
    memcpy(&piece, bytes->data, sizeof piece);
    work(&piece, &number);
    for (size_t i = 0; room && i < bytes->size / sizeof *room; i++)
        room[i] = getpid();
    return room ? 0 : 1;
}
MPROC_TASK(sign, struct mproc_bytes, struct mproc_bytes);

/* The agent stands still until another one has its item, and both end it. */
static void of_two_results_in_parts_one_counts(void **state)
{
    (void)state;
    struct mproc_bytes input, output = { .data = NULL };
    struct test_agent second;
    server_make(&server);
    server_start(&server, "%s", "");
    AGENT(&agent, .url = server.url, .name = "one", .workers = 1);
    OPEN_WELL(.cluster = server.url);
    make_inputs(&input, 1, 4000000, server.folder);
    assert_int_equal(mproc_submit(&call.future, pool, sign, &input, &output, .retries = 3, .error = &error), 0);
    wait_begun(server.folder, 1, 1);
    kill(agent.pid, SIGSTOP);
    unlink(server_file(&server, "begun.0"));
    AGENT(&second, .url = server.url, .name = "two", .workers = 1);
    wait_begun(server.folder, 1, 1);
    file_make(server.folder, "go", 0);
    kill(agent.pid, SIGCONT);
    int result = finish();
    if (result != 0)
        fail_msg("%s", error.message);
    assert_int_equal(output.size, 4000000);
    for (int i = 0; i < 1000000; i++)
        assert_int_equal(((int *)output.data)[i], *(int *)output.data);
    wait_no_parts();
    assert_int_equal(mproc_bytes_free(&output), 0);
    free(input.data);
    assert_int_equal(mproc_pool_close(pool), 0);
    agent_leave(&second);
    agent_leave(&agent);
    server_end(&server);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_server_that_is_gone_for_good_ends_the_map),
    cmocka_unit_test(an_idle_pool_survives_only_as_long_as_its_patience),
    cmocka_unit_test(a_pool_is_closed_soon_though_the_server_is_gone),
    cmocka_unit_test(a_server_may_stand_still),
    cmocka_unit_test(a_server_may_stand_still_for_long),
    cmocka_unit_test(a_server_may_stand_still_in_the_midst_of_results),
    cmocka_unit_test(a_server_that_stands_still_loses_nothing),
    cmocka_unit_test(a_server_may_stand_still_until_it_has_forgotten_all),
    cmocka_unit_test(a_server_that_kept_all_on_disk_may_be_started_again),
    cmocka_unit_test(it_may_be_killed_in_the_midst_of_results),
    cmocka_unit_test(a_server_that_has_forgotten_all_is_told_again),
    cmocka_unit_test(what_a_server_forgets_is_lost_without_retries),
    cmocka_unit_test(a_full_server_ends_the_map),
    cmocka_unit_test(a_pool_does_not_open_on_a_full_server),
    cmocka_unit_test(a_server_that_is_full_now_and_then_takes_all),
    cmocka_unit_test(results_that_fill_a_server_are_taken_from_it),
    cmocka_unit_test(what_is_larger_than_the_server_takes_goes_in_parts),
    cmocka_unit_test(cancelled_items_leave_no_parts),
    cmocka_unit_test(lost_items_leave_no_parts),
    cmocka_unit_test(of_two_results_in_parts_one_counts),
};

CLUSTER_MAIN(tests)
