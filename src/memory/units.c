/* Memory in units. SPDX-License-Identifier: MIT */
#include "memory/units.h"

#include "os/map.h"

#define LARGE_BLOCK_BYTES ((size_t)64 << 20)

static bool is_free(uint64_t word)
{
    return unit_state(word) == UNIT_FREE;
}

static uint64_t load(struct region *region, uint32_t unit)
{
    return atomic_load_explicit(&region->table[unit], memory_order_relaxed);
}

uint32_t units_block_of(struct region *region, uint32_t unit, uint64_t *word)
{
    uint64_t seen = atomic_load_explicit(&region->table[unit], memory_order_acquire);
    if (unit_state(seen) == UNIT_CLAIMED && unit_count(seen) > 0 && unit_count(seen) < unit) {
        uint32_t first = unit - unit_count(seen);
        seen = atomic_load_explicit(&region->table[first], memory_order_acquire);
        if (unit_count(seen) <= unit - first)
            return 0;
        unit = first;
    }
    *word = seen;
    return unit_state(seen) == UNIT_BLOCK || unit_state(seen) == UNIT_SPAN ? unit : 0;
}

/* Claims units [first, first + count) or as many of them as are free; returns how many. */
static uint32_t claim(struct region *region, uint32_t first, const struct units_request *request, uint64_t *flags)
{
    *flags = UNIT_PRESENT;
    for (uint32_t i = 0; i < request->count; i++) {
        uint64_t seen = load(region, first + i);
        uint64_t kept = seen & (UNIT_PRESENT | UNIT_DIRTY);
        uint64_t mine = unit_word(UNIT_CLAIMED, kept, 0, request->owner, i);
        /* Acquire: what the previous owner wrote comes before what this one writes. */
        if (!is_free(seen) || !atomic_compare_exchange_strong_explicit(&region->table[first + i], &seen, mine,
                                                                       memory_order_acquire, memory_order_relaxed))
            return i;
        *flags = (*flags & (kept | ~UNIT_PRESENT)) | (kept & UNIT_DIRTY);
    }
    return request->count;
}

static void free_unit(struct region *region, uint32_t unit, uint64_t flags)
{
    atomic_store_explicit(&region->table[unit], UNIT_FREE | flags, memory_order_release);
}

void units_unclaim(struct region *region, uint32_t first, uint32_t count)
{
    for (uint32_t i = count; i-- > 0;)
        free_unit(region, first + i, load(region, first + i) & (UNIT_PRESENT | UNIT_DIRTY));
}

static bool raise_used_end(struct region *region, uint32_t end)
{
    uint32_t seen = atomic_load_explicit(&region->used_end, memory_order_relaxed);
    if (seen >= end)
        return true;
    if (!region_table_ready(region, end))
        return false;
    while (seen < end && !atomic_compare_exchange_weak_explicit(&region->used_end, &seen, end, memory_order_relaxed,
                                                                memory_order_relaxed)) {
    }
    return true;
}

static uint32_t align_unit(const struct region *region, uint32_t unit, uint32_t alignment)
{
    size_t bytes = (size_t)alignment * UNIT_BYTES;
    size_t off = alignment > 1 ? (uintptr_t)region_unit_address(region, unit) % bytes : 0;
    return off ? unit + (uint32_t)((bytes - off) / UNIT_BYTES) : unit;
}

/* Units below are used or, if from the used end on, never were. */
static uint32_t next_free(struct region *region, uint32_t unit, uint32_t end)
{
    uint32_t used = atomic_load_explicit(&region->used_end, memory_order_relaxed);
    uint32_t stop = used < end ? used : end;
    while (unit < stop && !is_free(load(region, unit)))
        unit++;
    return unit;
}

/* First fit, so that low units, which have been touched, are used again before new pages are. */
static uint32_t find_and_claim(struct region *region, const struct units_request *request, uint64_t *flags)
{
    uint32_t start = region->geometry.first_unit;
    uint32_t hint = atomic_load_explicit(&region->free_hint, memory_order_relaxed);
    uint32_t end = atomic_load_explicit(&region->limit_end, memory_order_relaxed);
    bool from_start = hint <= start;
    uint32_t unit = from_start ? start : hint;
    for (;;) {
        unit = align_unit(region, next_free(region, unit, end), request->alignment);
        if (unit > end || request->count > end - unit) {
            if (from_start)
                return 0;
            from_start = true;
            unit = start;
            continue;
        }
        if (!raise_used_end(region, unit + request->count))
            return 0;
        uint32_t got = claim(region, unit, request, flags);
        if (got == request->count)
            return unit;
        units_unclaim(region, unit, got);
        unit += got + 1;
    }
}

