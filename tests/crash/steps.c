/* Kills a process at each machine instruction of an operation. SPDX-License-Identifier: MIT */
#include "steps.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void (*survivor_ready)(void);

/* A process that stops itself where the stepping begins and where it ends. */
static pid_t start_stopped(const struct steps *steps, bool survivor)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        void (*ready)(void) = survivor ? survivor_ready : steps->ready;
        if (ready)
            ready();
        raise(SIGSTOP);
        int result = 0;
        if (survivor)
            result = steps->survive();
        else
            steps->operation();
        raise(SIGSTOP);
        _exit(result);
    }
    waitpid(pid, &status, WUNTRACED);
    assert_true(WIFSTOPPED(status) && stepper_attach(pid));
    kill(pid, SIGCONT);
    return pid;
}

static pid_t start_survivor(const struct steps *steps)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(steps->survive());
    }
    /* It gets as far as it can on its own. */
    for (int i = 0; i < 200 && harness_process_state(pid) == 'R'; i++)
        usleep(50);
    return pid;
}

static bool steps_until(const struct steps *steps, pid_t victim, long count)
{
    long did = stepper_step(victim, count, STEPS_PATIENCE);
    if (did == count)
        return true;
    if (!steps->nudge || !stepper_slept())
        return false;
    steps->nudge();
    return did + stepper_step(victim, count - did, STEPS_PATIENCE) == count;
}

/* One that was stepped stops at the mark of its end. */
static bool wait_end(pid_t survivor)
{
    for (int i = 0; i < STEPS_LIMIT && !harness_wait_gone(survivor, 1); i++)
        if (harness_process_state(survivor) == 'T')
            kill(survivor, SIGCONT);
    return harness_wait_gone(survivor, 0);
}

static void expect_end(const struct steps *steps, pid_t survivor, long k)
{
    int status;
    if (!wait_end(survivor)) {
        kill(survivor, SIGKILL);
        fail_msg("%s: the survivor hangs after the victim was killed at instruction %ld", steps->name, k);
    }
    waitpid(survivor, &status, 0);
    if (status != 0)
        fail_msg("%s: the survivor ended with status %#x after the victim was killed at instruction %ld", steps->name,
                 (unsigned)status, k);
}

/* Returns false when the victim had got to the end. `still`: instructions of the survivor, or -1 to let it run.
 * `*stood` gets how many it did. */
static bool try_point(const struct steps *steps, long k, long still, long *stood)
{
    pid_t survivor = 0;
    if (steps->prepare)
        steps->prepare();
    pid_t victim = start_stopped(steps, false);
    if (steps->survive && still < 0)
        survivor = start_survivor(steps);
    if (steps->survive && still >= 0) {
        survivor = start_stopped(steps, true);
        *stood = stepper_step(survivor, still, STEPS_PATIENCE);
    }
    bool whole = !steps_until(steps, victim, k);
    stepper_kill(victim);
    if (survivor && still >= 0)
        stepper_detach(survivor);
    if (steps->check)
        steps->check(whole);
    if (survivor)
        expect_end(steps, survivor, k);
    return !whole;
}

long steps_run(const struct steps *steps, long stride)
{
    if (!stepper_is_possible())
        harness_skip("this machine does not allow ptrace");
    long points = 0, unused;
    for (long k = 0; try_point(steps, k, -1, &unused); k += stride)
        points++;
    printf("%-52s %6ld points\n", steps->name, points);
    fflush(stdout);
    return points;
}

long steps_run_beside(const struct steps *steps, long stride)
{
    if (!stepper_is_possible())
        harness_skip("this machine does not allow ptrace");
    long points = 0, stood = 0;
    for (long still = 1;; still += stride) {
        for (long k = 1; try_point(steps, k, still, &stood); k += stride)
            points++;
        if (stood < still)
            break;
    }
    printf("%-52s %6ld points, another one standing still\n", steps->name, points);
    fflush(stdout);
    return points;
}

long steps_run_to_the_end_beside(const struct steps *steps, void (*ready)(void), long stride)
{
    if (!stepper_is_possible())
        harness_skip("this machine does not allow ptrace");
    long points = 0, stood, still = 1;
    survivor_ready = ready;
    do {
        stood = still;
        try_point(steps, LONG_MAX, still, &stood);
        points++;
        still += stride;
    } while (stood == still - stride);
    survivor_ready = NULL;
    printf("%-52s %6ld points, another one standing still\n", steps->name, points);
    fflush(stdout);
    return points;
}
