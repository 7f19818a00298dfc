/* A cluster's machines: none, others, killed, leaving, unfit. SPDX-License-Identifier: MIT */
#include "cluster_use.h"

enum { SLACK_SECONDS = 30, N = 20 };

static struct server server;
static struct test_agent agent, second;
static struct piece pieces[N];
static int results[N];
static struct mproc_outcome outcomes[N];

static void start_server(void)
{
    server_make(&server);
    server_start(&server, "%s", "");
}

/* All of them wait until they may go on, if there is a folder. */
static mproc_future *submit(int n, const char *folder, int retries)
{
    mproc_future *future;
    for (int i = 0; i < n; i++) {
        pieces[i] = (struct piece) { .number = i };
        snprintf(pieces[i].folder, sizeof pieces[i].folder, "%s", folder);
    }
    assert_int_equal(mproc_map_async(&future, pool, work, pieces, results, (size_t)n, .chunk = 1, .retries = retries,
                                     .outcomes = outcomes, .error = &error),
                     0);
    return future;
}

static int finish(mproc_future *future)
{
    int result = mproc_future_wait(future, MPROC_MS(HARNESS_PATIENCE));
    assert_int_equal(mproc_future_free(future), 0);
    return result;
}

static void expect_all_well(mproc_future *future, int n)
{
    int result = finish(future);
    if (result != 0)
        fail_msg("%s", error.message);
    for (int i = 0; i < n; i++)
        assert_int_equal(results[i], 2 * i);
}

static void expect_all_cancelled(int n)
{
    for (int i = 0; i < n; i++)
        assert_int_equal(outcomes[i].kind, MPROC_CANCELLED);
}

/* ---- none that can run anything */

static void without_machines_a_map_ends(void **state)
{
    (void)state;
    start_server();
    OPEN_WELL(.cluster = server_url_as(&server, "default:secret"), .cluster_options.patience = MPROC_SEC(1));
    harness_sleep_ms(2500); /* nothing was submitted */
    assert_int_equal(mproc_map(pool, work, pieces, results, 0), 0);
    double began = harness_now();
    expect_error(finish(submit(N, "", 0)), MPROC_E_NO_MACHINES, "for 1 s no machine has served 'redis://");
    assert_true(harness_now() - began >= 1 && harness_now() - began < 1 + SLACK_SECONDS);
    assert_non_null(strstr(error.message, "--mproc-agent"));
    assert_null(strstr(error.message, "secret"));
    expect_all_cancelled(N);
    assert_int_equal(mproc_pool_close(pool), MPROC_E_NO_MACHINES);
    server_end(&server);
}

static void machines_of_another_build_are_no_help(void **state)
{
    (void)state;
    struct mproc_machine_statistics machine;
    start_server();
    AGENT(&agent, .url = server.url, .program = OTHER_AGENT, .name = "other", .workers = 3);
    OPEN_WELL(.cluster = server.url, .cluster_options.patience = MPROC_SEC(2));
    wait_machines(1);
    assert_int_equal(mproc_pool_machines(pool, &machine, 1), 1);
    assert_string_equal(machine.name, "other");
    assert_false(machine.same_build);
    assert_int_equal(machine.workers, 3);
    expect_error(finish(submit(N, "", 0)), MPROC_E_NO_MACHINES, "none of them with this build");
    expect_all_cancelled(N);
    assert_int_equal(mproc_pool_close(pool), MPROC_E_NO_MACHINES);

    AGENT(&second, .url = server.url); /* and no hindrance */
    OPEN_WELL(.cluster = server.url);
    check_map();
    wait_machines(2);
    assert_int_equal(mproc_pool_close(pool), 0);
    agent_leave(&second);
    agent_leave(&agent);
    server_end(&server);
}

static int begin_badly(const int *status, int *state)
{
    *state = 1;
    _exit(*status);
}
MPROC_TASK(begin_badly);

static int begin_with_failure(const int *status, int *state)
{
    *state = 1;
    return mproc_task_fail(*status, "there is no model");
}
MPROC_TASK(begin_with_failure);

