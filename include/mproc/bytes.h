/* Inputs and results of any length. SPDX-License-Identifier: MIT
 *
 *     static int compress_block(const struct mproc_bytes *block, struct mproc_bytes *packed)
 *     {
 *         uLongf length = compressBound(block->size);
 *         void *room = mproc_bytes_allocate(packed, length);
 *         if (!room || compress(room, &length, block->data, block->size) != Z_OK)
 *             return mproc_task_fail(1, "cannot compress %zu bytes", block->size);
 *         packed->size = length;
 *         return 0;
 *     }
 *     MPROC_TASK(compress_block, struct mproc_bytes, struct mproc_bytes);
 *
 * A task whose input is of type struct mproc_bytes sees the bytes that the caller's struct points to, wherever they
 * were; what lies in the shared heap is not copied. A task whose result is of that type says what its bytes are with
 * one of the calls below; the caller finds them in the struct of its result, and frees them with mproc_bytes_free. They
 * are never copied on that way.
 */
#ifndef MPROC_BYTES_H
#define MPROC_BYTES_H

#include <mproc/export.h>
#include <stddef.h>

/** Bytes, and how many. All zeroes: no bytes. */
struct mproc_bytes {
    void *data;
    size_t size;
};

MPROC_BEGIN_DECLARATIONS

/** For a task: gives its result room for `size` bytes, which the task fills; it may lower result->size afterwards.
 *
 * - `result`: the task's result. What it had from an earlier call is freed.
 * - `size`: bytes, from 0 to what the shared heap holds.
 *
 * The memory belongs to the task until it returns 0, and to the caller of the pool from then on; if the task fails, or
 * its process ends, it is freed. Does not block; may be called from the task's thread, not in a signal handler.
 * Returns the room; or NULL with errno set: EINVAL for NULL, ENOMEM. Since 0.1. */
MPROC_API void *mproc_bytes_allocate(struct mproc_bytes *result, size_t size);

/** For a task: makes a copy of `size` bytes its result. As mproc_bytes_allocate otherwise.
 *
 * Returns 0; -EINVAL if result is NULL, or data is while size is not 0; -ENOMEM. Since 0.1. */
MPROC_API int mproc_bytes_copy(struct mproc_bytes *result, const void *data, size_t size);

/** Frees what a result points to, and zeroes the struct. NULL, or one with no bytes, is fine. Only for results: what
 * the program itself has put into such a struct is the program's to free. May be called from any thread and process of
 * the family. Returns 0, or MPROC_E_NOT_ALLOCATED if it points to something else; then nothing has changed. Since 0.1.
 */
MPROC_API int mproc_bytes_free(struct mproc_bytes *result);

MPROC_END_DECLARATIONS

#endif
