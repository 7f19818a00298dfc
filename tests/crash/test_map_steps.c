/* A map in which one process is killed at each machine instruction in turn. SPDX-License-Identifier: MIT */
#include "pool_steps.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ITEMS = 5 };

static int add_one(const int *in, int *out)
{
    *out = *in + 1;
    return 0;
}
MPROC_TASK(add_one);

/* A task that takes a moment, so that a worker that is stepped gets some of the items; the first one surely. */
static int nap(const int *in, int *out)
{
    if (getpid() == caller->victim)
        caller->victim_has_item = 1;
    while (!caller->victim_has_item && !caller->stepped)
        usleep(100);
    usleep(2000);
    *out = *in + 1;
    return 0;
}
MPROC_TASK(nap);

/* One that ends its worker, if it has the first item. */
static int die_once(const int *in, int *out)
{
    if (*in == 0) {
        caller->begun = 1;
        raise(SIGKILL);
    }
    *out = *in + 1;
    return 0;
}
MPROC_TASK(die_once);

/* A result of memory of its own, larger than what a call itself leaves until the next one. */
enum { REPEATS = 3000, CALL_BYTES = 2048 };

static int repeat(const struct mproc_bytes *in, struct mproc_bytes *out)
{
    char *text = mproc_bytes_allocate(out, REPEATS);
    if (text)
        memset(text, *(const char *)in->data, REPEATS);
    return text ? 0 : -1;
}
MPROC_TASK(repeat);

/* ---- rounds */

/* Each item has exactly one outcome, and it is the right one. */
static void check_map(int result, const int *out, const struct mproc_outcome *outcomes, int crashes)
{
    int ok = 0, crashed = 0;
    for (int i = 0; i < ITEMS; i++) {
        if (outcomes[i].kind == MPROC_OK && CHECK(out[i] == i + 1))
            ok++;
        if (outcomes[i].kind == MPROC_CRASHED && CHECK(outcomes[i].signal == SIGKILL && out[i] == 0))
            crashed++;
    }
    if (result >= 0) {
        CHECK(ok + crashed == ITEMS);
        CHECK(crashed == result && crashed <= crashes);
    } else {
        CHECK(result == MPROC_E_SUPERVISOR_DIED);
    }
}

static int map(mproc_pool *pool, int (*task)(const int *, int *), size_t chunk, int crashes)
{
    int in[ITEMS] = { 0, 1, 2, 3, 4 }, out[ITEMS] = { 0 };
    struct mproc_outcome outcomes[ITEMS];
    int result = mproc_map(pool, task, in, out, ITEMS, .chunk = chunk, .outcomes = outcomes);
    check_map(result, out, outcomes, crashes);
    return result;
}

static int map_as_it_comes(mproc_pool *pool)
{
    return map(pool, add_one, 0, caller->crashes);
}

/* The second map is handed to the worker, which spins after the first. */
static int map_twice(mproc_pool *pool)
{
    int result = map(pool, add_one, 0, caller->crashes);
    caller->crashes -= result > 0;
    return map(pool, add_one, 0, caller->crashes);
}

static int map_in_twos(mproc_pool *pool)
{
    return map(pool, add_one, 2, caller->crashes);
}

static int map_with_naps(mproc_pool *pool)
{
    return map(pool, nap, 1, caller->crashes);
}

static int map_with_a_death(mproc_pool *pool)
{
    return map(pool, die_once, 1, 1);
}

static size_t heap_bytes(void)
{
    struct mproc_heap_statistics statistics = { .size = sizeof statistics };
    CHECK(mproc_heap_statistics(&statistics) == 0);
    return statistics.bytes_in_use;
}

/* A future of bytes, tried again after a crash. What killed workers had allocated is freed: in the end, there is no
 * more in the heap than there was. */
static int get_bytes(mproc_pool *pool)
{
    struct mproc_bytes in = { (void *)"a", 1 }, out = { NULL, 0 };
    mproc_future *future = NULL;
    CHECK(mproc_submit(&future, pool, repeat, &in, &out, .retries = 1) == 0);
    int result = mproc_future_wait(future, MPROC_FOREVER);
    const char *text = out.data;
    CHECK(result == 0 && out.size == REPEATS && text[0] == 'a' && memcmp(text, text + 1, REPEATS - 1) == 0);
    CHECK(mproc_future_free(future) == 0 && mproc_bytes_free(&out) == 0);
    if (caller->heap_bytes == 0)
        caller->heap_bytes = heap_bytes();
    for (int attempt = 0; attempt < 1000 && heap_bytes() > caller->heap_bytes + CALL_BYTES; attempt++)
        usleep(1000); /* what the dead owned goes with them */
    CHECK(heap_bytes() <= caller->heap_bytes + CALL_BYTES);
    return result;
}

/* ---- a worker */

#define WORKERS(number) ((struct mproc_pool_open_arguments) { .workers = (number) })

static void end(long points, long least)
{
    printf("points: %ld\n", points);
    assert_true(points >= least);
}

