/* Memory for single messages. SPDX-License-Identifier: MIT */
#include "channel/parcels.h"

#include "memory/condemn.h"
#include "memory/publish.h"

#include <mproc/memory.h>
#include <string.h>

enum {
    PARCELS_MORE = 62, /* in one piece of the table */
    PARCEL_CONDEMNED = 1,
};

/* Memory that is kept for further messages. */
#define SPARE_BYTES_MOST ((uint64_t)8 << 20)

struct parcels {
    _Atomic(void *) next; /* struct parcels */
    struct parcel entries[PARCELS_MORE];
};

static enum parcel_state state_of(uint64_t word)
{
    return (enum parcel_state)(word & PARCEL_STATE);
}

/* Takes a parcel over from nobody, or from a process that has ended. */
static bool take_over(struct parcel *parcel, uint64_t word, uint64_t mine)
{
    bool named = state_of(word) == PARCEL_RESERVED || state_of(word) == PARCEL_EMPTYING;
    if (word != 0 && (!named || member_process_is_alive(word & ~(uint64_t)PARCEL_STATE)))
        return false;
    return atomic_compare_exchange_strong(&parcel->word, &word, mine);
}

/* Each step can be repeated by who finds it begun. */
static void empty_memory(struct parcel *parcel)
{
    uintptr_t address = (uintptr_t)parcel_address(parcel);
    void *memory = (void *)(address & ~(uintptr_t)PARCEL_CONDEMNED);
    if (memory && !(address & PARCEL_CONDEMNED)) {
        memory_condemn(memory);
        atomic_store(&parcel->address, (void *)(address | PARCEL_CONDEMNED));
    }
    if (memory)
        memory_free_condemned(memory);
    atomic_store(&parcel->address, NULL);
}

/* Gives the memory back. The parcel is the caller's, as EMPTYING, and stays so. Memory that is marked as handed over
 * was put: one that was not, a repair has settled before (see parcels_repair). */
static void empty(struct parcel *parcel)
{
    empty_memory(parcel);
    atomic_store(&parcel->flags, 0);
}

/* Room for messages of about that size, so that memory is used again. */
static size_t rounded(size_t size)
{
    size_t step = size <= 32768 ? 4096 : 65536;
    return size > SIZE_MAX - step ? size : (size + step - 1) / step * step + (size == 0 ? step : 0);
}

static bool fits(const struct parcel *parcel, size_t size)
{
    return parcel->capacity >= size && parcel->capacity <= rounded(size) * 2;
}

/* The number goes astray where processes are killed; see next_place. */
static void spend(mproc_queue *queue, size_t bytes)
{
    uint64_t seen = atomic_load(&queue->spare_bytes);
    while (!atomic_compare_exchange_weak(&queue->spare_bytes, &seen, seen > bytes ? seen - bytes : 0))
        ;
}

/* The caller's parcel, in whatever state its last user left it, becomes one with memory of that size. */
static bool furnish(mproc_queue *queue, struct parcel *parcel, size_t size, struct member *self)
{
    uint64_t reserved = self->process_id | PARCEL_RESERVED;
    if (parcel_address(parcel))
        spend(queue, parcel->capacity);
    bool handed_over = atomic_load(&parcel->flags) & PARCEL_HANDED_OVER;
    if (handed_over || ((uintptr_t)parcel_address(parcel) & PARCEL_CONDEMNED) || !fits(parcel, size))
        empty(parcel);
    else if (parcel_address(parcel)) /* whoever allocated it may have been killed before it was the family's */
        mproc_disown(parcel_address(parcel));
    atomic_store(&parcel->word, reserved);
    if (parcel_address(parcel) || size == SIZE_MAX)
        return true;
    void *memory = memory_allocate_owned(RECORD_ALIGNMENT, rounded(size));
    if (!memory) {
        atomic_store(&parcel->word, 0);
        return false;
    }
    parcel->capacity = rounded(size);
    mproc_publish_at(&parcel->address, memory);
    return true;
}

