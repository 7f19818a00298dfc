/* Stops another process at a chosen machine instruction. SPDX-License-Identifier: MIT */
#include "stepper.h"

#include "harness.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Returns false when the time is up. */
static bool wait_stop(pid_t pid, int *status, int patience)
{
    double deadline = harness_now() + patience / 1000.0;
    for (long spins = 0;; spins++) {
        pid_t got = waitpid(pid, status, WNOHANG | __WALL);
        if (got == pid)
            return true;
        if (got < 0 || (spins % 64 == 63 && harness_now() > deadline))
            return false;
        if (spins > 2000)
            usleep(50);
    }
}

bool stepper_is_possible(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    bool possible = ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, __WALL);
    return possible;
}

bool stepper_attach(pid_t pid)
{
    int status;
    return ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0 && ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == 0 &&
           wait_stop(pid, &status, HARNESS_PATIENCE) && WIFSTOPPED(status);
}

/* Number of the system call that a process is in; -1 if it is in none, or gone. */
static long current_call(pid_t pid)
{
    char path[64];
    long number;
    snprintf(path, sizeof path, "/proc/%d/syscall", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return -1;
    if (fscanf(file, "%ld", &number) != 1)
        number = -1;
    fclose(file);
    return number;
}

static bool slept;

bool stepper_slept(void)
{
    return slept;
}

/* A process that sleeps through its time is blocked. One that does not come back but does not sleep either, or only for
 * a time of its own, is slow, on a machine that is busy. */
static bool wait_step(pid_t pid, int *status, int patience)
{
    while (!wait_stop(pid, status, patience)) {
        char state = harness_process_state(pid);
        slept = state == 'S';
        if (state != 'R' && state != 'D' && state != 't' && current_call(pid) != SYS_clock_nanosleep)
            return false;
    }
    return WIFSTOPPED(*status);
}

long stepper_step(pid_t pid, long count, int patience)
{
    int deliver = 0;
    slept = false;
    for (long i = 0; i < count; i++) {
        int status;
        /* The first step may wait for what the test has only just set off. */
        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, (void *)(long)deliver) != 0 && (i > 0 || errno != ESRCH))
            return i;
        if (!wait_step(pid, &status, i == 0 ? 10 * patience : patience))
            return i;
        if (WSTOPSIG(status) == SIGSTOP)
            return i;
        deliver = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
    }
    return count;
}

void stepper_kill(pid_t pid)
{
    int status = 0;
    kill(pid, SIGKILL);
    while (wait_stop(pid, &status, HARNESS_PATIENCE) && WIFSTOPPED(status)) {
    }
}

/* One that sleeps in a step has the trap of that step still to come, which would kill it once nobody traces it. */
void stepper_detach(pid_t pid)
{
    int status;
    if (ptrace(PTRACE_DETACH, pid, NULL, NULL) == 0)
        return;
    ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
    if (wait_stop(pid, &status, HARNESS_PATIENCE) && status >> 16 == PTRACE_EVENT_STOP) {
        ptrace(PTRACE_CONT, pid, NULL, NULL);
        if (!wait_step(pid, &status, 20)) {
            ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
            wait_stop(pid, &status, HARNESS_PATIENCE);
        }
    }
    ptrace(PTRACE_DETACH, pid, NULL, NULL);
}

bool stepper_wait_in_call(pid_t pid, long number, int milliseconds)
{
    double deadline = harness_now() + milliseconds / 1000.0;
    do {
        if (current_call(pid) == number)
            return true;
        usleep(100);
    } while (harness_now() < deadline);
    return false;
}

long stepper_stride(long sampled)
{
    return getenv("MPROC_CRASH_ALL") ? 1 : sampled;
}
