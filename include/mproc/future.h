/* Futures: results that are still to come. SPDX-License-Identifier: MIT
 *
 *     mproc_future *future = NULL;
 *     int err = mproc_submit(&future, pool, render, &scene, &picture);
 *     ...                                                  // something else meanwhile
 *     err = mproc_future_wait(future, MPROC_FOREVER);      // 0: picture is there
 *     mproc_future_free(future);
 *
 * A future is a handle of the process that made it, and may be used from all of its threads. Handles that were freed
 * are recognised: MPROC_E_CLOSED; in a forked child it is MPROC_E_FORKED; NULL is -EINVAL. A future stays good when its
 * pool is closed. Unless said otherwise, calls do not block, and may be made from any thread, but not in a signal
 * handler.
 */
#ifndef MPROC_FUTURE_H
#define MPROC_FUTURE_H

#include <mproc/pool.h>

MPROC_BEGIN_DECLARATIONS

/** Waits until a call has ended, and delivers its results (see mproc_map_async).
 *
 * - `timeout`: nanoseconds; 0 polls, MPROC_FOREVER sets no limit.
 *
 * Several threads may wait for one future; waiting again returns the same at once.
 * Returns what mproc_map would have: 0, the number of items that did not succeed, or a negative error; or -ETIMEDOUT,
 * or -EINTR after a signal: both leave the call going on. Since 0.1. */
MPROC_API int mproc_future_wait(mproc_future *future, int64_t timeout);

/** True if waiting would return at once. Nothing is delivered. Since 0.1. */
MPROC_API bool mproc_future_is_ready(mproc_future *future);

/** How an item has ended.
 *
 * - `item`: its index; 0 for mproc_submit.
 * - `outcome`: filled.
 *
 * Returns 0; -EAGAIN if the call has not been delivered yet; -EINVAL: there is no such item; MPROC_E_CLOSED,
 * MPROC_E_FORKED. Since 0.1. */
MPROC_API int mproc_future_outcome(mproc_future *future, size_t item, struct mproc_outcome *outcome);

/** The result of an item, where the task wrote it: good until the future is freed. For results that need no copy: pass
 * a null pointer of the result's type as `out`.
 *
 * Returns it; NULL if the call has not been delivered, if the item did not succeed, or if there is no such item or
 * future. Bytes of a result (mproc/bytes.h) are freed with the future, unless `out` was given: then they are the
 * caller's from delivery on. Since 0.1. */
MPROC_API const void *mproc_future_value(mproc_future *future, size_t item);

/** Cancels a call: items that have not started will not, and those that are running are stopped as after a timeout
 * (see mproc_map): they end as MPROC_CANCELLED, unless they end by themselves first. Does not wait for that.
 *
 * Returns 0, also if it has ended already. Since 0.1. */
MPROC_API int mproc_future_cancel(mproc_future *future);

/** A descriptor that polls readable (POLLIN) when the call may have ended: then call mproc_future_wait with 0, which
 * makes it unreadable again if it has not. It may be readable ten times a second without that, so that nothing is
 * missed. It is the future's: do not close it. Each takes three descriptors; for many, use mproc_pool_fd.
 *
 * Returns it, or -EMFILE, -ENFILE, -ENOMEM. Since 0.1. */
MPROC_API int mproc_future_fd(mproc_future *future);

/** Frees a future; the variable that holds it is left as it is. A call that has not ended goes on; its results are
 * dropped, and its callback, if it has one, is still called (with the arrays left alone). NULL does nothing.
 *
 * May be called in its callback. Returns 0, MPROC_E_CLOSED, MPROC_E_FORKED. Since 0.1. */
MPROC_API int mproc_future_free(mproc_future *future);

/** Waits until at least one of several calls has ended, and delivers it.
 *
 * - `futures`: `count` of them, also of several pools; NULL ones are left out.
 *
 * Returns the lowest index of one that has ended; -EINVAL: futures is NULL or holds none; -ETIMEDOUT, -EINTR;
 * MPROC_E_CLOSED, MPROC_E_FORKED: one of them is not good. Since 0.1. */
MPROC_API int mproc_future_wait_any(mproc_future *const *futures, int count, int64_t timeout);

/** Waits until all of several calls have ended, and delivers them.
 *
 * Returns how many of them did not wholly succeed: 0 if all is well; or as mproc_future_wait_any. Since 0.1. */
MPROC_API int mproc_future_wait_all(mproc_future *const *futures, int count, int64_t timeout);

MPROC_END_DECLARATIONS

#endif
