/* What a call costs: a map of 2 empty tasks and an apply, one right after the other (hot), and after a pause in which
 * everybody falls asleep (cold). SPDX-License-Identifier: MIT */
#include "bench.h"

#include "pools/blind_pool.h"
#include "pools/socket_pool.h"
#include "tasks.h"

#include <mproc.h>
#include <stdlib.h>
#include <string.h>

enum { HOT = 20000, COLD = 40, SOCKETS = 500, PAUSE = 1000000, MEGABYTE = 1 << 20 };

static int add_one(const int *in, int *out)
{
    return task_add_one(in, out);
}
MPROC_TASK(add_one);

static int add_one_to_word(const int64_t *in, int64_t *out)
{
    *out = *in + 1;
    return 0;
}
MPROC_TASK(add_one_to_word);

/* Of a megabyte it looks at both ends: what is measured is how it gets there. */
struct megabyte {
    int first, between[MEGABYTE / sizeof(int) - 2], last;
};

static int add_ends(const struct megabyte *in, int *out)
{
    *out = in->first + in->last;
    return 0;
}
MPROC_TASK(add_ends);

static int blind_add_one(const void *in, void *out)
{
    return add_one(in, out);
}

static int blind_add_one_to_word(const void *in, void *out)
{
    return add_one_to_word(in, out);
}

static int blind_add_ends(const void *in, void *out)
{
    return add_ends(in, out);
}

static mproc_pool *processes, *threads;
static struct blind_pool *blind;
static struct megabyte *private_megabyte, *heap_megabyte, *blind_megabyte;
static int *blind_numbers;
static int64_t *blind_words;

/* One call, with a number that is another each time: 0, or -1 if the result is wrong. */
struct call {
    int (*make)(const struct call *call, int number);
    mproc_pool **pool;
    int n;
    struct megabyte **megabyte;
};

static int call_mproc(const struct call *call, int number)
{
    int in[2] = { number, number + 1 }, out[2] = { 0 };
    if (mproc_map(*call->pool, add_one, in, out, (size_t)call->n) != 0)
        return -1;
    return out[0] == number + 1 && (call->n == 1 || out[1] == number + 2) ? 0 : -1;
}

static int call_mproc_word(const struct call *call, int number)
{
    int64_t in = number, out = 0;
    return mproc_apply(*call->pool, add_one_to_word, &in, &out) == 0 && out == in + 1 ? 0 : -1;
}

static int call_mproc_megabyte(const struct call *call, int number)
{
    int out = 0;
    (*call->megabyte)->first = number;
    return mproc_apply(*call->pool, add_ends, *call->megabyte, &out) == 0 && out == number + 1 ? 0 : -1;
}

static int call_blind(const struct call *call, int number)
{
    blind_numbers[0] = number;
    blind_numbers[1] = number + 1;
    blind_pool_map(blind, blind_add_one, blind_numbers, sizeof(int), blind_numbers + 2, sizeof(int), (size_t)call->n,
                   BLIND_ADAPT);
    return blind_numbers[2] == number + 1 && (call->n == 1 || blind_numbers[3] == number + 2) ? 0 : -1;
}

static int call_blind_word(const struct call *call, int number)
{
    (void)call;
    blind_words[0] = number;
    blind_pool_map(blind, blind_add_one_to_word, blind_words, sizeof *blind_words, blind_words + 1, sizeof *blind_words,
                   1, BLIND_ADAPT);
    return blind_words[1] == number + 1 ? 0 : -1;
}

static int call_blind_megabyte(const struct call *call, int number)
{
    (void)call;
    blind_megabyte->first = number;
    blind_pool_map(blind, blind_add_ends, blind_megabyte, sizeof *blind_megabyte, blind_numbers + 2, sizeof(int), 1,
                   BLIND_ADAPT);
    return blind_numbers[2] == number + 1 ? 0 : -1;
}

static int call_sockets(const struct call *call, int number)
{
    int in[2] = { number, number + 1 }, out[2] = { 0 };
    if (socket_pool_map(in, out, call->n) != 0)
        return -1;
    return out[0] == number + 1 && (call->n == 1 || out[1] == number + 2) ? 0 : -1;
}

