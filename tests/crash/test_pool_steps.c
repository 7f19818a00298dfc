/* Submitting, cancelling, limits of time, recycling and resizing, with one process killed at each machine instruction
 * in turn. SPDX-License-Identifier: MIT */
#include "pool_steps.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { ITEMS = 3 };

#define GRACES .ask_grace = MPROC_MS(1), .terminate_grace = MPROC_MS(1)
#define POOL(...) ((struct mproc_pool_open_arguments) { GRACES, __VA_ARGS__ })

static int add_one(const int *in, int *out)
{
    *out = *in + 1;
    return 0;
}
MPROC_TASK(add_one);

/* Ignores all but SIGKILL. */
static int hang(const int *in, int *out)
{
    signal(SIGTERM, SIG_IGN);
    *out = *in;
    caller->begun = 1;
    for (int i = 0; i < HARNESS_PATIENCE; i++)
        harness_sleep_ms(1);
    return 0;
}
MPROC_TASK(hang);

/* Marks that the supervisor is about to have something to do. */
static int mark(const int *in, int *out)
{
    caller->begun = 1;
    return add_one(in, out);
}
MPROC_TASK(mark);

/* ---- rounds */

/* Counts the outcomes of each kind; what succeeded has its result. */
static void count_kinds(const struct mproc_outcome *outcomes, const int *out, int *kinds)
{
    for (int i = 0; i < ITEMS; i++) {
        kinds[outcomes[i].kind]++;
        CHECK(outcomes[i].kind != MPROC_OK || out[i] == i + 1);
        CHECK(outcomes[i].kind != MPROC_CRASHED || outcomes[i].signal == SIGKILL);
    }
}

enum { KINDS = 16 };

static int begin_call(mproc_future **future, mproc_pool *pool, int *out, struct mproc_outcome *outcomes)
{
    int in[ITEMS] = { 0, 1, 2 };
    return mproc_map_async(future, pool, add_one, in, out, ITEMS, .chunk = 1, .outcomes = outcomes);
}

/* Cancels when the victim has got to where it is to stand still, and waits. */
static int cancel_a_call(mproc_pool *pool)
{
    int out[ITEMS] = { 0 }, kinds[KINDS] = { 0 };
    struct mproc_outcome outcomes[ITEMS];
    mproc_future *future = NULL;
    CHECK(begin_call(&future, pool, out, outcomes) == 0);
    while (!caller->go)
        mproc_future_wait(future, MPROC_MS(1));
    CHECK(mproc_future_cancel(future) == 0);
    int result = mproc_future_wait(future, MPROC_FOREVER);
    count_kinds(outcomes, out, kinds);
    CHECK(kinds[MPROC_OK] + kinds[MPROC_CANCELLED] + kinds[MPROC_CRASHED] == ITEMS);
    CHECK(kinds[MPROC_CRASHED] <= caller->crashes && result == ITEMS - kinds[MPROC_OK]);
    CHECK(mproc_future_free(future) == 0);
    return result;
}

/* An item that is stopped is tried again, once, and then succeeds: unless it was killed by the test, no item is ever
 * told to have crashed. */
static int map_with_a_limit(mproc_pool *pool)
{
    int in[ITEMS] = { 0, 1, 2 }, out[ITEMS] = { 0 }, kinds[KINDS] = { 0 };
    struct mproc_outcome outcomes[ITEMS];
    int result = mproc_map(pool, add_one, in, out, ITEMS, .chunk = 1, .outcomes = outcomes,
                           .timeout = caller->crashes ? MPROC_SEC(5) : MPROC_MS(60), .retries = 1,
                           .retry_on = MPROC_RETRY_TIMED_OUT);
    count_kinds(outcomes, out, kinds);
    CHECK(kinds[MPROC_OK] + kinds[MPROC_TIMED_OUT] + kinds[MPROC_CRASHED] == ITEMS);
    CHECK(kinds[MPROC_CRASHED] <= caller->crashes);
    CHECK(result == ITEMS - kinds[MPROC_OK]);
    return result;
}

static int map_all(mproc_pool *pool)
{
    int in[ITEMS] = { 0, 1, 2 }, out[ITEMS] = { 0 }, kinds[KINDS] = { 0 };
    struct mproc_outcome outcomes[ITEMS];
    int result = mproc_map(pool, mark, in, out, ITEMS, .chunk = 1, .outcomes = outcomes);
    count_kinds(outcomes, out, kinds);
    if (result == MPROC_E_SUPERVISOR_DIED)
        return result;
    CHECK(kinds[MPROC_OK] + kinds[MPROC_CRASHED] == ITEMS && kinds[MPROC_CRASHED] <= caller->crashes);
    CHECK(result == kinds[MPROC_CRASHED]);
    return result;
}

