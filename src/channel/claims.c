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

/* Through all claims that were ever in use, which are as many as there ever were at a time. */
struct walk {
    struct claims *piece;
    uint32_t index, end;
};

static struct walk walk_from(mproc_queue *queue, uint32_t index)
{
    struct walk walk = { first_piece(queue), index, atomic_load_explicit(&queue->claims_used, memory_order_acquire) };
    for (uint32_t skipped = 0; walk.piece && skipped + CLAIMS_MORE <= index; skipped += CLAIMS_MORE)
        walk.piece = atomic_load(&walk.piece->next);
    return walk;
}

static struct walk walk_all(mproc_queue *queue)
{
    return walk_from(queue, 0);
}

/* The next claim, in use or not; NULL at the end. */
static struct claim *next_claim(struct walk *walk)
{
    if (walk->index >= walk->end || !walk->piece)
        return NULL;
    struct claim *claim = &walk->piece->entries[walk->index++ % CLAIMS_MORE];
    if (walk->index % CLAIMS_MORE == 0)
        walk->piece = atomic_load(&walk->piece->next);
    return claim;
}

static enum claim_phase phase_of(uint64_t owner)
{
    return (enum claim_phase)(owner & CLAIM_PHASE);
}

static member_id process_of(uint64_t owner)
{
    return owner & ~(uint64_t)CLAIM_PHASE;
}

static struct claims *grow(_Atomic(void *) *end)
{
    struct claims *piece = memory_allocate_owned(RECORD_ALIGNMENT, sizeof *piece);
    if (!piece)
        return NULL;
    memset(piece, 0, sizeof *piece);
    mproc_publish_at(end, piece);
    return piece;
}

/* One that was never in use. */
static struct claim *new_claim(mproc_queue *queue)
{
    uint32_t used = atomic_load(&queue->claims_used), in_front = 0;
    _Atomic(void *) *link = &queue->claims;
    struct claims *piece = atomic_load(link);
    for (; piece && in_front + CLAIMS_MORE <= used; in_front += CLAIMS_MORE) {
        link = &piece->next;
        piece = atomic_load(link);
    }
    if (!piece)
        piece = grow(link);
    if (!piece)
        return NULL;
    atomic_store(&queue->claims_used, used + 1);
    atomic_store(&queue->claim_hint, used + 1);
    return &piece->entries[used - in_front];
}

static struct claim *find_unused(mproc_queue *queue, uint32_t from)
{
    struct walk walk = walk_from(queue, from);
    for (struct claim *claim; (claim = next_claim(&walk));)
        if (atomic_load_explicit(&claim->owner, memory_order_acquire) == 0) {
            atomic_store_explicit(&queue->claim_hint, walk.index - 1, memory_order_relaxed);
            return claim;
        }
    return NULL;
}

static struct claim *unused(mproc_queue *queue)
{
    uint32_t hint = atomic_load_explicit(&queue->claim_hint, memory_order_relaxed);
    struct claim *claim = find_unused(queue, hint);
    if (!claim && hint > 0)
        claim = find_unused(queue, 0);
    return claim ? claim : new_claim(queue);
}

struct claim *claims_make(mproc_queue *queue, struct member *self, struct record *record)
{
    struct claim *claim = unused(queue);
    if (!claim)
        return NULL;
    atomic_store_explicit(&claim->record, record, memory_order_relaxed);
    atomic_store_explicit(&claim->number, ++queue->takes, memory_order_relaxed);
    atomic_store_explicit(&claim->taking, queue->takes, memory_order_relaxed);
    atomic_store_explicit(&claim->deliveries, 0, memory_order_relaxed);
    claim_set_phase(claim, self, CLAIM_READING);
    return claim;
}

struct claim *claims_first_returned(mproc_queue *queue)
{
    struct claim *first = NULL;
    struct walk walk = walk_all(queue);
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
    struct walk walk = walk_all(queue);
    for (struct claim *claim; (claim = next_claim(&walk));)
        if (atomic_load(&claim->owner) == CLAIM_RETURNED) {
            count++;
            bytes += length_of(claim);
        }
    atomic_store(&queue->returned, count);
    atomic_store(&queue->returned_bytes, bytes);
}

void claims_take_returned(mproc_queue *queue, struct claim *claim, struct member *self)
{
    atomic_store_explicit(&claim->taking, ++queue->takes, memory_order_relaxed);
    claim_set_phase(claim, self, CLAIM_READING);
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
        queue_tell_done(queue);
}

