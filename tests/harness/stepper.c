/* Stops another process at a chosen machine instruction. SPDX-License-Identifier: MIT */
#include "stepper.h"

#include "harness.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static void interrupt(int signal)
{
    (void)signal;
}

/* Whether what waits is interrupted now and then. */
static void set_ticks(bool on)
{
    static const struct itimerval often = { { 0, 5000 }, { 0, 5000 } }, never;
    struct sigaction action = { .sa_handler = interrupt };
    if (on)
        sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, on ? &often : &never, NULL);
}

/* Returns false when the time is up. */
static bool wait_stop(pid_t pid, int *status, int patience)
{
    double deadline = 0, now = 0;
    pid_t got;
    set_ticks(true);
    while ((got = waitpid(pid, status, __WALL)) < 0 && errno == EINTR && now <= deadline) {
        now = harness_now();
        if (deadline == 0)
            deadline = now + patience / 1000.0;
    }
    set_ticks(false);
    return got == pid;
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

/* ---- functions that are passed over */

static void (*passed_over[16])(void);
static int passed_over_count;

void stepper_pass_over(void (*function)(void))
{
    passed_over[passed_over_count++] = function;
}

#ifdef __x86_64__
static long read_register(pid_t pid, size_t offset)
{
    return ptrace(PTRACE_PEEKUSER, pid, (void *)offset, NULL);
}

static long instruction_at(pid_t pid)
{
    return read_register(pid, offsetof(struct user, regs.rip));
}

/* In a register of the processor: code that a forked child shares is left alone. */
static bool set_breakpoint(pid_t pid, long address)
{
    return ptrace(PTRACE_POKEUSER, pid, (void *)offsetof(struct user, u_debugreg[0]), (void *)address) == 0 &&
           ptrace(PTRACE_POKEUSER, pid, (void *)offsetof(struct user, u_debugreg[7]), (void *)(long)(address != 0)) ==
               0;
}

static long return_address(pid_t pid)
{
    return ptrace(PTRACE_PEEKDATA, pid, (void *)read_register(pid, offsetof(struct user, regs.rsp)), NULL);
}
#else
static long instruction_at(pid_t pid)
{
    (void)pid;
    return 0;
}

static bool set_breakpoint(pid_t pid, long address)
{
    (void)pid;
    (void)address;
    return false;
}

static long return_address(pid_t pid)
{
    (void)pid;
    return 0;
}
#endif

/* Lets it run until it is at an instruction for the how-manyeth time. */
static bool run_to(pid_t pid, long address, long times, int *status, int patience)
{
    int deliver = 0;
    bool there = set_breakpoint(pid, address);
    while (there && times > 0) {
        there = ptrace(PTRACE_CONT, pid, NULL, (void *)(long)deliver) == 0 && wait_step(pid, status, patience);
        bool hit = there && WSTOPSIG(*status) == SIGTRAP && instruction_at(pid) == address;
        deliver = there && WSTOPSIG(*status) != SIGTRAP ? WSTOPSIG(*status) : 0;
        times -= hit;
    }
    set_breakpoint(pid, 0);
    return there;
}

static bool is_passed_over(pid_t pid)
{
    long at = passed_over_count > 0 ? instruction_at(pid) : 0;
    for (int i = 0; i < passed_over_count && at != 0; i++)
        if (at == (long)(intptr_t)passed_over[i])
            return true;
    return false;
}

/* ---- stepping */

static bool step(pid_t pid, int *status, int deliver, bool first, int patience)
{
    if (!first && deliver == 0 && is_passed_over(pid))
        return run_to(pid, return_address(pid), 1, status, patience);
    /* The first step may wait for what the test has only just set off. */
    if (ptrace(PTRACE_SINGLESTEP, pid, NULL, (void *)(long)deliver) != 0 && (!first || errno != ESRCH))
        return false;
    return wait_step(pid, status, first ? 10 * patience : patience);
}

/* ---- the way that was recorded */

static struct {
    long *at; /* the instructions, in their order */
    long length, room;
    bool recording;
} trail;

static void record(pid_t pid)
{
    if (trail.length == trail.room) {
        trail.room = trail.room ? 2 * trail.room : 4096;
        trail.at = realloc(trail.at, (size_t)trail.room * sizeof *trail.at);
        assert_non_null(trail.at);
    }
    trail.at[trail.length++] = instruction_at(pid);
}

static long count_times(long address, long end)
{
    long times = 0;
    for (long i = 0; i < end; i++)
        times += trail.at[i] == address;
    return times;
}

enum {
    STEPPED_BEHIND = 150, /* instructions that are stepped at the end of the way, at most ... */
    STEPPED_LEAST = 20,   /* ... and at least */
    JUMPS_MOST = 30,      /* times that a breakpoint is passed */
};

/* A place on the way to instruction `count` that is passed seldom, in the program's own code; -1: none. */
static long find_place(long count, long *times)
{
    extern const char __executable_start, etext;
    long best = -1;
    *times = JUMPS_MOST + 1;
    for (long i = count - STEPPED_BEHIND; i < count - STEPPED_LEAST; i++) {
        if (i < 0 || trail.at[i] < (long)(intptr_t)&__executable_start || trail.at[i] >= (long)(intptr_t)&etext)
            continue;
        long passed = count_times(trail.at[i], i + 1);
        if (passed < *times) {
            best = i;
            *times = passed;
        }
    }
    return best;
}

/* ---- the calls */

static long step_all(pid_t pid, long from, long count, int patience)
{
    int deliver = 0, status;
    for (long i = from; i < count; i++) {
        if (!step(pid, &status, deliver, i == 0, patience) || WSTOPSIG(status) == SIGSTOP)
            return i;
        deliver = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
        if (trail.recording)
            record(pid);
    }
    return count;
}

static long jump_and_step(pid_t pid, long count, int patience)
{
    long times, place = count <= trail.length ? find_place(count, &times) : -1;
    int status;
    if (place < 0)
        return step_all(pid, 0, count, patience);
    /* What takes another way soon sleeps, at its end. */
    if (!run_to(pid, trail.at[place], times, &status, patience / 4))
        return STEPPER_LOST;
    return step_all(pid, place + 1, count, patience);
}

/* Both on one CPU: a step takes half the time. */
static long together(pid_t pid, long count, int patience, long (*go)(pid_t, long, int))
{
    cpu_set_t before, of_victim, one;
    bool bound =
        sched_getaffinity(0, sizeof before, &before) == 0 && sched_getaffinity(pid, sizeof of_victim, &of_victim) == 0;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    if (bound) {
        sched_setaffinity(0, sizeof one, &one);
        sched_setaffinity(pid, sizeof one, &one);
    }
    slept = false;
    long did = go(pid, count, patience);
    if (bound) {
        sched_setaffinity(0, sizeof before, &before);
        sched_setaffinity(pid, sizeof of_victim, &of_victim);
    }
    return did;
}

static long step_from_the_beginning(pid_t pid, long count, int patience)
{
    return step_all(pid, 0, count, patience);
}

long stepper_step(pid_t pid, long count, int patience)
{
    return together(pid, count, patience, step_from_the_beginning);
}

long stepper_record(pid_t pid, int patience)
{
    trail.length = 0;
    trail.recording = true;
    long did = stepper_step(pid, LONG_MAX, patience);
    trail.recording = false;
    return did;
}

long stepper_jump(pid_t pid, long count, int patience)
{
    return together(pid, count, patience, jump_and_step);
}

void stepper_kill(pid_t pid)
{
    int status = 0;
    kill(pid, SIGKILL);
    while (wait_stop(pid, &status, HARNESS_PATIENCE) && WIFSTOPPED(status)) {
    }
}

/* False unless it is stopped. A breakpoint that is still there would kill it. */
static bool let_go(pid_t pid)
{
    set_breakpoint(pid, 0);
    return ptrace(PTRACE_DETACH, pid, NULL, NULL) == 0;
}

/* One that sleeps in a step has the trap of that step still to come, which would kill it once nobody traces it. */
void stepper_detach(pid_t pid)
{
    int status;
    if (let_go(pid))
        return;
    ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
    if (wait_stop(pid, &status, HARNESS_PATIENCE) && status >> 16 == PTRACE_EVENT_STOP) {
        set_breakpoint(pid, 0);
        ptrace(PTRACE_CONT, pid, NULL, NULL);
        if (!wait_step(pid, &status, 20)) {
            ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
            wait_stop(pid, &status, HARNESS_PATIENCE);
        }
    }
    let_go(pid);
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
