/* The heap, as the library itself uses it. SPDX-License-Identifier: MIT */
#include "memory/heap.h"

#include "memory/asan.h"
#include "memory/block.h"
#include "memory/member.h"

#include <mproc/memory.h>

void *heap_allocate(size_t size, bool present)
{
    struct member *self = member_self();
    struct region *region = region_existing();
    if (!self || size > region->geometry.size)
        return NULL;
    struct units_request request = {
        .count = size ? (uint32_t)((size + UNIT_BYTES - 1) / UNIT_BYTES) : 1,
        .owner = member_place(self->id),
        .present = present,
    };
    uint64_t flags;
    uint32_t first = units_claim(region, &request, &flags);
    if (first == 0)
        return NULL;
    units_commit(
        region, first,
        unit_word(UNIT_BLOCK, (flags & UNIT_PRESENT) | UNIT_OWNED, 0, member_place(self->process_id), request.count));
    asan_unpoison(region_unit_address(region, first), request.count * UNIT_BYTES);
    return region_unit_address(region, first);
}

void *heap_allocate_small(size_t size, size_t alignment)
{
    bool zeroed;
    return block_allocate(size, alignment, true, &zeroed);
}

void heap_free(void *address)
{
    struct region *region = region_existing();
    struct block block;
    if (block_find(region, address, &block))
        block_free(region, &block);
}

bool heap_contains(const void *address, size_t size)
{
    struct region *region = region_existing();
    if (!region)
        return false;
    uintptr_t base = (uintptr_t)region->geometry.base, at = (uintptr_t)address;
    return at >= base && at - base <= region->geometry.size && size <= region->geometry.size - (at - base);
}

size_t heap_bytes_in_use(void)
{
    struct mproc_heap_statistics statistics = { .size = sizeof statistics };
    return region_existing() && mproc_heap_statistics(&statistics) == 0 ? statistics.bytes_in_use : 0;
}
