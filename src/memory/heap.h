/* The shared heap: memory at one address in every process of a family. SPDX-License-Identifier: MIT
 *
 * A family is a program and the processes that mproc started from it. The heap is reserved once, by the first of them
 * that needs it, and inherited by fork. It is handed out in blocks of whole units of 64 KiB.
 */
#ifndef MEMORY_HEAP_H
#define MEMORY_HEAP_H

#include <stdbool.h>
#include <stddef.h>

/* Allocates a block; its contents are unspecified. Pages that were never touched are made present first if `present`,
 * so that using the block cannot fail later, and a block larger than the memory that is available is refused; otherwise
 * pages become present on first touch.
 * Returns the block, aligned to 64 KiB, or NULL where there is no room or no memory. Lock-free: a thread only tries
 * again because another one got on. Any thread; any process of the family. */
void *heap_allocate(size_t size, bool present);

/* Frees a block, in any process of the family. NULL is accepted. Blocks of 64 MiB and more go back to the kernel. Wait
 * free but for the kernel's work. */
void heap_free(void *block);

/* True if size bytes from address on lie within the heap. */
bool heap_contains(const void *address, size_t size);

/* Bytes in allocated blocks, counted now: for tests and statistics, as others may be allocating. */
size_t heap_bytes_in_use(void);

#endif
