/* Messages that were taken and are still needed. SPDX-License-Identifier: MIT */
#include "channel/claims.h"

#include "channel/parcels.h"
#include "memory/publish.h"

#include <mproc/memory.h>
#include <string.h>

enum { CLAIMS_MORE = 63 };

struct claims {
    _Atomic(void *) next; /* struct claims */
    struct claim entries[CLAIMS_MORE];
};

static struct claims *first_piece(mproc_queue *queue)
{
    return atomic_load_explicit(&queue->claims, memory_order_acquire);
}

/* The next claim, in use or not; NULL at the end. A walk begins as { first_piece(queue), 0 }. */
struct walk {
    struct claims *piece;
    unsigned index;
};

static struct claim *next_claim(struct walk *walk)
{
    if (walk->piece && walk->index == CLAIMS_MORE)
        *walk = (struct walk) { atomic_load(&walk->piece->next), 0 };
    return walk->piece ? &walk->piece->entries[walk->index++] : NULL;
}

static enum claim_phase phase_of(uint64_t owner)
{
    return (enum claim_phase)(owner & CLAIM_PHASE);
}

static member_id process_of(uint64_t owner)
{
    return owner & ~(uint64_t)CLAIM_PHASE;
}

static struct claims *grow(mproc_queue *queue)
{
    _Atomic(void *) *end = &queue->claims;
    for (struct claims *piece; (piece = atomic_load(end));)
        end = &piece->next;
    struct claims *piece = memory_allocate_owned(RECORD_ALIGNMENT, sizeof *piece);
    if (!piece)
        return NULL;
    memset(piece, 0, sizeof *piece);
    mproc_publish_at(end, piece);
    return piece;
}

static struct claim *unused(mproc_queue *queue)
{
    for (int looked = 0; looked < CLAIMS_MORE && first_piece(queue); looked++) {
        if (!queue->claim_cursor_piece || queue->claim_cursor >= CLAIMS_MORE) {
            struct claims *piece = queue->claim_cursor_piece;
            struct claims *next = piece ? atomic_load(&piece->next) : NULL;
            queue->claim_cursor_piece = next ? next : first_piece(queue);
            queue->claim_cursor = 0;
        }
        struct claim *claim = &queue->claim_cursor_piece->entries[queue->claim_cursor];
        if (atomic_load_explicit(&claim->owner, memory_order_acquire) == 0)
            return claim; /* and will be looked at first the next time */
        queue->claim_cursor++;
    }
    struct claims *piece = grow(queue);
    if (!piece)
        return NULL;
    queue->claim_cursor_piece = piece;
    queue->claim_cursor = 0;
    return &piece->entries[0];
}

struct claim *claims_make(mproc_queue *queue, struct member *self, struct record *record, enum claim_phase phase)
{
    struct claim *claim = unused(queue);
    if (!claim)
        return NULL;
    atomic_store_explicit(&claim->record, record, memory_order_relaxed);
    atomic_store_explicit(&claim->number, ++queue->takes, memory_order_relaxed);
    atomic_store_explicit(&claim->deliveries, 1, memory_order_relaxed);
    claim_set_phase(claim, self, phase);
    return claim;
}

struct claim *claims_first_returned(mproc_queue *queue)
{
    struct claim *first = NULL;
    struct walk walk = { first_piece(queue), 0 };
    for (struct claim *claim; (claim = next_claim(&walk));)
        if (atomic_load(&claim->owner) == CLAIM_RETURNED &&
            (!first || atomic_load(&claim->number) < atomic_load(&first->number)))
            first = claim;
    return first;
}

static uint64_t length_of(struct claim *claim)
{
    return record_length(record_word(atomic_load(&claim->record)));
}

/* What can be had back, after claims changed. */
static void count_returned(mproc_queue *queue)
{
    uint32_t count = 0;
    uint64_t bytes = 0;
    struct walk walk = { first_piece(queue), 0 };
    for (struct claim *claim; (claim = next_claim(&walk));)
        if (atomic_load(&claim->owner) == CLAIM_RETURNED) {
            count++;
            bytes += length_of(claim);
        }
    atomic_store(&queue->returned, count);
    atomic_store(&queue->returned_bytes, bytes);
}

void claims_take_returned(mproc_queue *queue, struct claim *claim, struct member *self, enum claim_phase phase)
{
    atomic_fetch_add(&claim->deliveries, 1);
    claim_set_phase(claim, self, phase);
    atomic_fetch_sub(&queue->returned, 1);
    atomic_fetch_sub(&queue->returned_bytes, length_of(claim));
}

/* The claim is RELEASING, so that whoever goes on with it does the same. */
static void finish(mproc_queue *queue, struct claim *claim, struct member *self)
{
    struct record *record = atomic_load(&claim->record);
    if (record_kind(record_word(record)) == RECORD_PARCEL) {
        const struct parcel_reference *reference = (const void *)record->data;
        parcel_finish(queue, reference->parcel, reference->stamp, self);
    }
    atomic_store_explicit(&claim->owner, 0, memory_order_release);
}

