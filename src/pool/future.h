/* Futures, as the pool sees them. SPDX-License-Identifier: MIT */
#ifndef POOL_FUTURE_H
#define POOL_FUTURE_H

#include "pool/work.h"

#include <mproc/future.h>
#include <pthread.h>
#include <stdbool.h>

struct pool;

struct future {
    struct work work;
    _Atomic(mproc_pool *) pool_handle; /* NULL: in line, in a task; or it has been let go */
    _Atomic(mproc_future *) handle;    /* NULL: nobody has it any more */
    _Atomic uint32_t references;       /* the handle, the pool's list, and whoever is using it */
    _Atomic uint64_t ticker;           /* the thread that reports progress, or 0 */

    /* Under the pool's lock. */
    struct future *next, *previous;
    bool listed;

    /* Under `lock`. */
    pthread_mutex_t lock;
    pthread_cond_t delivered;
    enum { FUTURE_PENDING = 0, FUTURE_DELIVERING, FUTURE_CALLING_BACK, FUTURE_DELIVERED } state;
    pthread_t deliverer; /* who calls back, and does not wait for itself */
    int result;          /* of the call, once delivered */
    bool handed_over;    /* bytes of results are the caller's */
    bool for_nobody;     /* constant: the caller wanted no handle; if there is one, it is for the callback */
};

/* The future of a handle, with a reference for future_drop. Returns 0, -EINVAL, MPROC_E_CLOSED or MPROC_E_FORKED. */
int future_get(mproc_future *handle, struct future **future);
void future_drop(struct future *future);

/* Waits until the call is over; see work_wait. Does not deliver. */
int future_wait_until_over(struct future *future, int64_t deadline);

/* Delivers a call that is over, unless somebody else has; waits for who is just doing so. Returns its result. */
int future_deliver(struct future *future);

/* Who is to have a handle of a future: none; the callback, if there is one; or the caller. */
enum future_audience { FUTURE_INTERNAL, FUTURE_FOR_CALLBACK, FUTURE_FOR_CALLER };

/* Begins a call. *made gets a reference. Returns 0 or an error code, with the error filled. */
int future_begin(struct future **made, mproc_pool *handle, const struct mproc_map_arguments *arguments,
                 const char *what, enum future_audience audience);

/* mproc_map_async of items that are run as those of mproc_map are: none is stopped while it runs, nor timed by itself,
 * which takes longer than a short task. */
int future_map_unwatched(mproc_future **result, mproc_pool *pool, const struct mproc_map_arguments *arguments);

/* The pool of a future, until future_release_pool(*held). False if it has none, or is closed: then who closes it
 * delivers the future, or lets it go. A callback gets the pool also while another thread is closing it: that one waits
 * for the callback. */
bool future_acquire_pool(const struct future *future, struct pool **pool, mproc_pool **held);
void future_release_pool(mproc_pool *held);

/* No more items start, and those that run are stopped. */
void future_cancel(struct future *future);

/* Nobody will ask for the results: the caller's arrays are left alone from now on. */
void future_detach(struct future *future);

/* The first of several, where they are not NULL, that is over. Returns its index, -ETIMEDOUT or -EINTR. */
int future_wait_for_one(struct future *const *futures, int count, int64_t deadline);

/* ---- all of a pool's */

/* Gives up the places of calls that are over. True if there were any. */
bool futures_leave_places(struct pool *pool);

/* Delivers all that are over and that have a callback, or that nobody has a handle of. Returns how many callbacks. */
int futures_dispatch(struct pool *pool);

/* In a pool that is terminated: calls back for those that nobody can wait for, and leaves the others to those who will.
 */
void futures_let_go(struct pool *pool);

/* Waits for all, and delivers them. Returns 0, -ETIMEDOUT or, unless signals do not matter, -EINTR. */
int futures_join(struct pool *pool, int64_t deadline, bool whatever_signals);

#endif
