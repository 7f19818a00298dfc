/* Who holds how much of an object. SPDX-License-Identifier: MIT
 *
 * A list of entries, changed by one thread at a time (inside the object's monitor). An entry's count is its truth and
 * changes by one store: an entry of count 0 is unused, whatever else it holds. The list grows by pieces from the heap,
 * each linked in by one store, and does not shrink.
 */
#ifndef SYNC_HOLDERS_H
#define SYNC_HOLDERS_H

#include "memory/member.h"

#include <stdatomic.h>
#include <stdint.h>

enum { HOLDERS_FIRST = 4, HOLDERS_MORE = 15 };

struct holder {
    _Atomic uint64_t id;
    _Atomic uint32_t count;
    _Atomic uint32_t mark; /* the object's own use */
};

struct more_holders {
    _Atomic(void *) next; /* struct more_holders */
    struct holder entries[HOLDERS_MORE];
};

struct holders {
    struct holder entries[HOLDERS_FIRST];
    _Atomic(void *) more; /* struct more_holders */
};

struct holders_walk {
    struct holders *holders;
    struct more_holders *piece;
    unsigned index;
};

/* The next entry, used or not; NULL at the end. A walk begins as { holders, NULL, 0 }. */
struct holder *holders_next(struct holders_walk *walk);

/* The entry in use of that id; NULL if there is none. */
struct holder *holders_find(struct holders *holders, member_id id);

/* An unused entry, which the list grows for if need be; NULL if there is no memory. */
struct holder *holders_unused(struct holders *holders);

uint32_t holders_sum(struct holders *holders);

void holders_destroy(struct holders *holders);

#endif