bool units_is_too_much(size_t size)
{
    return size >= LARGE_BLOCK_BYTES && size > os_memory_available();
}

uint32_t units_claim(struct region *region, const struct units_request *request, uint64_t *flags)
{
    if (request->present && units_is_too_much(request->count * UNIT_BYTES))
        return 0;
    uint32_t first = find_and_claim(region, request, flags);
    if (first == 0)
        return 0;
    if (request->present && !(*flags & UNIT_PRESENT)) {
        if (os_map_populate(region_unit_address(region, first), request->count * UNIT_BYTES) != 0) {
            units_unclaim(region, first, request->count);
            return 0;
        }
        *flags |= UNIT_PRESENT;
    }
    if (first == atomic_load_explicit(&region->free_hint, memory_order_relaxed))
        atomic_store_explicit(&region->free_hint, first + request->count, memory_order_relaxed);
    return first;
}

bool units_would_be_new(struct region *region)
{
    uint32_t used = atomic_load_explicit(&region->used_end, memory_order_relaxed);
    return next_free(region, atomic_load_explicit(&region->free_hint, memory_order_relaxed), used) >= used;
}

void units_commit(struct region *region, uint32_t first, uint64_t word)
{
    atomic_store_explicit(&region->table[first], word, memory_order_release);
}

bool units_is_part(struct region *region, uint32_t unit, uint64_t word)
{
    uint32_t distance = unit_count(word);
    if (distance == 0 || distance >= unit)
        return false;
    uint64_t first = atomic_load(&region->table[unit - distance]);
    enum unit_state state = unit_state(first);
    return (state == UNIT_BLOCK || state == UNIT_SPAN || state == UNIT_FREEING) && unit_count(first) > distance;
}

/* A unit that is part of the block `distance` in front of it. Nobody else can have claimed it with that distance as
 * long as the block's first unit is not free. */
static bool is_part(uint64_t word, uint32_t distance)
{
    return unit_state(word) == UNIT_CLAIMED && unit_count(word) == distance;
}

/* Units are freed from the last to the first, and others may claim them at once. Whoever goes on in a dead one's place
 * therefore frees only what is still part of the block, and releases its pages only if all of it is. */
void units_free_rest(struct region *region, uint32_t first, uint64_t word)
{
    uint32_t count = unit_count(word);
    bool whole = count == 1 || is_part(load(region, first + count - 1), count - 1);
    bool large = count * UNIT_BYTES >= LARGE_BLOCK_BYTES;
    uint64_t flags = (word & UNIT_PRESENT) | UNIT_DIRTY;
    if (large) /* not all of them: what is there, nobody knows */
        flags = UNIT_DIRTY;
    if (large && whole && os_map_release(region_unit_address(region, first), count * UNIT_BYTES) == 0)
        flags = 0;
    for (uint32_t i = count; i-- > 1;)
        if (is_part(load(region, first + i), i))
            free_unit(region, first + i, flags);
    free_unit(region, first, flags);
    if (first < atomic_load_explicit(&region->free_hint, memory_order_relaxed))
        atomic_store_explicit(&region->free_hint, first, memory_order_relaxed);
}

bool units_free(struct region *region, uint32_t first, uint64_t word, uint32_t freer)
{
    uint64_t freeing = unit_word(UNIT_FREEING, word & UNIT_PRESENT, 0, freer, unit_count(word)), seen = word;
    while (!atomic_compare_exchange_weak_explicit(&region->table[first], &seen, freeing, memory_order_acq_rel,
                                                  memory_order_relaxed))
        if (unit_state(seen) != unit_state(word) || unit_class(seen) != unit_class(word) ||
            unit_count(seen) != unit_count(word))
            return false; /* otherwise its owner has ended, and it has another word */
    units_free_rest(region, first, freeing);
    return true;
}

size_t units_trim(struct region *region, uint32_t owner)
{
    size_t bytes = 0;
    uint32_t end = atomic_load_explicit(&region->used_end, memory_order_relaxed);
    struct units_request one = { .count = 1, .owner = owner };
    for (uint32_t unit = region->geometry.first_unit; unit < end; unit++) {
        uint64_t seen = load(region, unit), flags;
        if (!is_free(seen) || !(seen & (UNIT_PRESENT | UNIT_DIRTY)) || claim(region, unit, &one, &flags) == 0)
            continue;
        bool gone = os_map_release(region_unit_address(region, unit), UNIT_BYTES) == 0;
        free_unit(region, unit, gone ? 0 : seen & (UNIT_PRESENT | UNIT_DIRTY));
        bytes += gone ? UNIT_BYTES : 0;
    }
    return bytes;
}