static void an_initializer_that_fails_breaks_the_pool(void **state)
{
    (void)state;
    int status = 3;
    struct mproc_worker_task tasks[] = { MPROC_INITIALIZER(begin_badly, &status, int),
                                         MPROC_INITIALIZER(begin_with_failure, &status, int) };
    start_server();
    AGENT(&agent, .url = server.url, .name = "weak-machine");
    for (int i = 0; i < 2; i++) {
        OPEN_WELL(.cluster = server.url, .initializer = tasks[i], .start_failures = 2);
        expect_error(finish(submit(N, "", 3)), MPROC_E_WORKERS_FAIL, "machine 'weak-machine'");
        for (int item = 0; item < N; item++)
            assert_true(outcomes[item].kind == MPROC_LOST || outcomes[item].kind == MPROC_CANCELLED);
        assert_int_equal(mproc_pool_close(pool), MPROC_E_WORKERS_FAIL);
    }
    OPEN_WELL(.cluster = server.url);
    check_map();
    assert_int_equal(mproc_pool_close(pool), 0);
    agent_leave(&agent);
    server_end(&server);
}

/* ---- names */

static void a_name_is_one_machines(void **state)
{
    (void)state;
    start_server();
    AGENT(&agent, .url = server.url, .name = "one");
    OPEN_WELL(.cluster = server.url);
    wait_machines(1);
    AGENT(&second, .url = server.url, .name = "one");
    agent_expect_end(&second, 1, "an agent named 'one' serves this farm already");
    AGENT(&second, .url = server.url, .name = "one");
    agent_expect_end(&second, 1, "EEXIST");
    check_map();
    assert_int_equal(mproc_pool_machines(pool, NULL, 0), 1);
    assert_int_equal(mproc_pool_close(pool), 0);
    agent_leave(&agent);
    server_end(&server);
}

static void a_killed_agent_may_come_back(void **state)
{
    (void)state;
    start_server();
    AGENT(&agent, .url = server.url, .name = "one");
    OPEN_WELL(.cluster = server.url);
    mproc_future *future = submit(N, server.folder, 2);
    wait_begun(server.folder, N, 2);
    agent_kill(&agent);
    file_make(server.folder, "go", 0);
    AGENT(&agent, .url = server.url, .name = "one");
    expect_all_well(future, N);
    agent_leave(&agent);
    AGENT(&agent, .url = server.url, .name = "one"); /* after one that has left: at once */
    check_map();
    assert_int_equal(mproc_pool_close(pool), 0);
    agent_leave(&agent);
    server_end(&server);
}

/* Only what it had: a batch or two for each worker. */
static void what_a_killed_agent_had_is_lost_without_retries(void **state)
{
    (void)state;
    int lost = 0;
    start_server();
    AGENT(&agent, .url = server.url, .name = "one");
    OPEN_WELL(.cluster = server.url);
    mproc_future *future = submit(N, server.folder, 0);
    wait_begun(server.folder, N, 2);
    agent_kill(&agent);
    file_make(server.folder, "go", 0);
    AGENT(&second, .url = server.url, .name = "two");
    int result = finish(future);
    for (int i = 0; i < N; i++) {
        assert_true(outcomes[i].kind == MPROC_OK || outcomes[i].kind == MPROC_LOST);
        lost += outcomes[i].kind == MPROC_LOST;
    }
    assert_true(lost >= 2);
    assert_int_equal(result, lost);
    assert_true(lost <= 4);
    assert_int_equal(mproc_pool_close(pool), 0);
    agent_leave(&second);
    server_end(&server);
}

/* ---- leaving */

