/* What a process costs: start and join, in each start method, against the raw calls; and what private memory of the
 * caller's adds to that. SPDX-License-Identifier: MIT */
#include "bench.h"

#include <mproc.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STARTS = 10 };
#define LARGE ((size_t)1 << 30)

static int nothing(const void *unused)
{
    (void)unused;
    return 0;
}
MPROC_PROCESS(nothing);

static double run_fork(void *unused)
{
    (void)unused;
    double start = bench_now();
    for (int i = 0; i < STARTS; i++) {
        int status;
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
            return -1;
    }
    return bench_now() - start;
}

static double run_mproc(void *method)
{
    double start = bench_now();
    for (int i = 0; i < STARTS; i++) {
        mproc_process *process = NULL;
        struct mproc_outcome outcome;
        if (mproc_process_start(&process, nothing, NULL, .method = *(enum mproc_start_method *)method) != 0 ||
            mproc_process_join(process, MPROC_FOREVER) != 0 || mproc_process_outcome(process, &outcome) != 0 ||
            outcome.kind != MPROC_OK || mproc_process_close(process) != 0)
            return -1;
    }
    return bench_now() - start;
}

static double run_posix_spawn(void *unused)
{
    (void)unused;
    static char name[] = "bench_processes", end[] = "end";
    char *arguments[] = { name, end, NULL };
    double start = bench_now();
    for (int i = 0; i < STARTS; i++) {
        int status;
        pid_t pid;
        if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, arguments, environ) != 0 ||
            waitpid(pid, &status, 0) != pid || status != 0)
            return -1;
    }
    return bench_now() - start;
}

static enum mproc_start_method methods[] = { MPROC_FORK, MPROC_FORKSERVER, MPROC_SPAWN };

static void measure_starts(const char *title)
{
    bench_row(&(struct bench_row) {
        .title = title,
        .unit = "us",
        .scale = 1e-6,
        .per = STARTS,
        .contestants = { { "mproc, MPROC_FORK", BENCH_OURS, run_mproc, .argument = &methods[0] },
                         { "mproc, MPROC_FORKSERVER", BENCH_OURS, run_mproc, .argument = &methods[1] },
                         { "fork and waitpid", BENCH_LIMIT, run_fork, .argument = NULL } },
    });
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "end") == 0)
        return 0;
    int err = mproc_init(&argc, &argv);
    bench_begin(argc, argv);
    if (err) {
        fprintf(stderr, "mproc_init: %s\n", mproc_strerror(err));
        return 1;
    }
    measure_starts("start and join a process");
    bench_row(&(struct bench_row) {
        .title = "start and join a program",
        .unit = "us",
        .scale = 1e-6,
        .per = STARTS,
        .contestants = { { "mproc, MPROC_SPAWN", BENCH_OURS, run_mproc, .argument = &methods[2] },
                         { "posix_spawn of this program and waitpid", BENCH_LIMIT, run_posix_spawn,
                           .argument = NULL } },
    });
    /* In pages of 4 KiB: what a fork costs is copying their table. */
    char *memory = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return 1;
    madvise(memory, LARGE, MADV_NOHUGEPAGE);
    memset(memory, 1, LARGE);
    measure_starts("start and join a process, with 1 GiB of private memory in the caller");
    if (memory[LARGE / 2] != 1)
        bench_fail("the caller's memory has changed");
    return bench_end();
}
