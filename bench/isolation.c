/* What isolation itself costs: a crash, until the worker is replaced, and a map in which some items crash.
 * SPDX-License-Identifier: MIT */
#include "bench.h"

#include "tasks.h"

#include <mproc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ITEMS = 20000, ONE_IN = 1000, CRASHES = 5 };
#define LENGTH 20e-6

/* In the shared heap: when the crash came, and when the next item was done. */
static struct times {
    double crash, next;
} * times;

static mproc_pool *lonely, *pair;

static void crash(void)
{
    raise(SIGSEGV);
}

static int crash_or_note(const int *item, int *result)
{
    if (*item == 0) {
        times->crash = bench_now();
        crash();
    }
    times->next = bench_now();
    *result = *item;
    return 0;
}
MPROC_TASK(crash_or_note);

static double run_crash(void *unused)
{
    (void)unused;
    double sum = 0;
    for (int i = 0; i < CRASHES; i++) {
        int items[2] = { 0, 1 }, results[2] = { 0 };
        if (mproc_map(lonely, crash_or_note, items, results, 2, .chunk = 1) != 1 || results[1] != 1)
            return -1;
        sum += times->next - times->crash;
    }
    return sum / CRASHES;
}

/* The least that has to be done: waiting for the dead, and forking another. */
static double run_fork(void *unused)
{
    (void)unused;
    double sum = 0;
    for (int i = 0; i < CRASHES; i++) {
        for (int item = 0; item < 2; item++) {
            int result = 0, status;
            pid_t pid = fork();
            if (pid == 0)
                _exit(crash_or_note(&item, &result));
            if (pid < 0 || waitpid(pid, &status, 0) != pid || (item == 0) != WIFSIGNALED(status))
                return -1;
        }
        sum += times->next - times->crash;
    }
    return sum / CRASHES;
}

/* ---- throughput */

struct item {
    uint32_t iterations;
    int crashes;
};

static int spin_or_crash(const struct item *item, uint64_t *result)
{
    if (item->crashes)
        crash();
    return task_spin(&item->iterations, result);
}
MPROC_TASK(spin_or_crash);

static struct item *calm, *stormy;
static uint64_t *results, expected;

static double run_map(void *argument)
{
    struct item *items = *(struct item **)argument;
    int crashes = items == stormy ? ITEMS / ONE_IN : 0;
    double start = bench_now();
    if (mproc_map(pair, spin_or_crash, items, results, ITEMS) != crashes)
        return -1;
    double took = bench_now() - start;
    for (int i = 0; i < ITEMS; i++) {
        if (results[i] != (items[i].crashes ? 0 : expected))
            return -1;
        results[i] = 0;
    }
    return took;
}

static uint32_t calibrate(void)
{
    const uint32_t iterations = 1000000;
    double start = bench_now();
    task_spin(&iterations, &expected);
    return (uint32_t)(iterations * LENGTH / (bench_now() - start));
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv);
    setrlimit(RLIMIT_CORE, &(struct rlimit) { 0, 0 });
    times = mproc_calloc(1, sizeof *times);
    calm = malloc(ITEMS * sizeof *calm);
    stormy = malloc(ITEMS * sizeof *stormy);
    results = calloc(ITEMS, sizeof *results);
    uint32_t iterations = calibrate();
    if (!times || !calm || !stormy || !results || mproc_pool_open(&lonely, .workers = 1) != 0 ||
        mproc_pool_open(&pair, .workers = TASKS_WORKERS) != 0)
        return 1;
    task_spin(&iterations, &expected);
    for (int i = 0; i < ITEMS; i++) {
        calm[i] = (struct item) { iterations, 0 };
        stormy[i] = (struct item) { iterations, i % ONE_IN == ONE_IN / 2 };
    }
    bench_row(&(struct bench_row) {
        .title = "from SIGSEGV in a task to the replaced worker's next result",
        .unit = "us",
        .scale = 1e-6,
        .contestants = { { "mproc", BENCH_OURS, run_crash, .argument = NULL },
                         { "wait for a child that crashes, fork another", BENCH_LIMIT, run_fork, .argument = NULL } },
    });
    bench_row(&(struct bench_row) {
        .title = "map of 20,000 tasks of 20 us in two workers",
        .unit = "thousand a second",
        .per = ITEMS * 1e-3,
        .more_is_better = true,
        .contestants = { { "mproc, one in 1,000 crashes", BENCH_OURS, run_map, .argument = &stormy },
                         { "mproc, none crashes", BENCH_OURS, run_map, .argument = &calm } },
    });
    mproc_pool_close(lonely);
    mproc_pool_close(pair);
    mproc_free(times);
    free(calm);
    free(stormy);
    free(results);
    return bench_end();
}
