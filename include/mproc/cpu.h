/* How many CPUs a program may use. SPDX-License-Identifier: MIT */
#ifndef MPROC_CPU_H
#define MPROC_CPU_H

#include <mproc/export.h>

MPROC_BEGIN_DECLARATIONS

/** Number of CPUs that this process may use: the CPUs in the calling thread's affinity mask, or the cgroup's CPU quota
 * (version 1 or 2, rounded up to whole CPUs) where that is smaller. It is the number of workers that a pool has unless
 * it is told otherwise.
 *
 * Returns at least 1. Reads /proc and /sys, so keep the answer rather than ask in a loop. May be called from any thread
 * and in a forked child, not in a signal handler. Never fails: what cannot be read does not count as a limit.
 * Since 0.1. */
MPROC_API int mproc_cpu_count(void);

/** Number of CPUs of the machine that are online, whether this process may use them or not.
 *
 * Returns at least 1. Threads, fork and errors as mproc_cpu_count. Since 0.1. */
MPROC_API int mproc_machine_cpu_count(void);

MPROC_END_DECLARATIONS

#endif
