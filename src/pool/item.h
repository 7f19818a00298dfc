/* Running items. SPDX-License-Identifier: MIT */
#ifndef POOL_ITEM_H
#define POOL_ITEM_H

#include "pool/shared.h"
#include "process/task_context.h"

#include <stdbool.h>

/* Of one who runs items: a worker, or a caller in line. */
struct runner {
    struct task_context context;        /* first: is_stopped gets it */
    struct pool_shared *pool;           /* NULL: in line */
    const _Atomic uint32_t *terminated; /* in line: not 0 when the pool is being terminated; may be NULL */
    struct worker_slot *slot;
    const struct job *job;
    int (*call)(const void *input, void *output); /* the job's task */
    pid_t pid;
    uint64_t number;     /* of the watched item, for the slot's `stop` */
    struct member *self; /* NULL: a forked child may go on */
    int64_t cpu_started;
    uint32_t retried; /* attempts that were, so far */
};

/* Marks the calling thread as running tasks of a pool, of which others have that handle, until runner_leave. */
void runner_enter(struct runner *runner, const void *pool, const void *handle);
void runner_leave(struct runner *runner);

/* For a runner's context. */
bool runner_is_stopped(const struct task_context *context);

/* Runs items of a claim, of a job whose items are not watched, until it is cancelled. Returns the first one that it has
 * not run. */
uint32_t item_run_range(struct runner *runner, struct job *job, uint32_t first, uint32_t end);

/* Runs one of a job whose items are watched, with retries after a failure. Returns the nanoseconds that it took. */
int64_t item_run_watched(struct runner *runner, struct job *job, uint32_t item);

/* Frees what an item's result points to, if it is of type struct mproc_bytes. For who has the item. */
void item_drop_result(const struct job *job, uint32_t item);

/* The same for all that succeeded. For who has the job. */
void item_drop_results(const struct job *job);

/* What is known of an item that has ended, with that status. */
struct mproc_outcome item_outcome(const struct job *job, uint32_t item, enum mproc_outcome_kind kind);

#endif