void claim_deliver(struct claim *claim, struct member *self, enum claim_phase phase)
{
    atomic_fetch_add_explicit(&claim->deliveries, 1, memory_order_relaxed);
    claim_set_phase(claim, self, phase);
}

void claims_return(mproc_queue *queue, struct claim *claim, struct member *self)
{
    queue_lock_get_surely(queue, self->id);
    atomic_store(&claim->owner, CLAIM_RETURNED);
    count_returned(queue);
    queue_unlock(&queue->get_lock, self->id);
    waiters_tell(&queue->readers, 1);
}

/* A message whose consumer has ended. */
static void recover(mproc_queue *queue, struct claim *claim, uint64_t owner, struct member *self)
{
    bool again = queue->redeliver && atomic_load(&claim->deliveries) < queue->deliveries_most;
    if (phase_of(owner) == CLAIM_READING || (phase_of(owner) != CLAIM_RELEASING && again)) {
        atomic_store(&claim->owner, CLAIM_RETURNED);
        return;
    }
    if (phase_of(owner) != CLAIM_RELEASING) {
        atomic_fetch_add(&queue->lost, 1); /* twice, rather than never, if this process is killed now */
        atomic_store(&claim->owner, process_of(owner) | CLAIM_RELEASING);
    }
    finish(queue, claim, self);
}

bool claims_recover(mproc_queue *queue, struct member *self)
{
    bool any = false;
    struct walk walk = walk_all(queue);
    for (struct claim *claim; (claim = next_claim(&walk));) {
        uint64_t owner = atomic_load(&claim->owner);
        if (owner == 0 || owner == CLAIM_RETURNED || process_of(owner) == self->process_id ||
            member_process_is_alive(process_of(owner)))
            continue;
        /* It may have gone on with the claim, and ended after that: only from its end on does the word stay. */
        owner = atomic_load(&claim->owner);
        if (owner == 0)
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
    struct walk walk = walk_all(queue);
    for (struct claim *claim; (claim = next_claim(&walk));)
        if (atomic_load(&claim->owner) != 0 && atomic_load(&claim->record) == head)
            atomic_store(&claim->owner, 0);
    atomic_store(&queue->claim_hint, 0);
    count_returned(queue);
}

bool claims_name(mproc_queue *queue, const struct segment *segment)
{
    struct walk walk = walk_all(queue);
    for (struct claim *claim; (claim = next_claim(&walk));)
        if (atomic_load(&claim->owner) != 0 && segment_of(atomic_load(&claim->record)) == segment)
            return true;
    return false;
}

bool claims_are_few(mproc_queue *queue)
{
    return atomic_load_explicit(&queue->claims_used, memory_order_relaxed) <= CLAIMS_MORE;
}

bool claims_any(mproc_queue *queue, member_id except)
{
    struct walk walk = walk_all(queue);
    for (struct claim *claim; (claim = next_claim(&walk));) {
        uint64_t owner = atomic_load(&claim->owner);
        if (owner != 0 && (except == 0 || process_of(owner) != except))
            return true;
    }
    return false;
}

bool claims_of(mproc_queue *queue, member_id process)
{
    struct walk walk = walk_all(queue);
    for (struct claim *claim; (claim = next_claim(&walk));)
        if (process_of(atomic_load(&claim->owner)) == process)
            return true;
    return false;
}

struct claim *claims_oldest(mproc_queue *queue, member_id process, enum claim_phase phase)
{
    struct claim *oldest = NULL;
    struct walk walk = walk_all(queue);
    for (struct claim *claim; (claim = next_claim(&walk));)
        if (atomic_load(&claim->owner) == (process | phase) &&
            (!oldest || atomic_load(&claim->taking) < atomic_load(&oldest->taking)))
            oldest = claim;
    return oldest;
}

static bool is_entry(mproc_queue *queue, const void *claim)
{
    for (struct claims *piece = first_piece(queue); piece; piece = atomic_load(&piece->next)) {
        size_t offset = (size_t)((uintptr_t)claim - (uintptr_t)piece->entries);
        if (offset < sizeof piece->entries)
            return offset % sizeof(struct claim) == 0;
    }
    return false;
}

bool claim_end_borrowing(mproc_queue *queue, void *claim, struct member *self)
{
    uint64_t borrowed = self->process_id | CLAIM_BORROWED;
    return is_entry(queue, claim) && atomic_compare_exchange_strong(&((struct claim *)claim)->owner, &borrowed,
                                                                    self->process_id | CLAIM_RELEASING);
}

void claims_watch(mproc_queue *queue, struct wait *wait)
{
    struct walk walk = walk_all(queue);
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
