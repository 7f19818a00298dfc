/* Freeing a block that others would free too if this process were killed. SPDX-License-Identifier: MIT */
#include "memory/condemn.h"

#include "memory/block.h"
#include "memory/debug.h"
#include "memory/member.h"
#include "memory/publish.h"
#include "memory/region.h"
#include "memory/units.h"

void memory_condemn(void *address)
{
    struct region *region = region_existing();
    struct block block;
    if (!memory_find_block(address, &block))
        return;
    if (region->geometry.debug)
        debug_check(address);
    if (block.small) {
        atomic_store(&block.place.span->state[block.place.index], BLOCK_CONDEMNED);
        return;
    }
    uint64_t seen = block.word, condemned;
    do
        condemned = unit_word(UNIT_BLOCK, seen & UNIT_PRESENT, UNIT_CONDEMNED, unit_owner(seen), unit_count(seen));
    while (!atomic_compare_exchange_weak(&region->table[block.unit], &seen, condemned));
}

static void free_small(const struct span_place *place)
{
    uint8_t condemned = BLOCK_CONDEMNED;
    atomic_store_explicit(&place->span->has_free, 1, memory_order_relaxed);
    atomic_compare_exchange_strong(&place->span->state[place->index], &condemned, BLOCK_FREE);
}

void memory_free_condemned(void *address)
{
    struct region *region = region_existing();
    struct member *self = member_current();
    struct block block;
    if (!memory_find_block(address, &block))
        return;
    if (block.small && atomic_load(&block.place.span->state[block.place.index]) == BLOCK_CONDEMNED) {
        if (region->geometry.debug)
            debug_bury(address);
        free_small(&block.place);
    } else if (!block.small && unit_class(block.word) == UNIT_CONDEMNED) {
        if (region->geometry.debug)
            debug_bury(address);
        units_free(region, block.unit, block.word, self ? member_place(self->id) : 0);
    }
}
