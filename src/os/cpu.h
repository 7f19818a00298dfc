/* CPUs that may be used. SPDX-License-Identifier: MIT */
#ifndef OS_CPU_H
#define OS_CPU_H

/* As mproc_cpu_count. */
int os_cpu_count(void);

/* What it was within the last second: looking takes reading a dozen files. */
int os_cpu_count_of_late(void);

/* The smallest CPU quota, in CPUs rounded up, among the cgroups that the text of /proc/self/cgroup names and their
 * parents; 0 if there is none. `mount` is where cgroups are mounted: "/sys/fs/cgroup". */
int os_cgroup_cpu_quota(const char *mount, const char *self_cgroup);

#endif
