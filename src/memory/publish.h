/* Handing a block from its process to the family. SPDX-License-Identifier: MIT */
#ifndef MEMORY_PUBLISH_H
#define MEMORY_PUBLISH_H

#include <stdbool.h>
#include <stddef.h>

struct block;
struct region;

/* From now on the block that the program knows by that address belongs to the family. Returns 0, or
 * MPROC_E_NOT_ALLOCATED. */
int publish_block(struct region *region, const void *address);

/* Finds the block that the program knows by that address; false if there is none. Reports nothing. */
bool memory_find_block(const void *address, struct block *block);

/* True if the program knows a block of at least that size by that address. Reports nothing. */
bool memory_is_block(const void *address, size_t size);

/* True if such a block still belongs to a process. */
bool memory_is_owned(const void *address);

/* As mproc_aligned_alloc, but that the block belongs to the calling process until it is published. */
void *memory_allocate_owned(size_t alignment, size_t size);

#endif
