/* Queues between processes, in each start method. SPDX-License-Identifier: MIT */
#include "process_shared.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

static int double_all(mproc_queue *const *queues)
{
    int64_t number;
    int err;
    while ((err = mproc_queue_get(queues[0], &number, sizeof number, NULL, MPROC_FOREVER)) == 0) {
        number *= 2;
        err = mproc_queue_put(queues[1], &number, sizeof number, MPROC_FOREVER);
        if (err)
            return err;
    }
    return err;
}
MPROC_PROCESS(double_all);

static int do_nothing(mproc_queue *const *queues)
{
    (void)queues;
    return 0;
}
MPROC_PROCESS(do_nothing);

static int sleep_on(mproc_queue *const *queues)
{
    (void)queues;
    harness_sleep_ms(HARNESS_PATIENCE);
    return 0;
}
MPROC_PROCESS(sleep_on);

static int count_down(mproc_queue *queue)
{
    int64_t number = 0;
    int err = mproc_queue_get(queue, &number, sizeof number, NULL, MPROC_FOREVER);
    while (err == 0 && number-- > 0)
        err = mproc_queue_put(queue, &number, sizeof number, MPROC_FOREVER);
    return err;
}
MPROC_PROCESS(count_down);

static mproc_queue *queues[2];

static void begin(void)
{
    assert_int_equal(mproc_queue_create(&queues[0], .messages = 10), 0);
    assert_int_equal(mproc_queue_create(&queues[1], .messages = 10), 0);
}

static void end(void)
{
    assert_int_equal(mproc_queue_free(queues[0]), 0);
    assert_int_equal(mproc_queue_free(queues[1]), 0);
}

static void ended_with(mproc_process *process, int value)
{
    struct mproc_outcome outcome;
    assert_int_equal(mproc_process_join(process, MPROC_FOREVER), 0);
    assert_int_equal(mproc_process_outcome(process, &outcome), 0);
    assert_int_equal(outcome.kind, value ? MPROC_FAILED : MPROC_OK);
    assert_int_equal(outcome.code, value);
    assert_int_equal(mproc_process_close(process), 0);
}

static int64_t get_number(mproc_queue *queue)
{
    int64_t number;
    int err = mproc_queue_get(queue, &number, sizeof number, NULL, MPROC_FOREVER);
    return err ? err : number;
}

static void a_queue_is_passed_as_it_is(void **state)
{
    (void)state;
    mproc_process *process = NULL;
    begin();
    assert_int_equal(mproc_process_start(&process, double_all, queues, .method = METHOD), 0);
    for (int64_t i = 1; i < 100; i++) {
        assert_int_equal(mproc_queue_put(queues[0], &i, sizeof i, MPROC_FOREVER), 0);
        assert_int_equal(get_number(queues[1]), 2 * i);
    }
    assert_int_equal(mproc_queue_close(queues[0]), 0);
    ended_with(process, MPROC_E_CLOSED);
    end();
}

static void a_queue_is_an_argument_by_itself(void **state)
{
    (void)state;
    mproc_process *process = NULL;
    int64_t number = 5;
    begin();
    assert_int_equal(mproc_queue_put(queues[0], &number, sizeof number, 0), 0);
    assert_int_equal(mproc_process_start(&process, count_down, queues[0], .method = METHOD), 0);
    ended_with(process, 0);
    for (int64_t i = 4; i >= 0; i--)
        assert_int_equal(get_number(queues[0]), i);
    end();
}

static void it_is_told_when_its_starter_writes_no_more(void **state)
{
    (void)state;
    mproc_process *process = NULL;
    begin();
    assert_int_equal(mproc_process_start(&process, double_all, queues, .method = METHOD), 0);
    assert_int_equal(mproc_queue_detach(queues[0], MPROC_QUEUE_WRITER), 0);
    ended_with(process, MPROC_E_NO_WRITERS);
    end();
}

