/* What is measured of items: memory, times, and who did them; on every backend. Compiled once for each; BACKEND and
 * METHOD say which. SPDX-License-Identifier: MIT */
#include "pool_shared.h"

#include "os/sanitizer.h"

#include <time.h>

static struct mproc_outcome outcome;
static int result;

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return MPROC_SEC(time.tv_sec) + time.tv_nsec;
}

/* ---- memory */

enum { MB = 1 << 20 };

static char *touched(size_t size)
{
    char *bytes = malloc(size);
    for (size_t i = 0; i < size; i += 512)
        bytes[i] = (char)i;
    return bytes;
}

static char *volatile kept_bytes;

/* Keeps that many megabytes, and does the deed. */
static int grow(const struct order *order, int *pid)
{
    kept_bytes = touched((size_t)order->number * MB);
    *pid = getpid();
    return carry_out(order);
}
MPROC_TASK(grow);

static void an_item_that_takes_far_too_much_memory_is_killed(void **state)
{
    (void)state;
    if (!IS_PROCESSES || OS_ADDRESS_SANITIZER)
        harness_skip("only processes have memory of their own, and AddressSanitizer takes much");
    struct board *board = board_make();
    struct order order = { board, GROW, 1 };
    mproc_pool *pool = OPEN(.workers = 1, .memory_limit = 64 * MB);
    assert_int_equal(mproc_apply(pool, act, &order, &result, .outcomes = &outcome), 1);
    assert_int_equal(outcome.kind, MPROC_OVER_MEMORY);
    assert_int_equal(outcome.signal, 0);
    assert_true(outcome.pid > 0);
    assert_false(outcome.out_of_memory);
    order = (struct order) { board, WORK, 4 };
    assert_int_equal(mproc_apply(pool, act, &order, &result), 0);
    end(pool, board);
}

static void a_worker_that_keeps_too_much_memory_is_replaced_between_items(void **state)
{
    (void)state;
    if (!IS_PROCESSES || OS_ADDRESS_SANITIZER)
        harness_skip("only processes have memory of their own, and AddressSanitizer takes much");
    struct board *board = board_make();
    struct order order = { board, WORK, 100 };
    int first, other;
    mproc_pool *pool = OPEN(.workers = 1, .memory_limit = 64 * MB, .memory_kill = (size_t)4096 * MB);
    assert_int_equal(mproc_apply(pool, grow, &order, &first), 0);
    order.number = 0;
    do { /* the items are all done, whoever does them */
        assert_int_equal(mproc_apply(pool, grow, &order, &other, .outcomes = &outcome), 0);
        harness_sleep_ms(1);
    } while (other == first);
    end(pool, board);
}

struct heap_use {
    void *block;
    pid_t pid;
};

static int fill_heap(const size_t *size, struct heap_use *use)
{
    use->pid = getpid();
    use->block = mproc_alloc(*size);
    if (!use->block)
        return mproc_task_fail(errno, "no memory");
    memset(use->block, 1, *size);
    return 0;
}
MPROC_TASK(fill_heap);

static void the_shared_heap_is_not_a_workers_own_memory(void **state)
{
    (void)state;
    if (!IS_PROCESSES || OS_ADDRESS_SANITIZER)
        harness_skip("only processes have memory of their own, and AddressSanitizer takes much");
    enum { N = 4 };
    size_t sizes[N] = { 100 * MB, 100 * MB, 0, 0 };
    struct heap_use uses[N];
    struct order order = { NULL, WORK, 0 };
    int pid;
    mproc_pool *pool = OPEN(.workers = 1, .memory_limit = 64 * MB);
    assert_int_equal(mproc_map(pool, fill_heap, sizes, uses, N), 0);
    for (int i = 0; i < 100; i++) { /* it would be replaced meanwhile, or killed */
        assert_int_equal(mproc_apply(pool, grow, &order, &pid), 0);
        assert_int_equal(pid, uses[0].pid);
        harness_sleep_ms(5);
    }
    assert_int_equal(mproc_pool_close(pool), 0);
    for (int i = 0; i < N; i++)
        assert_int_equal(mproc_free(uses[i].block), 0);
}

static void the_most_memory_of_a_worker_is_told_when_it_ends(void **state)
{
    (void)state;
    if (!IS_PROCESSES)
        harness_skip("only processes have memory of their own");
    struct board *board = board_make();
    struct order order = { board, CRASH, 48 };
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_apply(pool, grow, &order, &result, .outcomes = &outcome, .usage = true), 1);
    assert_int_equal(outcome.kind, MPROC_CRASHED);
    assert_true(outcome.peak_memory >= 48 * MB);
    end(pool, board);
}

/* ---- times */

