/* Handles of pools. SPDX-License-Identifier: MIT
 *
 * A handle looks like a pointer but is a place in a table and the how-manyeth use of that place, so that a handle that
 * was closed is recognised as such and never followed.
 */
#include "pool/handle.h"

#include "os/futex.h"
#include "pool/pool.h"

#include <limits.h>
#include <mproc/error.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

/* One word a place, changed by compare-and-swap only, so that a fork at any moment leaves a table that the child can
 * use: bits 0-30 users (calls in progress), bit 31 CLOSING, bits 32-62 use of this place, bit 63 IN_USE. */
#define USERS UINT64_C(0x7fffffff)
#define CLOSING (UINT64_C(1) << 31)
#define IN_USE (UINT64_C(1) << 63)
#define USE_SHIFT 32
#define USE_MASK UINT64_C(0x7fffffff)

static struct place {
    _Atomic uint64_t word;
    _Atomic uint32_t left; /* futex: grows when all but the closing call have left */
    struct pool *pool;     /* set by the creator before IN_USE is */
} places[MPROC_POOLS_MAX];

/* Odd, so that it is not NULL and no address of a struct. */
static mproc_pool *encode(unsigned index, uint64_t use)
{
    return (mproc_pool *)(uintptr_t)(use << 16 | (uint64_t)index << 1 | 1);
}

static struct place *decode(mproc_pool *handle, uint64_t *use)
{
    uintptr_t value = (uintptr_t)handle;
    unsigned index = (unsigned)(value >> 1 & 0x7fff);
    *use = value >> 16;
    return (value & 1) && index < MPROC_POOLS_MAX ? &places[index] : NULL;
}

static uint64_t use_of(uint64_t word)
{
    return word >> USE_SHIFT & USE_MASK;
}

mproc_pool *handle_create(struct pool *pool)
{
    for (unsigned i = 0; i < MPROC_POOLS_MAX; i++) {
        struct place *place = &places[i];
        uint64_t seen = atomic_load(&place->word);
        if (seen & (IN_USE | CLOSING))
            continue;
        uint64_t use = (use_of(seen) + 1) & USE_MASK;
        /* CLOSING without IN_USE: being set up. */
        if (!atomic_compare_exchange_strong(&place->word, &seen, use << USE_SHIFT | CLOSING))
            continue;
        place->pool = pool;
        atomic_store(&place->word, IN_USE | use << USE_SHIFT);
        return encode(i, use);
    }
    return NULL;
}

/* Adds to a live word; false if the handle is stale. */
static bool change(struct place *place, uint64_t use, uint64_t add, uint64_t *after)
{
    uint64_t seen = atomic_load(&place->word);
    do {
        if (!(seen & IN_USE) || (seen & CLOSING) || use_of(seen) != use)
            return false;
        *after = seen + add;
    } while (!atomic_compare_exchange_weak(&place->word, &seen, *after));
    return true;
}

void handle_release(mproc_pool *handle)
{
    uint64_t use;
    struct place *place = decode(handle, &use);
    uint64_t before = atomic_fetch_sub(&place->word, 1);
    if ((before & CLOSING) && (before & USERS) == 2) {
        atomic_fetch_add(&place->left, 1);
        os_futex_wake(&place->left, INT_MAX);
    }
}

int handle_acquire(mproc_pool *handle, struct pool **pool)
{
    uint64_t use, after;
    struct place *place = decode(handle, &use);
    if (!place || !change(place, use, 1, &after))
        return MPROC_E_CLOSED;
    if (place->pool->owner != getpid()) {
        handle_release(handle);
        return MPROC_E_FORKED;
    }
    *pool = place->pool;
    return 0;
}

int handle_close(mproc_pool *handle, struct pool **pool, void (*before_waiting)(struct pool *pool))
{
    struct pool *closing;
    int err = handle_acquire(handle, &closing);
    if (err)
        return err;
    uint64_t use, after;
    struct place *place = decode(handle, &use);
    if (!change(place, use, CLOSING, &after)) {
        handle_release(handle);
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
    *pool = closing;
    atomic_store(&place->word, use << USE_SHIFT);
    return 0;
}
