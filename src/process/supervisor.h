/* A process that keeps a number of workers alive. SPDX-License-Identifier: MIT
 *
 * It is a single-threaded child of the caller with all signals blocked, the parent of its workers, and the only one
 * that reaps them. It ends when the caller ends, takes its workers with it, and, being killed itself, takes them too
 * (PDEATHSIG; its own thread is its only one). What the workers do is the business of the calls below.
 */
#ifndef PROCESS_SUPERVISOR_H
#define PROCESS_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct supervisor_calls {
    /* In the supervisor, before the first worker. Returns 0, or -errno to end it. */
    int (*begin)(void *pool);
    /* In a new worker, with default signal dispositions; its return is the worker's exit status. */
    int (*work)(void *pool, unsigned slot);
    /* In the supervisor, about a worker that was started. */
    void (*started)(void *pool, unsigned slot, pid_t pid);
    /* In the supervisor, about a worker that has ended and was reaped; status as of waitpid. */
    void (*ended)(void *pool, unsigned slot, pid_t pid, int status);
    /* In the supervisor, after every event. Returns in how many nanoseconds it wants to be called again at the latest;
     * negative: never mind. */
    int64_t (*attend)(void *pool);
    /* In the supervisor, when it gives up because there is no worker left and none can be started: -errno. */
    void (*give_up)(void *pool, int err);
    /* True when workers that end are to be let go. */
    bool (*closing)(void *pool);
};

struct supervisor_options {
    unsigned workers;
    const char *name;
    bool fork_with_threads;
};

/* The caller's end. */
struct supervisor {
    pid_t pid;
    int pidfd;
    bool killed; /* set by supervisor_stop: it did not end by itself */
    int link;    /* socket; its other end is held by the supervisor and by every worker, and nobody else */
};

/* Starts the supervisor, which starts the workers, and waits until it has. Returns 0 or -errno, with nothing left
 * behind; MPROC_E_SUPERVISOR_DIED if it was killed meanwhile. The calls' `pool` must be shared memory, and `calls`
 * constant. */
int supervisor_start(struct supervisor *supervisor, const struct supervisor_options *options,
                     const struct supervisor_calls *calls, void *pool);

/* True once the supervisor has ended, in whatever way. */
bool supervisor_has_ended(const struct supervisor *supervisor);

/* Has the supervisor kill its workers and end, and waits until it has. */
void supervisor_end_now(const struct supervisor *supervisor);

/* Waits until workers and supervisor have ended by themselves (`closing` is true), at most `patience` nanoseconds, then
 * as supervisor_end_now. What the caller's end held is freed. Returns true if all are gone; false if that cannot be
 * seen within a second of the supervisor's end: a worker that does not die, or a process that a task forked. */
bool supervisor_stop(struct supervisor *supervisor, int64_t patience);

/* After the supervisor's death: waits until its workers, which the kernel is killing, are gone, for at most a second.
 * Returns 0 or -ETIMEDOUT. */
int supervisor_wait_workers_gone(const struct supervisor *supervisor);

#endif