static struct parcels *grow(mproc_queue *queue)
{
    _Atomic(void *) *end = &queue->parcels;
    for (struct parcels *piece; (piece = atomic_load(end));)
        end = &piece->next;
    struct parcels *piece = memory_allocate_owned(RECORD_ALIGNMENT, sizeof *piece);
    if (!piece)
        return NULL;
    memset(piece, 0, sizeof *piece);
    mproc_publish_at(end, piece);
    return piece;
}

/* Steps to the next place of the table. Once around, it is known what memory is kept. */
static struct parcel *next_place(mproc_queue *queue)
{
    if (!queue->parcel_cursor_piece || ++queue->parcel_cursor >= PARCELS_MORE) {
        struct parcels *piece = queue->parcel_cursor_piece;
        piece = atomic_load(piece ? &piece->next : &queue->parcels);
        if (!piece) {
            piece = atomic_load(&queue->parcels);
            atomic_store(&queue->spare_bytes, queue->spare_bytes_found);
            queue->spare_bytes_found = 0;
        }
        queue->parcel_cursor_piece = piece;
        queue->parcel_cursor = 0;
    }
    if (!queue->parcel_cursor_piece)
        return NULL;
    struct parcel *parcel = &queue->parcel_cursor_piece->entries[queue->parcel_cursor];
    if (atomic_load(&parcel->word) == 0 && parcel_address(parcel))
        queue->spare_bytes_found += parcel->capacity;
    return parcel;
}

/* A parcel that is nobody's: one with memory that fits comes first, then one without, unless much memory is kept
 * already. NULL if none is near. */
static struct parcel *look_for(mproc_queue *queue, size_t size)
{
    struct parcel *fitting = atomic_load(&queue->last_spare), *bare = NULL, *unfit = NULL;
    if (fitting &&
        (size == SIZE_MAX || atomic_load(&fitting->word) != 0 || !parcel_address(fitting) || !fits(fitting, size)))
        fitting = NULL;
    struct parcel *first = NULL;
    for (int looked = 0; !fitting && (looked < PARCELS_MORE || (!bare && !unfit)); looked++) {
        struct parcel *parcel = next_place(queue);
        if (!parcel || parcel == first)
            break;
        first = first ? first : parcel;
        uint64_t word = atomic_load(&parcel->word);
        if (state_of(word) == PARCEL_QUEUED)
            continue;
        if (word != 0 && member_process_is_alive(word & ~(uint64_t)PARCEL_STATE))
            continue;
        if (size != SIZE_MAX && word == 0 && parcel_address(parcel) && fits(parcel, size))
            fitting = parcel;
        else if (!parcel_address(parcel))
            bare = parcel;
        else
            unfit = parcel;
    }
    if (!bare || atomic_load(&queue->spare_bytes) > SPARE_BYTES_MOST / 2)
        bare = unfit ? unfit : bare;
    return fitting ? fitting : bare;
}

/* Makes a parcel the caller's, as EMPTYING. */
static struct parcel *find(mproc_queue *queue, size_t size, struct member *self)
{
    for (;;) {
        struct parcel *parcel = look_for(queue, size);
        struct parcels *piece = parcel ? NULL : grow(queue);
        if (!parcel && !piece)
            return NULL;
        if (piece)
            parcel = &piece->entries[0];
        if (take_over(parcel, atomic_load(&parcel->word), self->process_id | PARCEL_EMPTYING))
            return parcel;
    }
}

struct parcel *parcels_reserve(mproc_queue *queue, struct member *self, size_t size)
{
    queue_lock_put_surely(queue, self->id);
    struct parcel *parcel = find(queue, size, self);
    queue_unlock(&queue->put_lock, self->id);
    return parcel && furnish(queue, parcel, size, self) ? parcel : NULL;
}

