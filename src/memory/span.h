/* Small blocks. SPDX-License-Identifier: MIT
 *
 * A span is a run of units that holds blocks of one size, with a byte for each block at its start. The bytes are the
 * only truth. Only the thread that owns a span allocates in it, so that it needs no atomic read-modify-write; anybody
 * may free. So two threads, and two processes, never share a cache line by allocating at the same time.
 */
#ifndef MEMORY_SPAN_H
#define MEMORY_SPAN_H

#include "memory/asan.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SPAN_CLASSES = 40, SPAN_SMALL_MOST = 32768 };

struct region;
struct member;

/* State of a block. */
enum span_block { BLOCK_FREE = 0, BLOCK_OWNED = 1, BLOCK_FAMILY = 2, BLOCK_CONDEMNED = 3 /* memory/condemn.h */ };

struct span {
    _Atomic uint32_t has_free; /* a block may be free. Set before one is freed; derived */
    struct span *next;         /* the owner's next span of this class, in a ring; the owner's alone */
    _Alignas(64) _Atomic uint8_t state[];
};

struct span_class {
    uint32_t size, units, count, start;
    uint64_t reciprocal; /* of size, times 2^SPAN_RECIPROCAL_SHIFT, rounded up: exact for every offset in a span */
};

enum { SPAN_RECIPROCAL_SHIFT = 40 };

extern const struct span_class span_classes[SPAN_CLASSES];

/* A thread's view of one size. Derived: a wrong cursor costs time. */
struct span_cache {
    struct span *span; /* where it allocates; owned by the thread, or NULL */
    uint32_t cursor;   /* the block to look at first */
};

/* The smallest class whose blocks hold `size` bytes, at most SPAN_SMALL_MOST. */
static inline unsigned span_class_of(size_t size)
{
    if (size <= 128)
        return size ? (unsigned)((size - 1) / 16) : 0;
    unsigned power = 63U - (unsigned)__builtin_clzll(size - 1);
    return 8U + (power - 7U) * 4U + (unsigned)((size - 1) >> (power - 2U) & 3U);
}

/* The same for blocks aligned to `alignment`, a power of 2; SPAN_CLASSES if there is none. */
unsigned span_class_aligned(size_t size, size_t alignment);

static inline void *span_block_at(struct span *span, const struct span_class *info, uint32_t index)
{
    return (char *)span + info->start + (size_t)index * info->size;
}

static inline bool span_is_free(struct span *span, uint32_t index)
{
    /* Acquire: what was done with the block before it was freed comes before what is done now. */
    return atomic_load_explicit(&span->state[index], memory_order_acquire) == BLOCK_FREE;
}

/* The store of the state is what allocates, and the last thing done. */
static inline void *span_take(struct span_cache *cache, const struct span_class *info, uint32_t index,
                              enum span_block state)
{
    void *block = span_block_at(cache->span, info, index);
    cache->cursor = index + 1;
    asan_unpoison(block, info->size);
    atomic_store_explicit(&cache->span->state[index], (uint8_t)state, memory_order_relaxed);
    return block;
}

/* Allocates a block for the calling thread, to belong to its process or to the family. NULL if the heap is full. */
void *span_allocate_slowly(struct member *self, unsigned size_class, enum span_block state);

/* The same from the calling thread's cache of that class; NULL if that takes more than a look. */
static inline void *span_allocate_quickly(struct span_cache *cache, unsigned size_class, enum span_block state)
{
    const struct span_class *info = &span_classes[size_class];
    if (cache->span && cache->cursor < info->count && span_is_free(cache->span, cache->cursor))
        return span_take(cache, info, cache->cursor, state);
    return NULL;
}

/* What a block belongs to, and where its state is. */
struct span_place {
    struct span *span;
    uint32_t index;
    unsigned size_class;
    uint32_t owner; /* place of the member whose span it is; 0: nobody's */
};

/* Finds the place of a block in a span; false if it is not the start of one. Leaves the owner alone. */
static inline bool span_find(struct span *span, unsigned size_class, const void *block, struct span_place *place)
{
    const struct span_class *info = &span_classes[size_class];
    size_t offset = (size_t)((const char *)block - (const char *)span) - info->start;
    uint64_t index = offset * info->reciprocal >> SPAN_RECIPROCAL_SHIFT;
    if (offset >= (size_t)1 << 20 || index >= info->count || index * info->size != offset)
        return false;
    place->span = span;
    place->index = (uint32_t)index;
    place->size_class = size_class;
    return true;
}

/* Frees a block in a span of the calling thread, whose cache for that class is given; false if it was free. Another
 * thread that frees the same block at the same time is wrong, and does no harm. */
static inline bool span_free_own(struct span_cache *cache, const struct span_place *place)
{
    const struct span_class *info = &span_classes[place->size_class];
    _Atomic uint8_t *state = &place->span->state[place->index];
    if (atomic_load_explicit(state, memory_order_relaxed) == BLOCK_FREE)
        return false;
    asan_poison(span_block_at(place->span, info, place->index), info->size);
    atomic_store_explicit(&place->span->has_free, 1, memory_order_relaxed);
    if (cache->span == place->span)
        cache->cursor = place->index;
    atomic_store_explicit(state, BLOCK_FREE, memory_order_release);
    return true;
}

/* Frees a block in another thread's span; false if it was free. The state comes last: after it the span may be gone. */
static inline bool span_free_other(const struct span_place *place)
{
    if (!atomic_load_explicit(&place->span->has_free, memory_order_relaxed))
        atomic_store_explicit(&place->span->has_free, 1, memory_order_relaxed);
    return atomic_exchange_explicit(&place->span->state[place->index], BLOCK_FREE, memory_order_acq_rel) != BLOCK_FREE;
}

static inline void span_publish(const struct span_place *place)
{
    uint8_t owned = BLOCK_OWNED;
    atomic_compare_exchange_strong_explicit(&place->span->state[place->index], &owned, BLOCK_FAMILY,
                                            memory_order_release, memory_order_relaxed);
}

/* Frees the blocks that are owned by a process that has ended. Returns the number of blocks that stay. */
uint32_t span_sweep(struct region *region, uint32_t unit, uint64_t word);

/* Blocks in use. */
uint32_t span_count(struct region *region, uint32_t unit, uint64_t word);

/* Calls visit for each block in use. */
void span_visit(struct region *region, uint32_t unit, uint64_t word,
                void (*visit)(void *block, size_t size, void *argument), void *argument);

/* Gives the calling thread's empty spans back. */
void span_reclaim(struct member *self);

#endif
