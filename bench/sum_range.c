/* The tutorial's job, opening and closing included: serial, plain pthreads, mproc's threads and processes.
 * SPDX-License-Identifier: MIT */
#include "bench.h"

#include <mproc.h>
#include <pthread.h>
#include <stddef.h>

enum { NUMBERS = 50000000, WORKERS = 2, ROUNDS = 21 };

struct range {
    int64_t first, last;
};

static int sum_range(const struct range *range, int64_t *total)
{
    volatile int64_t sum = 0;
    for (int64_t i = range->first; i < range->last; i++)
        sum += i;
    *total = sum;
    return 0;
}
MPROC_TASK(sum_range);

static const struct range ranges[WORKERS] = { { 0, NUMBERS }, { 0, NUMBERS } };
static int64_t totals[WORKERS];

static double finish(double start)
{
    double took = bench_now() - start;
    for (int i = 0; i < WORKERS; i++) {
        if (totals[i] != (int64_t)NUMBERS * (NUMBERS - 1) / 2)
            return -1;
        totals[i] = 0;
    }
    return took;
}

static double run_serial(void *unused)
{
    (void)unused;
    double start = bench_now();
    for (int i = 0; i < WORKERS; i++)
        sum_range(&ranges[i], &totals[i]);
    return finish(start);
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
    pthread_t threads[WORKERS];
    double start = bench_now();
    for (size_t i = 0; i < WORKERS; i++)
        if (pthread_create(&threads[i], NULL, in_thread, (void *)i) != 0)
            return -1;
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    return finish(start);
}

static double run_mproc(void *backend)
{
    mproc_pool *pool;
    double start = bench_now();
    if (mproc_pool_open(&pool, .backend = *(enum mproc_backend *)backend, .workers = WORKERS) != 0 ||
        mproc_map(pool, sum_range, ranges, totals, WORKERS) != 0 || mproc_pool_close(pool) != 0)
        return -1;
    return finish(start);
}

int main(void)
{
    static enum mproc_backend threads = MPROC_THREADS, processes = MPROC_PROCESSES;
    const struct bench_contestant contestants[] = {
        { "plain pthreads (the limit)", run_pthreads, NULL },
        { "one after the other", run_serial, NULL },
        { "mproc, threads", run_mproc, &threads },
        { "mproc, processes", run_mproc, &processes },
    };
    return bench_run("Sum of 0 ... 49,999,999, twice, two workers", contestants, 4, ROUNDS, 1, "ms", 1e-3);
}