static void retire(mproc_queue *queue, struct parcel *parcel, uint64_t word, struct member *self)
{
    bool keep = !(atomic_load(&parcel->flags) & PARCEL_HANDED_OVER) && parcel_address(parcel) &&
                atomic_load(&queue->spare_bytes) + parcel->capacity <= SPARE_BYTES_MOST;
    size_t capacity = parcel->capacity;
    if (keep) {
        if (atomic_compare_exchange_strong(&parcel->word, &word, 0)) {
            atomic_fetch_add(&queue->spare_bytes, capacity);
            atomic_store(&queue->last_spare, parcel);
        }
        return;
    }
    if (!atomic_compare_exchange_strong(&parcel->word, &word, self->process_id | PARCEL_EMPTYING))
        return;
    empty(parcel);
    atomic_store(&parcel->word, 0);
}

void parcel_cancel(mproc_queue *queue, struct parcel *parcel, struct member *self)
{
    retire(queue, parcel, self->process_id | PARCEL_RESERVED, self);
}

uint64_t parcel_commit(mproc_queue *queue, struct parcel *parcel, void *block)
{
    uint64_t stamp = atomic_load(&queue->put_messages) << 2 | PARCEL_QUEUED;
    atomic_store(&queue->committing, parcel);
    if (block) {
        atomic_store(&parcel->flags, PARCEL_HANDED_OVER | (memory_is_owned(block) ? PARCEL_WAS_OWNED : 0));
        mproc_publish_at(&parcel->address, block);
    }
    atomic_store(&parcel->word, stamp);
    return stamp;
}

void parcel_finish(mproc_queue *queue, struct parcel *parcel, uint64_t stamp, struct member *self)
{
    uint64_t word = atomic_load(&parcel->word);
    if (word == stamp) {
        retire(queue, parcel, stamp, self);
        return;
    }
    /* Its last user may have ended on the way. */
    if (state_of(word) != PARCEL_EMPTYING || !take_over(parcel, word, self->process_id | PARCEL_EMPTYING))
        return;
    empty(parcel);
    atomic_store(&parcel->word, 0);
}

static bool is_entry(mproc_queue *queue, const struct parcel *parcel)
{
    for (struct parcels *piece = atomic_load(&queue->parcels); piece; piece = atomic_load(&piece->next))
        if (parcel >= piece->entries && parcel < piece->entries + PARCELS_MORE)
            return ((uintptr_t)parcel - (uintptr_t)piece->entries) % sizeof *parcel == 0;
    return false;
}

bool parcel_is_reserved(mproc_queue *queue, const void *parcel, member_id process)
{
    struct parcel *entry = (struct parcel *)parcel;
    return is_entry(queue, entry) && atomic_load(&entry->word) == (process | PARCEL_RESERVED);
}

void parcels_repair(mproc_queue *queue)
{
    struct parcel *parcel = atomic_load(&queue->committing);
    uint64_t word = parcel ? atomic_load(&parcel->word) : 0;
    uint32_t flags = parcel ? atomic_load(&parcel->flags) : 0;
    bool not_put = state_of(word) == PARCEL_QUEUED && word >> 2 >= atomic_load(&queue->put_messages);
    /* A block is handed over under the lock only, so that this one was by the holder that died. */
    bool on_its_way = state_of(word) == PARCEL_RESERVED && (flags & PARCEL_HANDED_OVER);
    if (!not_put && !on_its_way)
        return;
    /* Still the program's, unless nobody else can know of it. */
    if ((flags & PARCEL_HANDED_OVER) && (flags & PARCEL_WAS_OWNED))
        empty_memory(parcel);
    else if (flags & PARCEL_HANDED_OVER)
        atomic_store(&parcel->address, NULL);
    atomic_store(&parcel->flags, 0);
    atomic_store(&parcel->word, 0);
}

void parcels_end(mproc_queue *queue)
{
    for (struct parcels *piece; (piece = atomic_load(&queue->parcels));) {
        for (int i = 0; i < PARCELS_MORE; i++)
            empty(&piece->entries[i]);
        atomic_store(&queue->parcels, atomic_load(&piece->next));
        mproc_free(piece);
    }
}
