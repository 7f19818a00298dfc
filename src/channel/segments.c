/* The memory that records lie in. SPDX-License-Identifier: MIT
 *
 * Segments form a list from the oldest to the one that is written to; all of that under put_lock. One leaves the
 * list when it is drained and no claim names a record in it: nobody who gets looks at it any more. It is written into
 * `spare` first, so that it is not lost whoever dies; or into `doomed`, with the steps of memory/condemn.h in its
 * lowest bits.
 */
#include "channel/segments.h"

#include "channel/claims.h"
#include "memory/condemn.h"
#include "memory/publish.h"

#include <mproc/memory.h>

/* Drained segments that are kept, beside the spare one; more go back to the heap. */
enum { DRAINED_MOST = 2 };

enum { DOOM_CONDEMNED = 1 };

static struct segment *spare_of(mproc_queue *queue)
{
    return atomic_load(&queue->spare);
}

static void start_segment(mproc_queue *queue, struct segment *segment, uint64_t number)
{
    segment->number = number;
    segment->messages_before = atomic_load(&queue->put_messages);
    segment->bytes_before = atomic_load(&queue->put_bytes);
    atomic_store(&segment->next, NULL);
    atomic_store(&segment_first(segment)->word, RECORD_NONE);
}

static bool allocate_spare(mproc_queue *queue)
{
    void *segment = memory_allocate_owned(SEGMENT_BYTES, SEGMENT_BYTES);
    if (!segment)
        return false;
    mproc_publish_at(&queue->spare, segment);
    return true;
}

bool segments_begin(mproc_queue *queue)
{
    struct segment *segment = memory_allocate_owned(SEGMENT_BYTES, SEGMENT_BYTES);
    if (!segment)
        return false;
    start_segment(queue, segment, 1);
    queue->oldest = segment;
    queue->tail = segment_first(segment);
    atomic_store(&queue->head, queue->tail);
    return true;
}

static void finish_doomed(mproc_queue *queue)
{
    uintptr_t doomed = atomic_load(&queue->doomed);
    void *segment = (void *)(doomed & ~(uintptr_t)DOOM_CONDEMNED);
    if (!(doomed & DOOM_CONDEMNED)) {
        memory_condemn(segment);
        atomic_store(&queue->doomed, doomed | DOOM_CONDEMNED);
    }
    memory_free_condemned(segment);
    atomic_store(&queue->doomed, 0);
}

/* Takes a segment out of the list, the oldest one or that behind another; into `spare` if that is empty. */
static void take_out(mproc_queue *queue, struct segment *before, struct segment *segment)
{
    struct segment *next = atomic_load(&segment->next);
    bool spared = !spare_of(queue);
    if (spared)
        atomic_store(&queue->spare, segment);
    else
        atomic_store(&queue->doomed, (uintptr_t)segment);
    if (before)
        atomic_store(&before->next, next);
    else
        queue->oldest = next;
    if (!spared)
        finish_doomed(queue);
}

/* Looks for drained segments, once for each one that is filled. `head` is read before the claims: one who takes writes
 * its claim before it moves `head` out of the segment. Nobody but who holds put_lock follows `next` behind `head`. */
static void recycle(mproc_queue *queue)
{
    struct segment *reached = segment_of(atomic_load(&queue->head)), *last = segment_of(queue->tail);
    struct segment *before = NULL, *segment = queue->oldest;
    unsigned kept = 0;
    while (segment != last && segment->number < reached->number) {
        struct segment *next = atomic_load(&segment->next);
        bool needed = claims_name(queue, segment);
        if (needed || (spare_of(queue) && kept++ < DRAINED_MOST))
            before = segment;
        else
            take_out(queue, before, segment);
        segment = next;
    }
}

bool segments_extend(mproc_queue *queue)
{
    recycle(queue);
    if (!spare_of(queue) && !allocate_spare(queue))
        return false;
    struct segment *next = spare_of(queue), *last = segment_of(queue->tail);
    start_segment(queue, next, last->number + 1);
    atomic_store(&last->next, next);
    atomic_store_explicit(&queue->tail->word, RECORD_NEXT, memory_order_release);
    queue->tail = segment_first(next);
    atomic_store(&queue->spare, NULL);
    return true;
}

/* Goes on to the first record that is not there, and counts. */
static void find_tail(mproc_queue *queue)
{
    struct segment *segment = segment_of(queue->tail);
    uint64_t messages = segment->messages_before, bytes = segment->bytes_before, word;
    struct record *record = segment_first(segment);
    while ((word = record_word(record)) != RECORD_NONE) {
        if (record_kind(word) == RECORD_NEXT) {
            record = segment_first(atomic_load(&segment_of(record)->next));
            continue;
        }
        messages++;
        bytes += record_length(word);
        record = record_behind(record, word);
    }
    queue->tail = record;
    atomic_store(&queue->put_messages, messages);
    atomic_store(&queue->put_bytes, bytes);
}

static bool is_listed(mproc_queue *queue, uintptr_t address)
{
    struct segment *last = segment_of(queue->tail), *segment = queue->oldest;
    while (segment != last && (uintptr_t)segment != address)
        segment = atomic_load(&segment->next);
    return (uintptr_t)segment == address;
}

void segments_repair(mproc_queue *queue)
{
    find_tail(queue);
    /* On its way out of the list and still in it; or on its way in, and there already. */
    if (is_listed(queue, (uintptr_t)spare_of(queue)))
        atomic_store(&queue->spare, NULL);
    uintptr_t doomed = atomic_load(&queue->doomed);
    if (is_listed(queue, doomed))
        atomic_store(&queue->doomed, 0);
    else if (doomed)
        finish_doomed(queue);
}

void segments_end(mproc_queue *queue)
{
    struct segment *last = segment_of(queue->tail);
    while (queue->oldest != last) {
        struct segment *segment = queue->oldest;
        queue->oldest = atomic_load(&segment->next);
        mproc_free(segment);
    }
    mproc_free(last);
    mproc_free(spare_of(queue));
}
