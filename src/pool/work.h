/* One call, on the caller's side: from its arguments to a job, and from the job to its results.
 * SPDX-License-Identifier: MIT
 */
#ifndef POOL_WORK_H
#define POOL_WORK_H

#include "pool/job.h"

#include <mproc/pool.h>
#include <stdbool.h>

struct backend;
struct joblog;
struct pool;
struct mproc_task;

struct work {
    struct mproc_map_arguments call; /* a copy; for asynchronous calls its input is not looked at any more */
    const char *what;                /* the public call's name, for messages */
    const struct mproc_task *task;
    const struct backend *memory; /* whose memory the job lies in; NULL: malloc's */
    struct job *job;
    bool in_line;     /* no workers: all items ended when it began */
    bool copy_output; /* the job's output is not the caller's array */
    bool asynchronous;
    bool unwatched;        /* asynchronous; but nobody stops an item, or asks how long it took */
    _Atomic bool on_board; /* it has a place in a pool's table */
    struct joblog *joblog;
    uint8_t *logged; /* a bit for each item that is in it */
    struct progress_state {
        struct mproc_progress report;
        int64_t began, last;
        uint64_t last_ended;
    } progress;
};

/* Copies and checks the arguments of a call, and finds its task. Returns 0 or an error code, with the error filled. */
int work_check(struct work *work, const char *what, const struct mproc_map_arguments *arguments);

/* Refuses what is for mproc_imap alone. Returns 0 or -EINVAL, with the error filled. */
int work_refuse_iterating(const struct work *work);

/* pool_acquire, with the error filled in the call's name. */
int work_acquire_pool(const struct work *work, mproc_pool **handle, struct pool **pool);

/* Makes the job, with copies of what workers do not see, and begins it. `wait`: for a place. Returns 0 or an error
 * code, with the error filled and nothing left behind. */
int work_begin(struct work *work, struct pool *pool, bool wait);

/* Waits until all items have ended; with `ticks` it reports progress meanwhile, which one thread may at a time. Returns
 * 0, -ETIMEDOUT or -EINTR. */
int work_wait(struct work *work, struct pool *pool, int64_t deadline, bool ticks);

/* For a call that was interrupted: no more items start, and results of running ones are dropped. */
void work_break_off(struct work *work, struct pool *pool);

/* Gives up the job's place, if it still has it. */
void work_leave(struct work *work, struct pool *pool);

/* Copies results, fills outcomes and error, completes logs. `err`: 0, or why the call broke off. Returns what mproc_map
 * does. */
int work_deliver(struct work *work, struct pool *pool, int err);

/* Fills the error of a call that broke off, or did not begin. Returns err. */
int work_report(const struct work *work, const struct pool *pool, int err);

/* What is left: memory, and the log. */
void work_end(struct work *work);

static inline bool work_is_over(const struct work *work)
{
    return job_is_over(work->job);
}

/* Fills the outcomes of the items from `first` on, which were never submitted. */
void work_cancel_rest(const struct mproc_map_arguments *call, size_t first);

#endif
