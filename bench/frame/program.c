/* Peers that are programs of their own. SPDX-License-Identifier: MIT
 *
 * Started at their first turn in a row. One that is not at turn is stopped, so that its idle threads, which may spin,
 * disturb nobody.
 */
#include "frame.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct bench_program {
    const char *name;
    const char *command; /* NULL: it was not there when this was built */
    bool rests;          /* when it is not at turn, by itself, and need not be stopped: mpirun would report that */
    bool is_missed;      /* it was said that it is not there */
    pid_t pid;           /* 0: not running */
    FILE *requests, *answers;
};

#ifdef BENCH_LIBGOMP
struct bench_program bench_libgomp = { .name = "libgomp", .command = BENCH_LIBGOMP };
#else
struct bench_program bench_libgomp = { .name = "libgomp" };
#endif
#ifdef BENCH_LIBOMP
struct bench_program bench_libomp = { .name = "libomp", .command = BENCH_LIBOMP };
#else
struct bench_program bench_libomp = { .name = "libomp" };
#endif
#ifdef BENCH_TBB
struct bench_program bench_tbb = { .name = "oneTBB", .command = BENCH_TBB };
#else
struct bench_program bench_tbb = { .name = "oneTBB" };
#endif
#ifdef BENCH_PYTHON
struct bench_program bench_python = { .name = "Python", .command = BENCH_PYTHON };
#else
struct bench_program bench_python = { .name = "Python" };
#endif

#ifdef BENCH_MPI
struct bench_program bench_mpi_mproc = { .name = "Open MPI", .command = BENCH_MPI_MPROC, .rests = true };
struct bench_program bench_mpi_farm = { .name = "Open MPI", .command = BENCH_MPI_FARM, .rests = true };
#else
struct bench_program bench_mpi_mproc = { .name = "Open MPI" };
struct bench_program bench_mpi_farm = { .name = "Open MPI" };
#endif

enum { PROGRAMS = 6 };
static struct bench_program *const programs[PROGRAMS] = { &bench_libgomp, &bench_libomp,    &bench_tbb,
                                                          &bench_python,  &bench_mpi_mproc, &bench_mpi_farm };

bool bench_program_is_there(struct bench_program *program)
{
    if (!program->command && !program->is_missed)
        printf("%s was not there when this was built, and is left out (make bench-deps installs it).\n\n",
               program->name);
    program->is_missed = !program->command;
    return program->command;
}

static pid_t spawn(const char *command, int input, int output)
{
    static char shell[] = "sh", option[] = "-c";
    char line[1024];
    snprintf(line, sizeof line, "exec %s", command);
    char *arguments[] = { shell, option, line, NULL };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    pid_t pid = 0;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, 0);
    posix_spawn_file_actions_adddup2(&actions, output, 1);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    if (posix_spawn(&pid, "/bin/sh", &actions, &attributes, arguments, environ) != 0)
        pid = 0;
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static bool start(struct bench_program *program)
{
    int requests[2], answers[2];
    if (pipe2(requests, O_CLOEXEC) != 0)
        return false;
    if (pipe2(answers, O_CLOEXEC) != 0) {
        close(requests[0]);
        close(requests[1]);
        return false;
    }
    program->pid = spawn(program->command, requests[0], answers[1]);
    close(requests[0]);
    close(answers[1]);
    program->requests = fdopen(requests[1], "w");
    program->answers = fdopen(answers[0], "r");
    return program->pid > 0 && program->requests && program->answers;
}

double program_run(struct bench_program *program, const char *load)
{
    char line[64];
    if (program->pid <= 0 && !start(program))
        return -1;
    if (!program->rests)
        kill(-program->pid, SIGCONT);
    if (fprintf(program->requests, "%s\n", load) < 0 || fflush(program->requests) != 0 ||
        !fgets(line, sizeof line, program->answers))
        return -1;
    if (!program->rests)
        kill(-program->pid, SIGSTOP);
    return strtod(line, NULL);
}

void programs_end(void)
{
    for (int i = 0; i < PROGRAMS; i++) {
        struct bench_program *program = programs[i];
        if (program->pid <= 0)
            continue;
        fclose(program->requests);
        if (!program->rests)
            kill(-program->pid, SIGCONT);
        waitpid(program->pid, NULL, 0);
        fclose(program->answers);
        program->pid = 0;
    }
}
