/* Memory for single messages. SPDX-License-Identifier: MIT
 *
 * A parcel is an entry in a table that grows and does not shrink. Its word says what it is used for and by whom, and is
 * the truth; only who is named there changes the other fields:
 *
 *   0                       nothing; `address` may be memory that is kept for the next message
 *   process | RESERVED      a process writes a message there, or has not put it yet
 *   number << 2 | QUEUED    message of that number (how many were put before it) lies there, until it is finished
 *   process | EMPTYING      a process gives the memory back to the heap, with the steps of memory/condemn.h in the
 *                           lowest bits of `address`
 *
 * What is named to a process that has ended is anybody's to take over, by compare-and-swap of the word.
 */
#ifndef CHANNEL_PARCELS_H
#define CHANNEL_PARCELS_H

#include "channel/queue.h"

enum parcel_state { PARCEL_NOTHING = 0, PARCEL_RESERVED, PARCEL_QUEUED, PARCEL_EMPTYING, PARCEL_STATE = 3 };

enum { PARCEL_HANDED_OVER = 1 /* the memory is a block of the program's */, PARCEL_WAS_OWNED = 2 /* by the process */ };

struct parcel {
    _Atomic uint64_t word;
    _Atomic(void *) address;
    size_t capacity;
    _Atomic uint32_t flags;
};

/* A parcel with memory of at least `size` bytes, reserved for the calling process; with no memory, if size is SIZE_MAX.
 * NULL if there is no memory. */
struct parcel *parcels_reserve(mproc_queue *queue, struct member *self, size_t size);

/* Gives a reserved parcel back. */
void parcel_cancel(mproc_queue *queue, struct parcel *parcel, struct member *self);

/* Turns a reserved parcel into the next message; `block`, if not NULL, becomes its memory. Under put_lock. Returns the
 * stamp for the message's record, which the caller writes next. */
uint64_t parcel_commit(mproc_queue *queue, struct parcel *parcel, void *block);

/* Done with a message. Can be repeated, also by another process. */
void parcel_finish(mproc_queue *queue, struct parcel *parcel, uint64_t stamp, struct member *self);

static inline void *parcel_address(struct parcel *parcel)
{
    return atomic_load(&parcel->address);
}

/* True if it is a parcel of this queue that the process has reserved. */
bool parcel_is_reserved(mproc_queue *queue, const void *parcel, member_id process);

/* Under put_lock, after a holder died and queue->put_messages was set right. */
void parcels_repair(mproc_queue *queue);

/* Of a queue that nobody uses any more. */
void parcels_end(mproc_queue *queue);

#endif
