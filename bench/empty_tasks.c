/* What a task costs: maps of empty tasks, with automatic chunks and one task a claim. SPDX-License-Identifier: MIT */
#include "bench.h"

#include "pools/blind_pool.h"
#include "tasks.h"

#include <mproc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { TASKS = 1000000, TASKS_OF_PYTHON = 20000, SIZE = TASKS * sizeof(int) };

static int add_one(const int *in, int *out)
{
    return task_add_one(in, out);
}
MPROC_TASK(add_one);

static tasks_add_one_function *volatile call = add_one;

/* Arrays of a kind of memory. */
struct arrays {
    int *in, *out;
};

static struct arrays private_arrays, heap_arrays, blind_arrays;
static struct blind_pool *blind;

static void fill(struct arrays arrays)
{
    for (int i = 0; i < TASKS; i++) {
        arrays.in[i] = i;
        arrays.out[i] = 0;
    }
}

static double finish(double start, struct arrays arrays)
{
    double took = bench_now() - start;
    for (int i = 0; i < TASKS; i++) {
        if (arrays.out[i] != i + 1)
            return -1;
        arrays.out[i] = 0;
    }
    return took;
}

/* ---- a loop in two threads */

static void *run_half(void *first)
{
    int from = *(int *)first;
    for (int i = from; i < from + TASKS / 2; i++)
        call(&private_arrays.in[i], &private_arrays.out[i]);
    return NULL;
}

static double run_pthreads(void *unused)
{
    (void)unused;
    static int first[2] = { 0, TASKS / 2 };
    pthread_t thread;
    double start = bench_now();
    if (pthread_create(&thread, NULL, run_half, &first[0]) != 0)
        return -1;
    run_half(&first[1]);
    pthread_join(thread, NULL);
    return finish(start, private_arrays);
}

/* ---- mproc */

struct variant {
    mproc_pool *pool;
    struct arrays *arrays;
    size_t chunk;
};

static double run_mproc(void *argument)
{
    const struct variant *variant = argument;
    struct arrays arrays = *variant->arrays;
    double start = bench_now();
    if (mproc_map(variant->pool, add_one, arrays.in, arrays.out, TASKS, .chunk = variant->chunk) != 0)
        return -1;
    return finish(start, arrays);
}

/* ---- the crash-blind pool */

static int blind_add_one(const void *in, void *out)
{
    return add_one(in, out);
}

static double run_blind(void *claims)
{
    double start = bench_now();
    blind_pool_map(blind, blind_add_one, blind_arrays.in, sizeof(int), blind_arrays.out, sizeof(int), TASKS,
                   *(enum blind_claims *)claims);
    return finish(start, blind_arrays);
}

static double run_blind_copying(void *claims)
{
    double start = bench_now();
    memcpy(blind_arrays.in, private_arrays.in, SIZE);
    blind_pool_map(blind, blind_add_one, blind_arrays.in, sizeof(int), blind_arrays.out, sizeof(int), TASKS,
                   *(enum blind_claims *)claims);
    memcpy(private_arrays.out, blind_arrays.out, SIZE);
    return finish(start, private_arrays);
}

/* ---- rows */

static struct variant copied = { .arrays = &private_arrays }, in_place = { .arrays = &heap_arrays };
static struct variant copied_one = { .arrays = &private_arrays, .chunk = 1 };
static struct variant in_place_one = { .arrays = &heap_arrays, .chunk = 1 };
static struct variant threads = { .arrays = &private_arrays }, threads_one = { .arrays = &private_arrays, .chunk = 1 };
static enum blind_claims adapt = BLIND_ADAPT, guided = BLIND_GUIDED, one = BLIND_ONE;

