/* Small blocks. SPDX-License-Identifier: MIT
 *
 * A span is a run of units that holds blocks of one size, with a byte for each block at its start. The bytes are the
 * only truth. Only the thread that owns a span allocates in it, so that it needs no atomic read-modify-write; anybody
 * may free. So two threads, and two processes, never share a cache line by allocating at the same time.
 */
#ifndef MEMORY_SPAN_H
#define MEMORY_SPAN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SPAN_CLASSES = 40, SPAN_SMALL_MOST = 32768 };

struct span;
struct region;
struct member;

/* A thread's view of one size. Derived: a wrong cursor costs time. */
struct span_cache {
    struct span *span; /* where it allocates; owned by the thread, or NULL */
    uint32_t cursor;   /* the block to look at first */
};

/* State of a block. */
enum span_block { BLOCK_FREE = 0, BLOCK_OWNED = 1, BLOCK_FAMILY = 2 };

/* The smallest class whose blocks hold `size` bytes, are aligned to `alignment` (a power of 2, at most a page of 4096),
 * or SPAN_CLASSES if there is none. */
unsigned span_class(size_t size, size_t alignment);

size_t span_class_size(unsigned class);

/* Allocates a block for the calling thread, to belong to its process or to the family; the store that says so is the
 * last thing done. NULL if the heap is full. */
void *span_allocate(struct member *self, unsigned class, enum span_block state);

/* What a block belongs to, and where its state is. */
struct span_place {
    _Atomic uint8_t *state;
    struct span *span;
    uint32_t index;
    unsigned class;
    uint32_t owner; /* place of the member whose span it is; 0: nobody's */
};

/* Finds the place of a block in the span that starts at `unit` and whose word is `word`; false if `block` is not the
 * start of one. */
bool span_find(struct region *region, uint32_t unit, uint64_t word, const void *block, struct span_place *place);

/* Returns what the block was before: BLOCK_FREE if it had been freed already. */
enum span_block span_free(struct member *self, const struct span_place *place);

static inline void span_publish(const struct span_place *place)
{
    uint8_t owned = BLOCK_OWNED;
    atomic_compare_exchange_strong_explicit(place->state, &owned, BLOCK_FAMILY, memory_order_release,
                                            memory_order_relaxed);
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