static int64_t cpu_now(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return MPROC_SEC(used.tv_sec) + used.tv_nsec;
}

/* Spends that much CPU time, and sleeps for 20 ms. */
static int spend(const int64_t *cpu_time, int64_t *elapsed)
{
    int64_t start = now(), cpu_start = cpu_now();
    harness_sleep_ms(20);
    while (cpu_now() - cpu_start < *cpu_time) {
    }
    *elapsed = now() - start;
    return 0;
}
MPROC_TASK(spend);

static void the_times_of_an_item_fit_into_those_of_its_call(void **state)
{
    (void)state;
    struct board *board = board_make();
    int64_t cpu_time = 0, elapsed;
    mproc_future *future = NULL;
    mproc_pool *pool = open_pool(1);
    mproc_future *held = begin(pool, board, GATE, 0, &result);
    gate_wait_arrived(&board->gate, 1);
    int64_t start = now();
    assert_int_equal(mproc_submit(&future, pool, spend, &cpu_time, &elapsed), 0);
    int64_t submitted = now();
    harness_sleep_ms(20);
    int64_t opened = now();
    gate_open(&board->gate);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    int64_t whole = now() - start;
    assert_int_equal(mproc_future_outcome(future, 0, &outcome), 0);
    assert_true(elapsed >= MPROC_MS(20));
    assert_true(outcome.ran >= elapsed);
    assert_true(outcome.waited >= (IS_SERIAL ? 0 : opened - submitted));
    assert_true(outcome.waited + outcome.ran <= whole);
    assert_int_equal(outcome.cpu_time, 0); /* not asked for */
    assert_int_equal(outcome.peak_memory, 0);
    assert_int_equal(mproc_future_wait(held, MPROC_FOREVER), 0);
    assert_int_equal(mproc_future_free(held), 0);
    assert_int_equal(mproc_future_free(future), 0);
    end(pool, board);
}

static void the_cpu_time_of_an_item_is_told_if_asked_for(void **state)
{
    (void)state;
    static const int64_t to_spend[4] = { MPROC_MS(60), 0, MPROC_MS(30), 0 };
    int64_t elapsed[4];
    struct mproc_outcome outcomes[4];
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_map(pool, spend, to_spend, elapsed, 4, .chunk = 4, .usage = true, .outcomes = outcomes), 0);
    for (int i = 0; i < 4; i++) {
        assert_true(outcomes[i].cpu_time > 0);
        assert_true(outcomes[i].cpu_time >= to_spend[i]);
        assert_true(outcomes[i].cpu_time < outcomes[i].ran + MPROC_MS(1));
    }
    assert_true(outcomes[1].cpu_time < MPROC_MS(60)); /* that of others is not its own */
    assert_int_equal(mproc_pool_close(pool), 0);
}

/* ---- who */

static int tell_worker(const int *unused, int *index)
{
    (void)unused;
    *index = mproc_worker_index();
    return 0;
}
MPROC_TASK(tell_worker);

static void an_outcome_says_who_did_it(void **state)
{
    (void)state;
    enum { N = 200 };
    int in[N] = { 0 }, workers[N];
    struct mproc_outcome outcomes[N];
    mproc_pool *pool = open_pool(3);
    assert_int_equal(mproc_worker_index(), -1);
    assert_int_equal(mproc_map(pool, tell_worker, in, workers, N, .outcomes = outcomes, .chunk = 1), 0);
    for (int i = 0; i < N; i++) {
        assert_int_equal(outcomes[i].kind, MPROC_OK);
        assert_int_equal(outcomes[i].worker, IS_CLUSTER ? 0 : workers[i]); /* the machine */
        assert_true(workers[i] >= 0 && workers[i] < (IS_SERIAL ? 1 : 3));
        assert_int_equal(outcomes[i].attempts, 1);
        assert_int_equal(outcomes[i].pid != getpid(), IS_PROCESSES);
        assert_true(outcomes[i].pid > 0 && outcomes[i].waited >= 0 && outcomes[i].ran >= 0);
    }
    assert_int_equal(mproc_worker_index(), -1);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_item_that_takes_far_too_much_memory_is_killed),
    cmocka_unit_test(a_worker_that_keeps_too_much_memory_is_replaced_between_items),
    cmocka_unit_test(the_shared_heap_is_not_a_workers_own_memory),
    cmocka_unit_test(the_most_memory_of_a_worker_is_told_when_it_ends),
    cmocka_unit_test(the_times_of_an_item_fit_into_those_of_its_call),
    cmocka_unit_test(the_cpu_time_of_an_item_is_told_if_asked_for),
    cmocka_unit_test(an_outcome_says_who_did_it),
};

CONFORMANCE_MAIN(tests)