static void the_only_worker_is_killed_at_every_instruction_of_a_map(void **state)
{
    (void)state;
    pool_steps_begin();
    long points = step_worker(map_as_it_comes, WORKERS(1), 0, KILLED, stepper_stride(149));
    points += step_worker(map_in_twos, WORKERS(1), 0, KILLED, stepper_stride(149));
    end(points, 25);
}

static void the_only_worker_is_killed_at_every_instruction_of_being_handed_a_map(void **state)
{
    (void)state;
    pool_steps_begin();
    end(step_worker(map_twice, WORKERS(1), 0, KILLED, stepper_stride(149)), 20);
}

static void one_of_two_workers_is_killed_at_every_instruction_of_a_map(void **state)
{
    (void)state;
    pool_steps_begin();
    end(step_worker(map_with_naps, WORKERS(2), 0, KILLED, stepper_stride(61)), 20);
}

static void the_only_worker_is_killed_at_every_instruction_of_a_result_of_bytes(void **state)
{
    (void)state;
    pool_steps_begin();
    end(step_worker(get_bytes, WORKERS(1), 0, KILLED, stepper_stride(97)), 20);
}

/* Both workers are stepped; one stops after j instructions and waits there while the other one is killed after k. */
static void a_worker_is_killed_while_another_stands_still_at_every_instruction(void **state)
{
    (void)state;
    pool_steps_begin();
    pid_t pid = caller_start(map_in_twos, WORKERS(2));
    pid_t supervisor = only_child(pid);
    long points = 0, stride = getenv("MPROC_CRASH_ALL") ? 47 : 601, longest = 1;
    int round = 0;
    caller->crashes = 1;
    for (long j = 1; longest >= j; j += stride) {
        for (long k = 1;; k += stride) {
            int still = asleep_worker(supervisor, 2, 0), victim = asleep_worker(supervisor, 2, 1);
            assert_true(stepper_attach(still) && stepper_attach(victim));
            caller_begin(pid, ++round);
            long did = stepper_step(still, j, POOL_STEPS_PATIENCE);
            long got = stepper_step(victim, k, POOL_STEPS_PATIENCE);
            longest = did < j ? did : longest > j ? longest : j + stride;
            if (got < k)
                stepper_detach(victim);
            else
                stepper_kill(victim);
            usleep(got < k ? 0 : 2000); /* the supervisor looks while the other stands still */
            stepper_detach(still);
            caller_wait(round);
            if (got < k || did < j)
                break;
            points++;
        }
    }
    caller_end(pid);
    end(points, 20);
}

/* ---- the supervisor */

static void the_supervisor_is_killed_at_every_instruction_of_replacing_a_worker(void **state)
{
    (void)state;
    pool_steps_begin();
    end(step_supervisor(map_with_a_death, WORKERS(2), stepper_stride(399)), 15);
}

/* ---- the caller */

static mproc_pool *opened;

static void open_pool(void)
{
    CHECK(mproc_pool_open(&opened, .workers = 2) == 0);
}

static void map_once(void)
{
    CHECK(map(opened, add_one, 1, 0) == 0);
}

static void close_pool(void)
{
    CHECK(mproc_pool_close(opened) == 0);
}

static void use_and_close(void)
{
    map_once();
    close_pool();
}

static void open_and_use(void)
{
    open_pool();
    map_once();
}

static void the_caller_is_killed_at_every_instruction_of_open(void **state)
{
    (void)state;
    pool_steps_begin();
    /* Most of its 40,000 instructions read and parse text from /proc and /sys. */
    end(step_caller(&(struct caller_steps) { NULL, open_pool, use_and_close }, stepper_stride(1601) == 1 ? 7 : 1601),
        10);
}

static void the_caller_is_killed_at_every_instruction_of_a_map(void **state)
{
    (void)state;
    pool_steps_begin();
    end(step_caller(&(struct caller_steps) { open_pool, map_once, close_pool }, stepper_stride(149)), 10);
}

static void the_caller_is_killed_at_every_instruction_of_close(void **state)
{
    (void)state;
    pool_steps_begin();
    end(step_caller(&(struct caller_steps) { open_and_use, close_pool, NULL }, stepper_stride(149)), 10);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_only_worker_is_killed_at_every_instruction_of_a_map),
    cmocka_unit_test(the_only_worker_is_killed_at_every_instruction_of_being_handed_a_map),
    cmocka_unit_test(one_of_two_workers_is_killed_at_every_instruction_of_a_map),
    cmocka_unit_test(the_only_worker_is_killed_at_every_instruction_of_a_result_of_bytes),
    cmocka_unit_test(a_worker_is_killed_while_another_stands_still_at_every_instruction),
    cmocka_unit_test(the_supervisor_is_killed_at_every_instruction_of_replacing_a_worker),
    cmocka_unit_test(the_caller_is_killed_at_every_instruction_of_open),
    cmocka_unit_test(the_caller_is_killed_at_every_instruction_of_a_map),
    cmocka_unit_test(the_caller_is_killed_at_every_instruction_of_close),
};

HARNESS_MAIN_SECONDS(tests, getenv("MPROC_CRASH_ALL") ? 7200 : 600)
