/* The memory that records lie in. SPDX-License-Identifier: MIT */
#ifndef CHANNEL_SEGMENTS_H
#define CHANNEL_SEGMENTS_H

#include "channel/queue.h"

/* Of a queue that nobody else knows yet; the first segment, queue->oldest, belongs to the calling process. False if
 * there is no memory. */
bool segments_begin(mproc_queue *queue);

/* Makes room for a record of `size` bytes at queue->tail, and the word behind it. Under put_lock. False if there is no
 * memory. */
bool segments_extend(mproc_queue *queue);

static inline bool segments_have_room(mproc_queue *queue, size_t size)
{
    /* The word of the record behind it is written too. */
    return ((uintptr_t)queue->tail & (SEGMENT_BYTES - 1)) + size + sizeof(struct record) <= SEGMENT_BYTES;
}

/* Under put_lock, after a holder died. */
void segments_repair(mproc_queue *queue);

/* Of a queue that nobody uses any more. */
void segments_end(mproc_queue *queue);

#endif
