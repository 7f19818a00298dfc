/* Memory that every process of the program shares, at one address. SPDX-License-Identifier: MIT
 *
 *     struct node *node = mproc_alloc(sizeof *node);
 *
 * A program and the processes that it starts through mproc, or forks, are a family. They share one heap, which all of
 * them see at the same address: what mproc_alloc returns can be used, passed on and freed by any of them, whoever
 * allocated it and whenever they started. Pointers within the heap are plain pointers.
 *
 * Progress: allocating and freeing is lock-free. No process ever waits for another one here; one that is stopped or
 * killed in the middle of a call holds up nobody. A process that is killed in the middle of a call leaves nothing
 * allocated by it; what it was freeing is freed.
 *
 * A block belongs to the family from the moment mproc_alloc returns it: it stays when the process that allocated it
 * ends, until somebody frees it or the last process of the family ends. See mproc_alloc_owned for the other way.
 *
 * Unless said otherwise, these calls may be made from any thread and in a forked child, not in a signal handler, and do
 * not block.
 */
#ifndef MPROC_MEMORY_H
#define MPROC_MEMORY_H

#include <mproc/export.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

MPROC_BEGIN_DECLARATIONS

/** Allocates shared memory.
 *
 * - `size`: bytes, from 1 to most of the machine's memory; 0 gives a block of the smallest size.
 *
 * The contents are unspecified. The block is aligned to 16 bytes, and to 64 if it is 64 bytes or a multiple of that.
 * Returns the block, which whoever has it frees with mproc_free; or NULL with errno set:
 * - `ENOMEM`: the heap or its limit is full, the machine has not that much memory, or too many threads use the heap
 *   (65,534 at a time)
 *
 * A size of 32 KiB and less is there at once; of larger blocks, pages come when they are first touched, unless the
 * kernel keeps strict accounts and could refuse them then. So using a block never fails. Since 0.1. */
MPROC_API void *mproc_alloc(size_t size);

/** Allocates an array of zeroes.
 *
 * - `count`, `size`: number of elements, and bytes of each. As mproc_alloc otherwise; a product that does not fit into
 *   a size_t is ENOMEM. Since 0.1. */
MPROC_API void *mproc_calloc(size_t count, size_t size);

/** Changes a block's size, moving it if need be. What it holds is kept, up to the smaller of both sizes.
 *
 * - `block`: a block, or NULL to allocate one.
 * - `size`: bytes; 0 gives a block of the smallest size.
 *
 * Returns the block, which may be another one; or NULL with errno set, the old one being as it was:
 * - `ENOMEM`: as mproc_alloc
 * - `EINVAL`: it is no block of the heap, or is freed
 *
 * A block that is owned stays so. Nobody else may use it during the call. Since 0.1. */
MPROC_API void *mproc_realloc(void *block, size_t size);

/** Allocates memory of a chosen alignment.
 *
 * - `alignment`: bytes, a power of 2; up to 4096 costs nothing extra, beyond that whole units of 64 KiB.
 * - `size`: bytes; need not be a multiple of the alignment. As mproc_alloc otherwise, and
 *
 * - `EINVAL`: the alignment is not a power of 2
 *
 * Since 0.1. */
MPROC_API void *mproc_aligned_alloc(size_t alignment, size_t size);

/** Frees a block, in any process of the family.
 *
 * - `block`: what one of the calls above returned; or NULL, which does nothing.
 *
 * Blocks of 64 MiB and more go back to the kernel at once; smaller ones are used again before new memory is. A block of
 * up to 32 KiB goes back to the thread that allocated it, to be used again by that one, or by others when it has ended
 * or has no more blocks in the span and next allocates.
 * Returns 0, or
 * - `MPROC_E_NOT_ALLOCATED`: it is not a block of the heap, or is freed already. Nothing was changed.
 *
 * Since 0.1. */
MPROC_API int mproc_free(void *block);

/** Bytes that a block has, which may be more than were asked for; all of them may be used. 0 for what is no block.
 * Since 0.1. */
MPROC_API size_t mproc_usable_size(const void *block);

/** True if the address lies in the heap, so that every process of the family sees the same there. Since 0.1. */
MPROC_API bool mproc_is_shared(const void *address);

/** Allocates memory that belongs to the calling process: when the process ends, in whatever way, the block is freed,
 * unless mproc_publish was called. It is for what is being prepared for others: a process that is killed while it fills
 * the block leaves nothing.
 *
 * As mproc_alloc otherwise. It can be freed like any block, also by others. The memory is used again when somebody in
 * the family next needs some, or asks for statistics. Since 0.1. */
MPROC_API void *mproc_alloc_owned(size_t size);

#ifndef __cplusplus
/** mproc_publish(&list->first, node) stores a block's address where others will find it, and gives the block to the
 * family. A macro over mproc_publish_at that has the compiler check the types. Since 0.1. */
