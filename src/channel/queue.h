/* The shared struct of a queue. SPDX-License-Identifier: MIT
 *
 * Messages lie in segments of 64 KiB, one behind the other, as records: a word that says what it is and how long, and
 * the bytes. Those who put write a record and then its word, which is the truth: a record whose word is 0 is not there.
 * Those who get take the record that `head` points to, by moving `head` past it: one store. Everything else (where to
 * write, how many messages there are) is derived, and derived anew from these two by whoever finds that the last holder
 * of a lock died inside.
 *
 * Messages of more than INLINE_MOST bytes, reserved ones and blocks that were handed over lie in memory of their own, a
 * parcel, which the record points to (channel/parcels.h). What is taken but still needed, because it is borrowed, being
 * copied, or not done yet, is named by a claim (channel/claims.h). A segment is used again when `head` is past it and
 * no claim names a record in it.
 *
 * Two locks: `put_lock` for all that adds, `get_lock` for all that takes. Who has both takes get_lock first. (Only the
 * repair of the counters of the one side by the other does; see queue_settle.)
 */
#ifndef CHANNEL_QUEUE_H
#define CHANNEL_QUEUE_H

#include "channel/waiters.h"
#include "sync/holders.h"
#include "sync/lock_word.h"

#include <errno.h>
#include <mproc/error.h>
#include <mproc/queue.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    SEGMENT_BYTES = 65536,
    INLINE_MOST = 8192,
    RECORD_ALIGNMENT = 16, /* of the bytes */
};

enum record_kind { RECORD_NONE = 0, RECORD_INLINE, RECORD_PARCEL, RECORD_NEXT /* go on in the next segment */ };

struct record {
    _Atomic uint64_t word; /* kind, and bytes of the message << RECORD_LENGTH_SHIFT */
    unsigned char data[];
};

enum { RECORD_LENGTH_SHIFT = 2 };

struct parcel;

/* The bytes of a RECORD_PARCEL. */
struct parcel_reference {
    struct parcel *parcel;
    uint64_t stamp; /* what the parcel's word is as long as it holds this message */
};

/* All but `next` is constant as long as the segment is in use, and written under put_lock. */
struct segment {
    uint64_t number;                        /* grows from one to the next */
    uint64_t messages_before, bytes_before; /* put before the first record here */
    _Atomic(struct segment *) next;         /* under put_lock; before the RECORD_NEXT */
    uint64_t unused[3];
    unsigned char records[SEGMENT_BYTES - 7 * sizeof(uint64_t)];
};

_Static_assert(sizeof(struct segment) == SEGMENT_BYTES, "it is aligned to its size");
_Static_assert((offsetof(struct segment, records) + sizeof(uint64_t)) % RECORD_ALIGNMENT == 0, "bytes are aligned");

struct claims;
struct parcels;

struct mproc_queue {
    /* Constant. */
    _Atomic uint64_t magic;
    uint64_t messages_most, bytes_most; /* UINT64_MAX: no limit */
    uint32_t deliveries_most;           /* UINT32_MAX: no limit */
    bool joinable, redeliver;

    /* Read by all, seldom written. */
    _Alignas(64) _Atomic uint64_t epoch; /* changes when a process detaches; never the same for two queues */
    _Atomic uint32_t closed;
    _Atomic uint64_t lost, lost_told; /* under get_lock */
    lock_word roles_lock;
    uint32_t reservations;
    struct holders roles; /* under roles_lock; `count` is an enum mproc_queue_role */

    _Alignas(64) struct waiters readers;
    _Alignas(64) struct waiters writers;
    _Alignas(64) struct waiters joiners;

    /* Under put_lock, but for the counters, which others read. */
    _Alignas(128) lock_word put_lock;
    struct record *tail;                        /* derived: the next record to be written */
    _Atomic uint64_t put_messages, put_bytes;   /* derived: how many there ever were up to tail */
    uint64_t got_messages_seen, got_bytes_seen; /* at most what they are */
    struct segment *oldest;                     /* the first of the segments that may still be needed */
    _Atomic(void *) spare;                      /* a segment that is not in the list, or about to be */
    _Atomic uintptr_t doomed;                   /* a segment on its way out of the list and back to the heap */
    _Atomic(struct parcel *) committing;        /* a parcel that is about to be in the queue, or was just put there */
    _Atomic(void *) parcels;                    /* struct parcels */
    struct parcels *parcel_cursor_piece;        /* where to look for a parcel first; derived */
    uint32_t parcel_cursor;
    uint64_t spare_bytes_found;          /* so far on this way through the parcels */
    _Atomic(struct parcel *) last_spare; /* was given up last, so that its memory is in some cache; derived */
    _Atomic uint64_t spare_bytes;        /* in parcels that hold no message; derived; not under the lock */

