/* Who holds how much of an object. SPDX-License-Identifier: MIT */
#include "sync/holders.h"

#include <mproc/memory.h>
#include <string.h>

struct holder *holders_next(struct holders_walk *walk)
{
    if (!walk->piece && walk->index < HOLDERS_FIRST)
        return &walk->holders->entries[walk->index++];
    if (!walk->piece || walk->index == HOLDERS_MORE) {
        walk->piece = atomic_load(walk->piece ? &walk->piece->next : &walk->holders->more);
        walk->index = 0;
    }
    if (walk->piece)
        return &walk->piece->entries[walk->index++];
    walk->index = HOLDERS_FIRST;
    return NULL;
}

struct holder *holders_find(struct holders *holders, member_id id)
{
    struct holders_walk walk = { holders, NULL, 0 };
    for (struct holder *holder; (holder = holders_next(&walk));)
        if (atomic_load(&holder->count) && atomic_load(&holder->id) == id)
            return holder;
    return NULL;
}

/* A piece belongs to this process until its address is stored; in an object outside the heap, which mproc_publish does
 * not know, it belongs to the family from the beginning. */
static struct holder *grow(_Atomic(void *) *end)
{
    bool shared = mproc_is_shared((const void *)end);
    struct more_holders *piece = shared ? mproc_alloc_owned(sizeof *piece) : mproc_alloc(sizeof *piece);
    if (!piece)
        return NULL;
    memset(piece, 0, sizeof *piece);
    if (shared)
        mproc_publish_at(end, piece);
    else
        atomic_store(end, piece);
    return &piece->entries[0];
}

struct holder *holders_unused(struct holders *holders)
{
    struct holders_walk walk = { holders, NULL, 0 };
    for (struct holder *holder; (holder = holders_next(&walk));)
        if (atomic_load(&holder->count) == 0)
            return holder;
    _Atomic(void *) *end = &holders->more;
    for (struct more_holders *piece; (piece = atomic_load(end));)
        end = &piece->next;
    return grow(end);
}

uint32_t holders_sum(struct holders *holders)
{
    uint32_t sum = 0;
    struct holders_walk walk = { holders, NULL, 0 };
    for (struct holder *holder; (holder = holders_next(&walk));)
        sum += atomic_load(&holder->count);
    return sum;
}

void holders_destroy(struct holders *holders)
{
    for (struct more_holders *piece; (piece = atomic_load(&holders->more));) {
        atomic_store(&holders->more, atomic_load(&piece->next));
        mproc_free(piece);
    }
}
