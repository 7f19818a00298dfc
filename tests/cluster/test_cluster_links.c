/* The engine on Redis when an answer of the server does not arrive: what was said and what was done then differ. The
 * engine is used as pools and agents use it, one call after the other. SPDX-License-Identifier: MIT */
#include "harness.h"
#include "proxy.h"
#include "servers.h"

#include <dlfcn.h>
#include <errno.h>
#include <mproc/engine.h>
#include <stdio.h>
#include <string.h>

enum { MAIN_LINK, FEED, NUMBERS = 8 };

static const struct mproc_engine *engine;
static struct server server;
static struct proxy proxy;
static void *pool, *agent;

/* How often each batch came to the agent, and what came to the pool. */
static int begun[NUMBERS], completed[NUMBERS], lost[NUMBERS], rejected[NUMBERS][3];
static uint64_t pool_id; /* 0: the agent has not seen it */

/* ---- what comes */

static void on_completed(void *context, uint64_t number, const void *data, size_t size)
{
    (void)context;
    assert_int_equal(size, 6);
    assert_memory_equal(data, "result", 6);
    completed[number]++;
}

static void on_lost(void *context, uint64_t number)
{
    (void)context;
    lost[number]++;
}

static void on_rejected(void *context, uint64_t number, enum mproc_engine_rejection why)
{
    (void)context;
    rejected[number][why]++;
}

static void on_forgotten(void *context)
{
    (void)context;
    fail_msg("nothing was forgotten");
}

static const struct mproc_engine_results results = { on_completed, on_lost, on_rejected, on_forgotten };

static bool on_opened(void *context, uint64_t id, const void *description, size_t size)
{
    (void)context;
    assert_int_equal(size, 11);
    assert_memory_equal(description, "description", 11);
    pool_id = id;
    return true;
}

static bool on_batch(void *context, uint64_t id, uint64_t number, const void *data, size_t size)
{
    (void)context;
    assert_true(id == pool_id);
    assert_int_equal(size, 5);
    assert_memory_equal(data, "input", 5);
    begun[number]++;
    return true;
}

static void on_cancelled(void *context, uint64_t id, uint64_t number)
{
    (void)context;
    (void)id;
    (void)number;
}

static void on_closed(void *context, uint64_t id)
{
    (void)context;
    (void)id;
}

static const struct mproc_engine_tasks tasks = { on_opened, on_batch, on_cancelled, on_closed };

/* ---- calls, which are made again while the connection is not there */

static void *open_by(int port, const char *name)
{
    char url[64], message[MPROC_ENGINE_MESSAGE_SIZE] = "";
    void *connection = NULL;
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/farm", port);
    const char *user = name ? "agent" : "pool";
    const struct mproc_engine_options options = { .size = sizeof options,
                                                  .url = url,
                                                  .user = user,
                                                  .password = user,
                                                  .name = name,
                                                  .lease = INT64_C(20000000000),
                                                  .patience = INT64_C(60000000000),
                                                  .message = message };
    if (engine->open(&connection, &options) != 0)
        fail_msg("%s", message);
    return connection;
}

static void open_farm(int pools_port, int agents_port)
{
    memset(begun, 0, sizeof begun);
    memset(completed, 0, sizeof completed);
    memset(lost, 0, sizeof lost);
    memset(rejected, 0, sizeof rejected);
    pool_id = 0;
    agent = open_by(agents_port, "agent");
    pool = open_by(pools_port, NULL);
    assert_int_equal(engine->begin(pool, "description", 11), 0);
}

static void close_farm(void)
{
    engine->close(agent);
    engine->close(pool);
}

static void expect_ok_or_again(int result, const void *connection)
{
    if (result != -EAGAIN && result < 0)
        fail_msg("%s", engine->message(connection));
}

static void submit(uint64_t number)
{
    const struct mproc_engine_batch batch = {
        .number = number, .times = 1, .head = "in", .head_size = 2, .data = "put", .size = 3
    };
    double deadline = harness_now() + HARNESS_PATIENCE / 1000.0;
    int result;
    while ((result = engine->submit(pool, &batch)) == -EAGAIN && harness_now() < deadline) {
        expect_ok_or_again(engine->results(pool, &results, NULL), pool);
        harness_sleep_ms(5);
    }
    assert_int_equal(result, 0);
}

/* Lets both sides look until the count, or for so long. */
static void look_until(const int *count, int wanted, unsigned most)
{
    double deadline = harness_now() + HARNESS_PATIENCE / 1000.0;
    while (*count < wanted) {
        if (harness_now() > deadline)
            fail_msg("it does not come");
        expect_ok_or_again(engine->fetch(agent, most, &tasks, NULL), agent);
        expect_ok_or_again(engine->results(pool, &results, NULL), pool);
        harness_sleep_ms(2);
    }
}

