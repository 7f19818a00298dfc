/* A caller with a pool, of which one process is killed at each machine instruction. SPDX-License-Identifier: MIT
 *
 * The caller is a child of the test. It does one round after another: whatever calls the scene is about. The test steps
 * the caller, its supervisor or a worker through a round, kills it, and has the others prove that nothing hangs and
 * nothing is lost.
 */
#ifndef POOL_STEPS_H
#define POOL_STEPS_H

#include "harness.h"
#include "stepper.h"

#include <mproc.h>
#include <sys/types.h>

enum { POOL_STEPS_PATIENCE = 200 }; /* milliseconds that a stepped process may sleep */

typedef int round_function(mproc_pool *pool);

/* Between the test, the caller, and tasks. */
struct caller {
    _Atomic int wanted, done;                     /* rounds */
    _Atomic int wrong;                            /* line of the check that failed, or 0 */
    _Atomic int result;                           /* of the last round */
    _Atomic int begun;                            /* what the scene is about has begun */
    _Atomic int go;                               /* the round may go on with its second half */
    _Atomic int victim, victim_has_item, stepped; /* the worker that is stepped, and whether that is over */
    struct mproc_pool_open_arguments options;
    round_function *round;
    int crashes;       /* items that may be charged with a kill */
    size_t heap_bytes; /* between rounds, at most */
};

extern struct caller *caller;

/* In a round: notes that something is wrong, unless something was before. */
bool caller_check(bool right, int line);
#define CHECK(condition) caller_check(condition, __LINE__)

/* Skips the test where processes cannot be stepped. */
void pool_steps_begin(void);

/* Starts a caller, which opens its pool with those options and waits. */
pid_t caller_start(round_function *round, struct mproc_pool_open_arguments options);
void caller_end(pid_t pid);

int only_child(pid_t pid);

/* Begins a round. Returns when nothing more comes from the caller by itself, so that a worker that sleeps then has
 * nothing to do. */
void caller_begin(pid_t pid, int round);

/* Waits until the caller sleeps, or the round is over. */
void caller_wait_asleep(pid_t pid, int round);

/* Fails the test if the round does not end, or a check in it failed. */
void caller_wait(int round);

/* Waits until all `count` workers are idle, and returns the pid of one. */
int asleep_worker(pid_t supervisor, int count, int index);

/* What is done with a process that has been stepped. */
enum fate {
    KILLED,
    KILLED_AFTER_GO,  /* when the caller has gone on with its second half, beside the victim that stands still */
    FREED_AFTER_GO,   /* likewise, but it lives on */
    LEFT_FOR_A_WHILE, /* it stands still for longer than any limit of the pool's, and then lives on */
};

/* Steps a worker of `workers` through a round, for every stride-th instruction. Returns how many points that were. */
long step_worker(round_function *round, struct mproc_pool_open_arguments options, int index, enum fate fate,
                 long stride);

/* Steps the supervisor from the moment on that caller->begun is set; each time of a new caller. */
long step_supervisor(round_function *round, struct mproc_pool_open_arguments options, long stride);

/* Kills the caller in the midst of `operation`; what it has started must vanish. `prepare` comes before the stepping,
 * and opens the pool unless the operation does; `finish` after it. They may be NULL. */
struct caller_steps {
    void (*prepare)(void), (*operation)(void), (*finish)(void);
};
long step_caller(const struct caller_steps *steps, long stride);

#endif
