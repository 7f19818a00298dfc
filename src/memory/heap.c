/* The shared heap. SPDX-License-Identifier: MIT */
#include "memory/heap.h"

#include "os/map.h"
#include "os/sanitizer.h"

#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

/* Memory is divided into units of 64 KiB, with one word for each in a table at the heap's start. The table is the only
 * truth; everything else can be rebuilt from it.
 *
 *   bits 0-1    FREE, CLAIMED (part of a block), HEAD (first unit of a block)
 *   bit  2      the unit's pages may have been touched since the kernel last had them; survives freeing
 *   bits 3-31   the process that allocated it (29 bits hold every pid: PID_MAX_LIMIT is 2^22)
 *   bits 32-63  HEAD: number of units in the block
 *
 * Allocation claims free units one by one with compare-and-swap, lowest first, and commits by turning the first into
 * HEAD with one store. A process that dies in between leaves CLAIMED units that no HEAD covers and that name it: they
 * are lost until a sweep for that pid, and nothing else is harmed. Freeing frees the tail units first and the HEAD
 * last, so that a death in between leaves a HEAD whose block can be freed again. */

enum { UNIT_FREE = 0, UNIT_CLAIMED = 1, UNIT_HEAD = 2, UNIT_STATE = 3, UNIT_TOUCHED = 4, UNIT_OWNER_SHIFT = 3 };

#define UNIT_BYTES ((size_t)64 << 10)
#define LARGE_BLOCK_BYTES ((size_t)64 << 20)

#define RESERVE_MOST ((size_t)1 << 40)
#define RESERVE_SANITIZER ((size_t)64 << 30)
#define RESERVE_VALGRIND ((size_t)4 << 30)
#define RESERVE_LEAST ((size_t)4 << 20)

struct heap {
    char *base;
    size_t size;
    uint32_t units;
    uint32_t first_unit; /* the ones before it hold this struct's shared part and the table */
};

/* At the heap's start. */
struct heap_shared {
    struct heap geometry; /* constant */
    _Atomic uint32_t
        free_hint;             /* no unit below is free, as far as is known; derived: any value is safe, 0 is slowest */
    _Atomic uint32_t used_end; /* no unit from here on was ever claimed; only grows, and before a claim */
    _Alignas(64) _Atomic uint64_t table[];
};

/* Set once; forked children inherit it with the mapping. */
static _Atomic(struct heap_shared *) the_heap;

static void format(struct heap_shared *shared, void *base, size_t size)
{
    uint32_t units = (uint32_t)(size / UNIT_BYTES);
    size_t table_end = sizeof *shared + (size_t)units * sizeof shared->table[0];
    shared->geometry = (struct heap) { base, size, units, (uint32_t)((table_end + UNIT_BYTES - 1) / UNIT_BYTES) };
    atomic_store_explicit(&shared->free_hint, shared->geometry.first_unit, memory_order_relaxed);
    atomic_store_explicit(&shared->used_end, shared->geometry.first_unit, memory_order_relaxed);
}

/* Tools that keep a record of every byte of address space cannot do so for all of it. */
static size_t reserve_most(void)
{
    if (os_under_valgrind())
        return RESERVE_VALGRIND;
    return OS_ADDRESS_SANITIZER || OS_THREAD_SANITIZER ? RESERVE_SANITIZER : RESERVE_MOST;
}

/* Threads that come at the same time may each reserve one; the first to publish wins, the others unmap theirs. */
static struct heap_shared *heap(void)
{
    struct heap_shared *shared = atomic_load_explicit(&the_heap, memory_order_acquire);
    if (shared)
        return shared;
    void *base;
    size_t size;
    if (os_map_reserve(reserve_most(), RESERVE_LEAST, &base, &size) != 0)
        return NULL;
    if (os_map_populate(base, os_page_size()) != 0) {
        os_map_unreserve(base, size);
        return NULL;
    }
    shared = base;
    format(shared, base, size);
    struct heap_shared *expected = NULL;
    if (!atomic_compare_exchange_strong(&the_heap, &expected, shared)) {
        os_map_unreserve(base, size);
        return expected;
    }
    return shared;
}

static bool is_free(uint64_t unit)
{
    return (unit & UNIT_STATE) == UNIT_FREE;
}

static void free_unit(struct heap_shared *shared, uint32_t unit, uint64_t touched)
{
    atomic_store_explicit(&shared->table[unit], UNIT_FREE | touched, memory_order_release);
}

/* Claims units [first, first + count) or as many of them as are free; returns how many. `touched` gets UNIT_TOUCHED if
 * all of them were. */
static uint32_t claim(struct heap_shared *shared, uint32_t first, uint32_t count, uint64_t *touched)
{
    uint64_t mine = (uint64_t)getpid() << UNIT_OWNER_SHIFT | UNIT_CLAIMED;
    *touched = UNIT_TOUCHED;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t seen = atomic_load_explicit(&shared->table[first + i], memory_order_relaxed);
        /* Acquire: what the previous owner wrote comes before what this one writes. */
        if (!is_free(seen) ||
            !atomic_compare_exchange_strong_explicit(&shared->table[first + i], &seen, mine | (seen & UNIT_TOUCHED),
                                                     memory_order_acquire, memory_order_relaxed))
            return i;
        *touched &= seen;
    }
    return count;
}

