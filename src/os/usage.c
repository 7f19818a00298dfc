/* What a process uses. SPDX-License-Identifier: MIT */
#include "os/usage.h"

#include "os/file.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

int64_t os_thread_cpu_time(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int64_t os_peak_memory(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (int64_t)usage.ru_maxrss * 1024 : 0;
}

uint64_t os_private_memory(pid_t pid)
{
    char path[64], text[256];
    unsigned long total, resident, shared;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    if (os_read_file(path, text, sizeof text) <= 0 || sscanf(text, "%lu %lu %lu", &total, &resident, &shared) != 3)
        return 0;
    return resident > shared ? (uint64_t)(resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

/* The number behind a word of a text of lines "word number"; -1 if it is not there. */
static int64_t number_of(const char *text, const char *word)
{
    size_t length = strlen(word);
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, word, length) == 0 && line[length] == ' ')
            return strtoll(line + length, NULL, 10);
    }
    return -1;
}

static int64_t kills_of_group(const char *mount, const char *group, size_t length, const char *file)
{
    char path[768], text[1024];
    snprintf(path, sizeof path, "%s%.*s/%s", mount, (int)length, group, file);
    return os_read_file(path, text, sizeof text) > 0 ? number_of(text, "oom_kill") : -1;
}

int64_t os_out_of_memory_kills(pid_t pid)
{
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/cgroup", (int)pid);
    if (os_read_file(path, text, sizeof text) <= 0)
        return -1;
    int64_t kills = -1;
    for (char *line = text; line && *line && kills < 0; line = strchr(line, '\n')) {
        line += *line == '\n';
        size_t length = strcspn(line, "\n");
        char *names = memchr(line, ':', length), *group = names ? strchr(names + 1, ':') : NULL;
        if (!group || group >= line + length)
            continue;
        size_t group_length = (size_t)(line + length - (group + 1));
        if (group == names + 1) /* version 2 */
            kills = kills_of_group("/sys/fs/cgroup", group + 1, group_length, "memory.events");
        else if (memmem(names, (size_t)(group - names), "memory", 6))
            kills = kills_of_group("/sys/fs/cgroup/memory", group + 1, group_length, "memory.oom_control");
    }
    return kills;
}

bool os_may_be_nicer(int change)
{
    struct rlimit limit;
    if (geteuid() == 0)
        return true;
    return getrlimit(RLIMIT_NICE, &limit) == 0 &&
           (limit.rlim_cur == RLIM_INFINITY || 20 - (int)limit.rlim_cur <= getpriority(PRIO_PROCESS, 0) + change);
}

int os_bind_to_cpu(unsigned which)
{
    cpu_set_t usable, one;
    if (sched_getaffinity(0, sizeof usable, &usable) != 0)
        return -errno;
    unsigned left = which % (unsigned)CPU_COUNT(&usable);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &usable) || left-- > 0)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        return sched_setaffinity(0, sizeof one, &one) == 0 ? 0 : -errno;
    }
    return -EINVAL;
}
