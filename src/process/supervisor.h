/* A process that keeps a number of workers alive. SPDX-License-Identifier: MIT
 *
 * It is single-threaded, with all signals blocked, the parent of its workers, and the only one that reaps them. It ends
 * when the caller ends, takes its workers with it, and, being killed itself, takes them too (PDEATHSIG; its own thread
 * is its only one). What the workers do is the business of the calls below.
 */
#ifndef PROCESS_SUPERVISOR_H
#define PROCESS_SUPERVISOR_H

#include <mproc/process.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

/* A worker that has ended and was reaped; status as of waitpid. */
struct supervisor_death {
    pid_t pid;
    int status;
    const struct rusage *usage;
};

struct supervisor_calls {
    /* In the supervisor, before the first worker. Returns 0, or -errno to end it. */
    int (*begin)(void *pool);
    /* How many workers there are to be, now; at most SUPERVISOR_WORKERS_MAX. */
    unsigned (*wanted)(void *pool);
    /* True for a worker that is about to end of its own will. */
    bool (*is_ending)(void *pool, unsigned slot);
    /* Has a worker end, because there are more than are wanted. */
    void (*retire)(void *pool, unsigned slot);
    /* In a new worker, with default signal dispositions; its return is the worker's exit status. */
    int (*work)(void *pool, unsigned slot);
    /* In the supervisor, before a worker is started, and about one that was. */
    void (*starting)(void *pool, unsigned slot);
    void (*started)(void *pool, unsigned slot, pid_t pid);
    /* In the supervisor. Returns false if the worker ended before it was of any use. */
    bool (*ended)(void *pool, unsigned slot, const struct supervisor_death *death);
    /* In the supervisor, after every event. Returns in how many nanoseconds it wants to be called again at the latest;
     * negative: never mind. */
    int64_t (*attend)(void *pool);
    /* In the supervisor, when it gives up: because there is no worker left and none can be started (-errno), or because
     * too many in a row were of no use (MPROC_E_WORKERS_FAIL). */
    void (*give_up)(void *pool, int err);
    /* True when workers that end are to be let go. */
    bool (*closing)(void *pool);
};

enum { SUPERVISOR_WORKERS_MAX = 1024 };

struct supervisor_options {
    const char *name;
    bool fork_with_threads;
    unsigned useless_most; /* workers in a row that may be of no use */
    enum mproc_start_method method;
    const char
        *function; /* name of a process's function that calls supervisor_be; with other methods than MPROC_FORK */
    struct mproc_error *error;
};

/* What such a function gets. */
struct supervisor_message {
    void *pool;
    pid_t caller;
    int link;
    unsigned useless_most;
    char name[32];
};

/* Is a supervisor; does not return. */
_Noreturn void supervisor_be(const struct supervisor_message *message, const struct supervisor_calls *calls);

/* The caller's end. */
struct supervisor {
    pid_t pid;
    mproc_process *process; /* NULL with MPROC_FORK */
    int pidfd;
    bool killed; /* set by supervisor_stop: it did not end by itself */
    int link;    /* socket; its other end is held by the supervisor and by every worker, and nobody else */
};

/* Starts the supervisor, which starts the workers, and waits until it has. Returns 0 or -errno, with nothing left
 * behind; MPROC_E_SUPERVISOR_DIED if it was killed meanwhile. The calls' `pool` must be shared memory, and `calls`
 * constant. */
int supervisor_start(struct supervisor *supervisor, const struct supervisor_options *options,
                     const struct supervisor_calls *calls, void *pool);

/* Has the supervisor attend at once. Any thread. */
void supervisor_tell(const struct supervisor *supervisor);

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
