/* Small blocks. SPDX-License-Identifier: MIT */
#include "memory/span.h"

#include "memory/asan.h"
#include "memory/member.h"
#include "memory/sweep.h"
#include "memory/units.h"

#include <string.h>

/* ---- classes: multiples of 16 up to 128, then four for each doubling */

enum { ALIGNMENT_MOST = 4096 };

#define UNITS_OF(size) ((size) <= 1024 ? 1U : 4U)
#define POWER_IN(size) ((size) & (~(size) + 1U))
#define ALIGNMENT_OF(size) (POWER_IN(size) < ALIGNMENT_MOST ? POWER_IN(size) : ALIGNMENT_MOST)
#define COUNT_OF(size)                                                                                                 \
    ((UNITS_OF(size) * 65536U - (uint32_t)sizeof(struct span) - ALIGNMENT_OF(size) + 1U) / ((size) + 1U))
#define START_OF(size)                                                                                                 \
    (((uint32_t)sizeof(struct span) + COUNT_OF(size) + ALIGNMENT_OF(size) - 1U) / ALIGNMENT_OF(size) *                 \
     ALIGNMENT_OF(size))
#define RECIPROCAL_OF(size) (((UINT64_C(1) << SPAN_RECIPROCAL_SHIFT) + (uint64_t)(size)-1) / (uint64_t)(size))
#define CLASS(size)                                                                                                    \
    {                                                                                                                  \
        size, UNITS_OF(size), COUNT_OF(size), START_OF(size), RECIPROCAL_OF(size)                                      \
    }
#define DOUBLING(size) CLASS(5U * (size) / 4U), CLASS(6U * (size) / 4U), CLASS(7U * (size) / 4U), CLASS(2U * (size))

const struct span_class span_classes[SPAN_CLASSES] = {
    CLASS(16U),      CLASS(32U),      CLASS(48U),      CLASS(64U),       CLASS(80U),     CLASS(96U),
    CLASS(112U),     CLASS(128U),     DOUBLING(128U),  DOUBLING(256U),   DOUBLING(512U), DOUBLING(1024U),
    DOUBLING(2048U), DOUBLING(4096U), DOUBLING(8192U), DOUBLING(16384U),
};

unsigned span_class_aligned(size_t size, size_t alignment)
{
    if (size > SPAN_SMALL_MOST || alignment > ALIGNMENT_MOST)
        return SPAN_CLASSES;
    unsigned size_class = span_class_of(size);
    while (alignment > 16 && size_class < SPAN_CLASSES && span_classes[size_class].size % alignment != 0)
        size_class = size_class + 1;
    return size_class;
}

/* ---- one span */

typedef uint64_t __attribute__((may_alias)) eight_states;

static bool none_is_free(struct span *span, uint32_t from)
{
    uint64_t states = __atomic_load_n((const eight_states *)(const void *)&span->state[from], __ATOMIC_RELAXED);
    return ((states - UINT64_C(0x0101010101010101)) & ~states & UINT64_C(0x8080808080808080)) == 0;
}

/* First free block in [from, to), or `to`. */
static uint32_t find_free(struct span *span, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        while (i % 8 == 0 && i + 8 <= to && none_is_free(span, i))
            i += 8;
        if (i < to && span_is_free(span, i))
            return i;
    }
    return to;
}

static void *take_from_span(struct span_cache *cache, const struct span_class *info, enum span_block state)
{
    struct span *span = cache->span;
    atomic_store_explicit(&span->has_free, 0, memory_order_relaxed);
    uint32_t start = cache->cursor < info->count ? cache->cursor : 0;
    uint32_t index = find_free(span, start, info->count);
    if (index == info->count) {
        index = find_free(span, 0, start);
        if (index == start)
            return NULL;
    }
    atomic_store_explicit(&span->has_free, 1, memory_order_relaxed);
    return span_take(cache, info, index, state);
}

/* ---- a thread's spans: a ring for each class */

enum { RING_STEPS = 16 };

