/* What this machine allows at best: the figures that all others rest on. SPDX-License-Identifier: MIT */
#include "bench.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TRIPS = 50000, CLAIMS = 500000, WAKES = 40, PAUSE = 1000000, COPY = 1 << 20, AREA = 8 << 20 };

static _Alignas(128) _Atomic uint32_t ball, bell, answer;
static _Alignas(128) _Atomic uint64_t cursor;

static void *play(void *unused)
{
    for (uint32_t i = 0; i < TRIPS; i++) {
        while (atomic_load_explicit(&ball, memory_order_acquire) != 2 * i + 1) {
        }
        atomic_store_explicit(&ball, 2 * i + 2, memory_order_release);
    }
    return unused;
}

static double run_ping_pong(void *unused)
{
    (void)unused;
    pthread_t thread;
    atomic_store(&ball, 0);
    if (pthread_create(&thread, NULL, play, NULL) != 0)
        return -1;
    double start = bench_now();
    for (uint32_t i = 0; i < TRIPS; i++) {
        atomic_store_explicit(&ball, 2 * i + 1, memory_order_release);
        while (atomic_load_explicit(&ball, memory_order_acquire) != 2 * i + 2) {
        }
    }
    double took = bench_now() - start;
    pthread_join(thread, NULL);
    return took / TRIPS;
}

static void *claim(void *unused)
{
    uint64_t seen = atomic_load(&cursor);
    while (seen < CLAIMS)
        if (atomic_compare_exchange_weak(&cursor, &seen, seen + 1))
            seen++;
    return unused;
}

static double run_claims(void *unused)
{
    (void)unused;
    pthread_t thread;
    atomic_store(&cursor, 0);
    double start = bench_now();
    if (pthread_create(&thread, NULL, claim, NULL) != 0)
        return -1;
    claim(NULL);
    pthread_join(thread, NULL);
    return (bench_now() - start) / CLAIMS;
}

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
    for (int i = 0; i < WAKES; i++) {
        bench_pause(PAUSE);
        double start = bench_now();
        uint32_t next = atomic_fetch_add(&bell, 1) + 1;
        syscall(SYS_futex, &bell, FUTEX_WAKE, 1, NULL, NULL, 0);
        while (atomic_load(&answer) != next) {
        }
        sum += bench_now() - start;
    }
    return sum / WAKES;
}

static char areas[2 * AREA];

/* 1 MiB within areas that no cache of a core holds. */
static double run_copies(void *unused)
{
    (void)unused;
    char *from = areas, *to = from + AREA;
    double start = bench_now();
    for (int i = 0; i < AREA; i += COPY) {
        memcpy(to + i, from + i, COPY);
        __asm__ volatile("" : : "r"(to) : "memory");
    }
    return to[AREA - 1] == 'm' ? bench_now() - start : -1;
}

static void measure(const char *title, const char *unit, double scale, double (*run)(void *))
{
    bench_row(&(struct bench_row) {
        .title = title,
        .unit = unit,
        .scale = scale,
        .contestants = { { "this machine", BENCH_LIMIT, run, .argument = NULL } },
    });
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv);
    pthread_t thread;
    if (pthread_create(&thread, NULL, answer_bells, NULL) != 0)
        return 1;
    memset(areas, 'm', sizeof areas);
    measure("a cache line from one CPU to the other and back", "ns", 1e-9, run_ping_pong);
    measure("a compare-and-swap that moves a cursor, two CPUs at it", "ns", 1e-9, run_claims);
    measure("a futex wake, until the woken thread runs, 1 ms after the one before", "us", 1e-6, run_futex);
    measure("memcpy of 8 MiB, 1 MiB at a time", "us", 1e-6, run_copies);
    atomic_store(&bell, UINT32_MAX);
    syscall(SYS_futex, &bell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    pthread_join(thread, NULL);
    return bench_end();
}
