/* The heap, as the library itself uses it. SPDX-License-Identifier: MIT */
#ifndef MEMORY_HEAP_H
#define MEMORY_HEAP_H

#include <stdbool.h>
#include <stddef.h>

/* Allocates a block of whole units of 64 KiB, which belongs to the calling process: it is freed when that has ended,
 * and so have all who lodge there (memory/member.h). Its contents are unspecified. Pages that were never touched are
 * made present first if `present`, so that using the block cannot fail later, and a block larger than the memory that
 * is available is refused; otherwise pages become present on first touch. Returns the block, aligned to 64 KiB, or NULL
 * where there is no room or no memory. Lock-free: a thread only tries again because another one got on. Any thread; any
 * process of the family. */
void *heap_allocate(size_t size, bool present);

/* Allocates a small block, of at most SPAN_SMALL_MOST bytes (memory/span.h), which belongs to the calling process too.
 * `alignment` is a power of 2. NULL where there is no memory. */
void *heap_allocate_small(size_t size, size_t alignment);

/* Frees a block that one of these two has allocated, in any process of the family: in debug mode other blocks are
 * dressed (memory/debug.h), and mproc_free takes only those. NULL is accepted. */
void heap_free(void *block);

/* True if size bytes from address on lie within the heap. */
bool heap_contains(const void *address, size_t size);

/* Bytes in allocated blocks, counted now, after what dead processes owned was freed: for tests and statistics, as
 * others may be allocating. */
size_t heap_bytes_in_use(void);

#endif
