/* How far a call has come. SPDX-License-Identifier: MIT
 *
 *     int err = mproc_map(pool, thumbnail, files, results, n, .progress = mproc_progress_bar);
 */
#ifndef MPROC_PROGRESS_H
#define MPROC_PROGRESS_H

#include <mproc/export.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** How far a call has come. */
struct mproc_progress {
    const char *name;    /**< the task's */
    size_t n;            /**< number of items; SIZE_MAX: not known yet (mproc_imap with .next) */
    size_t ended;        /**< items that have ended, in whatever way; with those of earlier runs (.resume) */
    size_t unsuccessful; /**< of them, those that did not succeed */
    int64_t elapsed;     /**< nanoseconds since the call */
    double rate;         /**< items a second, lately; 0: not known yet */
    int64_t left;        /**< nanoseconds until the end at this rate; -1: not known */
    bool over;           /**< this is the last report */
};

/** Called with progress by the thread that waits for the results, about ten times a second and at the end: in
 * mproc_map, mproc_apply, mproc_future_wait, mproc_future_wait_all, mproc_pool_join, mproc_imap_next; in
 * mproc_future_wait_any and mproc_pool_dispatch at the end only. It may call anything but what waits for that very
 * call. */
typedef void mproc_progress_function(const struct mproc_progress *progress, void *context);

MPROC_BEGIN_DECLARATIONS

/** A progress function that draws one line on standard error:
 *
 *     thumbnail  62% [############--------]  620/1000  3 failed  41/s  0:09 left
 *
 * On a terminal the line is redrawn in place, as wide as the terminal is, and ends with a newline when the call does;
 * with colour, unless NO_COLOR is set or TERM is "dumb". Elsewhere it is a plain line now and then: at every tenth of
 * the work, or every ten seconds, whichever is less often, and at the end.
 *
 * - `context`: NULL; or a FILE * to draw on instead of standard error.
 *
 * Since 0.1. */
MPROC_API void mproc_progress_bar(const struct mproc_progress *progress, void *context);

MPROC_END_DECLARATIONS

#endif
