/* Handles: what a program holds of pools, processes and connections. SPDX-License-Identifier: MIT */
#include "sync/handles.h"

#include "memory/member.h"
#include "os/futex.h"

#include <limits.h>
#include <mproc/error.h>
#include <stdbool.h>
#include <stddef.h>

/* One word a place, changed by compare-and-swap only, so that a fork at any moment leaves a table that the child can
 * use: bits 0-30 users (calls in progress), bit 31 CLOSING, bits 32-62 use of this place, bit 63 IN_USE. */
#define USERS UINT64_C(0x7fffffff)
#define CLOSING (UINT64_C(1) << 31)
#define IN_USE (UINT64_C(1) << 63)
#define USE_SHIFT 32
enum { INDEX_BITS = 20 };

_Static_assert(HANDLES_MOST == 1 << INDEX_BITS, "a handle names its place");
#define USE_MASK UINT64_C(0x7fffffff)

/* Odd, so that it is not NULL and no address of a struct. */
static void *encode(unsigned index, uint64_t use)
{
    return (void *)(uintptr_t)(use << INDEX_BITS << 1 | (uint64_t)index << 1 | 1);
}

static struct handle_place *decode(struct handles *handles, void *handle, uint64_t *use)
{
    uintptr_t value = (uintptr_t)handle;
    unsigned index = (unsigned)(value >> 1 & ((1 << INDEX_BITS) - 1));
    *use = value >> INDEX_BITS >> 1;
    return (value & 1) && index < handles->count ? &handles->places[index] : NULL;
}

static uint64_t use_of(uint64_t word)
{
    return word >> USE_SHIFT & USE_MASK;
}

/* A process that shares no table with this one begins elsewhere, so that a handle of this one's is none there. */
static uint64_t first_use(void)
{
    return (member_process_stamp() * UINT64_C(0x9e3779b97f4a7c15)) >> 33 & USE_MASK;
}

static void raise_used_end(struct handles *handles, unsigned end)
{
    unsigned seen = atomic_load(&handles->used_end);
    while (seen < end && !atomic_compare_exchange_weak(&handles->used_end, &seen, end)) {
    }
}

void *handles_create(struct handles *handles, void *object)
{
    unsigned from = atomic_load_explicit(&handles->search_from, memory_order_relaxed);
    for (unsigned tried = 0; tried < handles->count; tried++) {
        unsigned i = (from + tried) % handles->count;
        struct handle_place *place = &handles->places[i];
        uint64_t seen = atomic_load(&place->word);
        if (seen & (IN_USE | CLOSING))
            continue;
        uint64_t use = seen == 0 ? first_use() : (use_of(seen) + 1) & USE_MASK;
        /* CLOSING without IN_USE: being set up. */
        if (!atomic_compare_exchange_strong(&place->word, &seen, use << USE_SHIFT | CLOSING))
            continue;
        raise_used_end(handles, i + 1);
        atomic_store_explicit(&handles->search_from, (i + 1) % handles->count, memory_order_relaxed);
        place->object = object;
        place->owner = member_process_stamp();
        atomic_store(&place->word, IN_USE | use << USE_SHIFT);
        return encode(i, use);
    }
    return NULL;
}

/* Adds to a live word; false if the handle is stale. */
static bool change(struct handle_place *place, uint64_t use, uint64_t add, uint64_t *after)
{
    uint64_t seen = atomic_load(&place->word);
    do {
        if (!(seen & IN_USE) || (seen & CLOSING) || use_of(seen) != use)
            return false;
        *after = seen + add;
    } while (!atomic_compare_exchange_weak(&place->word, &seen, *after));
    return true;
}

void handles_release(struct handles *handles, void *handle)
{
    uint64_t use;
    struct handle_place *place = decode(handles, handle, &use);
    uint64_t before = atomic_fetch_sub(&place->word, 1);
    if ((before & CLOSING) && (before & USERS) == 2) {
        atomic_fetch_add(&place->left, 1);
        os_futex_wake(&place->left, INT_MAX);
    }
}

int handles_acquire(struct handles *handles, void *handle, void **object)
{
    uint64_t use, after;
    struct handle_place *place = decode(handles, handle, &use);
    if (!place || !change(place, use, 1, &after))
        return MPROC_E_CLOSED;
    if (place->owner != member_process_stamp() && !handles->inherited) {
        handles_release(handles, handle);
        return MPROC_E_FORKED;
    }
    *object = place->object;
    return 0;
}

bool handles_is_used(struct handles *handles, void *handle)
{
    uint64_t use;
    struct handle_place *place = decode(handles, handle, &use);
    uint64_t word = place ? atomic_load(&place->word) : 0;
    return (word & IN_USE) && use_of(word) == use && (word & USERS);
}

int handles_close(struct handles *handles, void *handle, void **object, void (*before_waiting)(void *object))
{
    void *closing;
    int err = handles_acquire(handles, handle, &closing);
    if (err)
        return err;
    uint64_t use, after;
    struct handle_place *place = decode(handles, handle, &use);
    if (!change(place, use, CLOSING, &after)) {
        handles_release(handles, handle);
        return MPROC_E_CLOSED;
    }
    if (before_waiting)
        before_waiting(closing);
    for (;;) {
        uint32_t seen = atomic_load(&place->left);
        if ((atomic_load(&place->word) & USERS) == 1) /* this call itself */
            break;
        os_futex_wait(&place->left, seen, -1);
    }
    *object = closing;
    atomic_store(&place->word, use << USE_SHIFT);
    /* Low places first, so that a table of many does not spread over more memory than it needs. */
    unsigned from = atomic_load_explicit(&handles->search_from, memory_order_relaxed);
    unsigned index = (unsigned)(place - handles->places);
    if (index < from)
        atomic_store_explicit(&handles->search_from, index, memory_order_relaxed);
    return 0;
}

void *handles_next(struct handles *handles, unsigned *index, void **object)
{
    while (*index < atomic_load(&handles->used_end)) {
        unsigned i = (*index)++;
        uint64_t word = atomic_load(&handles->places[i].word);
        void *handle = encode(i, use_of(word));
        if ((word & IN_USE) && handles_acquire(handles, handle, object) == 0)
            return handle;
    }
    return NULL;
}

void handles_adopt(struct handles *handles, void (*call)(void *object))
{
    for (unsigned i = 0; i < atomic_load(&handles->used_end); i++) {
        struct handle_place *place = &handles->places[i];
        uint64_t word = atomic_load(&place->word);
        if (!(word & IN_USE) || (word & CLOSING))
            continue;
        /* The parent's other threads, which were in calls, are not here. */
        atomic_store(&place->word, word & ~USERS);
        place->owner = member_process_stamp();
        call(place->object);
    }
}

void handles_each_foreign(struct handles *handles, void (*call)(void *object))
{
    for (unsigned i = 0; i < atomic_load(&handles->used_end); i++) {
        struct handle_place *place = &handles->places[i];
        if ((atomic_load(&place->word) & IN_USE) && place->owner != member_process_stamp())
            call(place->object);
    }
}
