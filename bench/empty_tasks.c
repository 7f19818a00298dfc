/* What a task costs: a map of 1,000,000 empty tasks. The limit is a loop over the same arrays in two plain threads,
 * which neither balances nor survives anything. SPDX-License-Identifier: MIT */
#include "bench.h"

#include <mproc.h>
#include <pthread.h>
#include <stdlib.h>

enum { TASKS = 1000000, WORKERS = 2, ROUNDS = 21 };

static int *input, *output;

static int copy(const int *in, int *out)
{
    *out = *in + 1;
    return 0;
}
MPROC_TASK(copy);

static int (*volatile call)(const int *, int *) = copy; /* not inlined, as in a worker */

static double finish(double start)
{
    double took = bench_now() - start;
    for (int i = 0; i < TASKS; i++) {
        if (output[i] != i + 1)
            return -1;
        output[i] = 0;
    }
    return took;
}

static void *half(void *first)
{
    int from = *(int *)first;
    for (int i = from; i < from + TASKS / 2; i++)
        call(&input[i], &output[i]);
    return NULL;
}

static double run_pthreads(void *unused)
{
    (void)unused;
    static int first[2] = { 0, TASKS / 2 };
    pthread_t thread;
    double start = bench_now();
    if (pthread_create(&thread, NULL, half, &first[0]) != 0)
        return -1;
    half(&first[1]);
    pthread_join(thread, NULL);
    return finish(start);
}

struct variant {
    mproc_pool *pool;
    size_t chunk;
};

static double run_mproc(void *argument)
{
    struct variant *variant = argument;
    double start = bench_now();
    if (mproc_map(variant->pool, copy, input, output, TASKS, .chunk = variant->chunk) != 0)
        return -1;
    return finish(start);
}

int main(void)
{
    struct variant processes[2] = { { .chunk = 0 }, { .chunk = 1 } }, threads[2] = { { .chunk = 0 }, { .chunk = 1 } };
    input = malloc(TASKS * sizeof *input);
    output = calloc(TASKS, sizeof *output);
    if (!input || !output || mproc_pool_open(&processes[0].pool, .workers = WORKERS) != 0 ||
        mproc_pool_open(&threads[0].pool, .backend = MPROC_THREADS, .workers = WORKERS) != 0)
        return 1;
    processes[1].pool = processes[0].pool;
    threads[1].pool = threads[0].pool;
    for (int i = 0; i < TASKS; i++)
        input[i] = i;
    const struct bench_contestant contestants[] = {
        { "a loop in two pthreads (the limit)", run_pthreads, NULL },
        { "mproc, threads", run_mproc, &threads[0] },
        { "mproc, threads, one task a claim", run_mproc, &threads[1] },
        { "mproc, processes", run_mproc, &processes[0] },
        { "mproc, processes, one task a claim", run_mproc, &processes[1] },
    };
    int result = bench_run("1,000,000 empty tasks, two workers", contestants, 5, ROUNDS, TASKS, "ns a task", 1e-9);
    mproc_pool_close(processes[0].pool);
    mproc_pool_close(threads[0].pool);
    free(input);
    free(output);
    return result;
}