    /* Under get_lock, but for what others read. */
    _Alignas(128) lock_word get_lock;
    _Atomic(struct record *) head;
    _Atomic uint64_t got_messages, got_bytes; /* derived: how many there ever were up to head */
    _Atomic uint32_t returned;                /* derived: claims that are to be taken first */
    _Atomic uint64_t returned_bytes;          /* derived */
    uint64_t takes;                           /* number of the last claim */
    _Atomic uint32_t claims_used;             /* no claim from here on was ever in use; only grows, and before one is */
    _Atomic uint32_t claim_hint;              /* where to look for an unused one; derived */
    _Atomic(void *) claims;                   /* struct claims; NULL: there never was one */
};

#define QUEUE_MAGIC UINT64_C(0x6d70726f63717565)

static inline mproc_queue *queue_of(const mproc_queue *queue)
{
    return queue && atomic_load_explicit(&queue->magic, memory_order_relaxed) == QUEUE_MAGIC ? (mproc_queue *)queue
                                                                                             : NULL;
}

/* What every call begins with: 0, -EINVAL, MPROC_E_NOT_INITIALISED or -ENOMEM. */
static inline int queue_enter(const mproc_queue *queue, struct member **self)
{
    if (__builtin_expect(!queue_of(queue), 0))
        return queue ? MPROC_E_NOT_INITIALISED : -EINVAL;
    *self = member_current();
    return __builtin_expect(!*self, 0) && !(*self = member_self()) ? -ENOMEM : 0;
}

static inline enum record_kind record_kind(uint64_t word)
{
    return (enum record_kind)(word & ((1 << RECORD_LENGTH_SHIFT) - 1));
}

static inline uint64_t record_length(uint64_t word)
{
    return word >> RECORD_LENGTH_SHIFT;
}

/* Bytes of a whole record that holds that many. */
static inline size_t record_size(size_t bytes)
{
    return (sizeof(struct record) + bytes + RECORD_ALIGNMENT - 1) & ~(size_t)(RECORD_ALIGNMENT - 1);
}

static inline struct record *record_behind(struct record *record, uint64_t word)
{
    size_t bytes = record_kind(word) == RECORD_PARCEL ? sizeof(struct parcel_reference) : record_length(word);
    return (struct record *)(void *)((char *)record + record_size(bytes));
}

static inline struct segment *segment_of(const struct record *record)
{
    return (struct segment *)(void *)((uintptr_t)record & ~(uintptr_t)(SEGMENT_BYTES - 1));
}

static inline struct record *segment_first(struct segment *segment)
{
    return (struct record *)(void *)segment->records;
}

/* Acquire: the record's bytes come with its word. */
static inline uint64_t record_word(struct record *record)
{
    return atomic_load_explicit(&record->word, memory_order_acquire);
}

/* Copying a few bytes is quicker than calling for it. */
static inline void queue_copy(void *to, const void *from, size_t size)
{
    if (size == 8)
        memcpy(to, from, 8);
    else if (size != 0)
        memcpy(to, from, size);
}

/* Releases a lock so that whoever releases it sees, afterwards, those who announced themselves before. */
static inline void queue_unlock(lock_word *lock, member_id self)
{
    uint64_t mine = self;
    if (__builtin_expect(!atomic_compare_exchange_strong(lock, &mine, 0), 0))
        lock_word_release_slowly(lock);
}

/* Takes put_lock or get_lock, for a call with that deadline, and puts in order what a dead holder left. Returns 0,
 * -ETIMEDOUT or -EINTR. */
int queue_lock_put_slowly(mproc_queue *queue, member_id self, int64_t deadline);
int queue_lock_get_slowly(mproc_queue *queue, member_id self, int64_t deadline);

static inline int queue_lock_put(mproc_queue *queue, member_id self, int64_t deadline)
{
    return lock_word_try(&queue->put_lock, self) ? 0 : queue_lock_put_slowly(queue, self, deadline);
}

static inline int queue_lock_get(mproc_queue *queue, member_id self, int64_t deadline)
{
    return lock_word_try(&queue->get_lock, self) ? 0 : queue_lock_get_slowly(queue, self, deadline);
}

/* The same for as long as it takes, whatever signals come. */
void queue_lock_put_surely(mproc_queue *queue, member_id self);
void queue_lock_get_surely(mproc_queue *queue, member_id self);

/* If the last one to take died before it had counted, counts for it, so that the counters can be relied on. */
void queue_settle_got(mproc_queue *queue, member_id self);

/* MPROC_E_CLOSED or MPROC_E_NO_WRITERS if no message will come that is not in the queue; else 0. `self`: the process
 * that asks. */
int queue_is_over(mproc_queue *queue, member_id self);

/* Something that had been taken is done. */
void queue_tell_done(mproc_queue *queue);

/* CPUs of the machine (one who is bound to a CPU may wait for others, which are not); 0: not known yet. On one nobody
 * spins. */
extern _Atomic int queue_cpus;

/* True while it may be worth to look again for a moment before sleeping; `spun` counts. The first looks follow one
 * another at once: for one who waits for a word that is written once. */
enum { QUEUE_QUICK_LOOKS = 100 };
bool queue_may_spin(uint32_t *spun);

#endif
