/* CPU time that others took. SPDX-License-Identifier: MIT
 *
 * Of each thread of the machine that is not this process's or a descendant's, the kernel says in nanoseconds how long
 * it has run; of the hypervisor, in hundredths of a second, how long it let the machine wait.
 */
#include "frame.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct thread {
    int process, thread;
    unsigned long long nanoseconds;
};

struct sample {
    struct thread *threads;
    size_t count, room;
    double time;
    unsigned long long stolen;
};

static struct sample before, after;

static ssize_t read_file(const char *path, char *text, size_t size)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -1;
    ssize_t length = read(file, text, size - 1);
    close(file);
    text[length > 0 ? length : 0] = '\0';
    return length;
}

static void add_threads(struct sample *sample, int process)
{
    char path[300], text[128];
    snprintf(path, sizeof path, "/proc/%d/task", process);
    DIR *directory = opendir(path);
    if (!directory)
        return;
    for (struct dirent *entry = readdir(directory); entry; entry = readdir(directory)) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", process, entry->d_name);
        if (read_file(path, text, sizeof text) <= 0)
            continue;
        if (sample->count == sample->room) {
            size_t room = sample->room * 2 + 256;
            struct thread *threads = realloc(sample->threads, room * sizeof *threads);
            if (!threads)
                break;
            sample->threads = threads;
            sample->room = room;
        }
        sample->threads[sample->count++] =
            (struct thread) { process, (int)strtol(entry->d_name, NULL, 10), strtoull(text, NULL, 10) };
    }
    closedir(directory);
}

static unsigned long long read_stolen(void)
{
    char text[512];
    unsigned long long stolen = 0;
    if (read_file("/proc/stat", text, sizeof text) <= 0 ||
        sscanf(text, "cpu %*u %*u %*u %*u %*u %*u %*u %llu", &stolen) != 1)
        return 0;
    return stolen;
}

static int by_thread(const void *left, const void *right)
{
    const struct thread *a = left, *b = right;
    return (a->thread > b->thread) - (a->thread < b->thread);
}

static void take_sample(struct sample *sample)
{
    DIR *directory = opendir("/proc");
    sample->count = 0;
    for (struct dirent *entry = directory ? readdir(directory) : NULL; entry; entry = readdir(directory)) {
        int process = (int)strtol(entry->d_name, NULL, 10);
        if (process > 0 && process != getpid())
            add_threads(sample, process);
    }
    if (directory)
        closedir(directory);
    if (sample->count > 0)
        qsort(sample->threads, sample->count, sizeof *sample->threads, by_thread);
    sample->stolen = read_stolen();
}

/* A process that has ended by now is taken to be one of ours: those come and go during a run. */
static bool is_ours(int process)
{
    while (process != getpid()) {
        char path[64], text[512];
        snprintf(path, sizeof path, "/proc/%d/stat", process);
        char *end = read_file(path, text, sizeof text) > 0 ? strrchr(text, ')') : NULL;
        int parent = 0;
        if (!end || sscanf(end + 1, " %*c %d", &parent) != 1)
            return true;
        if (parent <= 1)
            return false;
        process = parent;
    }
    return true;
}

void noise_begin(void)
{
    before.time = bench_now();
    take_sample(&before);
}

double noise_end(void)
{
    take_sample(&after);
    after.time = bench_now();
    double taken = (double)(after.stolen - before.stolen) / (double)sysconf(_SC_CLK_TCK);
    for (size_t i = 0; i < after.count; i++) {
        struct thread *thread = &after.threads[i];
        struct thread *earlier =
            before.count ? bsearch(thread, before.threads, before.count, sizeof *thread, by_thread) : NULL;
        unsigned long long ran = thread->nanoseconds - (earlier ? earlier->nanoseconds : 0);
        if (ran > 0 && !is_ours(thread->process))
            taken += (double)ran * 1e-9;
    }
    return taken / (after.time - before.time) / (double)sysconf(_SC_NPROCESSORS_ONLN);
}
