/* Callers that use pools by all calls there are, with random options, while their workers, supervisors and they
 * themselves are killed at random, for as long as is wished: MPROC_SOAK_SECONDS. SPDX-License-Identifier: MIT
 *
 * Checked: each item of a call ends in exactly one way, which fits to what it did and how often it was started; results
 * are right, and untouched where there are none; callbacks are called once; nobody waits for ever. In the end, no
 * process, descriptor or memory is left.
 */
#include "pool_soak.h"

#include "memory/heap.h"

#include "os/sanitizer.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double soak_seconds(void)
{
    const char *text = getenv("MPROC_SOAK_SECONDS");
    return text ? atof(text) : 60;
}

/* ---- kills at random */

static void kill_someone(pid_t caller, unsigned *seed, long kills[2])
{
    int supervisors[16], workers[64];
    int count = harness_children(caller, supervisors, 16);
    if (count == 0)
        return;
    int supervisor = supervisors[rand_r(seed) % count];
    count = harness_children(supervisor, workers, 64);
    bool worker = count > 0 && rand_r(seed) % 20 > 0;
    if (kill(worker ? workers[rand_r(seed) % count] : supervisor, SIGKILL) == 0)
        kills[worker]++;
}

struct round {
    struct totals *totals;
    unsigned seed;
    long kills[2], callers;
    long operations; /* as they were when last seen to grow */
    double progress; /* when that was */
};

static void watch_progress(struct round *round)
{
    if (round->totals->operations != round->operations)
        round->progress = harness_now();
    round->operations = round->totals->operations;
    if (harness_now() - round->progress > HARNESS_PATIENCE / 1000.0)
        fail_msg("nobody gets on; seed %u", round->seed);
}

/* One that has bytes comes to an end by itself; the others are killed. */
static void play_round(struct round *round)
{
    int status;
    bool bytes = rand_r(&round->seed) % 3 == 0;
    int pause = 1 << rand_r(&round->seed) % 16; /* microseconds */
    round->totals->stop = 0;
    fflush(stdout);
    pid_t caller = fork();
    if (caller == 0)
        be_caller(round->totals, round->seed, bytes);
    double end = harness_now() + 0.2 + rand_r(&round->seed) % 1000 / 700.0;
    while (harness_now() < end) {
        usleep((useconds_t)(rand_r(&round->seed) % pause));
        kill_someone(caller, &round->seed, round->kills);
        watch_progress(round);
        if (waitpid(caller, &status, WNOHANG) != 0)
            fail_msg("a caller has ended with status %#x", (unsigned)status);
    }
    round->callers++;
    if (!bytes) {
        kill(caller, SIGKILL);
        waitpid(caller, NULL, 0);
        return;
    }
    round->totals->stop = 1;
    for (double limit = harness_now() + HARNESS_PATIENCE / 1000.0; waitpid(caller, &status, WNOHANG) == 0;) {
        if (harness_now() > limit)
            fail_msg("a caller does not end; seed %u", round->seed);
        harness_sleep_ms(1);
    }
    assert_int_equal(status, 0);
}