static double run_hot_times(const struct call *call, int times)
{
    double start = bench_now();
    for (int i = 0; i < times; i++)
        if (call->make(call, i) != 0)
            return -1;
    return (bench_now() - start) / times;
}

static double run_hot(void *call)
{
    return run_hot_times(call, bench_quick() ? HOT / 4 : HOT);
}

static double run_slow_hot(void *call)
{
    return run_hot_times(call, SOCKETS);
}

static double run_cold(void *call)
{
    double sum = 0;
    for (int i = 0; i < COLD; i++) {
        bench_pause(PAUSE);
        double start = bench_now();
        if (((struct call *)call)->make(call, i) != 0)
            return -1;
        sum += bench_now() - start;
    }
    return sum / COLD;
}

/* ---- rows */

static struct call map_of_two = { call_mproc, &processes, 2, NULL }, threads_map = { call_mproc, &threads, 2, NULL };
static struct call blind_map = { .make = call_blind, .n = 2 }, socket_map = { .make = call_sockets, .n = 2 };
static struct call apply = { call_mproc_word, &processes, 1, NULL }, blind_apply = { .make = call_blind_word };
static struct call apply_in_place = { call_mproc_megabyte, &processes, 1, &heap_megabyte };
static struct call apply_copying = { call_mproc_megabyte, &processes, 1, &private_megabyte };
static struct call blind_in_place = { .make = call_blind_megabyte }, socket_apply = { .make = call_sockets, .n = 1 };

static void measure_maps(void)
{
    bench_row(&(struct bench_row) {
        .title = "map of 2 empty tasks, hot: one right after the other",
        .unit = "us",
        .scale = 1e-6,
        .contestants = { { "mproc", BENCH_OURS, run_hot, .argument = &map_of_two },
                         { "mproc, threads", BENCH_OURS, run_hot, .argument = &threads_map },
                         { "crash-blind pool", BENCH_LIMIT, run_hot, .argument = &blind_map },
                         { "libgomp, static", BENCH_PEER, .program = &bench_libgomp, .load = "small 2 5000 0" },
                         { "libomp, static", BENCH_PEER, .program = &bench_libomp, .load = "small 2 5000 0" },
                         { "oneTBB, parallel_for", BENCH_PEER, .program = &bench_tbb, .load = "small 2 5000 0" },
                         { "a pool with sockets, by hand", BENCH_PEER, run_slow_hot, .argument = &socket_map },
                         { "Python's Pool.map", BENCH_PEER, .program = &bench_python, .load = "small 2 100 0" } },
        .targets = { { "mproc", BENCH_AT_MOST_TIMES, 2, { "crash-blind pool" } },
                     { "mproc", BENCH_AT_MOST_TIMES, 1, { "libgomp, static" } },
                     { "mproc", BENCH_TIMES_LESS, 50, { "a pool with sockets, by hand" } } },
    });
    bench_row(&(struct bench_row) {
        .title = "map of 2 empty tasks, cold: 1 ms after the one before",
        .unit = "us",
        .scale = 1e-6,
        .contestants = { { "mproc", BENCH_OURS, run_cold, .argument = &map_of_two },
                         { "mproc, threads", BENCH_OURS, run_cold, .argument = &threads_map },
                         { "crash-blind pool", BENCH_LIMIT, run_cold, .argument = &blind_map },
                         { "libgomp, static", BENCH_PEER, .program = &bench_libgomp, .load = "small 2 40 1000000" },
                         { "libomp, static", BENCH_PEER, .program = &bench_libomp, .load = "small 2 40 1000000" },
                         { "oneTBB, parallel_for", BENCH_PEER, .program = &bench_tbb, .load = "small 2 40 1000000" },
                         { "a pool with sockets, by hand", BENCH_PEER, run_cold, .argument = &socket_map },
                         { "Python's Pool.map", BENCH_PEER, .program = &bench_python, .load = "small 2 40 1000000" } },
        .targets = { { "mproc", BENCH_AT_MOST_TIMES, 1.2, { "crash-blind pool" } } },
    });
}

