/* What takes minutes: kills at random for as long as is wished, more items than a job counts, thousands of pools. `make
 * soak` runs it; MPROC_SOAK_SECONDS says for how long. SPDX-License-Identifier: MIT */
#include "harness.h"

#include "memory/heap.h"

#include <mproc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int add_one(const uint32_t *in, uint32_t *out)
{
    *out = *in + 1;
    return 0;
}
MPROC_TASK(add_one);

static int low_bit(const uint8_t *in, uint8_t *out)
{
    *out = *in & 1;
    return 0;
}
MPROC_TASK(low_bit);

static double soak_seconds(void)
{
    const char *text = getenv("MPROC_SOAK_SECONDS");
    return text ? atof(text) : 60;
}

/* ---- kills at random */

struct counts {
    _Atomic long maps, items, crashed, broken;
};

/* Maps for ever, on pools that are opened again when their supervisor was killed; every item is checked. */
static _Noreturn void be_caller(struct counts *counts, unsigned seed)
{
    enum { N = 5000 };
    static uint32_t in[N], out[N];
    static struct mproc_outcome outcomes[N];
    mproc_pool *pool = NULL;
    for (uint32_t i = 0; i < N; i++)
        in[i] = i;
    for (;;) {
        int err = pool ? 0 : mproc_pool_open(&pool, .workers = 1 + rand_r(&seed) % 4);
        if (err == MPROC_E_SUPERVISOR_DIED)
            continue;
        if (err)
            _exit(2);
        memset(out, 0, sizeof out);
        size_t n = 1 + (size_t)rand_r(&seed) % N;
        err = mproc_map(pool, add_one, in, out, n, .chunk = (size_t)rand_r(&seed) % 9, .outcomes = outcomes);
        int crashed = 0;
        for (size_t i = 0; i < n; i++) {
            crashed += outcomes[i].kind == MPROC_CRASHED && outcomes[i].signal == SIGKILL;
            if (out[i] != (outcomes[i].kind == MPROC_OK ? i + 1 : 0))
                _exit(3);
        }
        if (err >= 0 ? err != crashed : err != MPROC_E_SUPERVISOR_DIED)
            _exit(4);
        counts->maps++;
        counts->items += (long)n;
        counts->crashed += crashed;
        if (err == MPROC_E_SUPERVISOR_DIED) {
            counts->broken++;
            mproc_pool_close(pool);
            pool = NULL;
        }
    }
}

static void kill_someone(pid_t caller, unsigned *seed, long kills[2])
{
    int supervisors[8], workers[16];
    int count = harness_children(caller, supervisors, 8);
    if (count == 0)
        return;
    int supervisor = supervisors[rand_r(seed) % count];
    count = harness_children(supervisor, workers, 16);
    bool worker = count > 0 && rand_r(seed) % 10 > 0;
    if (kill(worker ? workers[rand_r(seed) % count] : supervisor, SIGKILL) == 0)
        kills[worker]++;
}

static void workers_supervisors_and_callers_are_killed_at_random(void **state)
{
    (void)state;
    struct counts *counts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    double end = harness_now() + soak_seconds();
    long kills[2] = { 0 }, callers = 0, maps = -1;
    double progress = harness_now();
    unsigned seed = (unsigned)time(NULL);
    printf("seed %u\n", seed);
    while (harness_now() < end || counts->maps <= 100 || kills[0] == 0 || kills[1] == 0) {
        pid_t caller = fork();
        if (caller == 0)
            be_caller(counts, seed + (unsigned)callers);
        double caller_end = harness_now() + 0.2 + rand_r(&seed) % 1000 / 500.0;
        while (harness_now() < caller_end) {
            usleep((useconds_t)(rand_r(&seed) % 4000));
            kill_someone(caller, &seed, kills);
            if (counts->maps != maps)
                progress = harness_now();
            maps = counts->maps;
            assert_true(harness_now() - progress < HARNESS_PATIENCE / 1000.0);
        }
        int status;
        assert_int_equal(waitpid(caller, &status, WNOHANG), 0); /* it found nothing wrong */
        kill(caller, SIGKILL);
        waitpid(caller, NULL, 0);
        callers++;
    }
    printf("killed: %ld workers, %ld supervisors, %ld callers; %ld maps of %ld items, %ld charged, %ld broken off\n",
           kills[1], kills[0], callers, counts->maps, counts->items, counts->crashed, counts->broken);
    munmap(counts, 4096);
}

/* ---- size and number */

static void a_map_may_have_more_items_than_a_job_counts(void **state)
{
    (void)state;
    size_t n = ((size_t)1 << 31) + 1000;
    uint8_t *in = malloc(n), *out = malloc(n);
    assert_non_null(in);
    assert_non_null(out);
    for (size_t i = 0; i < n; i++)
        in[i] = (uint8_t)(i % 7);
    memset(out, 9, n);
    mproc_pool *pool;
    assert_int_equal(mproc_pool_open(&pool, .workers = 2), 0);
    assert_int_equal(mproc_map(pool, low_bit, in, out, n), 0);
    for (size_t i = 0; i < n; i++)
        if (out[i] != (in[i] & 1))
            fail_msg("item %zu", i);
    assert_int_equal(mproc_pool_close(pool), 0);
    free(in);
    free(out);
}

static long resident_pages(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_int_equal(fscanf(file, "%*s %ld", &pages), 1);
    fclose(file);
    return pages;
}

static void ten_thousand_pools_and_a_million_items_leak_nothing(void **state)
{
    (void)state;
    enum { N = 1000 };
    static uint32_t in[N], out[N];
    long before = 0;
    for (int i = 0; i < 10000; i++) {
        mproc_pool *pool;
        assert_int_equal(mproc_pool_open(&pool, .workers = 1), 0);
        if (i % 10 == 0)
            assert_int_equal(mproc_map(pool, add_one, in, out, N), 0);
        assert_int_equal(mproc_pool_close(pool), 0);
        if (i == 100)
            before = resident_pages();
    }
    assert_true(resident_pages() - before < 64);
    assert_int_equal(heap_bytes_in_use(), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(workers_supervisors_and_callers_are_killed_at_random),
    cmocka_unit_test(ten_thousand_pools_and_a_million_items_leak_nothing),
    cmocka_unit_test(a_map_may_have_more_items_than_a_job_counts),
};

HARNESS_MAIN_SECONDS(tests, 600 + (int)soak_seconds())
