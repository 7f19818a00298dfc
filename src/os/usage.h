/* What a process uses. SPDX-License-Identifier: MIT */
#ifndef OS_USAGE_H
#define OS_USAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* CPU time of the calling thread in nanoseconds. */
int64_t os_thread_cpu_time(void);

/* Most bytes of memory that this process ever had present at a time. */
int64_t os_peak_memory(void);

/* Bytes of memory that a process has present and shares with nobody but through fork: without shared memory and files.
 * 0 if it cannot be seen. */
uint64_t os_private_memory(pid_t pid);

/* How many processes of a process's control group the kernel has killed because the group was out of memory; -1 if it
 * does not say. */
int64_t os_out_of_memory_kills(pid_t pid);

/* True if the calling process may change its nice value by `change`, which is below 0. */
bool os_may_be_nicer(int change);

/* Binds the calling process to the how-manyeth of the CPUs that it may use, going round. Returns 0 or -errno. */
int os_bind_to_cpu(unsigned which);

#endif
