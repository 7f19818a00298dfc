/* Blocks of any size. SPDX-License-Identifier: MIT */
#include "memory/block.h"

#include "memory/asan.h"
#include "memory/debug.h"
#include "memory/member.h"
#include "memory/publish.h"
#include "memory/sweep.h"

#include <errno.h>
#include <mproc/error.h>

bool block_find(struct region *region, const void *address, struct block *block)
{
    uint32_t unit = region ? region_unit_of(region, address) : 0;
    uint32_t first = unit ? units_block_of(region, unit, &block->word) : 0;
    if (first == 0)
        return false;
    block->unit = first;
    block->small = unit_state(block->word) == UNIT_SPAN;
    if (!block->small) {
        block->size = unit_count(block->word) * UNIT_BYTES;
        return address == region_unit_address(region, first);
    }
    struct span *span = (struct span *)(void *)region_unit_address(region, first);
    if (!span_find(span, unit_class(block->word), address, &block->place))
        return false;
    block->place.owner = unit_owner(block->word);
    block->size = span_classes[block->place.size_class].size;
    return !span_is_free(span, block->place.index);
}

bool block_free(struct region *region, const struct block *block)
{
    struct member *self = block->small ? member_current() : member_self();
    /* In debug mode freed blocks are looked at, so that they are not poisoned for AddressSanitizer. */
    if (block->small && self && !region->geometry.debug && block->place.owner == member_place(self->id) &&
        !(block->word & UNIT_ORPHAN))
        return span_free_own(&self->cache[block->place.size_class], &block->place);
    if (block->small)
        return span_free_other(&block->place);
    return units_free(region, block->unit, block->word, self ? member_place(self->id) : 0);
}

/* Pages of a large block come at first touch, unless the kernel could refuse them then. */
static uint32_t claim_large(struct region *region, struct member *self, const struct units_request *request,
                            uint64_t *flags)
{
    if (units_would_be_new(region)) {
        sweep_dead(region, self);
        if (self->fresh_spans > 4 + self->spans / 2)
            span_reclaim(self);
    }
    uint32_t first = units_claim(region, request, flags);
    if (first == 0) {
        sweep_dead(region, self);
        span_reclaim(self);
        first = units_claim(region, request, flags);
    }
    return first;
}

static void *allocate_large(struct region *region, struct member *self, size_t size, size_t alignment, bool owned,
                            bool *zeroed)
{
    struct units_request request = {
        .count = (uint32_t)((size + UNIT_BYTES - 1) / UNIT_BYTES) + (size == 0),
        .alignment = (uint32_t)(alignment / UNIT_BYTES),
        .owner = member_place(self->id),
        .present = region->geometry.strict,
    };
    uint64_t flags;
    if (units_is_too_much(size)) {
        errno = ENOMEM;
        return NULL;
    }
    uint32_t first = claim_large(region, self, &request, &flags);
    if (first == 0) {
        errno = ENOMEM;
        return NULL;
    }
    *zeroed = !(flags & UNIT_DIRTY);
    void *block = region_unit_address(region, first);
    asan_unpoison(block, request.count * UNIT_BYTES);
    units_commit(region, first,
                 unit_word(UNIT_BLOCK, (flags & UNIT_PRESENT) | (owned ? UNIT_OWNED : 0), 0,
                           member_place(self->process_id), request.count));
    return block;
}

void *block_allocate(size_t size, size_t alignment, bool owned, bool *zeroed)
{
    struct member *self = member_self();
    *zeroed = false;
    if (!self || size > region_existing()->geometry.size || alignment > region_existing()->geometry.size) {
        errno = ENOMEM;
        return NULL;
    }
    unsigned size_class = span_class_aligned(size, alignment);
    if (size_class >= SPAN_CLASSES)
        return allocate_large(region_existing(), self, size, alignment, owned, zeroed);
    void *block = span_allocate_slowly(self, size_class, owned ? BLOCK_OWNED : BLOCK_FAMILY);
    if (!block)
        errno = ENOMEM;
    return block;
}

/* A large block's word changes only if somebody else publishes or frees it. */
void block_publish(struct region *region, const struct block *block)
{
    uint64_t word = block->word;
    if (block->small)
        span_publish(&block->place);
    else if (word & UNIT_OWNED)
        atomic_compare_exchange_strong(&region->table[block->unit], &word, word & ~UNIT_OWNED);
}

int publish_block(struct region *region, const void *address)
{
    struct block block;
    if (!block_find(region, region->geometry.debug ? debug_block(address) : address, &block))
        return MPROC_E_NOT_ALLOCATED;
    block_publish(region, &block);
    return 0;
}