static void look_for(int milliseconds)
{
    for (double end = harness_now() + milliseconds / 1000.0; harness_now() < end; harness_sleep_ms(2)) {
        expect_ok_or_again(engine->fetch(agent, 4, &tasks, NULL), agent);
        expect_ok_or_again(engine->results(pool, &results, NULL), pool);
    }
}

/* Until it knows the pool, and takes no batch. */
static void let_agent_see_the_pool(void)
{
    double deadline = harness_now() + HARNESS_PATIENCE / 1000.0;
    while (!pool_id) {
        assert_true(harness_now() < deadline);
        expect_ok_or_again(engine->fetch(agent, 0, &tasks, NULL), agent);
        harness_sleep_ms(2);
    }
}

static void complete(uint64_t number)
{
    int result;
    while ((result = engine->complete(agent, pool_id, number, "result", 6)) == -EAGAIN)
        harness_sleep_ms(5);
    if (result != 0)
        fail_msg("%s", engine->message(agent));
}

/* Lines of the guide's access lists, for this farm, with the users' names as their passwords. */
static void read_access_lists(char *lists, size_t size)
{
    static const char *const users[] = { "agent", "pool" };
    char line[2048];
    size_t used = 0;
    FILE *guide = fopen(GUIDE, "re");
    assert_non_null(guide);
    while (fgets(line, sizeof line, guide))
        for (int i = 0; i < 2; i++) {
            char begins[48];
            int length =
                snprintf(begins, sizeof begins, "user %s on #$(hash %s) ~mproc:{render}:* ", users[i], users[i]);
            if (strncmp(line, begins, (size_t)length) == 0)
                used += (size_t)snprintf(lists + used, size - used, "user %s on >%s ~mproc:{farm}:* %s", users[i],
                                         users[i], line + length);
        }
    fclose(guide);
    assert_true(used > 0 && used < size);
}

static int set_up(void **state)
{
    (void)state;
    char lists[2048];
    read_access_lists(lists, sizeof lists);
    server_make(&server);
    server_start(&server, "appendonly yes\nappendfsync always\n%s", lists);
    proxy_start(&proxy, server.port);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    proxy_end(&proxy);
    server_end(&server);
    return 0;
}

/* ---- an agent's */

static void a_batch_that_was_delivered_to_a_link_that_broke_is_begun_once(void **state)
{
    (void)state;
    open_farm(server.port, proxy.port);
    let_agent_see_the_pool();
    proxy_silence(&proxy, FEED);
    submit(1);
    submit(2);
    for (double end = harness_now() + 0.2; harness_now() < end; harness_sleep_ms(5))
        expect_ok_or_again(engine->fetch(agent, 4, &tasks, NULL), agent);
    server_wait_says(&server, "xpending $TASKS agents", "^2$");
    assert_int_equal(begun[1], 0);
    proxy_break(&proxy);
    look_until(&begun[1], 1, 4);
    look_until(&begun[2], 1, 4);
    complete(1);
    look_until(&completed[1], 1, 4);
    look_for(1000);
    complete(2);
    look_until(&completed[2], 1, 4);
    assert_int_equal(begun[1] + begun[2], 2);
    assert_int_equal(lost[1] + lost[2], 0);
    close_farm();
}

static void an_agent_has_no_part_in_what_one_of_its_name_had_before(void **state)
{
    (void)state;
    open_farm(server.port, server.port);
    let_agent_see_the_pool();
    submit(1);
    look_until(&begun[1], 1, 4);
    void *before = agent; /* as if it were killed: it is not closed before the next one has begun */
    server_wait_says(&server, "del 'mproc:{farm}:agent:agent'", "^1$");
    agent = open_by(proxy.port, "agent");
    let_agent_see_the_pool();
    proxy_break(&proxy);
    look_for(1000);
    assert_int_equal(begun[1], 1);
    engine->close(before);
    close_farm();
}

static void a_result_of_which_no_answer_came_is_said_again_and_counts_once(void **state)
{
    (void)state;
    open_farm(server.port, proxy.port);
    let_agent_see_the_pool();
    submit(1);
    look_until(&begun[1], 1, 4);
    proxy_silence(&proxy, MAIN_LINK);
    assert_int_equal(engine->complete(agent, pool_id, 1, "result", 6), -EAGAIN);
    server_wait_says(&server, "xlen $TASKS", "^0$");
    assert_int_equal(engine->complete(agent, pool_id, 1, "result", 6), -EAGAIN);
    proxy_break(&proxy);
    complete(1);
    look_until(&completed[1], 1, 4);
    look_for(500);
    assert_int_equal(completed[1], 1);
    assert_int_equal(begun[1], 1);
    close_farm();
}

/* ---- a pool's */