static void measure_automatic(void)
{
    bench_row(&(struct bench_row) {
        .title = "map of 1,000,000 empty tasks, automatic chunks",
        .unit = "ns a task",
        .scale = 1e-9,
        .per = TASKS,
        .contestants = { { "mproc", BENCH_OURS, run_mproc, .argument = &copied },
                         { "mproc, arrays in the shared heap", BENCH_OURS, run_mproc, .argument = &in_place },
                         { "mproc, threads", BENCH_OURS, run_mproc, .argument = &threads },
                         { "crash-blind pool, copying the arrays", BENCH_LIMIT, run_blind_copying, .argument = &adapt },
                         { "crash-blind pool", BENCH_LIMIT, run_blind, .argument = &adapt },
                         { "crash-blind pool, guided chunks", BENCH_LIMIT, run_blind, .argument = &guided },
                         { "a loop in two pthreads", BENCH_LIMIT, run_pthreads, .argument = NULL },
                         { "libgomp, guided", BENCH_PEER, .program = &bench_libgomp, .load = "empty 1000000 guided" },
                         { "libomp, guided", BENCH_PEER, .program = &bench_libomp, .load = "empty 1000000 guided" },
                         { "oneTBB, parallel_for", BENCH_PEER, .program = &bench_tbb, .load = "empty 1000000 auto" },
                         { "Python's Pool.map", BENCH_PEER, .program = &bench_python, .load = "empty 1000000 auto" } },
        .targets = { { "mproc", BENCH_AT_MOST_TIMES, 3, { "libgomp, guided" } },
                     { "mproc", BENCH_AT_MOST_TIMES, 1.3, { "crash-blind pool, copying the arrays" } },
                     { "mproc, arrays in the shared heap", BENCH_AT_MOST_TIMES, 3, { "libgomp, guided" } },
                     { "mproc, arrays in the shared heap", BENCH_AT_MOST_TIMES, 1.3, { "crash-blind pool" } },
                     { "mproc", BENCH_TIMES_LESS, 20, { "Python's Pool.map" } } },
    });
}

static void measure_single(void)
{
    bench_row(&(struct bench_row) {
        .title = "map of 1,000,000 empty tasks, one task a claim",
        .unit = "ns a task",
        .scale = 1e-9,
        .per = TASKS,
        .contestants = { { "mproc", BENCH_OURS, run_mproc, .argument = &copied_one },
                         { "mproc, arrays in the shared heap", BENCH_OURS, run_mproc, .argument = &in_place_one },
                         { "mproc, threads", BENCH_OURS, run_mproc, .argument = &threads_one },
                         { "crash-blind pool, copying the arrays", BENCH_LIMIT, run_blind_copying, .argument = &one },
                         { "crash-blind pool", BENCH_LIMIT, run_blind, .argument = &one },
                         { "libgomp, dynamic,1", BENCH_PEER, .program = &bench_libgomp,
                           .load = "empty 1000000 dynamic" },
                         { "libomp, dynamic,1", BENCH_PEER, .program = &bench_libomp, .load = "empty 1000000 dynamic" },
                         { "oneTBB, simple_partitioner of 1", BENCH_PEER, .program = &bench_tbb,
                           .load = "empty 1000000 simple" },
                         { "Python's Pool.map, chunksize=1, 20,000 tasks", BENCH_PEER, .program = &bench_python,
                           .load = "empty 20000 one", .per = TASKS_OF_PYTHON } },
        .targets = { { "mproc", BENCH_AT_MOST_TIMES, 2, { "libgomp, dynamic,1" } },
                     { "mproc", BENCH_AT_MOST_TIMES, 1.5, { "crash-blind pool, copying the arrays" } },
                     { "mproc, arrays in the shared heap", BENCH_AT_MOST_TIMES, 1.5, { "crash-blind pool" } },
                     { "mproc", BENCH_TIMES_LESS, 20, { "Python's Pool.map, chunksize=1, 20,000 tasks" } } },
    });
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv);
    private_arrays = (struct arrays) { malloc(SIZE), malloc(SIZE) };
    heap_arrays = (struct arrays) { mproc_alloc(SIZE), mproc_alloc(SIZE) };
    blind_arrays = (struct arrays) { blind_memory(SIZE), blind_memory(SIZE) };
    fill(private_arrays);
    fill(heap_arrays);
    fill(blind_arrays);
    blind = blind_pool_open(TASKS_WORKERS);
    if (!blind || mproc_pool_open(&copied.pool, .workers = TASKS_WORKERS) != 0 ||
        mproc_pool_open(&threads.pool, .backend = MPROC_THREADS, .workers = TASKS_WORKERS) != 0)
        return 1;
    in_place.pool = copied_one.pool = in_place_one.pool = copied.pool;
    threads_one.pool = threads.pool;
    measure_automatic();
    measure_single();
    blind_pool_close(blind);
    mproc_pool_close(copied.pool);
    mproc_pool_close(threads.pool);
    mproc_free(heap_arrays.in);
    mproc_free(heap_arrays.out);
    blind_memory_free(blind_arrays.in, SIZE);
    blind_memory_free(blind_arrays.out, SIZE);
    free(private_arrays.in);
    free(private_arrays.out);
    return bench_end();
}
