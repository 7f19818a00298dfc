/* Memory in units of 64 KiB. SPDX-License-Identifier: MIT
 *
 * There is one word for each unit, in a table at the heap's start. The table is the only truth; everything else can be
 * rebuilt from it.
 *
 * A block is claimed unit by unit with compare-and-swap, lowest first, and committed by turning the first unit into
 * UNIT_BLOCK or UNIT_SPAN with one store. A process that dies in between leaves UNIT_CLAIMED units that no first unit
 * covers, and that name it. Freeing turns the first unit into UNIT_FREEING, which names who frees, then frees the
 * others and the first one last; whoever dies in between leaves a block that can be freed to the end. The sweep
 * (memory/sweep.c) looks for both.
 */
#ifndef MEMORY_UNITS_H
#define MEMORY_UNITS_H

#include "memory/region.h"

enum unit_state {
    UNIT_FREE = 0,
    UNIT_CLAIMED, /* part of a block, not the first */
    UNIT_BLOCK,   /* first of a large block */
    UNIT_SPAN,    /* first of a span of small blocks */
    UNIT_FREEING,
    UNIT_STATE = 7
};

/* Further bits of a word. Present and dirty survive freeing. */
#define UNIT_PRESENT UINT64_C(8) /* every page is there, so that touching it cannot fail */
#define UNIT_DIRTY UINT64_C(16)  /* it may hold something else than zeroes */
#define UNIT_OWNED UINT64_C(32)  /* first of a block: it belongs to the process in `owner` until it is published */
#define UNIT_ORPHAN UINT64_C(64) /* first of a span: `owner` is the process; its thread has ended */

/* In place of a size class, of the first unit of a block: see memory/condemn.h. */
enum { UNIT_CONDEMNED = 1 };

enum { UNIT_CLASS_SHIFT = 7, UNIT_OWNER_SHIFT = 13, UNIT_COUNT_SHIFT = 32 };

static inline enum unit_state unit_state(uint64_t word)
{
    return (enum unit_state)(word & UNIT_STATE);
}

/* Of a span. */
static inline unsigned unit_class(uint64_t word)
{
    return (unsigned)(word >> UNIT_CLASS_SHIFT & 63);
}

/* Place of the member that claimed it, or is freeing it; 0: nobody. */
static inline uint32_t unit_owner(uint64_t word)
{
    return (uint32_t)(word >> UNIT_OWNER_SHIFT & 0xffff);
}

/* Units in the block whose first one this is; of a claimed unit: how far behind the first it is. */
static inline uint32_t unit_count(uint64_t word)
{
    return (uint32_t)(word >> UNIT_COUNT_SHIFT);
}

static inline uint64_t unit_word(enum unit_state state, uint64_t flags, unsigned size_class, uint32_t owner,
                                 uint32_t count)
{
    return (uint64_t)state | flags | (uint64_t)size_class << UNIT_CLASS_SHIFT | (uint64_t)owner << UNIT_OWNER_SHIFT |
           (uint64_t)count << UNIT_COUNT_SHIFT;
}

/* The first unit of the block that a unit belongs to, and its word; 0 if it is in no block. */
uint32_t units_block_of(struct region *region, uint32_t unit, uint64_t *word);

struct units_request {
    uint32_t count;
    uint32_t alignment; /* of the address, in units; 0 and 1: none */
    uint32_t owner;     /* place of the member that asks */
    bool present;       /* touching it must not fail later */
};

/* Claims units; 0 if there is no room or no memory. `flags` gets UNIT_PRESENT and UNIT_DIRTY as they are for the whole.
 * Lock-free: a thread only tries again because another one got on. */
uint32_t units_claim(struct region *region, const struct units_request *request, uint64_t *flags);

/* True if there is not that much memory, so far as can be told. The kernel answers the use of more than there is not
 * with an error but by killing some process. */
bool units_is_too_much(size_t size);

/* True if the next unit to be handed out was never touched before, as far as is known. */
bool units_would_be_new(struct region *region);

void units_commit(struct region *region, uint32_t first, uint64_t word);

/* Frees a block whose first unit holds `word`; false if it does not hold it any more. Large blocks go back to the
 * kernel. Wait-free, but for the kernel's work. */
bool units_free(struct region *region, uint32_t first, uint64_t word, uint32_t freer);

/* True if a claimed unit, which holds `word`, is part of a block that is in use or being freed. */
bool units_is_part(struct region *region, uint32_t unit, uint64_t word);

/* Goes on with what a dead one was freeing. */
void units_free_rest(struct region *region, uint32_t first, uint64_t word);

/* Frees units that were claimed and not committed. */
void units_unclaim(struct region *region, uint32_t first, uint32_t count);

/* Gives the pages of free units back to the kernel. Returns the bytes. */
size_t units_trim(struct region *region, uint32_t owner);

#endif
