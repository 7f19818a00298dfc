/* Messages that were taken and are still needed. SPDX-License-Identifier: MIT
 *
 * A claim names a record in front of `head`, so that its segment is not used again. Its owner's word is the truth:
 *
 *   0                     it is nobody's; a claim that is not in use
 *   CLAIM_RETURNED        it came back from a consumer that died, and is to be taken before all others
 *   process | CLAIM_...   a process has it
 *
 * Claims are made and taken over under get_lock; who has one gives it up without. A claim whose record is the one that
 * `head` points to was being made by one who died: the message was not taken.
 */
#ifndef CHANNEL_CLAIMS_H
#define CHANNEL_CLAIMS_H

#include "channel/queue.h"

/* What happens to a message whose process ends. */
enum claim_phase {
    CLAIM_BORROWED = 0, /* lost, or delivered again */
    CLAIM_READING,      /* returned: the call that takes it has not returned */
    CLAIM_TAKEN,        /* lost, or delivered again; a copy is with the program, which has not said that it is done */
    CLAIM_RELEASING,    /* given up to the end */
    CLAIM_PHASE = 3,
};

#define CLAIM_RETURNED UINT64_C(1)

struct claim {
    _Atomic uint64_t owner;
    _Atomic(struct record *) record;
    _Atomic uint64_t number; /* order in which messages were taken first */
    _Atomic uint64_t taking; /* order in which those who have them took them */
    _Atomic uint32_t deliveries;
};

/* Under get_lock. Makes a claim, CLAIM_READING, for the record at `head`; NULL if there is no memory. The caller then
 * moves `head`. */
struct claim *claims_make(mproc_queue *queue, struct member *self, struct record *record);

/* Under get_lock. The returned claim to take first, where queue->returned is not 0. */
struct claim *claims_first_returned(mproc_queue *queue);

/* Under get_lock. CLAIM_READING, too. */
void claims_take_returned(mproc_queue *queue, struct claim *claim, struct member *self);

static inline void claim_set_phase(struct claim *claim, struct member *self, enum claim_phase phase)
{
    atomic_store_explicit(&claim->owner, self->process_id | phase, memory_order_release);
}

/* The call that takes it is about to return: from BORROWED or TAKEN on it was delivered once more. One that is killed
 * in between leaves a count that is one too high. */
void claim_deliver(struct claim *claim, struct member *self, enum claim_phase phase);

/* Gives a claim up for good, and the message's memory back. The caller has it. */
void claim_release(mproc_queue *queue, struct claim *claim, struct member *self);

/* Gives a claim back: the message was not taken after all. */
void claims_return(mproc_queue *queue, struct claim *claim, struct member *self);

/* Under get_lock: what ended processes had taken comes back, or is lost. Returns true if anything has changed. */
bool claims_recover(mproc_queue *queue, struct member *self);

/* Under get_lock, after a holder died. */
void claims_repair(mproc_queue *queue);

/* True if some claim names a record in the segment, or did so a moment ago. `head` is past the segment. */
bool claims_name(mproc_queue *queue, const struct segment *segment);

/* True if not many can be in use, so that looking at all is quick. */
bool claims_are_few(mproc_queue *queue);

/* True if any claim is in use, but for those of one process (0: of none). */
bool claims_any(mproc_queue *queue, member_id except);

/* True if the process has any. */
bool claims_of(mproc_queue *queue, member_id process);

/* The claim of the process in that phase that it took first; NULL if there is none. */
struct claim *claims_oldest(mproc_queue *queue, member_id process, enum claim_phase phase);

/* If it is a claim of this queue that the process has as BORROWED, makes it RELEASING: for one thread only. */
bool claim_end_borrowing(mproc_queue *queue, void *claim, struct member *self);

/* Adds the processes that have claims to those whose end wakes a sleeper. */
void claims_watch(mproc_queue *queue, struct wait *wait);

void claims_end(mproc_queue *queue);

#endif
