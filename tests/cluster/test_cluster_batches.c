/* What an agent says of batches that it cannot run, whoever sent them. SPDX-License-Identifier: MIT */
#include "harness.h"

#include "cluster/agent.h"
#include "cluster/messages.h"

#include <mproc.h>
#include <stdio.h>
#include <string.h>

static int halve(const int *number, int *half)
{
    *half = *number / 2;
    return 0;
}
MPROC_TASK(halve, int, int);

/* ---- an engine that remembers the last result */

static struct {
    int count;
    uint64_t pool, number;
    char *data;
    size_t size;
} last;

static int complete(void *connection, uint64_t pool, uint64_t number, const void *data, size_t size)
{
    assert_null(connection);
    free(last.data);
    last.data = malloc(size);
    assert_non_null(last.data);
    memcpy(last.data, data, size);
    last.count++;
    last.pool = pool;
    last.number = number;
    last.size = size;
    return 0;
}

static const struct mproc_engine engine = { .complete = complete };

static struct agent agent = { .engine = &engine, .self = { .name = "machine", .workers = 2 }, .family = 1 };
static struct session session = { .agent = &agent, .pool = 4711, .family = 2 };

static void start(void)
{
    agent.sessions = &session;
    assert_int_equal(mproc_pool_open(&session.local, .workers = 2), 0);
}

static void end(void)
{
    assert_null(session.batches);
    assert_int_equal(agent.batches, 0);
    assert_int_equal(mproc_pool_close(session.local), 0);
    free(last.data);
}

/* As one that comes over the wire: of n items. */
static struct batch_message a_batch(void)
{
    struct batch_message batch = { .n = 3, .input_size = sizeof(int), .output_size = sizeof(int), .detailed = true };
    strcpy(batch.task, "halve");
    return batch;
}

/* Waits for the result of what was sent, whose head it returns. */
static struct result_head run(const void *data, size_t size, struct reader *reader)
{
    static uint64_t number = 100;
    static struct result_head head;
    int before = last.count;
    double deadline = harness_now() + HARNESS_PATIENCE / 1000.0;
    agent_begin_batch(&session, ++number, data, size);
    while (last.count == before) {
        assert_true(harness_now() < deadline);
        assert_int_equal(agent_send_results(&agent), 0);
        harness_sleep_ms(1);
    }
    assert_int_equal(last.pool, 4711);
    assert_int_equal(last.number, number);
    *reader = (struct reader) { .data = last.data, .left = last.size };
    assert_true(result_read_head(reader, &head));
    assert_string_equal(head.machine, "machine");
    return head;
}

static struct result_head run_batch(const struct batch_message *batch, struct reader *reader)
{
    static const int input[3] = { 10, 20, 30 };
    struct writer writer = { .data = NULL };
    batch_write_head(&writer, batch);
    write_raw(&writer, input, sizeof input);
    struct result_head head = run(writer.data, writer.size, reader);
    writer_free(&writer);
    return head;
}

static void expect_all_fail(const struct batch_message *batch, int code, const char *text)
{
    struct reader reader;
    struct result_head head = run_batch(batch, &reader);
    assert_int_equal(head.failure, 0);
    assert_int_equal(head.n, batch->n);
    for (uint32_t i = 0; i < head.n; i++) {
        struct item_message item;
        assert_true(result_read_item(&reader, &head, &item));
        assert_int_equal(item.outcome.kind, MPROC_FAILED);
        assert_int_equal(item.outcome.code, code);
        if (!strstr(item.outcome.message, text))
            fail_msg("'%s' does not say '%s'", item.outcome.message, text);
    }
    assert_true(reader_is_done(&reader));
}

/* ---- tests */

static void what_can_be_run_is_run(void **state)
{
    (void)state;
    struct reader reader;
    struct batch_message batch = a_batch();
    start();
    struct result_head head = run_batch(&batch, &reader);
    assert_int_equal(head.failure, 0);
    assert_int_equal(head.n, 3);
    for (int i = 0; i < 3; i++) {
        struct item_message item;
        int half;
        assert_true(result_read_item(&reader, &head, &item));
        assert_int_equal(item.outcome.kind, MPROC_OK);
        memcpy(&half, item.output, sizeof half);
        assert_int_equal(half, 5 * (i + 1));
    }
    end();
}

