/* The message that is to be taken next. SPDX-License-Identifier: MIT */
#ifndef CHANNEL_OFFER_H
#define CHANNEL_OFFER_H

#include "channel/claims.h"
#include "channel/queue.h"

/* What is to be taken: the record at `head`, or that of a claim that was returned. */
struct offer {
    struct record *record;
    uint64_t word;
    struct claim *returned;
};

/* Under get_lock. False if the queue is empty. */
static inline bool find_offer(mproc_queue *queue, struct offer *offer)
{
    struct record *record = atomic_load_explicit(&queue->head, memory_order_relaxed);
    offer->returned = NULL;
    if (__builtin_expect(atomic_load_explicit(&queue->returned, memory_order_relaxed) != 0, 0)) {
        offer->returned = claims_first_returned(queue);
        record = offer->returned ? atomic_load(&offer->returned->record) : record;
    }
    offer->word = record_word(record);
    while (__builtin_expect(record_kind(offer->word) == RECORD_NEXT, 0)) {
        record = segment_first(atomic_load(&segment_of(record)->next));
        atomic_store_explicit(&queue->head, record, memory_order_release);
        offer->word = record_word(record);
    }
    offer->record = record;
    return offer->word != RECORD_NONE;
}

#endif
