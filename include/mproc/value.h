/* Shared values and arrays. SPDX-License-Identifier: MIT
 *
 *     int *counter = mproc_value(int);
 *     double *samples = mproc_array(double, 1000);
 *     ...
 *     mproc_rlock_acquire(mproc_value_lock(counter), MPROC_FOREVER);
 *     ++*counter;
 *     mproc_rlock_release(mproc_value_lock(counter));
 *
 * They are plain memory in the shared heap, zeroed, used through the same pointer in every process of the family. Those
 * of mproc_value and mproc_array come with a recursive lock; nothing takes it by itself. Those of mproc_raw_value and
 * mproc_raw_array have none. The names and the kind of lock are those of Python's multiprocessing: Value, Array,
 * RawValue and RawArray.
 */
#ifndef MPROC_VALUE_H
#define MPROC_VALUE_H

#include <mproc/export.h>
#include <mproc/memory.h>
#include <mproc/sync.h>
#include <stddef.h>

#ifndef __cplusplus
/** A shared value of that type, zeroed, with a lock; NULL with errno set if there is no memory. To be freed with
 * mproc_value_free. A macro over mproc_value_allocate. Since 0.1. */
#define mproc_value(type) ((type *)mproc_value_allocate(1, sizeof(type)))

/** A shared array of that many elements of that type, zeroed, with one lock. As mproc_value otherwise. Since 0.1. */
#define mproc_array(type, count) ((type *)mproc_value_allocate((count), sizeof(type)))

/** A shared value without a lock; to be freed with mproc_free. A macro over mproc_calloc. Since 0.1. */
#define mproc_raw_value(type) ((type *)mproc_calloc(1, sizeof(type)))

/** A shared array without a lock; to be freed with mproc_free. A macro over mproc_calloc. Since 0.1. */
#define mproc_raw_array(type, count) ((type *)mproc_calloc((count), sizeof(type)))
#endif

MPROC_BEGIN_DECLARATIONS

/** Allocates a zeroed array with a recursive lock, aligned to 64 bytes.
 *
 * - `count`, `size`: number of elements, and bytes of each.
 *
 * Returns the first element, or NULL with errno set as mproc_calloc does. Any thread; any process; not in a signal
 * handler; does not block. Since 0.1. */
MPROC_API void *mproc_value_allocate(size_t count, size_t size);

/** The lock of what mproc_value, mproc_array or mproc_value_allocate returned; NULL for NULL, and for anything else in
 * the heap that does not look like one. Since 0.1. */
MPROC_API mproc_rlock *mproc_value_lock(const void *value);

/** Number of elements; 0 for what has no lock. Since 0.1. */
MPROC_API size_t mproc_value_count(const void *value);

/** Frees it, with its lock. NULL is accepted. Returns 0, or
 * - `MPROC_E_NOT_ALLOCATED`: it is not what mproc_value, mproc_array or mproc_value_allocate returned, or is freed
 *
 * Since 0.1. */
MPROC_API int mproc_value_free(void *value);

MPROC_END_DECLARATIONS

#endif