static void enter_ring(struct member *self, unsigned size_class, struct span *span)
{
    struct span_cache *cache = &self->cache[size_class];
    span->next = cache->span ? cache->span->next : span;
    if (cache->span)
        cache->span->next = span;
    cache->span = span;
    cache->cursor = 0;
    self->spans++;
}

static void *take_from_ring(struct span_cache *cache, const struct span_class *info, uint32_t steps,
                            enum span_block state)
{
    struct span *start = cache->span, *span = start;
    for (uint32_t i = 0; span && i < steps; i++) {
        if (atomic_load_explicit(&span->has_free, memory_order_relaxed)) {
            void *block = take_from_span(cache, info, state);
            if (block)
                return block;
        }
        span = span->next;
        cache->span = span;
        cache->cursor = 0;
        if (span == start)
            return NULL;
    }
    return NULL;
}

static bool adopt(struct region *region, struct member *self, unsigned size_class, uint32_t unit)
{
    uint64_t word = atomic_load_explicit(&region->table[unit], memory_order_relaxed);
    if (unit_state(word) != UNIT_SPAN || unit_class(word) != size_class || !(word & UNIT_ORPHAN))
        return false;
    if (unit_owner(word) != 0 && unit_owner(word) != member_place(self->process_id))
        return false;
    uint64_t mine = unit_word(UNIT_SPAN, word & UNIT_PRESENT, size_class, member_place(self->id), unit_count(word));
    if (!atomic_compare_exchange_strong_explicit(&region->table[unit], &word, mine, memory_order_acquire,
                                                 memory_order_relaxed))
        return false;
    struct span *span = (struct span *)(void *)region_unit_address(region, unit);
    atomic_store_explicit(&span->has_free, 1, memory_order_relaxed);
    enter_ring(self, size_class, span);
    return true;
}

static void *take_from_orphan(struct region *region, struct member *self, unsigned size_class, enum span_block state)
{
    if (!atomic_load_explicit(&region->orphans, memory_order_relaxed))
        return NULL;
    uint32_t end = atomic_load_explicit(&region->used_end, memory_order_relaxed);
    for (uint32_t unit = region->geometry.first_unit; unit < end; unit++) {
        if (!adopt(region, self, size_class, unit))
            continue;
        void *block = take_from_span(&self->cache[size_class], &span_classes[size_class], state);
        if (block)
            return block;
    }
    return NULL;
}

static struct span *new_span(struct region *region, struct member *self, unsigned size_class)
{
    const struct span_class *info = &span_classes[size_class];
    struct units_request request = { .count = info->units, .owner = member_place(self->id), .present = true };
    uint64_t flags;
    uint32_t unit = units_claim(region, &request, &flags);
    if (unit == 0)
        return NULL;
    struct span *span = (struct span *)(void *)region_unit_address(region, unit);
    asan_unpoison(span, info->units * UNIT_BYTES);
    memset(span, 0, sizeof *span + info->count);
    units_commit(region, unit, unit_word(UNIT_SPAN, UNIT_PRESENT, size_class, member_place(self->id), info->units));
    enter_ring(self, size_class, span);
    self->fresh_spans++;
    return span;
}

/* Memory that was used before comes before memory that was not. */
static void *take_from_new(struct region *region, struct member *self, unsigned size_class, enum span_block state)
{
    if (units_would_be_new(region)) {
        sweep_dead(region, self);
        if (self->fresh_spans > 4 + self->spans / 2) {
            span_reclaim(self);
            void *block = take_from_ring(&self->cache[size_class], &span_classes[size_class], UINT32_MAX, state);
            if (block)
                return block;
        }
    }
    if (!new_span(region, self, size_class)) {
        sweep_dead(region, self);
        span_reclaim(self);
        void *block = take_from_ring(&self->cache[size_class], &span_classes[size_class], UINT32_MAX, state);
        if (block || !new_span(region, self, size_class))
            return block;
    }
    return take_from_span(&self->cache[size_class], &span_classes[size_class], state);
}