void claim_release(mproc_queue *queue, struct claim *claim, struct member *self)
{
    claim_set_phase(claim, self, CLAIM_RELEASING);
    finish(queue, claim, self);
    if (queue->joinable)
        waiters_tell(&queue->joiners, UINT32_MAX);
}

void claims_return(mproc_queue *queue, struct claim *claim, struct member *self)
{
    queue_lock_get_surely(queue, self->id);
    atomic_fetch_sub(&claim->deliveries, 1);
    atomic_store(&claim->owner, CLAIM_RETURNED);
    count_returned(queue);
    queue_unlock(&queue->get_lock, self->id);
    waiters_tell(&queue->readers, 1);
}

/* A message whose consumer has ended. */
static void recover(mproc_queue *queue, struct claim *claim, uint64_t owner, struct member *self)
{
    uint32_t deliveries = atomic_load(&claim->deliveries);
    bool again = queue->redeliver && deliveries < queue->deliveries_most;
    if (phase_of(owner) == CLAIM_READING) {
        atomic_store(&claim->deliveries, deliveries - 1);
        atomic_store(&claim->owner, CLAIM_RETURNED);
    } else if (phase_of(owner) != CLAIM_RELEASING && again)
        atomic_store(&claim->owner, CLAIM_RETURNED);
    else {
        if (phase_of(owner) != CLAIM_RELEASING) {
            atomic_store(&claim->owner, process_of(owner) | CLAIM_RELEASING);
            atomic_fetch_add(&queue->lost, 1);
        }
        finish(queue, claim, self);
    }
}

bool claims_recover(mproc_queue *queue, struct member *self)
{
    bool any = false;
    struct walk walk = { first_piece(queue), 0 };
    for (struct claim *claim; (claim = next_claim(&walk));) {
        uint64_t owner = atomic_load(&claim->owner);
        if (owner == 0 || owner == CLAIM_RETURNED || member_process_is_alive(process_of(owner)))
            continue;
        recover(queue, claim, owner, self);
        any = true;
    }
    if (any)
        count_returned(queue);
    return any;
}

void claims_repair(mproc_queue *queue)
{
    struct record *head = atomic_load(&queue->head);
    struct walk walk = { first_piece(queue), 0 };
    for (struct claim *claim; (claim = next_claim(&walk));)
        if (atomic_load(&claim->owner) != 0 && atomic_load(&claim->record) == head)
            atomic_store(&claim->owner, 0);
    queue->claim_cursor_piece = NULL;
    count_returned(queue);
}

bool claims_name(mproc_queue *queue, const struct segment *segment)
{
    struct walk walk = { first_piece(queue), 0 };
    for (struct claim *claim; (claim = next_claim(&walk));)
        if (atomic_load(&claim->owner) != 0 && segment_of(atomic_load(&claim->record)) == segment)
            return true;
    return false;
}

bool claims_are_few(mproc_queue *queue)
{
    return !atomic_load(&first_piece(queue)->next);
}

bool claims_any(mproc_queue *queue)
{
    struct walk walk = { first_piece(queue), 0 };
    for (struct claim *claim; (claim = next_claim(&walk));)
        if (atomic_load(&claim->owner) != 0)
            return true;
    return false;
}

struct claim *claims_oldest(mproc_queue *queue, member_id process, enum claim_phase phase)
{
    struct claim *oldest = NULL;
    struct walk walk = { first_piece(queue), 0 };
    for (struct claim *claim; (claim = next_claim(&walk));)
        if (atomic_load(&claim->owner) == (process | phase) &&
            (!oldest || atomic_load(&claim->number) < atomic_load(&oldest->number)))
            oldest = claim;
    return oldest;
}

bool claim_is(mproc_queue *queue, const void *claim, member_id process, enum claim_phase phase)
{
    for (struct claims *piece = first_piece(queue); piece; piece = atomic_load(&piece->next)) {
        size_t offset = (size_t)((uintptr_t)claim - (uintptr_t)piece->entries);
        if (offset < sizeof piece->entries && offset % sizeof(struct claim) == 0)
            return atomic_load(&((struct claim *)(uintptr_t)claim)->owner) == (process | phase);
    }
    return false;
}

void claims_watch(mproc_queue *queue, struct wait *wait)
{
    struct walk walk = { first_piece(queue), 0 };
    for (struct claim *claim; wait->watched < WAIT_WATCHED_MOST && (claim = next_claim(&walk));) {
        uint64_t owner = atomic_load(&claim->owner);
        if (owner != 0 && owner != CLAIM_RETURNED)
            wait->watch[wait->watched++] = process_of(owner);
    }
}

void claims_end(mproc_queue *queue)
{
    for (struct claims *piece; (piece = first_piece(queue));) {
        atomic_store(&queue->claims, atomic_load(&piece->next));
        mproc_free(piece);
    }
}