static void a_batch_that_was_refused_without_the_pool_knowing_is_submitted_anew(void **state)
{
    (void)state;
    open_farm(proxy.port, server.port);
    let_agent_see_the_pool();
    server_command(&server, "config set maxmemory 1");
    proxy_silence(&proxy, MAIN_LINK);
    submit(1);
    server_wait_says(&server, "info errorstats", "errorstat_OOM:count=[1-9]");
    server_command(&server, "config set maxmemory 0");
    submit(2);
    server_wait_says(&server, "xlen $TASKS", "^1$");
    proxy_break(&proxy);
    look_until(&rejected[2][MPROC_ENGINE_DOUBTFUL], 1, 0);
    assert_int_equal(rejected[1][MPROC_ENGINE_DOUBTFUL], 1);
    submit(1);
    submit(2);
    look_until(&rejected[1][MPROC_ENGINE_NOT_TAKEN], 1, 0);
    submit(3);
    look_until(&begun[3], 1, 4);
    look_until(&begun[2], 1, 4);
    complete(2);
    complete(3);
    look_until(&completed[2], 1, 4);
    look_until(&completed[3], 1, 4);
    assert_int_equal(begun[1] + completed[1] + lost[1] + lost[2] + lost[3], 0);
    assert_int_equal(begun[2] + begun[3], 2);
    close_farm();
}

static void a_batch_of_which_no_answer_came_and_that_is_done_is_not_submitted_again(void **state)
{
    (void)state;
    open_farm(proxy.port, server.port);
    let_agent_see_the_pool();
    proxy_silence(&proxy, MAIN_LINK);
    submit(1);
    server_wait_says(&server, "xlen $TASKS", "^1$");
    while (begun[1] == 0) {
        expect_ok_or_again(engine->fetch(agent, 4, &tasks, NULL), agent);
        harness_sleep_ms(2);
    }
    complete(1);
    proxy_break(&proxy);
    submit(1); /* it may have heard of the result meanwhile */
    submit(2);
    look_until(&begun[2], 1, 4);
    look_until(&completed[1], 1, 4);
    assert_int_equal(begun[1], 1);
    assert_int_equal(completed[1], 1);
    assert_int_equal(rejected[1][MPROC_ENGINE_NOT_TAKEN] + rejected[1][MPROC_ENGINE_GONE] + lost[1], 0);
    close_farm();
}

static void a_batch_that_was_cancelled_without_the_pool_knowing_is_rejected(void **state)
{
    (void)state;
    open_farm(proxy.port, server.port);
    submit(1);
    server_wait_says(&server, "xlen $TASKS", "^1$");
    proxy_break_at_answer(&proxy, MAIN_LINK);
    assert_int_equal(engine->cancel(pool, 1), -EAGAIN);
    server_wait_says(&server, "xlen $TASKS", "^0$");
    look_until(&rejected[1][MPROC_ENGINE_NOT_TAKEN], 1, 4);
    assert_int_equal(begun[1] + lost[1], 0);
    close_farm();
}

static void batches_outlive_a_server_that_was_killed(void **state)
{
    (void)state;
    open_farm(server.port, server.port);
    submit(1);
    submit(2);
    server_wait_says(&server, "xlen $TASKS", "^2$");
    look_until(&begun[1], 1, 1);
    server_kill(&server);
    server_start_again(&server);
    complete(1);
    look_until(&begun[2], 1, 4);
    complete(2);
    look_until(&completed[1], 1, 4);
    look_until(&completed[2], 1, 4);
    assert_int_equal(begun[1] + begun[2], 2);
    close_farm();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(a_batch_that_was_delivered_to_a_link_that_broke_is_begun_once, set_up, tear_down),
    cmocka_unit_test_setup_teardown(an_agent_has_no_part_in_what_one_of_its_name_had_before, set_up, tear_down),
    cmocka_unit_test_setup_teardown(a_result_of_which_no_answer_came_is_said_again_and_counts_once, set_up, tear_down),
    cmocka_unit_test_setup_teardown(a_batch_that_was_refused_without_the_pool_knowing_is_submitted_anew, set_up,
                                    tear_down),
    cmocka_unit_test_setup_teardown(a_batch_of_which_no_answer_came_and_that_is_done_is_not_submitted_again, set_up,
                                    tear_down),
    cmocka_unit_test_setup_teardown(a_batch_that_was_cancelled_without_the_pool_knowing_is_rejected, set_up, tear_down),
    cmocka_unit_test_setup_teardown(batches_outlive_a_server_that_was_killed, set_up, tear_down),
};

int main(int argc, char **argv)
{
    void *library = dlopen(ENGINE_FILE, RTLD_NOW | RTLD_LOCAL);
    engine = library ? dlsym(library, "mproc_engine") : NULL;
    if (!engine) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    return harness_main(argc, argv, tests, sizeof(tests) / sizeof(tests)[0], HARNESS_SECONDS);
}