void *span_allocate_slowly(struct member *self, unsigned size_class, enum span_block state)
{
    struct region *region = region_existing();
    struct span_cache *cache = &self->cache[size_class];
    void *block = cache->span ? take_from_span(cache, &span_classes[size_class], state) : NULL;
    if (!block)
        block = take_from_ring(cache, &span_classes[size_class], RING_STEPS, state);
    if (!block)
        block = take_from_orphan(region, self, size_class, state);
    if (!block)
        block = take_from_new(region, self, size_class, state);
    return block;
}

/* ---- giving back */

static bool is_empty(struct span *span, const struct span_class *info)
{
    for (uint32_t i = 0; i < info->count; i++)
        if (!span_is_free(span, i))
            return false;
    return true;
}

/* Nobody else allocates in it, and nobody has a block of it to free, so an empty span stays empty. */
static bool give_back(struct region *region, struct member *self, struct span *span, const struct span_class *info)
{
    if (!is_empty(span, info))
        return false;
    uint32_t unit = region_unit_of(region, span);
    asan_unpoison(span, info->units * UNIT_BYTES);
    return units_free(region, unit, atomic_load_explicit(&region->table[unit], memory_order_relaxed),
                      member_place(self->id));
}

static void reclaim_ring(struct region *region, struct member *self, unsigned size_class)
{
    struct span_cache *cache = &self->cache[size_class];
    struct span *before = cache->span, *last = before;
    if (!before)
        return;
    do {
        struct span *span = before->next, *after = span->next;
        bool was_last = span == last;
        if (give_back(region, self, span, &span_classes[size_class])) {
            self->spans--;
            if (span == before) {
                cache->span = NULL;
                return;
            }
            before->next = after;
        } else {
            atomic_store_explicit(&span->has_free, 1, memory_order_relaxed);
            before = span;
        }
        if (was_last)
            break;
    } while (true);
    cache->span = before;
    cache->cursor = 0;
}

/* Spans of ended threads that hold no block any more are adopted, as nobody else may give them back. */
static void adopt_empty(struct region *region, struct member *self)
{
    uint32_t end = atomic_load_explicit(&region->used_end, memory_order_relaxed);
    if (!atomic_load_explicit(&region->orphans, memory_order_relaxed))
        return;
    for (uint32_t unit = region->geometry.first_unit; unit < end; unit++) {
        uint64_t word = atomic_load_explicit(&region->table[unit], memory_order_acquire);
        if (unit_state(word) == UNIT_SPAN && (word & UNIT_ORPHAN) && span_count(region, unit, word) == 0)
            adopt(region, self, unit_class(word), unit);
    }
}

void span_reclaim(struct member *self)
{
    adopt_empty(region_existing(), self);
    for (unsigned size_class = 0; size_class < SPAN_CLASSES; size_class++)
        reclaim_ring(region_existing(), self, size_class);
    self->fresh_spans = 0;
}

/* ---- walks */

uint32_t span_sweep(struct region *region, uint32_t unit, uint64_t word)
{
    const struct span_class *info = &span_classes[unit_class(word)];
    struct span *span = (struct span *)(void *)region_unit_address(region, unit);
    uint32_t stay = 0;
    for (uint32_t i = 0; i < info->count; i++) {
        uint8_t owned = BLOCK_OWNED;
        if (!atomic_compare_exchange_strong(&span->state[i], &owned, BLOCK_FREE))
            stay += owned != BLOCK_FREE;
    }
    return stay;
}

uint32_t span_count(struct region *region, uint32_t unit, uint64_t word)
{
    const struct span_class *info = &span_classes[unit_class(word)];
    struct span *span = (struct span *)(void *)region_unit_address(region, unit);
    uint32_t count = 0;
    for (uint32_t i = 0; i < info->count; i++)
        count += !span_is_free(span, i);
    return count;
}

void span_visit(struct region *region, uint32_t unit, uint64_t word,
                void (*visit)(void *block, size_t size, void *argument), void *argument)
{
    const struct span_class *info = &span_classes[unit_class(word)];
    struct span *span = (struct span *)(void *)region_unit_address(region, unit);
    for (uint32_t i = 0; i < info->count; i++)
        if (!span_is_free(span, i))
            visit(span_block_at(span, info, i), info->size, argument);
}
