/* CPUs that may be used: affinity mask and cgroup quota. SPDX-License-Identifier: MIT */
#include "os/cpu.h"

#include "os/clock.h"
#include "os/file.h"

#include <errno.h>
#include <limits.h>
#include <mproc/cpu.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int affinity_count(void)
{
    /* The kernel refuses a mask smaller than its own, so grow until it fits. */
    for (int cpus = 1024; cpus <= 1 << 20; cpus *= 2) {
        cpu_set_t *mask = CPU_ALLOC(cpus);
        if (!mask)
            break;
        size_t size = CPU_ALLOC_SIZE(cpus);
        int err = sched_getaffinity(0, size, mask) == 0 ? 0 : errno;
        int count = err ? 0 : CPU_COUNT_S(size, mask);
        CPU_FREE(mask);
        if (count > 0)
            return count;
        if (err != EINVAL)
            break;
    }
    return mproc_machine_cpu_count();
}

int mproc_machine_cpu_count(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

static int whole_cpus(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return 0;
    long long cpus = (quota + period - 1) / period;
    return cpus > INT_MAX ? INT_MAX : (int)cpus;
}

/* Version 2: "max 100000" or "150000 100000". */
static int quota_of_directory_v2(const char *directory)
{
    char path[PATH_MAX], text[64];
    long long quota, period;
    snprintf(path, sizeof path, "%s/cpu.max", directory);
    if (os_read_file(path, text, sizeof text) <= 0 || sscanf(text, "%lld %lld", &quota, &period) != 2)
        return 0;
    return whole_cpus(quota, period);
}

static int quota_of_directory_v1(const char *directory)
{
    char path[PATH_MAX], text[64];
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", directory);
    if (os_read_file(path, text, sizeof text) <= 0)
        return 0;
    long long quota = strtoll(text, NULL, 10);
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", directory);
    if (os_read_file(path, text, sizeof text) <= 0)
        return 0;
    return whole_cpus(quota, strtoll(text, NULL, 10));
}

/* A quota anywhere above binds too. In a container the path may not exist below the mount; the mount itself then is the
 * container's own group. */
static int smallest_quota_upwards(const char *root, const char *group, int (*quota_of)(const char *))
{
    char directory[PATH_MAX / 2];
    int smallest = 0;
    if (snprintf(directory, sizeof directory, "%s%s", root, group) >= (int)sizeof directory)
        return 0;
    for (;;) {
        int quota = quota_of(directory);
        if (quota > 0 && (smallest == 0 || quota < smallest))
            smallest = quota;
        char *slash = strrchr(directory, '/');
        if (!slash || (size_t)(slash - directory) < strlen(root))
            return smallest;
        *slash = '\0';
    }
}

static int names_cpu(char *controllers)
{
    for (char *save, *name = strtok_r(controllers, ",", &save); name; name = strtok_r(NULL, ",", &save))
        if (strcmp(name, "cpu") == 0)
            return 1;
    return 0;
}

/* One line of /proc/self/cgroup: "0::/path" (version 2) or "4:cpu,cpuacct:/path" (version 1). */
static int quota_of_line(const char *mount, char *line)
{
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group)
        return 0;
    *group++ = '\0';
    controllers++;
    if (*controllers == '\0') {
        char unified[PATH_MAX / 4];
        int quota = smallest_quota_upwards(mount, group, quota_of_directory_v2);
        snprintf(unified, sizeof unified, "%s/unified", mount);
        return quota > 0 ? quota : smallest_quota_upwards(unified, group, quota_of_directory_v2);
    }
    char root[PATH_MAX / 4];
    if (snprintf(root, sizeof root, "%s/%s", mount, controllers) >= (int)sizeof root || !names_cpu(controllers))
        return 0;
    int quota = smallest_quota_upwards(root, group, quota_of_directory_v1);
    snprintf(root, sizeof root, "%s/cpu", mount);
    return quota > 0 ? quota : smallest_quota_upwards(root, group, quota_of_directory_v1);
}

int os_cgroup_cpu_quota(const char *mount, const char *self_cgroup)
{
    char text[4096];
    int smallest = 0;
    snprintf(text, sizeof text, "%s", self_cgroup);
    for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        int quota = quota_of_line(mount, line);
        if (quota > 0 && (smallest == 0 || quota < smallest))
            smallest = quota;
    }
    return smallest;
}

int os_cpu_count(void)
{
    char groups[4096];
    int count = affinity_count();
    if (os_read_file("/proc/self/cgroup", groups, sizeof groups) > 0) {
        int quota = os_cgroup_cpu_quota("/sys/fs/cgroup", groups);
        if (quota > 0 && quota < count)
            count = quota;
    }
    return count;
}

/* The count, and above it the second in which it was taken. */
static _Atomic uint64_t count_of_late;

int os_cpu_count_of_late(void)
{
    uint64_t second = (uint64_t)os_now() / 1000000000 + 1, seen = atomic_load(&count_of_late);
    if (seen >> 32 == (second & UINT32_MAX))
        return (int)(uint32_t)seen;
    int count = os_cpu_count();
    atomic_store(&count_of_late, second << 32 | (uint32_t)count);
    return count;
}

int mproc_cpu_count(void)
{
    return os_cpu_count();
}