static void unclaim(struct heap_shared *shared, uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        free_unit(shared, first + i,
                  atomic_load_explicit(&shared->table[first + i], memory_order_relaxed) & UNIT_TOUCHED);
}

static void raise_used_end(struct heap_shared *shared, uint32_t end)
{
    uint32_t seen = atomic_load_explicit(&shared->used_end, memory_order_relaxed);
    while (seen < end && !atomic_compare_exchange_weak_explicit(&shared->used_end, &seen, end, memory_order_relaxed,
                                                                memory_order_relaxed)) {
    }
}

/* First fit, so that low units, which have been touched, are used again before new pages are. Returns 0 if there is no
 * room: unit 0 is never free. */
static uint32_t find_and_claim(struct heap_shared *shared, uint32_t count, uint64_t *touched)
{
    uint32_t hint = atomic_load_explicit(&shared->free_hint, memory_order_relaxed);
    bool from_start = hint <= shared->geometry.first_unit;
    uint32_t unit = from_start ? shared->geometry.first_unit : hint;
    for (;;) {
        while (unit < shared->geometry.units &&
               !is_free(atomic_load_explicit(&shared->table[unit], memory_order_relaxed)))
            unit++;
        if (count > shared->geometry.units - unit) {
            if (from_start)
                return 0;
            from_start = true;
            unit = shared->geometry.first_unit;
            continue;
        }
        raise_used_end(shared, unit + count);
        uint32_t got = claim(shared, unit, count, touched);
        if (got == count)
            return unit;
        unclaim(shared, unit, got);
        unit += got + 1;
    }
}

/* The kernel answers a request for more than there is not with an error but by killing some process. */
static bool is_too_much(size_t size)
{
    return size >= LARGE_BLOCK_BYTES && size > os_memory_available();
}

void *heap_allocate(size_t size, bool present)
{
    struct heap_shared *shared = heap();
    if (!shared || size > shared->geometry.size || (present && is_too_much(size)))
        return NULL;
    uint32_t count = size ? (uint32_t)((size + UNIT_BYTES - 1) / UNIT_BYTES) : 1;
    uint64_t touched;
    uint32_t first = find_and_claim(shared, count, &touched);
    if (first == 0)
        return NULL;
    char *block = shared->geometry.base + (size_t)first * UNIT_BYTES;
    if (present && !touched && os_map_populate(block, count * UNIT_BYTES) != 0) {
        unclaim(shared, first, count);
        return NULL;
    }
    uint64_t owner = (uint64_t)getpid() << UNIT_OWNER_SHIFT;
    /* A block that is touched here and there counts as untouched, and is looked after by populate again next time. */
    uint64_t mark = present || touched ? UNIT_TOUCHED : 0;
    for (uint32_t i = 1; i < count && mark && !touched; i++)
        atomic_store_explicit(&shared->table[first + i], owner | mark | UNIT_CLAIMED, memory_order_relaxed);
    atomic_store_explicit(&shared->table[first], (uint64_t)count << 32 | owner | mark | UNIT_HEAD,
                          memory_order_release);
    if (first == atomic_load_explicit(&shared->free_hint, memory_order_relaxed))
        atomic_store_explicit(&shared->free_hint, first + count, memory_order_relaxed);
    return block;
}

void heap_free(void *block)
{
    if (!block)
        return;
    struct heap_shared *shared = atomic_load_explicit(&the_heap, memory_order_acquire);
    uint32_t first = (uint32_t)((size_t)((char *)block - shared->geometry.base) / UNIT_BYTES);
    uint64_t head = atomic_load_explicit(&shared->table[first], memory_order_relaxed);
    uint32_t count = (uint32_t)(head >> 32);
    uint64_t touched = head & UNIT_TOUCHED;
    if (count * UNIT_BYTES >= LARGE_BLOCK_BYTES) {
        os_map_release(block, count * UNIT_BYTES);
        touched = 0;
    }
    for (uint32_t i = count; i-- > 0;)
        free_unit(shared, first + i, touched);
    if (first < atomic_load_explicit(&shared->free_hint, memory_order_relaxed))
        atomic_store_explicit(&shared->free_hint, first, memory_order_relaxed);
}

bool heap_contains(const void *address, size_t size)
{
    struct heap_shared *shared = atomic_load_explicit(&the_heap, memory_order_acquire);
    if (!shared)
        return false;
    uintptr_t base = (uintptr_t)shared->geometry.base, at = (uintptr_t)address;
    return at >= base && at - base <= shared->geometry.size && size <= shared->geometry.size - (at - base);
}

size_t heap_bytes_in_use(void)
{
    struct heap_shared *shared = atomic_load_explicit(&the_heap, memory_order_acquire);
    size_t units = 0;
    if (!shared)
        return 0;
    uint32_t end = atomic_load_explicit(&shared->used_end, memory_order_relaxed);
    for (uint32_t i = shared->geometry.first_unit; i < end; i++)
        if (!is_free(atomic_load_explicit(&shared->table[i], memory_order_relaxed)))
            units++;
    return units * UNIT_BYTES;
}