static void measure_applies(void)
{
    bench_row(&(struct bench_row) {
        .title = "apply, hot: one right after the other",
        .unit = "us",
        .scale = 1e-6,
        .contestants = { { "mproc, 8 B", BENCH_OURS, run_hot, .argument = &apply },
                         { "mproc, 1 MiB in the shared heap", BENCH_OURS, run_hot, .argument = &apply_in_place },
                         { "mproc, 1 MiB, copied", BENCH_OURS, run_slow_hot, .argument = &apply_copying },
                         { "crash-blind pool, 8 B", BENCH_LIMIT, run_hot, .argument = &blind_apply },
                         { "crash-blind pool, 1 MiB in place", BENCH_LIMIT, run_hot, .argument = &blind_in_place },
                         { "a pool with sockets, by hand", BENCH_PEER, run_slow_hot, .argument = &socket_apply } },
        .targets = { { "mproc, 8 B", BENCH_AT_MOST_TIMES, 2, { "crash-blind pool, 8 B" } },
                     { "mproc, 1 MiB in the shared heap",
                       BENCH_AT_MOST_TIMES,
                       2,
                       { "crash-blind pool, 1 MiB in place" } },
                     { "mproc, 1 MiB in the shared heap", BENCH_AT_MOST_TIMES, 1.2, { "mproc, 8 B" } },
                     { "mproc, 8 B", BENCH_TIMES_LESS, 50, { "a pool with sockets, by hand" } } },
    });
    bench_row(&(struct bench_row) {
        .title = "apply, cold: 1 ms after the one before",
        .unit = "us",
        .scale = 1e-6,
        .contestants = { { "mproc, 8 B", BENCH_OURS, run_cold, .argument = &apply },
                         { "mproc, 1 MiB in the shared heap", BENCH_OURS, run_cold, .argument = &apply_in_place },
                         { "mproc, 1 MiB, copied", BENCH_OURS, run_cold, .argument = &apply_copying },
                         { "crash-blind pool, 8 B", BENCH_LIMIT, run_cold, .argument = &blind_apply },
                         { "crash-blind pool, 1 MiB in place", BENCH_LIMIT, run_cold, .argument = &blind_in_place },
                         { "a pool with sockets, by hand", BENCH_PEER, run_cold, .argument = &socket_apply } },
        .targets = { { "mproc, 8 B", BENCH_AT_MOST_TIMES, 1.2, { "crash-blind pool, 8 B" } },
                     { "mproc, 1 MiB in the shared heap",
                       BENCH_AT_MOST_TIMES,
                       1.2,
                       { "crash-blind pool, 1 MiB in place" } },
                     { "mproc, 1 MiB in the shared heap", BENCH_AT_MOST_TIMES, 1.2, { "mproc, 8 B" } } },
    });
}

static struct megabyte *fill(struct megabyte *megabyte)
{
    if (megabyte) {
        memset(megabyte, 0, sizeof *megabyte);
        megabyte->last = 1;
    }
    return megabyte;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv);
    private_megabyte = fill(malloc(sizeof *private_megabyte));
    heap_megabyte = fill(mproc_alloc(sizeof *heap_megabyte));
    blind_megabyte = fill(blind_memory(sizeof *blind_megabyte));
    blind_numbers = blind_memory(4 * sizeof *blind_numbers);
    blind_words = blind_memory(2 * sizeof *blind_words);
    blind = blind_pool_open(TASKS_WORKERS);
    if (!private_megabyte || !heap_megabyte || !blind_megabyte || !blind_numbers || !blind_words || !blind ||
        socket_pool_open() != 0 || mproc_pool_open(&processes, .workers = TASKS_WORKERS) != 0 ||
        mproc_pool_open(&threads, .backend = MPROC_THREADS, .workers = TASKS_WORKERS) != 0)
        return 1;
    measure_maps();
    measure_applies();
    socket_pool_close();
    blind_pool_close(blind);
    mproc_pool_close(processes);
    mproc_pool_close(threads);
    free(private_megabyte);
    mproc_free(heap_megabyte);
    blind_memory_free(blind_megabyte, sizeof *blind_megabyte);
    blind_memory_free(blind_numbers, 4 * sizeof *blind_numbers);
    blind_memory_free(blind_words, 2 * sizeof *blind_words);
    return bench_end();
}
