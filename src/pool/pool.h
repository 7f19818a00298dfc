/* The process-local side of a pool. SPDX-License-Identifier: MIT */
#ifndef POOL_POOL_H
#define POOL_POOL_H

#include "pool/backend.h"
#include "pool/shared.h"
#include "process/supervisor.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#define POOL_NAME "mproc" /* unless it is given another */

struct pool {
    const struct backend *backend; /* NULL: serial */
    unsigned workers;
    unsigned long registered;     /* tasks that the workers have: registry_order when it opened */
    struct pool_shared *shared;   /* NULL: serial */
    struct supervisor supervisor; /* processes */
    pthread_t *threads;           /* threads */
    _Atomic uint32_t terminated;  /* serial: stop between items */
    _Atomic uint32_t keep_memory; /* a worker may have survived: what it can write to is never used again */

    /* Jobs of `shared`. One that is left is retired as long as a worker may still be in it. Guarded by the lock, which
     * is never held across anything that waits. */
    pthread_mutex_t lock;
    pthread_cond_t job_freed;
    uint64_t jobs_taken, jobs_retired;
    struct job_memory {
        void *block, *outcomes;
    } memory[POOL_JOBS];
};

/* Opens a pool; arguments were not looked at yet. Returns 0 or what mproc_pool_open does, with arguments->error filled.
 */
int pool_create(struct pool **result, const struct mproc_pool_open_arguments *arguments);

/* Ends a pool that nobody uses any more. Returns 0 or MPROC_E_SUPERVISOR_DIED. */
int pool_destroy(struct pool *pool);

/* Makes memory of pool_shared_size(workers) bytes a pool without workers. For backends. */
void pool_format_shared(struct pool_shared *shared, unsigned workers);

/* Remembers that workers could not be seen to be gone. */
void pool_keep_memory_unless(struct pool *pool, bool gone);

/* True if the calling thread is running a task of this pool. */
bool pool_is_running_this(const struct pool *pool);

/* True once the pool can run nothing any more. */
bool pool_is_broken(const struct pool *pool);

/* A job's place in `shared`; waits while all are taken. */
unsigned pool_take_job(struct pool *pool);

/* Gives the job's place and memory back: now, or as soon as no worker is in it. */
void pool_leave_job(struct pool *pool, unsigned index);

/* True while a worker, or the supervisor, may look at the job, which is not active any more. */
bool pool_job_has_visitors(const struct pool *pool, unsigned index);

#endif
