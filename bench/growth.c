/* Whether it stays as it is when there is more: more tasks, more workers than CPUs, larger inputs.
 * SPDX-License-Identifier: MIT */
#include "bench.h"

#include "tasks.h"

#include <mproc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SIZES = 5, WORKER_COUNTS = 7, INPUTS = 6, TASKS = 200000, MARK = 12345 };
#define SHORT_RUN ((size_t)100000) /* tasks that a run has at least, in maps one after the other */

static int add_one(const long *in, long *out)
{
    *out = *in + 1;
    return 0;
}
MPROC_TASK(add_one);

static double memory_that_is_left(void)
{
    return (double)sysconf(_SC_AVPHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
}

/* ---- more tasks, more workers */

static long *in, *out;

struct growth {
    mproc_pool *pool;
    size_t n;
};

static double run_map(void *argument)
{
    const struct growth *growth = argument;
    size_t times = growth->n < SHORT_RUN ? SHORT_RUN / growth->n : 1;
    double took = 0;
    /* What the contestant before it has given back to the system is not this one's to pay for. */
    if (times > 1 && mproc_map(growth->pool, add_one, in, out, growth->n) != 0)
        return -1;
    for (size_t time = 0; time < times; time++) {
        double start = bench_now();
        if (mproc_map(growth->pool, add_one, in, out, growth->n) != 0)
            return -1;
        took += bench_now() - start;
        for (size_t i = 0; i < growth->n; i++) {
            if (out[i] != (long)i + 1)
                return -1;
            out[i] = 0;
        }
    }
    return took / (double)times / (double)growth->n;
}

/* In place, so that what grows is the number of tasks, and not what copying costs once caches are too small. */
static void measure_tasks(mproc_pool *pool)
{
    static const char *const names[SIZES] = { "10,000 tasks", "100,000 tasks", "1,000,000 tasks", "10,000,000 tasks",
                                              "100,000,000 tasks" };
    static struct growth growths[SIZES];
    int sizes = bench_quick() ? SIZES - 1 : SIZES;
    size_t most = 10000;
    for (int i = 1; i < sizes; i++)
        most *= 10;
    while (sizes > 1 && (double)most * 2 * sizeof *in > memory_that_is_left() / 3) {
        most /= 10;
        sizes--;
    }
    in = mproc_alloc(most * sizeof *in);
    out = mproc_alloc(most * sizeof *out);
    if (!in || !out) {
        bench_fail("no memory left");
        return;
    }
    struct bench_row row = { .title = "map of empty tasks in the shared heap: the more tasks",
                             .unit = "ns a task",
                             .scale = 1e-9 };
    row.targets[0] = (struct bench_target) { .who = names[0], .bound = BENCH_FLAT, .factor = 1.3 };
    for (size_t i = 0; i < most; i++) {
        in[i] = (long)i;
        out[i] = 0;
    }
    size_t n = 10000;
    for (int i = 0; i < sizes; i++, n *= 10) {
        growths[i] = (struct growth) { pool, n };
        row.contestants[i] =
            (struct bench_contestant) { .name = names[i], .kind = BENCH_OURS, .run = run_map, .argument = &growths[i] };
        row.targets[0].others[i] = names[i];
    }
    bench_row(&row);
    mproc_free(in);
    mproc_free(out);
}

static void measure_workers(void)
{
    static struct growth growths[WORKER_COUNTS];
    struct bench_row row = { .title = "map of 200,000 empty tasks in the shared heap: the more workers",
                             .unit = "ns a task",
                             .scale = 1e-9 };
    in = mproc_alloc(TASKS * sizeof *in);
    out = mproc_calloc(TASKS, sizeof *out);
    for (long i = 0; in && i < TASKS; i++)
        in[i] = i;
    for (int i = 0; i < WORKER_COUNTS; i++) {
        growths[i].n = TASKS;
        if (!in || !out || mproc_pool_open(&growths[i].pool, .workers = 1 << i) != 0) {
            bench_fail("a pool cannot be opened");
            return;
        }
        const char *name = bench_text("%d worker%s", 1 << i, i ? "s" : "");
        row.contestants[i] =
            (struct bench_contestant) { .name = name, .kind = BENCH_OURS, .run = run_map, .argument = &growths[i] };
    }
    /* Two CPUs do in two workers what one does not in one. */
    row.targets[0] = (struct bench_target) { .who = row.contestants[1].name, .bound = BENCH_FLAT, .factor = 1.3 };
    for (int i = 2; i < WORKER_COUNTS; i++)
        row.targets[0].others[i - 2] = row.contestants[i].name;
    bench_row(&row);
    for (int i = 0; i < WORKER_COUNTS; i++)
        mproc_pool_close(growths[i].pool);
    mproc_free(in);
    mproc_free(out);
}

/* ---- larger inputs */

struct input {
    mproc_pool *pool;
    char *data;
    size_t size;
    int times; /* calls, one right after the other: many, so that the first one, which wakes somebody, does not count */
};

/* The task looks at the start only: what is measured is how the input gets there. */
static int look_at_start(const char *input, long *result)
{
    memcpy(result, input, sizeof *result);
    return 0;
}
MPROC_TASK(look_at_start);

static double run_apply(void *argument)
{
    const struct input *input = argument;
    double start = bench_now();
    for (int i = 0; i < input->times; i++) {
        long result = 0;
        struct mproc_map_arguments arguments = { .size = sizeof arguments,
                                                 .function = (mproc_function *)look_at_start,
                                                 .name = "look_at_start",
                                                 .input = input->data,
                                                 .input_size = input->size,
                                                 .output = &result,
                                                 .output_size = sizeof result,
                                                 .types_checked = true,
                                                 .n = 1 };
        if (mproc_map_with(input->pool, &arguments) != 0 || result != MARK)
            return -1;
    }
    return (bench_now() - start) / input->times;
}

static double run_copy(void *argument)
{
    const struct input *input = argument;
    static char *copy;
    copy = realloc(copy, input->size);
    if (!copy)
        return -1;
    memset(copy, 0, input->size);
    double start = bench_now();
    memcpy(copy, input->data, input->size);
    __asm__ volatile("" : : "r"(copy) : "memory");
    return bench_now() - start;
}

static void measure_inputs(mproc_pool *pool, const char *title, char *data, size_t most, bool is_flat)
{
    static const char *const names[INPUTS] = { "8 B", "1 KiB", "64 KiB", "1 MiB", "64 MiB", "1 GiB" };
    static const size_t sizes[INPUTS] = { 8, 1 << 10, 1 << 16, 1 << 20, 1 << 26, 1 << 30 };
    static struct input inputs[2][INPUTS];
    struct bench_row row = { .title = title, .unit = "us", .scale = 1e-6 };
    int count = 0;
    for (int i = 0; i < INPUTS && sizes[i] <= most; i++) {
        int times = is_flat || sizes[i] <= 1 << 10 ? 2000 : sizes[i] <= 1 << 20 ? 50 : 1;
        inputs[is_flat][i] = (struct input) { pool, data, sizes[i], times };
        row.contestants[count++] = (struct bench_contestant) {
            .name = names[i], .kind = BENCH_OURS, .run = run_apply, .argument = &inputs[is_flat][i]
        };
        if (i > 0 && is_flat)
            row.targets[0].others[i - 1] = names[i];
    }
    if (is_flat) {
        row.targets[0].who = names[0];
        row.targets[0].bound = BENCH_FLAT;
        row.targets[0].factor = 1.3;
    } else {
        row.contestants[count] = (struct bench_contestant) { .name = bench_text("memcpy of %s", names[count - 1]),
                                                             .kind = BENCH_LIMIT,
                                                             .run = run_copy,
                                                             .argument = &inputs[0][count - 1] };
    }
    bench_row(&row);
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv);
    mproc_pool *pool;
    if (mproc_pool_open(&pool, .workers = TASKS_WORKERS) != 0)
        return 1;
    size_t most = bench_quick() || memory_that_is_left() < 6e9 ? 1 << 26 : 1 << 30;
    measure_tasks(pool);
    measure_workers();
    char *heap = mproc_calloc(1, most), *private = calloc(1, most);
    if (!heap || !private) {
        free(private);
        return 1;
    }
    const long mark = MARK;
    memset(private, 0, most);
    memcpy(heap, &mark, sizeof mark);
    memcpy(private, &mark, sizeof mark);
    measure_inputs(pool, "apply, input in the shared heap: the larger the input", heap, most, true);
    measure_inputs(pool, "apply, input copied: the larger the input", private, most, false);
    mproc_free(heap);
    free(private);
    mproc_pool_close(pool);
    return bench_end();
}