#define mproc_publish(where, block) mproc_publish_at((where), ((void)sizeof(*(where) = (block)), (block)))
#endif

/** Stores a block's address where others will find it, and gives the block to the family, in one step: a process that
 * is killed in the middle of the call has either done both or neither.
 *
 * - `where`: address of a pointer in the heap.
 * - `block`: a block of the heap, from mproc_alloc_owned.
 *
 * If others can change *where, caller and they do so under a lock of mproc's; then it is one step also for the one that
 * is told MPROC_E_OWNER_DIED by that lock.
 * Returns 0, or
 * - `-EINVAL`: `where` is NULL, does not lie in the heap, or is not aligned as pointers are
 * - `MPROC_E_NOT_ALLOCATED`: it is no block
 * - `-ENOMEM`: the calling thread could not be registered with the heap
 *
 * Since 0.1. */
MPROC_API int mproc_publish_at(void *where, void *block);

/** Gives a block of mproc_alloc_owned to the family, without storing its address anywhere.
 *
 * Returns 0, or MPROC_E_NOT_ALLOCATED. Since 0.1. */
MPROC_API int mproc_disown(void *block);

/** Has the program that this process becomes join the family: call it in a forked child, right before exec. The new
 * program, if it is linked with the same version of mproc, finds the heap at the same address before main begins.
 *
 *     pid_t pid = fork();
 *     if (pid == 0 && mproc_family_keep() == 0)
 *         execl("./renderer", "renderer", address_in_hexadecimal, (char *)NULL);
 *
 * It sets an environment variable, MPROC_FAMILY, so use an exec that passes the environment on; and lets the heap's
 * descriptor stay open over exec. Without this call, a program that is started by exec is a family of its own.
 * Not in a signal handler; in a child of a program with threads only if setenv may be called there.
 * Returns 0, or
 * - `MPROC_E_FAMILY`: there is no heap, or its descriptor is closed
 * - `-ENOMEM`
 *
 * Since 0.1. */
MPROC_API int mproc_family_keep(void);

/** 0, or MPROC_E_FAMILY if this program was started to join a family and could not. It has no heap then. Since 0.1. */
MPROC_API int mproc_family_check(void);

/** Limits the heap, for the whole family.
 *
 * - `bytes`: how much memory it may span, rounded up to 64 KiB; 0 for as much as was reserved. What lies beyond the
 *   limit stays until it is freed.
 *
 * Small blocks come from spans of 64 KiB (sizes up to 1 KiB) or 256 KiB (up to 32 KiB), which each thread has for each
 * of 40 sizes that it uses; larger ones are rounded up to 64 KiB. So a limit should be some megabytes for each thread,
 * and more than what is to be in it.
 *
 * Returns 0, or -ENOMEM if there is no room for a heap at all. Since 0.1. */
MPROC_API int mproc_heap_set_limit(size_t bytes);

/** What the heap holds. */
struct mproc_heap_statistics {
    size_t size;          /**< sizeof(struct mproc_heap_statistics); to be filled by the caller */
    size_t reserved;      /**< bytes of address space */
    size_t limit;         /**< bytes that may be used */
    size_t bytes_in_use;  /**< bytes in blocks, as mproc_usable_size counts them */
    size_t blocks_in_use; /**< number of blocks */
    size_t high_water;    /**< the most bytes that the heap ever spanned, with gaps; beyond, no memory was touched */
    size_t processes;     /**< processes of the family that have used the heap and are alive */
};

/** Counts what the heap holds, after freeing what ended processes owned.
 *
 * - `statistics`: filled; its `size` is to be set before.
 *
 * The figures are of one walk through the heap, during which others may allocate and free.
 * Returns 0, -EINVAL for NULL, MPROC_E_STRUCT_SIZE, or -ENOMEM if there is no room for a heap at all. Since 0.1. */
MPROC_API int mproc_heap_statistics(struct mproc_heap_statistics *statistics);

/** Bytes in blocks that a process allocated, whoever freed others since; 0 for one that is not of the family.
 *
 * - `pid`: a process that is alive; 0 for all that have ended. Since 0.1. */
MPROC_API size_t mproc_heap_bytes_of(pid_t pid);

/** Gives memory that is free in the heap back to the kernel, as far as the calling thread can: pages of free units, and
 * of its own empty spans. Returns the number of bytes. Since 0.1. */
MPROC_API size_t mproc_heap_trim(void);

/** Checks the guards around every block, if the program was started with MPROC_HEAP_DEBUG=1 in its environment, and
 * reports damaged ones on standard error. In that mode, mproc_free and mproc_realloc check and report too: writes past
 * the end of a block or before it, and blocks freed twice, with the processes that allocated and freed them; and freed
 * blocks are filled with 0xdd, new ones with 0xa5.
 *
 * Returns the number of damages found, 0 without the mode. Since 0.1. */
MPROC_API int mproc_heap_check(void);

MPROC_END_DECLARATIONS

#endif
