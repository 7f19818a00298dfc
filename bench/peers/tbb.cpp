/* oneTBB: parallel_for over a blocked_range. SPDX-License-Identifier: MIT */
#include "peer.h"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/version.h>

/* "auto": its default partitioner, which adapts; "simple": a task each. */
template <typename In, typename Out, typename Task>
static void run(Task task, const In *in, Out *out, size_t n, const char *schedule)
{
    auto body = [=](const tbb::blocked_range<size_t> &range) {
        for (size_t i = range.begin(); i != range.end(); i++)
            task(&in[i], &out[i]);
    };
    if (strcmp(schedule, "simple") == 0)
        tbb::parallel_for(tbb::blocked_range<size_t>(0, n, 1), body, tbb::simple_partitioner());
    else
        tbb::parallel_for(tbb::blocked_range<size_t>(0, n), body);
}

static void peer_add_one(const int *in, int *out, size_t n, const char *schedule)
{
    run(peer_add_one_task, in, out, n, schedule);
}

static void peer_spin(const uint32_t *in, uint64_t *out, size_t n, const char *schedule)
{
    run(peer_spin_task, in, out, n, schedule);
}

static void peer_sum(int64_t totals[TASKS_WORKERS])
{
    tbb::parallel_for(0, static_cast<int>(TASKS_WORKERS), [=](int i) { totals[i] = tasks_sum(0, TASKS_NUMBERS); });
}

static void peer_print_version(void)
{
    printf("oneTBB %s\n", TBB_runtime_version());
}

static tbb::global_control workers(tbb::global_control::max_allowed_parallelism, TASKS_WORKERS);