/* Its end is told although it never wrote; as long as it lives it may still. */
static void one_that_is_to_write_counts_from_its_start(void **state)
{
    (void)state;
    mproc_process *process = NULL;
    begin();
    assert_int_equal(mproc_process_start(&process, sleep_on, queues, .method = METHOD, .writes_to = queues,
                                         .writes_to_count = 2, .reads_from = queues, .reads_from_count = 1),
                     0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(mproc_queue_detach(queues[i], MPROC_QUEUE_WRITER_AND_READER), 0);
    int64_t number;
    assert_int_equal(mproc_queue_get(queues[1], &number, sizeof number, NULL, MPROC_MS(30)), -ETIMEDOUT);
    assert_int_equal(mproc_process_kill(process), 0);
    assert_int_equal(get_number(queues[1]), MPROC_E_NO_WRITERS);
    assert_int_equal(get_number(queues[0]), MPROC_E_NO_WRITERS);
    assert_int_equal(mproc_queue_detach(queues[0], MPROC_QUEUE_READER), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(mproc_queue_put(queues[0], &number, sizeof number, MPROC_FOREVER), 0);
    assert_int_equal(mproc_queue_put(queues[0], &number, sizeof number, MPROC_FOREVER), MPROC_E_NO_READERS);
    assert_int_equal(mproc_process_join(process, MPROC_FOREVER), 0);
    assert_int_equal(mproc_process_close(process), 0);
    end();
}

static void one_that_ends_at_once_is_told_of(void **state)
{
    (void)state;
    begin();
    assert_int_equal(mproc_queue_detach(queues[0], MPROC_QUEUE_WRITER), 0);
    for (int i = 0; i < 10; i++) { /* more than there are places for at first */
        mproc_process *process = NULL;
        assert_int_equal(mproc_process_start(&process, do_nothing, queues, .method = METHOD, .writes_to = queues,
                                             .writes_to_count = 2),
                         0);
        assert_int_equal(get_number(queues[0]), MPROC_E_NO_WRITERS);
        ended_with(process, 0);
    }
    end();
}

static void wrong_queues_are_refused(void **state)
{
    (void)state;
    mproc_process *process = NULL;
    struct mproc_error error;
    begin();
    mproc_queue *const wrong[] = { queues[0], NULL };
    void *memory = mproc_calloc(1, 4096);
    mproc_queue *const none[] = { queues[0], memory };
    assert_int_equal(mproc_process_start(&process, do_nothing, queues, .method = METHOD, .writes_to = wrong,
                                         .writes_to_count = 2, .error = &error),
                     -EINVAL);
    assert_non_null(strstr(error.message, ".writes_to[1]"));
    assert_int_equal(mproc_process_start(&process, do_nothing, queues, .method = METHOD, .reads_from = none,
                                         .reads_from_count = 2, .error = &error),
                     MPROC_E_NOT_INITIALISED);
    assert_non_null(strstr(error.message, ".reads_from[1]"));
    assert_int_equal(
        mproc_process_start(&process, do_nothing, queues, .method = METHOD, .reads_from_count = 1, .error = &error),
        -EINVAL);
    /* What was reserved before it failed is gone. */
    assert_int_equal(mproc_queue_detach(queues[0], MPROC_QUEUE_WRITER), 0);
    assert_int_equal(get_number(queues[0]), MPROC_E_NO_WRITERS);
    assert_int_equal(mproc_free(memory), 0);
    end();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_queue_is_passed_as_it_is),
    cmocka_unit_test(a_queue_is_an_argument_by_itself),
    cmocka_unit_test(it_is_told_when_its_starter_writes_no_more),
    cmocka_unit_test(one_that_is_to_write_counts_from_its_start),
    cmocka_unit_test(one_that_ends_at_once_is_told_of),
    cmocka_unit_test(wrong_queues_are_refused),
};

HARNESS_MAIN_WITH_INIT(tests)
