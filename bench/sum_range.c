/* The tutorial's job, the sum of 0 ... 49,999,999, twice: how much faster in two workers, opening and closing included.
 * Each run does it both ways. SPDX-License-Identifier: MIT */
#include "bench.h"

#include "tasks.h"

#include <mproc.h>
#include <pthread.h>

struct range {
    int64_t first, last;
};

static int sum_range(const struct range *range, int64_t *total)
{
    *total = tasks_sum(range->first, range->last);
    return 0;
}
MPROC_TASK(sum_range);

static const struct range ranges[TASKS_WORKERS] = { { 0, TASKS_NUMBERS }, { 0, TASKS_NUMBERS } };
static int64_t totals[TASKS_WORKERS];

static double check(double start)
{
    double took = bench_now() - start;
    for (int i = 0; i < TASKS_WORKERS; i++) {
        if (totals[i] != (int64_t)TASKS_NUMBERS * (TASKS_NUMBERS - 1) / 2)
            return -1;
        totals[i] = 0;
    }
    return took;
}

static double run_alone(void)
{
    double start = bench_now();
    for (int i = 0; i < TASKS_WORKERS; i++)
        sum_range(&ranges[i], &totals[i]);
    return check(start);
}

static void *in_thread(void *index)
{
    size_t i = (size_t)index;
    sum_range(&ranges[i], &totals[i]);
    return NULL;
}

static double run_pthreads(void *unused)
{
    (void)unused;
    pthread_t threads[TASKS_WORKERS];
    double alone = run_alone(), start = bench_now();
    for (size_t i = 0; i < TASKS_WORKERS; i++)
        if (pthread_create(&threads[i], NULL, in_thread, (void *)i) != 0)
            return -1;
    for (int i = 0; i < TASKS_WORKERS; i++)
        pthread_join(threads[i], NULL);
    return check(start) / alone;
}

static double run_mproc(void *backend)
{
    mproc_pool *pool;
    double alone = run_alone(), start = bench_now();
    if (mproc_pool_open(&pool, .backend = *(enum mproc_backend *)backend, .workers = TASKS_WORKERS) != 0 ||
        mproc_map(pool, sum_range, ranges, totals, TASKS_WORKERS) != 0 || mproc_pool_close(pool) != 0)
        return -1;
    return check(start) / alone;
}

int main(int argc, char **argv)
{
    static enum mproc_backend threads = MPROC_THREADS, processes = MPROC_PROCESSES;
    bench_begin(argc, argv);
    const char *load = bench_text("sum %d", bench_quick() ? TASKS_NUMBERS / 10 : TASKS_NUMBERS);
    bench_row(&(struct bench_row) {
        .title = "the tutorial's job in two workers: speed-up, pool opening included",
        .unit = "times",
        .more_is_better = true,
        .contestants = { { "mproc", BENCH_OURS, run_mproc, .argument = &processes },
                         { "mproc, threads", BENCH_OURS, run_mproc, .argument = &threads },
                         { "two pthreads", BENCH_LIMIT, run_pthreads, .argument = NULL },
                         { "libgomp", BENCH_PEER, .program = &bench_libgomp, .load = "sum" },
                         { "libomp", BENCH_PEER, .program = &bench_libomp, .load = "sum" },
                         { "oneTBB", BENCH_PEER, .program = &bench_tbb, .load = "sum" },
                         { "Python's Pool, against Python alone", BENCH_PEER, .program = &bench_python,
                           .load = load } },
        .targets = { { "mproc", BENCH_AT_LEAST_OF, 0.98, { "two pthreads" } },
                     { "mproc", BENCH_AT_LEAST_OF, 0.98, { "libgomp", "libomp" } } },
    });
    return bench_end();
}