static void a_task_that_the_program_has_not_fails_its_items(void **state)
{
    (void)state;
    struct batch_message batch = a_batch();
    start();
    strcpy(batch.task, "no_such_task");
    expect_all_fail(&batch, MPROC_E_FUNCTION_MISSING, "no such function");
    end();
}

static void a_task_of_other_sizes_fails_its_items(void **state)
{
    (void)state;
    struct batch_message batch = a_batch();
    start();
    batch.output_size = 8;
    expect_all_fail(&batch, MPROC_E_TYPE_MISMATCH, "sizes");
    end();
}

static void addresses_of_another_family_fail_their_items(void **state)
{
    (void)state;
    struct batch_message batch = a_batch();
    start();
    batch.has_addresses = true;
    expect_all_fail(&batch, MPROC_E_HEAP_ADDRESS, "shared heap");
    end();
}

/* ---- pools that a machine cannot serve, or ends */

static int never_end(const int *seconds, long *state)
{
    (void)state;
    harness_sleep_ms(*seconds * 1000);
    return 0;
}
MPROC_TASK(never_end, int, long);

static void describe(struct writer *writer, struct description *description)
{
    description->digest = agent.digest = 1;
    snprintf(description->name, sizeof description->name, "served");
    description_write(writer, description);
    assert_false(writer->failed);
}

static void a_pool_that_cannot_be_served_is_told_so(void **state)
{
    (void)state;
    static struct description description;
    static struct result_head head;
    struct writer writer = { .data = NULL };
    struct reader reader;
    description = (struct description) { .start_failures = -1 };
    describe(&writer, &description);
    assert_true(agent_tasks.opened(&agent, 4711, writer.data, writer.size));
    assert_null(agent.sessions->local);
    assert_true(agent_tasks.batch(&agent, 4711, 5, "rubbish", 7));
    assert_int_equal(agent_send_results(&agent), 0);
    reader = (struct reader) { .data = last.data, .left = last.size };
    assert_true(result_read_head(&reader, &head));
    assert_true(head.failure < 0);
    agent_tasks.closed(&agent, 4711);
    assert_null(agent.sessions);
    agent_wait_for_closings(&agent);
    writer_free(&writer);
    free(last.data);
}

static void a_finalizer_that_takes_long_keeps_nobody_waiting(void **state)
{
    (void)state;
    static struct description description;
    static const int seconds = 2;
    struct writer writer = { .data = NULL };
    description = (struct description) { .finalizer = { .name = "never_end",
                                                        .input = &seconds,
                                                        .input_size = sizeof seconds,
                                                        .state_size = sizeof(long) } };
    describe(&writer, &description);
    assert_true(agent_tasks.opened(&agent, 4711, writer.data, writer.size));
    assert_non_null(agent.sessions->local);
    struct mproc_pool_statistics now = { .size = sizeof now };
    do /* a worker that is not ready yet has nothing to finalize */
        assert_int_equal(mproc_pool_statistics(agent.sessions->local, &now), 0);
    while (now.idle < 2);
    agent_tasks.closed(&agent, 4711);
    assert_null(agent.sessions);
    assert_non_null(agent.closings); /* its workers are still at it */
    agent_wait_for_closings(&agent);
    assert_null(agent.closings);
    writer_free(&writer);
}

static void what_cannot_be_understood_breaks_the_pool(void **state)
{
    (void)state;
    struct reader reader;
    struct batch_message batch = a_batch();
    struct writer writer = { .data = NULL };
    start();
    assert_int_equal(run("rubbish", 7, &reader).failure, MPROC_E_WIRE);
    assert_int_equal(run("", 0, &reader).failure, MPROC_E_WIRE);
    batch_write_head(&writer, &batch); /* without its inputs */
    assert_int_equal(run(writer.data, writer.size, &reader).failure, MPROC_E_WIRE);
    writer.data[0] ^= 1; /* of another version */
    assert_int_equal(run(writer.data, writer.size, &reader).failure, MPROC_E_WIRE);
    writer_free(&writer);
    end();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_can_be_run_is_run),
    cmocka_unit_test(a_task_that_the_program_has_not_fails_its_items),
    cmocka_unit_test(a_task_of_other_sizes_fails_its_items),
    cmocka_unit_test(addresses_of_another_family_fail_their_items),
    cmocka_unit_test(what_cannot_be_understood_breaks_the_pool),
    cmocka_unit_test(a_pool_that_cannot_be_served_is_told_so),
    cmocka_unit_test(a_finalizer_that_takes_long_keeps_nobody_waiting),
};

HARNESS_MAIN(tests)
