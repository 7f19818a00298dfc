/* Tasks that take time: of equal length, 1 us to 1 ms, and uneven ones. What is left of two CPUs, in shares of what
 * they could do. SPDX-License-Identifier: MIT */
#include "bench.h"
#include "iteration.h"

#include "pools/blind_pool.h"
#include "tasks.h"

#include <mproc.h>
#include <stdlib.h>

enum { LONGEST_MAP = 100000 };

static int spin(const uint32_t *iterations, uint64_t *result)
{
    return task_spin(iterations, result);
}
MPROC_TASK(spin);

static int blind_spin(const void *iterations, void *result)
{
    return spin(iterations, result);
}

static mproc_pool *processes, *threads;
static struct blind_pool *blind;
static double seconds_an_iteration;

/* The map that is measured at the time. */
static struct {
    size_t n;
    uint32_t *in, *blind_in;
    uint64_t *out, *blind_out, *expected;
} map;

static double check(double start, uint64_t *out)
{
    double took = bench_now() - start;
    for (size_t i = 0; i < map.n; i++) {
        if (out[i] != map.expected[i])
            return -1;
        out[i] = 0;
    }
    return took;
}

static double run_mproc(void *pool)
{
    double start = bench_now();
    if (mproc_map(*(mproc_pool **)pool, spin, map.in, map.out, map.n) != 0)
        return -1;
    return check(start, map.out);
}

static double run_blind(void *unused)
{
    (void)unused;
    double start = bench_now();
    blind_pool_map(blind, blind_spin, map.blind_in, sizeof *map.blind_in, map.blind_out, sizeof *map.blind_out, map.n,
                   BLIND_ADAPT);
    return check(start, map.blind_out);
}

/* Lays out n tasks. Returns the seconds that two CPUs need at least. */
static double prepare(enum tasks_kind kind, size_t n, uint32_t unit)
{
    static uint64_t results[TASKS_LONGEST + 1];
    static uint32_t results_unit;
    double sum = 0;
    unit = unit > 0 ? unit : 1;
    for (int i = 0; i <= TASKS_LONGEST && unit != results_unit; i++)
        results[i] = 0;
    results_unit = unit;
    map.n = n;
    for (size_t i = 0; i < n; i++) {
        map.in[i] = map.blind_in[i] = tasks_length(kind, i, n, unit);
        uint64_t *result = &results[map.in[i] / unit];
        if (*result == 0)
            spin(&map.in[i], result);
        map.expected[i] = *result;
        map.out[i] = map.blind_out[i] = 0;
        sum += map.in[i];
    }
    return sum * seconds_an_iteration / TASKS_WORKERS;
}

static void measure_equal(const char *length, double seconds)
{
    double whole = bench_quick() ? 0.03 : 0.1;
    size_t n = (size_t)(whole / seconds * TASKS_WORKERS) / TASKS_WORKERS * TASKS_WORKERS;
    uint32_t unit = 1 + (uint32_t)(seconds / seconds_an_iteration);
    double least = prepare(TASKS_EQUAL, n, unit);
    const char *is_static = bench_text("spin %zu %u %d static", n, unit, TASKS_EQUAL);
    const char *guided = bench_text("spin %zu %u %d guided", n, unit, TASKS_EQUAL);
    bench_row(&(struct bench_row) {
        .title = bench_text("map of %zu tasks of %s: share of two CPUs' time that is work", n, length),
        .unit = "efficiency",
        .per = least,
        .more_is_better = true,
        .contestants = { { "mproc", BENCH_OURS, run_mproc, .argument = &processes },
                         { "mproc, threads", BENCH_OURS, run_mproc, .argument = &threads },
                         { "crash-blind pool", BENCH_LIMIT, run_blind, .argument = NULL },
                         { "libgomp, static", BENCH_PEER, .program = &bench_libgomp, .load = is_static },
                         { "libgomp, guided", BENCH_PEER, .program = &bench_libgomp, .load = guided },
                         { "libomp, static", BENCH_PEER, .program = &bench_libomp, .load = is_static },
                         { "libomp, guided", BENCH_PEER, .program = &bench_libomp, .load = guided },
                         { "oneTBB, parallel_for", BENCH_PEER, .program = &bench_tbb, .load = guided } },
        .targets = { { "mproc",
                       BENCH_AT_LEAST_OF,
                       0.97,
                       { "libgomp, static", "libgomp, guided", "libomp, static", "libomp, guided",
                         "oneTBB, parallel_for" } } },
    });
}

