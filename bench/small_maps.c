/* What a call costs: a map of 2 empty tasks, one right after the other, and after a pause in which workers fall asleep.
 * The limits are a futex wake from one thread to another and back. SPDX-License-Identifier: MIT */
#include "bench.h"

#include <limits.h>
#include <linux/futex.h>
#include <mproc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 2, ROUNDS = 21, HOT = 2000, COLD = 50 };

static int copy(const int *in, int *out)
{
    *out = *in + 1;
    return 0;
}
MPROC_TASK(copy);

static mproc_pool *pool;

static double map_two(void)
{
    int in[2] = { 1, 2 }, out[2] = { 0 };
    double start = bench_now();
    if (mproc_map(pool, copy, in, out, 2) != 0 || out[0] != 2 || out[1] != 3)
        return -1;
    return bench_now() - start;
}

static void pause_ms(long milliseconds)
{
    nanosleep(&(struct timespec) { 0, milliseconds * 1000000 }, NULL);
}

static double run_hot(void *unused)
{
    (void)unused;
    double start = bench_now();
    for (int i = 0; i < HOT; i++)
        if (map_two() < 0)
            return -1;
    return (bench_now() - start) / HOT;
}

static double run_cold(void *unused)
{
    (void)unused;
    double sum = 0;
    for (int i = 0; i < COLD; i++) {
        pause_ms(1);
        double took = map_two();
        if (took < 0)
            return -1;
        sum += took;
    }
    return sum / COLD;
}

/* ---- the limit: wake a thread that answers by storing */

static _Atomic uint32_t bell, answer;

static void *answer_bells(void *unused)
{
    for (uint32_t seen = 0; seen != UINT32_MAX;) {
        syscall(SYS_futex, &bell, FUTEX_WAIT, seen, NULL, NULL, 0);
        seen = atomic_load(&bell);
        atomic_store(&answer, seen);
    }
    return unused;
}

static double run_futex(void *unused)
{
    (void)unused;
    double sum = 0;
    for (int i = 0; i < COLD; i++) {
        pause_ms(1);
        double start = bench_now();
        uint32_t next = atomic_fetch_add(&bell, 1) + 1;
        syscall(SYS_futex, &bell, FUTEX_WAKE, 1, NULL, NULL, 0);
        while (atomic_load(&answer) != next) {
        }
        sum += bench_now() - start;
    }
    return sum / COLD;
}

int main(void)
{
    pthread_t thread;
    if (mproc_pool_open(&pool, .workers = WORKERS) != 0 || pthread_create(&thread, NULL, answer_bells, NULL) != 0)
        return 1;
    const struct bench_contestant contestants[] = {
        { "waking one sleeper by futex (limit)", run_futex, NULL },
        { "mproc, processes, workers asleep", run_cold, NULL },
        { "mproc, processes, right after another", run_hot, NULL },
    };
    int result = bench_run("A map of 2 empty tasks, two workers", contestants, 3, ROUNDS, 1, "us", 1e-6);
    atomic_store(&bell, UINT32_MAX);
    syscall(SYS_futex, &bell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    pthread_join(thread, NULL);
    mproc_pool_close(pool);
    return result;
}