/* The worker that is stepped is the one that has to go. */
static int shrink_and_grow(mproc_pool *pool)
{
    CHECK(mproc_pool_resize(pool, 1) == 0);
    int result = map_all(pool);
    CHECK(mproc_pool_resize(pool, 2) == 0);
    return result;
}

static int grow(mproc_pool *pool)
{
    CHECK(mproc_pool_resize(pool, 3) == 0);
    caller->begun = 1;
    return map_all(pool);
}

static int shrink(mproc_pool *pool)
{
    CHECK(mproc_pool_resize(pool, 1) == 0);
    caller->begun = 1;
    return map_all(pool);
}

/* The end of an item that was to be stopped. */
static void check_stopped(int result, const struct mproc_outcome *outcome, enum mproc_outcome_kind kind)
{
    if (result == 1)
        CHECK(outcome->kind == kind);
    else
        CHECK(result == MPROC_E_SUPERVISOR_DIED && outcome->kind == MPROC_LOST);
}

static int stop_by_cancelling(mproc_pool *pool)
{
    int in = 0, out;
    struct mproc_outcome outcome;
    mproc_future *future = NULL;
    CHECK(mproc_submit(&future, pool, hang, &in, &out, .outcomes = &outcome) == 0);
    while (!caller->begun)
        usleep(20);
    CHECK(mproc_future_cancel(future) == 0);
    int result = mproc_future_wait(future, MPROC_FOREVER);
    check_stopped(result, &outcome, MPROC_CANCELLED);
    CHECK(mproc_future_free(future) == 0);
    return result;
}

static int stop_by_time(mproc_pool *pool)
{
    int in = 0, out;
    struct mproc_outcome outcome;
    int result = mproc_apply(pool, hang, &in, &out, .outcomes = &outcome, .timeout = MPROC_MS(2));
    check_stopped(result, &outcome, MPROC_TIMED_OUT);
    return result;
}

static void end(const char *name, long points, long least)
{
    printf("%-44s %6ld points\n", name, points);
    fflush(stdout);
    assert_true(points >= least);
}

/* ---- a worker */

static void a_worker_is_killed_at_every_instruction_beside_who_cancels(void **state)
{
    (void)state;
    pool_steps_begin();
    end("killed when the call was cancelled",
        step_worker(cancel_a_call, POOL(.workers = 1), 0, KILLED_AFTER_GO, stepper_stride(199)), 10);
}

static void a_worker_goes_on_at_every_instruction_after_a_call_was_cancelled(void **state)
{
    (void)state;
    pool_steps_begin();
    end("lives on when the call was cancelled",
        step_worker(cancel_a_call, POOL(.workers = 1), 0, FREED_AFTER_GO, stepper_stride(199)), 10);
}

static void a_worker_is_killed_at_every_instruction_of_items_with_a_limit(void **state)
{
    (void)state;
    pool_steps_begin();
    end("killed in items with a limit",
        step_worker(map_with_a_limit, POOL(.workers = 1), 0, KILLED, stepper_stride(199)), 10);
}

static void a_worker_stands_still_at_every_instruction_until_its_time_is_over(void **state)
{
    (void)state;
    pool_steps_begin();
    end("stands still until its time is over",
        step_worker(map_with_a_limit, POOL(.workers = 1), 0, LEFT_FOR_A_WHILE, stepper_stride(199)), 10);
}

static void a_worker_is_killed_at_every_instruction_of_its_last_items(void **state)
{
    (void)state;
    pool_steps_begin();
    end("killed before it is replaced",
        step_worker(map_all, POOL(.workers = 1, .items_per_worker = 2), 0, KILLED, stepper_stride(61)), 10);
}

static void a_worker_is_killed_at_every_instruction_of_having_to_go(void **state)
{
    (void)state;
    pool_steps_begin();
    end("killed while the pool shrinks",
        step_worker(shrink_and_grow, POOL(.workers = 2), 1, KILLED, stepper_stride(17)), 10);
}

/* ---- the supervisor */

static void the_supervisor_is_killed_at_every_instruction_of_stopping_what_is_cancelled(void **state)
{
    (void)state;
    pool_steps_begin();
    end("supervisor, an item is cancelled",
        step_supervisor(stop_by_cancelling, POOL(.workers = 2), stepper_stride(499)), 10);
}