static void measure_uneven(const char *title, enum tasks_kind kind, size_t n, double whole)
{
    double lengths = prepare(kind, n, 1) / seconds_an_iteration;
    uint32_t unit = 1 + (uint32_t)(whole / seconds_an_iteration / lengths);
    prepare(kind, n, unit);
    const char *guided = bench_text("spin %zu %u %d guided", n, unit, kind);
    const char *dynamic = bench_text("spin %zu %u %d dynamic", n, unit, kind);
    bench_row(&(struct bench_row) {
        .title = title,
        .unit = "ms",
        .scale = 1e-3,
        .contestants = { { "mproc", BENCH_OURS, run_mproc, .argument = &processes },
                         { "mproc, threads", BENCH_OURS, run_mproc, .argument = &threads },
                         { "crash-blind pool", BENCH_LIMIT, run_blind, .argument = NULL },
                         { "libgomp, dynamic,1", BENCH_PEER, .program = &bench_libgomp, .load = dynamic },
                         { "libgomp, guided", BENCH_PEER, .program = &bench_libgomp, .load = guided },
                         { "libomp, dynamic,1", BENCH_PEER, .program = &bench_libomp, .load = dynamic },
                         { "libomp, guided", BENCH_PEER, .program = &bench_libomp, .load = guided },
                         { "oneTBB, parallel_for", BENCH_PEER, .program = &bench_tbb, .load = dynamic } },
        .targets = { { "mproc",
                       BENCH_AT_MOST_TIMES,
                       1.05,
                       { "libgomp, dynamic,1", "libgomp, guided", "libomp, dynamic,1", "libomp, guided",
                         "oneTBB, parallel_for" } } },
    });
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv);
    double whole = bench_quick() ? 0.03 : 0.1;
    const size_t most = (size_t)2 * LONGEST_MAP * TASKS_WORKERS;
    map.in = malloc(most * sizeof *map.in);
    map.out = malloc(most * sizeof *map.out);
    map.expected = malloc(most * sizeof *map.expected);
    map.blind_in = blind_memory(most * sizeof *map.blind_in);
    map.blind_out = blind_memory(most * sizeof *map.blind_out);
    blind = blind_pool_open(TASKS_WORKERS);
    if (!map.in || !map.out || !map.expected || !map.blind_in || !map.blind_out || !blind ||
        mproc_pool_open(&processes, .workers = TASKS_WORKERS) != 0 ||
        mproc_pool_open(&threads, .backend = MPROC_THREADS, .workers = TASKS_WORKERS) != 0)
        return 1;
    seconds_an_iteration = time_an_iteration();
    measure_equal("1 us", 1e-6);
    measure_equal("10 us", 10e-6);
    measure_equal("100 us", 100e-6);
    measure_equal("1 ms", 1e-3);
    measure_uneven("map of 2,000 tasks, lengths spread over 1 to 1,000", TASKS_SPREAD, 2000, whole);
    measure_uneven("map of 2,000 tasks, the last 200 of 1,000 times the length", TASKS_LONG_LAST, 2000, whole);
    mproc_pool_close(processes);
    mproc_pool_close(threads);
    blind_pool_close(blind);
    blind_memory_free(map.blind_in, most * sizeof *map.blind_in);
    blind_memory_free(map.blind_out, most * sizeof *map.blind_out);
    free(map.in);
    free(map.out);
    free(map.expected);
    return bench_end();
}
