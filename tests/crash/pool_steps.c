/* A caller with a pool, of which one process is killed at each machine instruction. SPDX-License-Identifier: MIT */
#include "pool_steps.h"

#include "os/clock.h"
#include "os/process.h"
#include "os/subtree.h"
#include "os/usage.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FUTEX_WAITV = 449 }; /* how a caller waits for a job and watches the supervisor */

enum { A_WHILE = 80 }; /* milliseconds */

struct caller *caller;

bool caller_check(bool right, int line)
{
    if (!right && caller->wrong == 0)
        caller->wrong = line;
    return right;
}

typedef void any_function(void);

void pool_steps_begin(void)
{
    /* What asks the kernel, or its files in /proc, and touches nothing that is shared. */
    any_function *const private[] = {
        (any_function *)os_signals_reset_but,
        (any_function *)os_signals_unblock,
        (any_function *)os_signal_ignore,
        (any_function *)os_die_with_parent,
        (any_function *)os_subtree_look,
        (any_function *)os_subtree_forget,
        (any_function *)os_now,
        (any_function *)os_out_of_memory_kills,
        (any_function *)signal,
    };
    if (!stepper_is_possible())
        harness_skip("this machine does not allow ptrace");
    for (size_t i = 0; i < sizeof private / sizeof private[0]; i++)
        stepper_pass_over(private[i]);
    caller = mmap(NULL, sizeof *caller, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* ---- the caller */

static _Noreturn void be_caller(void)
{
    mproc_pool *pool;
    struct mproc_pool_open_arguments options = caller->options;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    options.size = sizeof options;
    options.pool = &pool;
    CHECK(mproc_pool_open_with(&options) == 0);
    caller->done = 0;
    for (int round = 1;; round++) {
        while (caller->wanted < round)
            usleep(20);
        caller->result = caller->round(pool);
        caller->done = round;
    }
}

pid_t caller_start(round_function *round, struct mproc_pool_open_arguments options)
{
    *caller = (struct caller) { .done = -1, .options = options, .round = round };
    pid_t pid = fork();
    if (pid == 0)
        be_caller();
    while (caller->done != 0)
        usleep(100);
    return pid;
}

void caller_end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

int only_child(pid_t pid)
{
    int children[2];
    return harness_children(pid, children, 2) == 1 ? children[0] : 0;
}

void caller_wait_asleep(pid_t pid, int round)
{
    while (caller->done < round && !stepper_wait_in_call(pid, FUTEX_WAITV, 1) &&
           !stepper_wait_in_call(pid, SYS_futex, 1)) {
    }
}

void caller_begin(pid_t pid, int round)
{
    caller->wanted = round;
    caller_wait_asleep(pid, round);
}

void caller_wait(int round)
{
    double deadline = harness_now() + HARNESS_PATIENCE / 1000.0;
    while (caller->done < round && harness_now() < deadline)
        usleep(20);
    if (caller->wrong)
        fail_msg("the check in line %d failed, the round returned %d", caller->wrong, caller->result);
    if (caller->done < round)
        fail_msg("the round does not end");
}

/* ---- a worker */

/* One that was just killed is still listed until the supervisor has reaped it. */
int asleep_worker(pid_t supervisor, int count, int index)
{
    int workers[8], asleep = 0, listed = 0;
    for (int attempt = 0; asleep < count && attempt < HARNESS_PATIENCE; attempt++) {
        if (attempt > 0)
            harness_sleep_ms(1);
        listed = harness_children(supervisor, workers, 8);
        for (asleep = 0; asleep < listed && listed == count; asleep++)
            if (!stepper_wait_in_call(workers[asleep], SYS_futex, 1))
                break;
    }
    if (asleep < count) {
        for (int i = 0; i < listed; i++)
            printf("worker %d of %d: process %d, state %c\n", i, listed, workers[i], harness_process_state(workers[i]));
        fail_msg("the workers do not come to rest; the supervisor is in state %c", harness_process_state(supervisor));
    }
    return workers[index];
}

/* How a victim is stepped. */
enum way { RECORD, JUMP, STEP };

enum { LOST = STEPPER_LOST, WHOLE = 0, HALFWAY = 1 };

/* WHOLE: it got to the end; LOST: it went another way than to instruction k, perhaps to the end. */
static int go(pid_t victim, enum way way, long k, int patience)
{
    if (way == RECORD) {
        stepper_record(victim, patience);
        return WHOLE;
    }
    long did = way == JUMP ? stepper_jump(victim, k, patience) : stepper_step(victim, k, patience);
    return did == STEPPER_LOST ? LOST : did < k ? WHOLE : HALFWAY;
}

/* Calls for the end, to record the way, and for every stride-th instruction until the end is reached. */
static long try_all(int (*try)(const void *context, enum way way, long k), const void *context, long stride)
{
    long points = 0;
    int got = HALFWAY;
    try(context, RECORD, 0);
    for (; got == HALFWAY; points += got == HALFWAY) {
        got = try(context, JUMP, points * stride);
        if (got != HALFWAY) /* at full speed the way may be another one, and shorter */
            got = try(context, STEP, points * stride);
    }
    return points;
}

struct worker_steps {
    pid_t pid, supervisor;
    int workers, index, *rounds;
    enum fate fate;
};

static int try_worker(const void *context, enum way way, long k)
{
    const struct worker_steps *steps = context;
    pid_t pid = steps->pid;
    enum fate fate = steps->fate;
    int round = ++*steps->rounds, victim = asleep_worker(steps->supervisor, steps->workers, steps->index);
    assert_true(stepper_attach(victim));
    caller->victim = victim;
    caller->victim_has_item = caller->stepped = caller->go = 0;
    caller->crashes = fate == KILLED || fate == KILLED_AFTER_GO;
    caller_begin(pid, round);
    int got = go(victim, way, k, POOL_STEPS_PATIENCE);
    if (fate == KILLED_AFTER_GO || fate == FREED_AFTER_GO) {
        caller->go = 1;
        usleep(200);
        caller_wait_asleep(pid, round);
    }
    if (fate == LEFT_FOR_A_WHILE && got == HALFWAY)
        harness_sleep_ms(A_WHILE);
    if (got != HALFWAY || fate == FREED_AFTER_GO || fate == LEFT_FOR_A_WHILE)
        stepper_detach(victim);
    else
        stepper_kill(victim);
    caller->stepped = caller->go = 1;
    caller_wait(round);
    caller->victim = caller->crashes = 0;
    caller->wanted = ++*steps->rounds; /* the pool works on */
    caller_wait(*steps->rounds);
    return got;
}

long step_worker(round_function *round, struct mproc_pool_open_arguments options, int index, enum fate fate,
                 long stride)
{
    int rounds = 0;
    pid_t pid = caller_start(round, options);
    struct worker_steps steps = { pid, only_child(pid), options.workers, index, &rounds, fate };
    long points = try_all(try_worker, &steps, stride);
    caller_end(pid);
    return points;
}

/* ---- the supervisor */

struct supervisor_steps {
    round_function *round;
    struct mproc_pool_open_arguments options;
};

static int try_supervisor(const void *context, enum way way, long k)
{
    const struct supervisor_steps *steps = context;
    int workers[8];
    pid_t pid = caller_start(steps->round, steps->options);
    pid_t supervisor = only_child(pid);
    assert_true(harness_wait_children(supervisor, steps->options.workers, HARNESS_PATIENCE));
    assert_true(stepper_attach(supervisor));
    caller->go = 1;
    caller->wanted = 1;
    while (!caller->begun)
        usleep(20);
    int got = go(supervisor, way, k, POOL_STEPS_PATIENCE);
    int count = harness_children(supervisor, workers, 8);
    if (got == HALFWAY)
        stepper_kill(supervisor);
    else
        stepper_detach(supervisor);
    caller_wait(1);
    CHECK(caller->result >= 0 || (got == HALFWAY && caller->result == MPROC_E_SUPERVISOR_DIED));
    for (int i = 0; i < count && got == HALFWAY; i++)
        assert_true(harness_wait_gone(workers[i], HARNESS_PATIENCE));
    caller_wait(1);
    caller_end(pid);
    assert_true(harness_wait_gone(supervisor, HARNESS_PATIENCE));
    return got;
}

long step_supervisor(round_function *round, struct mproc_pool_open_arguments options, long stride)
{
    return try_all(try_supervisor, &(struct supervisor_steps) { round, options }, stride);
}

/* ---- the caller */

/* Stops itself where the stepping begins and where it ends. */
static _Noreturn void be_stepped_caller(const struct caller_steps *steps)
{
    if (steps->prepare)
        steps->prepare();
    raise(SIGSTOP);
    steps->operation();
    raise(SIGSTOP);
    if (steps->finish)
        steps->finish();
    _exit(0);
}

static int try_caller(const void *context, enum way way, long k)
{
    const struct caller_steps *steps = context;
    int status, supervisor[1], workers[8], count = 0;
    *caller = (struct caller) { .go = 1 };
    pid_t pid = fork();
    if (pid == 0)
        be_stepped_caller(steps);
    waitpid(pid, &status, WUNTRACED);
    assert_true(WIFSTOPPED(status) && stepper_attach(pid));
    kill(pid, SIGCONT);
    int got = go(pid, way, k, HARNESS_PATIENCE);
    int supervisors = harness_children(pid, supervisor, 1);
    if (supervisors == 1)
        count = harness_children(supervisor[0], workers, 8);
    stepper_kill(pid);
    if (supervisors == 1)
        assert_true(harness_wait_gone(supervisor[0], HARNESS_PATIENCE));
    for (int i = 0; i < count; i++)
        assert_true(harness_wait_gone(workers[i], HARNESS_PATIENCE));
    if (caller->wrong)
        fail_msg("the check in line %d failed", caller->wrong);
    return got;
}

long step_caller(const struct caller_steps *steps, long stride)
{
    return try_all(try_caller, steps, stride);
}
