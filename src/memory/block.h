/* Finding a block by its address. SPDX-License-Identifier: MIT */
#ifndef MEMORY_BLOCK_H
#define MEMORY_BLOCK_H

#include "memory/span.h"
#include "memory/units.h"

struct block {
    uint32_t unit; /* first of the large block, or of the span */
    uint64_t word;
    bool small;
    struct span_place place; /* if small */
    size_t size;
};

/* False if no block that is in use starts at the address. */
bool block_find(struct region *region, const void *address, struct block *block);

/* Of a block that block_find has found; false if somebody else has freed it since. */
bool block_free(struct region *region, const struct block *block);

/* Hands a block that block_find has found to the family, if it belongs to a process. */
void block_publish(struct region *region, const struct block *block);

/* Allocates; belongs to the calling process if `owned`. `alignment` is a power of 2. `zeroed` gets true if the memory
 * is known to hold zeroes. NULL with errno set. */
void *block_allocate(size_t size, size_t alignment, bool owned, bool *zeroed);

#endif