static void the_supervisor_is_killed_at_every_instruction_of_stopping_what_takes_too_long(void **state)
{
    (void)state;
    pool_steps_begin();
    end("supervisor, an item takes too long", step_supervisor(stop_by_time, POOL(.workers = 2), stepper_stride(499)),
        10);
}

static void the_supervisor_is_killed_at_every_instruction_of_recycling(void **state)
{
    (void)state;
    pool_steps_begin();
    end("supervisor, workers are replaced",
        step_supervisor(map_all, POOL(.workers = 1, .items_per_worker = 1), stepper_stride(499)), 5);
}

static void the_supervisor_is_killed_at_every_instruction_of_growing(void **state)
{
    (void)state;
    pool_steps_begin();
    end("supervisor, the pool grows", step_supervisor(grow, POOL(.workers = 2), stepper_stride(299)), 5);
}

static void the_supervisor_is_killed_at_every_instruction_of_shrinking(void **state)
{
    (void)state;
    pool_steps_begin();
    end("supervisor, the pool shrinks", step_supervisor(shrink, POOL(.workers = 2), stepper_stride(299)), 5);
}

/* ---- the caller */

static mproc_pool *opened;

static void open_pool(void)
{
    CHECK(mproc_pool_open(&opened, .workers = 2) == 0);
}

static void close_pool(void)
{
    CHECK(mproc_pool_close(opened) == 0);
}

static void submit_and_wait(void)
{
    int out[ITEMS];
    struct mproc_outcome outcomes[ITEMS];
    mproc_future *future = NULL;
    CHECK(begin_call(&future, opened, out, outcomes) == 0);
    CHECK(mproc_future_wait(future, MPROC_FOREVER) == 0);
    CHECK(mproc_future_free(future) == 0);
}

static void submit_and_cancel(void)
{
    CHECK(cancel_a_call(opened) >= 0);
}

static void resize(void)
{
    CHECK(mproc_pool_resize(opened, 3) == 0 && mproc_pool_resize(opened, 1) == 0);
}

static void the_caller_is_killed_at_every_instruction_of_submitting(void **state)
{
    (void)state;
    pool_steps_begin();
    end("caller, submits",
        step_caller(&(struct caller_steps) { open_pool, submit_and_wait, close_pool }, stepper_stride(199)), 10);
}

static void the_caller_is_killed_at_every_instruction_of_cancelling(void **state)
{
    (void)state;
    pool_steps_begin();
    end("caller, cancels",
        step_caller(&(struct caller_steps) { open_pool, submit_and_cancel, close_pool }, stepper_stride(199)), 10);
}

static void the_caller_is_killed_at_every_instruction_of_resizing(void **state)
{
    (void)state;
    pool_steps_begin();
    end("caller, resizes", step_caller(&(struct caller_steps) { open_pool, resize, close_pool }, stepper_stride(37)),
        5);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_worker_is_killed_at_every_instruction_beside_who_cancels),
    cmocka_unit_test(a_worker_goes_on_at_every_instruction_after_a_call_was_cancelled),
    cmocka_unit_test(a_worker_is_killed_at_every_instruction_of_items_with_a_limit),
    cmocka_unit_test(a_worker_stands_still_at_every_instruction_until_its_time_is_over),
    cmocka_unit_test(a_worker_is_killed_at_every_instruction_of_its_last_items),
    cmocka_unit_test(a_worker_is_killed_at_every_instruction_of_having_to_go),
    cmocka_unit_test(the_supervisor_is_killed_at_every_instruction_of_stopping_what_is_cancelled),
    cmocka_unit_test(the_supervisor_is_killed_at_every_instruction_of_stopping_what_takes_too_long),
    cmocka_unit_test(the_supervisor_is_killed_at_every_instruction_of_recycling),
    cmocka_unit_test(the_supervisor_is_killed_at_every_instruction_of_growing),
    cmocka_unit_test(the_supervisor_is_killed_at_every_instruction_of_shrinking),
    cmocka_unit_test(the_caller_is_killed_at_every_instruction_of_submitting),
    cmocka_unit_test(the_caller_is_killed_at_every_instruction_of_cancelling),
    cmocka_unit_test(the_caller_is_killed_at_every_instruction_of_resizing),
};

HARNESS_MAIN_SECONDS(tests, getenv("MPROC_CRASH_ALL") ? 7200 : 600)
