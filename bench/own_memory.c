/* What workers cost while they do nothing: memory of their own, and CPU time. SPDX-License-Identifier: MIT */
#include "bench.h"

#include "tasks.h"

#include <ctype.h>
#include <dirent.h>
#include <mproc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES_MAX = 256, IDLE = 64, WARM = 1000 };
#define SETTLE 200000000L /* nanoseconds until everybody sleeps */
#define WATCH 2000000000L /* for which idle workers are watched */

static int add_one(const int *in, int *out)
{
    return task_add_one(in, out);
}
MPROC_TASK(add_one);

static double read_kilobytes(pid_t pid, const char *field)
{
    char path[64], line[256];
    double kilobytes = -1;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, field, strlen(field)) == 0)
            kilobytes = strtod(line + strlen(field), NULL);
    if (file)
        fclose(file);
    return kilobytes;
}

static double read_own_memory(pid_t pid)
{
    double clean = read_kilobytes(pid, "Private_Clean:"), dirty = read_kilobytes(pid, "Private_Dirty:");
    return clean < 0 || dirty < 0 ? -1 : clean + dirty;
}

static pid_t read_parent(pid_t pid)
{
    char path[64], line[512];
    int parent = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    char *end = file && fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
    if (!end || sscanf(end + 1, " %*c %d", &parent) != 1)
        parent = 0;
    if (file)
        fclose(file);
    return parent;
}

/* The processes whose parent is this one. Returns how many. */
static int find_children(pid_t parent, pid_t *children, int most)
{
    int count = 0;
    DIR *directory = opendir("/proc");
    for (struct dirent *entry = directory ? readdir(directory) : NULL; entry; entry = readdir(directory)) {
        pid_t pid = isdigit((unsigned char)entry->d_name[0]) ? (pid_t)strtol(entry->d_name, NULL, 10) : 0;
        if (pid > 0 && count < most && read_parent(pid) == parent)
            children[count++] = pid;
    }
    if (directory)
        closedir(directory);
    return count;
}

static pid_t fork_sleeper(void)
{
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    return pid;
}

static double run_fork(void *unused)
{
    (void)unused;
    pid_t pid = fork_sleeper();
    if (pid < 0)
        return -1;
    bench_pause(SETTLE / 10);
    double own = read_own_memory(pid);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return own;
}

/* The supervisor and its workers. Returns the number of processes, or -1. */
static int open_pool(mproc_pool **pool, int workers, pid_t *processes)
{
    int numbers[WARM], results[WARM];
    for (int i = 0; i < WARM; i++)
        numbers[i] = i;
    if (mproc_pool_open(pool, .workers = workers) != 0 ||
        mproc_map(*pool, add_one, numbers, results, WARM, .chunk = 1) != 0 || results[WARM - 1] != WARM)
        return -1;
    bench_pause(SETTLE);
    if (find_children(getpid(), processes, 1) != 1)
        return -1;
    int found = find_children(processes[0], processes + 1, PROCESSES_MAX - 1);
    return found == workers ? found + 1 : -1;
}

/* In the mean of workers that have worked. */
static double run_worker(void *unused)
{
    (void)unused;
    mproc_pool *pool = NULL;
    pid_t processes[PROCESSES_MAX];
    double own = 0;
    int count = open_pool(&pool, TASKS_WORKERS, processes);
    for (int i = 1; i < count; i++)
        own += read_own_memory(processes[i]) / (count - 1);
    return count > 0 && mproc_pool_close(pool) == 0 ? own : -1;
}

static double run_worker_beyond_fork(void *unused)
{
    double fork_gives = run_fork(unused), own = run_worker(unused);
    if (fork_gives < 0 || own < 0)
        return -1;
    return own > fork_gives ? own - fork_gives : 0;
}

static double read_cpu_seconds(const pid_t *processes, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++) {
        char path[64];
        unsigned long long nanoseconds = 0;
        snprintf(path, sizeof path, "/proc/%d/schedstat", (int)processes[i]);
        FILE *file = fopen(path, "r");
        if (!file || fscanf(file, "%llu", &nanoseconds) != 1) // NOLINT(cert-err34-c): the kernel wrote it
            sum = -1;
        if (file)
            fclose(file);
        if (sum < 0)
            return -1;
        sum += (double)nanoseconds * 1e-9;
    }
    return sum;
}

/* CPU seconds that they use in a second. */
static double watch(const pid_t *processes, int count)
{
    double start = bench_now(), before = read_cpu_seconds(processes, count);
    bench_pause(WATCH);
    double after = read_cpu_seconds(processes, count);
    return before < 0 || after < 0 ? -1 : (after - before) / (bench_now() - start);
}

static double run_idle_pool(void *unused)
{
    (void)unused;
    mproc_pool *pool = NULL;
    pid_t processes[PROCESSES_MAX];
    int count = open_pool(&pool, IDLE, processes);
    double used = count < 0 ? -1 : watch(processes, count);
    return mproc_pool_close(pool) == 0 ? used : -1;
}

static double run_idle_forks(void *unused)
{
    (void)unused;
    pid_t processes[IDLE];
    for (int i = 0; i < IDLE; i++)
        processes[i] = fork_sleeper();
    bench_pause(SETTLE);
    double used = watch(processes, IDLE);
    for (int i = 0; i < IDLE; i++) {
        kill(processes[i], SIGKILL);
        waitpid(processes[i], NULL, 0);
    }
    return used;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv);
    bench_row(&(struct bench_row) {
        .title = "memory of a worker's own",
        .unit = "KiB",
        .rounds = 5,
        .contestants = { { "mproc", BENCH_OURS, run_worker, .argument = NULL },
                         { "mproc, beyond what fork gives", BENCH_OURS, run_worker_beyond_fork, .argument = NULL },
                         { "what fork gives: a bare child", BENCH_LIMIT, run_fork, .argument = NULL } },
        .targets = { { "mproc, beyond what fork gives", BENCH_AT_MOST, 200, { NULL } } },
    });
    bench_row(&(struct bench_row) {
        .title = "CPU time of 64 idle workers and their supervisor",
        .unit = "ms a second",
        .scale = 1e-3,
        .rounds = bench_quick() ? 1 : 3,
        .contestants = { { "mproc", BENCH_OURS, run_idle_pool, .argument = NULL },
                         { "64 bare children", BENCH_LIMIT, run_idle_forks, .argument = NULL } },
        .targets = { { "mproc", BENCH_AT_MOST, 1, { NULL } } },
    });
    return bench_end();
}