static void everything_is_killed_at_random(void **state)
{
    (void)state;
    struct totals *totals = mmap(NULL, sizeof *totals, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const char *text = getenv("MPROC_SOAK_SEED");
    struct round round = { .totals = totals, .progress = harness_now() };
    round.seed = text ? (unsigned)strtoul(text, NULL, 10) : (unsigned)time(NULL);
    printf("seed %u\n", round.seed);
    for (double end = harness_now() + soak_seconds(); harness_now() < end || round.callers < 3;)
        play_round(&round);
    printf("killed: %ld workers, %ld supervisors, %ld callers; %ld calls on %ld pools, of which %ld broke and %ld were "
           "terminated; %ld items: %ld ok, %ld crashed, %ld timed out, %ld cancelled, %ld lost\n",
           round.kills[1], round.kills[0], round.callers, (long)totals->operations, (long)totals->pools,
           (long)totals->broken, (long)totals->terminated, (long)totals->items, (long)totals->ok, (long)totals->crashed,
           (long)totals->timed_out, (long)totals->cancelled, (long)totals->lost);
    munmap(totals, sizeof *totals);
}

/* ---- large numbers */

static int next_number(const int *in, int *out)
{
    *out = *in + 1;
    return *in % 1000 == 999 ? mproc_task_fail(9, "every thousandth fails") : 0;
}
MPROC_TASK(next_number);

struct resources {
    long pages;
    int descriptors, children;
    size_t heap;
};

static struct resources resources_now(void)
{
    int children[64];
    struct resources now = { 0, harness_count_descriptors(), harness_children(getpid(), children, 64),
                             heap_bytes_in_use() };
    FILE *file = fopen("/proc/self/statm", "r");
    assert_int_equal(fscanf(file, "%*s %ld", &now.pages), 1);
    fclose(file);
    return now;
}

/* A call whose worker was still on its way out keeps its memory until the next one; and which pages of the heap are in
 * use depends on who came when. A million items that leave 16 bytes each would leave 4,000 pages. */
enum { KEPT_BYTES = 65536, KEPT_PAGES = 2048 };

static void check_nothing_is_left(struct resources before)
{
    struct resources now = resources_now();
    for (int i = 0; i < HARNESS_PATIENCE && now.heap > before.heap + KEPT_BYTES;
         i++) { /* those on their way out keep theirs */
        harness_sleep_ms(1);
        now = resources_now();
    }
    assert_in_range(now.heap, 0, before.heap + KEPT_BYTES);
    assert_int_equal(now.descriptors, before.descriptors);
    assert_int_equal(now.children, before.children);
    assert_true(OS_ADDRESS_SANITIZER || now.pages - before.pages < KEPT_PAGES);
}

enum { N = 1000 };

static void map_all(mproc_pool *pool, const int *in, int *out)
{
    assert_int_equal(mproc_map(pool, next_number, in, out, N), 1);
}

static void submit_all(mproc_pool *pool, const int *in, int *out)
{
    static mproc_future *futures[N];
    for (int i = 0; i < N; i++)
        assert_int_equal(mproc_submit(&futures[i], pool, next_number, &in[i], &out[i]), 0);
    assert_int_equal(mproc_future_wait_all(futures, N, MPROC_FOREVER), 1);
    for (int i = 0; i < N; i++)
        assert_int_equal(mproc_future_free(futures[i]), 0);
}

static void iterate_over_all(mproc_pool *pool, const int *in, int *out)
{
    int one;
    struct mproc_imap_item item;
    mproc_imap *results = NULL;
    assert_int_equal(mproc_imap(&results, pool, next_number, in, &one, N), 0);
    while (mproc_imap_next(results, &item, MPROC_FOREVER) == 1)
        if (item.outcome.kind == MPROC_OK)
            out[item.index] = one;
    assert_int_equal(mproc_imap_free(results), 0);
}

static void check_million(enum mproc_backend backend)
{
    void (*const calls[])(mproc_pool *, const int *, int *) = { map_all, submit_all, iterate_over_all };
    static int in[N], out[N];
    struct resources before = { 0 };
    mproc_pool *pool;
    for (int i = 0; i < N; i++)
        in[i] = i;
    assert_int_equal(mproc_pool_open(&pool, .workers = 2, .backend = backend), 0);
    for (int round = 0; round < 1000; round++) {
        memset(out, 0, sizeof out);
        calls[round % 3](pool, in, out);
        for (int i = 0; i < N - 1; i++)
            assert_int_equal(out[i], i + 1);
        if (round == 30)
            before = resources_now();
    }
    check_nothing_is_left(before);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void a_million_items_leave_nothing(void **state)
{
    (void)state;
    check_million(MPROC_PROCESSES);
    check_million(MPROC_THREADS);
    check_million(MPROC_SERIAL);
}

/* Ten thousand if the test is to take its time. */
static void ten_thousand_pools_leave_nothing(void **state)
{
    (void)state;
    int pools = soak_seconds() >= 30 ? 10000 : 300;
    struct resources before = { 0 };
    for (int i = 0; i < pools; i++) {
        int number = i % 999, result = 0;
        mproc_future *future = NULL;
        mproc_pool *pool;
        assert_int_equal(
            mproc_pool_open(&pool, .workers = 1 + i % 2, .backend = i % 8 ? MPROC_PROCESSES : MPROC_THREADS), 0);
        assert_int_equal(mproc_submit(&future, pool, next_number, &number, &result), 0);
        assert_int_equal(i % 3 ? mproc_pool_close(pool) : mproc_pool_terminate(pool), 0);
        if (i % 3)
            assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
        assert_int_equal(mproc_future_free(future), 0);
        if (i == 100)
            before = resources_now();
    }
    check_nothing_is_left(before);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(everything_is_killed_at_random),
    cmocka_unit_test(a_million_items_leave_nothing),
    cmocka_unit_test(ten_thousand_pools_leave_nothing),
};

HARNESS_MAIN_SECONDS(tests, 600 + (int)soak_seconds())
