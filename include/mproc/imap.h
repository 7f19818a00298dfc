/* Iterating: results one by one, while others are being worked on. SPDX-License-Identifier: MIT
 *
 *     struct picture thumbnail;
 *     struct mproc_imap_item item;
 *     mproc_imap *results = NULL;
 *     int result = mproc_imap(&results, pool, scale, pictures, &thumbnail, n);
 *     while (result >= 0 && (result = mproc_imap_next(results, &item, MPROC_FOREVER)) > 0)
 *         if (item.outcome.kind == MPROC_OK)
 *             write_picture(&thumbnail);
 *     mproc_imap_free(results);
 *     if (result < 0)
 *         fprintf(stderr, "%s\n", mproc_strerror(result));
 *
 * An iterator is a handle of the process that made it. Its calls may be made from any thread, one at a time.
 */
#ifndef MPROC_IMAP_H
#define MPROC_IMAP_H

#include <mproc/pool.h>

typedef struct mproc_imap mproc_imap;

/** For n, with .next. */
#define MPROC_UNTIL_END SIZE_MAX

enum {
    MPROC_IMAPS_MAX = 4096 /**< iterators that a process can have at a time */
};

/** What mproc_imap_next returned. */
struct mproc_imap_item {
    size_t index; /**< the how-manyeth item this is, from 0 on */
    struct mproc_outcome outcome;
};

MPROC_BEGIN_DECLARATIONS

/** mproc_imap(&results, pool, task, in, &result, n, .unordered = true, ...) begins to iterate over the results of a
 * task for each of n items.
 *
 * - `results`: address of a handle, which the caller ends with mproc_imap_free.
 * - `in`: an array of n items, which must stay as long as the iteration goes on. With .next: one item, which .next
 *   fills for each call; n may then be MPROC_UNTIL_END: until .next says that there are no more. Bytes that such an
 *   item points to (mproc/bytes.h) are copied before .next is called again, but for those in the shared heap, which
 *   must stay until the result has come.
 * - `result`: address of one result, which each mproc_imap_next fills. Bytes of a result are the caller's to free.
 *
 * The iteration is lazy: items are taken from the array, or .next is asked, only when there is room (.window), and only
 * in mproc_imap_next, by the thread that calls it. So memory is bounded however many items there are. Results come in
 * the order of the items, or, with .unordered, as they come. Items that take little time are sent several at a time.
 *
 * Options are the fields of struct mproc_map_arguments from `chunk` on; not .outcomes, .on_done and .no_wait, which are
 * refused. Returns 0, or a negative error as mproc_map; -EMFILE: there are MPROC_IMAPS_MAX iterators. Since 0.1. */
#ifndef __cplusplus
#define mproc_imap(results, pool, task, in, result, ...)                                                               \
    mproc_imap_with((results), (pool), MPROC_MAP_ARGUMENTS_(task, in, result, .n = __VA_ARGS__))
#endif

/** The plain function under mproc_imap. Since 0.1. */
MPROC_API int mproc_imap_with(mproc_imap **results, mproc_pool *pool, const struct mproc_map_arguments *arguments);

/** Waits for the next result.
 *
 * - `item`: filled: which one it is, and how it has ended. The result is filled if that is MPROC_OK.
 * - `timeout`: nanoseconds; 0 polls, MPROC_FOREVER sets no limit.
 *
 * Returns 1; 0 when there are no more; the negative number that .next returned (which .error puts into words as one of
 * this library's, so -errno is best); -ETIMEDOUT, -EINTR: the iteration goes on with the next call; -EINVAL,
 * MPROC_E_CLOSED, MPROC_E_FORKED, and what ends a map, such as MPROC_E_TERMINATED and MPROC_E_SUPERVISOR_DIED, of which
 * .error has the detail. Since 0.1. */
MPROC_API int mproc_imap_next(mproc_imap *results, struct mproc_imap_item *item, int64_t timeout);

/** Ends an iteration, also in its midst: what has not started is cancelled, what is running is stopped as by
 * mproc_future_cancel. NULL does nothing. Returns 0, MPROC_E_CLOSED, MPROC_E_FORKED. Since 0.1. */
MPROC_API int mproc_imap_free(mproc_imap *results);

MPROC_END_DECLARATIONS

#endif