static void an_agent_that_leaves_finishes_what_it_runs(void **state)
{
    (void)state;
    struct mproc_machine_statistics machine = { .workers = 0 };
    start_server();
    AGENT(&agent, .url = server.url, .name = "one");
    OPEN_WELL(.cluster = server.url);
    mproc_future *future = submit(N, server.folder, 0);
    wait_begun(server.folder, N, 2);
    AGENT(&second, .url = server.url, .name = "two");
    wait_machines(2);
    kill(agent.pid, SIGTERM);
    assert_false(harness_wait_gone(agent.pid, 1500)); /* longer than its lease */
    file_make(server.folder, "go", 0);
    agent_expect_end(&agent, 0, "");
    expect_all_well(future, N);
    wait_machines(1);
    assert_int_equal(mproc_pool_machines(pool, &machine, 1), 1);
    assert_string_equal(machine.name, "two");
    check_map();
    assert_int_equal(mproc_pool_close(pool), 0);
    agent_leave(&second);
    server_end(&server);
}

/* One that waits for items may be given some as it leaves. */
static void agents_may_leave_at_any_time(void **state)
{
    (void)state;
    start_server();
    AGENT(&agent, .url = server.url, .name = "stays", .workers = 1);
    OPEN_WELL(.cluster = server.url);
    for (int round = 0; round < 8; round++) {
        AGENT(&second, .url = server.url, .name = "leaves", .workers = 1);
        wait_machines(2);
        for (int i = 0; i < 40; i++) {
            struct piece piece = { .number = i };
            int result;
            if (i == 20)
                kill(second.pid, round % 2 ? SIGINT : SIGTERM);
            if (mproc_apply(pool, work, &piece, &result, .error = &error) != 0)
                fail_msg("round %d: %s", round, error.message);
            assert_int_equal(result, 2 * i);
            harness_sleep_ms(round % 3);
        }
        agent_expect_end(&second, 0, "");
        wait_machines(1);
    }
    assert_int_equal(mproc_pool_close(pool), 0);
    agent_leave(&agent);
    server_end(&server);
}

/* ---- addresses */

static int follow(int *const *address, int *number)
{
    *number = **address;
    return 0;
}
MPROC_TASK(follow);

static void check_addresses(int *block)
{
    int *addresses[3] = { block, block, block }, numbers[3];
    struct mproc_outcome how[3];
    expect_error(mproc_map(pool, follow, addresses, numbers, 3, .outcomes = how, .error = &error), 3, "item 0");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(how[i].kind, MPROC_FAILED);
        assert_int_equal(how[i].code, MPROC_E_HEAP_ADDRESS);
        assert_non_null(strstr(how[i].message, "address of the shared heap"));
    }
    check_map();
}

/* The agent, being started by exec, is of a family of its own. */
static void addresses_of_the_shared_heap_do_not_travel(void **state)
{
    (void)state;
    int *block = mproc_alloc(sizeof *block);
    assert_non_null(block);
    start_server();
    AGENT(&agent, .url = server.url);
    OPEN_WELL(.cluster = server.url);
    check_addresses(block);
    assert_int_equal(mproc_pool_close(pool), 0);
    agent_leave(&agent);
    server_end(&server);
    assert_int_equal(mproc_free(block), 0);
}

/* The heap may come to be later than the pool. */
static void addresses_of_a_later_heap_do_not_travel_either(void **state)
{
    (void)state;
    start_server();
    AGENT(&agent, .url = server.url);
    OPEN_WELL(.cluster = server.url);
    check_map();
    int *block = mproc_alloc(sizeof *block);
    assert_non_null(block);
    check_addresses(block);
    assert_int_equal(mproc_pool_close(pool), 0);
    agent_leave(&agent);
    server_end(&server);
    assert_int_equal(mproc_free(block), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(without_machines_a_map_ends),
    cmocka_unit_test(machines_of_another_build_are_no_help),
    cmocka_unit_test(an_initializer_that_fails_breaks_the_pool),
    cmocka_unit_test(a_name_is_one_machines),
    cmocka_unit_test(a_killed_agent_may_come_back),
    cmocka_unit_test(what_a_killed_agent_had_is_lost_without_retries),
    cmocka_unit_test(an_agent_that_leaves_finishes_what_it_runs),
    cmocka_unit_test(agents_may_leave_at_any_time),
    cmocka_unit_test(addresses_of_the_shared_heap_do_not_travel),
    cmocka_unit_test(addresses_of_a_later_heap_do_not_travel_either),
};

CLUSTER_MAIN(tests)
