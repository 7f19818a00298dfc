/* The process-local side of a pool. SPDX-License-Identifier: MIT */
#ifndef POOL_POOL_H
#define POOL_POOL_H

#include "pool/backend.h"
#include "pool/shared.h"
#include "process/supervisor.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

struct cluster;
struct future;
struct trace;

struct pool {
    const struct backend *backend; /* NULL: serial */
    const void *handle;
    unsigned long registered;     /* tasks that the workers have: registry_order when it opened */
    struct pool_shared *shared;   /* NULL: serial */
    struct supervisor supervisor; /* processes */
    struct crew *crew;            /* threads */
    struct cluster *cluster;      /* a cluster */
    struct in_line *in_line;      /* serial: the one worker's state */
    struct trace *trace;          /* NULL: none */
    _Atomic uint32_t terminated;  /* serial: stop between items */
    _Atomic uint32_t polled;      /* serial: a descriptor is polled */
    _Atomic uint32_t keep_memory; /* a worker may have survived: what it can write to is never used again */
    struct pool *next_set_aside;  /* see default_pool.c */
    _Atomic uint32_t closing;     /* it takes nothing more, but from callbacks of what it has */
    unsigned backlog;
    /* Memory of calls that are over, for the next ones: of a small job, and of a large one. Or NULL. */
    _Atomic(struct job *) small_spare, large_spare;

    /* Guards what follows. Never held across anything that waits. */
    pthread_mutex_t lock;
    /* Places of `shared`'s jobs. One that is left is retired as long as a worker may still be in it. */
    uint64_t taken[JOB_WORDS], retired[JOB_WORDS];
    unsigned taken_count, retired_count, places_formatted;
    unsigned next_place; /* to look from: places are given in turn, so that calls are worked on in order */

    struct future *first_future, *last_future; /* that were not delivered, in order */
    struct future *first_with_place;           /* none before it has a place */
};

/* Makes memory of pool_shared_size() bytes a pool without workers. For backends. */
void pool_format_shared(struct pool_shared *shared, const struct mproc_pool_open_arguments *arguments);
size_t pool_shared_size(const struct mproc_pool_open_arguments *arguments);

/* Remembers that workers could not be seen to be gone. */
void pool_keep_memory_unless(struct pool *pool, bool gone);

/* True if the calling thread is running a task of the pool of that handle. */
bool pool_is_running(const void *handle);

/* The pool of a handle for a new call: as handle_acquire; but that a worker, in a task, gets a serial pool for the one
 * that it works for, with *handle set to NULL and nothing to release; and so it does for NULL. MPROC_E_CLOSED also
 * while it is being closed. Fills *error of the default pool. */
int pool_acquire(mproc_pool **handle, struct pool **pool, struct mproc_error *error);

/* True once the pool can run nothing any more. */
bool pool_is_broken(struct pool *pool);

/* Ends what is in progress in a pool that is broken or terminated, with the reason. */
void pool_end_calls(struct pool *pool);

/* Ends the workers of a pool as the program ends, and waits for nobody: threads may use it for ever, and the one that
 * called exit may have done so in the midst of a call on it. */
void pool_end_with_program(mproc_pool *handle);

/* The reason: an error code. */
int pool_reason(const struct pool *pool);

/* What tells those who poll for calls with callbacks, and whether there are any. */
const void *pool_watch_object(const struct pool *pool);
_Atomic uint32_t *pool_polled(struct pool *pool);

/* ---- places */

/* A place for a job. Waits for one, if `wait`, until that many are taken at most. Returns it, -EAGAIN, -EINTR, or the
 * reason why the pool is broken. */
int places_take(struct pool *pool, bool wait);

/* No worker enters the job there any more. Its memory is given up: now, or as soon as no worker is in it. Wakes those
 * who wait for a place. */
void places_leave(struct pool *pool, struct job *job);

/* With the workers gone: the same for all that are retired. */
void places_clear(struct pool *pool);

/* True while a worker, or the supervisor, may look at the job, which is not active any more. */
bool places_have_visitors(const struct pool *pool, unsigned index);

/* Memory of an earlier call, of at least that many bytes, or NULL. */
void *places_take_spare(struct pool *pool, size_t size);

/* With nobody in a call any more: frees what is kept. */
void places_free_spares(struct pool *pool);

/* Gives up a reference to a job, and frees its memory with the last one. */
void job_release(const struct backend *backend, struct job *job);

#endif
