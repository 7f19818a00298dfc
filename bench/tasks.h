/* The tasks that all contestants run, in C and in C++. SPDX-License-Identifier: MIT */
#ifndef BENCH_TASKS_H
#define BENCH_TASKS_H

#include <stddef.h>
#include <stdint.h>

enum { TASKS_WORKERS = 2, TASKS_LONGEST = 1000, TASKS_NUMBERS = 50000000 };

/* How lengths of tasks are distributed. */
enum tasks_kind { TASKS_EQUAL = 0, TASKS_SPREAD, TASKS_LONG_LAST };

/* Empty but for a result that can be checked. */
static inline int task_add_one(const int *in, int *out)
{
    *out = *in + 1;
    return 0;
}

/* A chain of multiplications, each of which waits for the one before, takes the same time however a compiler arranges
 * the loop. */
static inline int task_spin(const uint32_t *iterations, uint64_t *result)
{
    uint64_t value = 1;
    for (uint32_t i = 0; i < *iterations; i++) {
        value = value * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        __asm__ volatile("" : "+r"(value));
    }
    *result = value;
    return 0;
}

/* How many iterations task i of n takes if the shortest takes `unit`. */
static inline uint32_t tasks_length(enum tasks_kind kind, size_t i, size_t n, uint32_t unit)
{
    if (kind == TASKS_SPREAD)
        return unit * (1 + (uint32_t)((i + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 40) % TASKS_LONGEST);
    if (kind == TASKS_LONG_LAST)
        return unit * (i >= n - n / 10 ? TASKS_LONGEST : 1);
    return unit;
}

/* The tutorial's job. */
static inline int64_t tasks_sum(int64_t first, int64_t last)
{
    volatile int64_t sum = 0;
    for (int64_t i = first; i < last; i++)
        sum += i;
    return sum;
}

/* Not inlined, and nothing known of it, as in a pool that is told what to call. */
typedef int tasks_add_one_function(const int *, int *);
typedef int tasks_spin_function(const uint32_t *, uint64_t *);

#endif
