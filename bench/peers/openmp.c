/* OpenMP: `parallel for` with each of its schedules. Compiled with gcc it is libgomp's, with clang libomp's.
 * SPDX-License-Identifier: MIT */
#include "peer.h"

static void peer_add_one(const int *in, int *out, size_t n, const char *schedule)
{
    if (strcmp(schedule, "guided") == 0) {
#pragma omp parallel for schedule(guided)
        for (size_t i = 0; i < n; i++)
            peer_add_one_task(&in[i], &out[i]);
    } else if (strcmp(schedule, "dynamic") == 0) {
#pragma omp parallel for schedule(dynamic, 1)
        for (size_t i = 0; i < n; i++)
            peer_add_one_task(&in[i], &out[i]);
    } else {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i++)
            peer_add_one_task(&in[i], &out[i]);
    }
}

static void peer_spin(const uint32_t *in, uint64_t *out, size_t n, const char *schedule)
{
    if (strcmp(schedule, "guided") == 0) {
#pragma omp parallel for schedule(guided)
        for (size_t i = 0; i < n; i++)
            peer_spin_task(&in[i], &out[i]);
    } else if (strcmp(schedule, "dynamic") == 0) {
#pragma omp parallel for schedule(dynamic, 1)
        for (size_t i = 0; i < n; i++)
            peer_spin_task(&in[i], &out[i]);
    } else {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i++)
            peer_spin_task(&in[i], &out[i]);
    }
}

static void peer_sum(int64_t totals[TASKS_WORKERS])
{
#pragma omp parallel for
    for (int i = 0; i < TASKS_WORKERS; i++)
        totals[i] = tasks_sum(0, TASKS_NUMBERS);
}

static void peer_print_version(void)
{
#ifdef __clang__
    printf("libomp of clang %d.%d.%d\n", __clang_major__, __clang_minor__, __clang_patchlevel__);
#else
    printf("libgomp of gcc %d.%d.%d\n", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#endif
}
