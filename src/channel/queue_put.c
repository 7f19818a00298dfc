/* Putting. SPDX-License-Identifier: MIT */
#include "channel/parcels.h"
#include "channel/queue.h"
#include "channel/queue_watch.h"
#include "channel/roles.h"
#include "channel/segments.h"
#include "memory/publish.h"
#include "sync/monitor.h"

#include <errno.h>
#include <mproc/memory.h>
#include <string.h>

static uint64_t put_so_far(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Under put_lock. */
static bool fits(const mproc_queue *queue, uint64_t messages, uint64_t bytes, size_t size)
{
    return messages == 0 ||
           (messages < queue->messages_most && bytes <= queue->bytes_most && size <= queue->bytes_most - bytes);
}

static bool has_room(mproc_queue *queue, size_t size)
{
    uint64_t messages = put_so_far(&queue->put_messages), bytes = put_so_far(&queue->put_bytes);
    if (fits(queue, messages - queue->got_messages_seen, bytes - queue->got_bytes_seen, size))
        return true;
    /* Bytes first: seen too low they let nothing in that is too much. */
    queue->got_bytes_seen = atomic_load(&queue->got_bytes);
    queue->got_messages_seen = atomic_load(&queue->got_messages);
    return fits(queue, messages - queue->got_messages_seen, bytes - queue->got_bytes_seen, size);
}

static int no_reader_is_left(mproc_queue *queue)
{
    return roles_alive(queue, MPROC_QUEUE_READER) ? 0 : MPROC_E_NO_READERS;
}

/* True once there may be room again, some time after `got` had been taken. It waits for room for several, if that comes
 * soon: one at a time, each message would cost two transfers of the readers' cache line. */
static bool spin(mproc_queue *queue, uint64_t got)
{
    uint64_t several = queue->messages_most / 4 < 256 ? queue->messages_most / 4 : 256, now = got;
    for (uint32_t spun = QUEUE_QUICK_LOOKS; now - got < several + (several == 0) && queue_may_spin(&spun);)
        now = atomic_load_explicit(&queue->got_messages, memory_order_relaxed);
    return now != got;
}

/* Sleeps until there is news for writers. */
static int sleep_for_room(mproc_queue *queue, uint32_t seen, int64_t deadline)
{
    struct wait wait = { .deadline = deadline };
    roles_watch(queue, MPROC_QUEUE_READER, &wait);
    return waiters_sleep(&queue->writers, seen, &wait);
}

/* One who leaves without having put may have had the wake-up that another one needs. */
static void pass_on(mproc_queue *queue)
{
    if (put_so_far(&queue->put_messages) - atomic_load(&queue->got_messages) < queue->messages_most)
        waiters_tell(&queue->writers, 1);
}

/* Waits until there is room for `size` bytes. Returns 0 with put_lock held. */
static int begin_waiting(mproc_queue *queue, struct member *self, size_t size, int64_t deadline)
{
    bool announced = false;
    uint32_t seen = 0;
    int over = 0, err = 0;
    for (;;) {
        uint64_t got = atomic_load_explicit(&queue->got_messages, memory_order_relaxed);
        int result = queue_lock_put(queue, self->id, deadline);
        if (result == 0 && !atomic_load(&queue->closed) && has_room(queue, size))
            break;
        if (result == 0 && atomic_load(&queue->closed))
            result = MPROC_E_CLOSED;
        if (result == 0 || result == MPROC_E_CLOSED)
            queue_unlock(&queue->put_lock, self->id);
        if (result == 0)
            result = over ? over : err;
        if (result == 0 && !announced) {
            if (deadline != 0 && err == 0 && spin(queue, got))
                continue;
            queue_settle_got(queue, self->id);
            seen = waiters_announce(&queue->writers);
            announced = true;
            over = no_reader_is_left(queue);
            continue; /* to look again */
        }
        if (result == 0 && deadline == 0) {
            result = queue_watch_rearm(&queue->writers) ? 0 : -ETIMEDOUT;
            over = no_reader_is_left(queue);
        } else if (result == 0) {
            err = sleep_for_room(queue, seen, deadline);
            announced = false;
        }
        if (result < 0) {
            if (announced)
                waiters_withdraw(&queue->writers, seen);
            pass_on(queue);
            return result;
        }
    }
    if (announced)
        waiters_withdraw(&queue->writers, seen);
    return 0;
}

/* The clock is asked only if it is needed. */
static inline int begin(mproc_queue *queue, struct member *self, size_t size, int64_t timeout)
{
    if (__builtin_expect(lock_word_try(&queue->put_lock, self->id), 1)) {
        if (__builtin_expect(!atomic_load_explicit(&queue->closed, memory_order_relaxed) && has_room(queue, size), 1))
            return 0;
        queue_unlock(&queue->put_lock, self->id);
    }
    return begin_waiting(queue, self, size, os_deadline(timeout));
}

/* The message is there with the store of its word. The word behind it says that no other is, yet. */
static inline void publish(mproc_queue *queue, enum record_kind kind, size_t space, size_t size)
{
    struct record *record = queue->tail, *behind = (struct record *)(void *)((char *)record + space);
    atomic_store_explicit(&behind->word, RECORD_NONE, memory_order_relaxed);
    atomic_store_explicit(&record->word, (uint64_t)size << RECORD_LENGTH_SHIFT | kind, memory_order_release);
    queue->tail = behind;
    atomic_store_explicit(&queue->put_bytes, put_so_far(&queue->put_bytes) + size, memory_order_relaxed);
    atomic_store_explicit(&queue->put_messages, put_so_far(&queue->put_messages) + 1, memory_order_relaxed);
}

/* Under put_lock, with room. Returns 0 or -ENOMEM. */
static inline int append_inline(mproc_queue *queue, const void *data, size_t size)
{
    size_t space = record_size(size);
    if (__builtin_expect(!segments_have_room(queue, space), 0) && !segments_extend(queue))
        return -ENOMEM;
    queue_copy(queue->tail->data, data, size);
    publish(queue, RECORD_INLINE, space, size);
    return 0;
}

static int append_parcel(mproc_queue *queue, struct parcel *parcel, void *block, size_t size)
{
    size_t space = record_size(sizeof(struct parcel_reference));
    if (!segments_have_room(queue, space) && !segments_extend(queue))
        return -ENOMEM;
    struct parcel_reference reference = { parcel, parcel_commit(queue, parcel, block) };
    memcpy(queue->tail->data, &reference, sizeof reference);
    publish(queue, RECORD_PARCEL, space, size);
    return 0;
}

/* Releases put_lock, after so many were put: none, if it failed. */
static inline void finish(mproc_queue *queue, struct member *self, uint32_t put)
{
    queue_unlock(&queue->put_lock, self->id);
    if (put > 0)
        waiters_tell(&queue->readers, put);
    else
        pass_on(queue);
}

static int put_parcel(mproc_queue *queue, struct member *self, struct parcel *parcel, void *block, size_t size,
                      int64_t timeout)
{
    int err = begin(queue, self, size, timeout);
    if (err < 0)
        return err;
    err = append_parcel(queue, parcel, block, size);
    finish(queue, self, err == 0);
    return err;
}

static int put_large(mproc_queue *queue, struct member *self, const void *data, size_t size, int64_t timeout)
{
    struct parcel *parcel = parcels_reserve(queue, self, size);
    if (!parcel)
        return -ENOMEM;
    memcpy(parcel_address(parcel), data, size);
    int err = put_parcel(queue, self, parcel, NULL, size, timeout);
    if (err < 0)
        parcel_cancel(queue, parcel, self);
    return err;
}

static inline int put_small(mproc_queue *queue, struct member *self, const void *data, size_t size, int64_t timeout)
{
    int err = begin(queue, self, size, timeout);
    if (err < 0)
        return err;
    err = append_inline(queue, data, size);
    finish(queue, self, err == 0);
    return err;
}

/* The calling thread as one of the queue's writers. */
static inline int enter(mproc_queue *queue, struct member **self)
{
    int err = queue_enter(queue, self);
    return __builtin_expect(err < 0, 0) ? err : roles_attach(queue, *self, MPROC_QUEUE_WRITER);
}

int mproc_queue_put(mproc_queue *queue, const void *data, size_t size, int64_t timeout)
{
    struct member *self;
    int err = enter(queue, &self);
    if (err < 0)
        return err;
    if (!data && size != 0)
        return -EINVAL;
    return size <= INLINE_MOST ? put_small(queue, self, data, size, timeout)
                               : put_large(queue, self, data, size, timeout);
}

/* As many small ones as there is room for, in one go. Returns how many, or an error of the first. */
static int put_run(mproc_queue *queue, struct member *self, const struct iovec *messages, int count, int64_t timeout)
{
    int put = 0, err = begin(queue, self, messages[0].iov_len, timeout);
    if (err < 0)
        return err;
    do
        err = append_inline(queue, messages[put].iov_base, messages[put].iov_len);
    while (err == 0 && ++put < count && messages[put].iov_len <= INLINE_MOST && has_room(queue, messages[put].iov_len));
    finish(queue, self, (uint32_t)put);
    return put > 0 ? put : err;
}

int mproc_queue_put_many(mproc_queue *queue, const struct iovec *messages, int count, int64_t timeout)
{
    struct member *self;
    int err = enter(queue, &self), put = 0;
    if (err < 0)
        return err;
    if (count < 0 || (!messages && count > 0))
        return -EINVAL;
    for (int i = 0; i < count; i++)
        if (!messages[i].iov_base && messages[i].iov_len != 0)
            return -EINVAL;
    while (put < count && err >= 0) {
        const struct iovec *next = &messages[put];
        int64_t patience = put == 0 ? timeout : 0;
        if (next->iov_len <= INLINE_MOST)
            err = put_run(queue, self, next, count - put, patience);
        else if ((err = put_large(queue, self, next->iov_base, next->iov_len, patience)) == 0)
            err = 1;
        put += err > 0 ? err : 0;
    }
    return put > 0 ? put : err;
}

int mproc_queue_put_block(mproc_queue *queue, void *block, size_t size, int64_t timeout)
{
    struct member *self;
    int err = enter(queue, &self);
    if (err < 0)
        return err;
    if (!block || !memory_is_block(block, size))
        return block ? MPROC_E_NOT_ALLOCATED : -EINVAL;
    struct parcel *parcel = parcels_reserve(queue, self, SIZE_MAX);
    if (!parcel)
        return -ENOMEM;
    err = put_parcel(queue, self, parcel, block, size, timeout);
    if (err < 0)
        parcel_cancel(queue, parcel, self);
    return err;
}

int mproc_queue_reserve(mproc_queue *queue, size_t size, struct mproc_message *message)
{
    struct member *self;
    int err = enter(queue, &self);
    if (err < 0)
        return err;
    if (!message)
        return -EINVAL;
    if (atomic_load(&queue->closed))
        return MPROC_E_CLOSED;
    struct parcel *parcel = size < SIZE_MAX ? parcels_reserve(queue, self, size) : NULL;
    if (!parcel)
        return -ENOMEM;
    *message = (struct mproc_message) { .data = parcel_address(parcel), .size = size, .place_ = parcel };
    return 0;
}

int mproc_queue_commit(mproc_queue *queue, struct mproc_message *message, int64_t timeout)
{
    struct member *self;
    int err = enter(queue, &self);
    if (err < 0)
        return err;
    if (!message || !parcel_is_reserved(queue, message->place_, self->process_id))
        return -EINVAL;
    struct parcel *parcel = message->place_;
    if (message->size > parcel->capacity)
        return -EINVAL;
    err = put_parcel(queue, self, parcel, NULL, message->size, timeout);
    if (err == 0)
        *message = (struct mproc_message) { .data = NULL };
    return err;
}

int mproc_queue_cancel(mproc_queue *queue, struct mproc_message *message)
{
    struct member *self;
    int err = queue_enter(queue, &self);
    if (err < 0)
        return err;
    if (!message || !parcel_is_reserved(queue, message->place_, self->process_id))
        return -EINVAL;
    parcel_cancel(queue, message->place_, self);
    *message = (struct mproc_message) { .data = NULL };
    return 0;
}

int queue_can_put(mproc_queue *queue)
{
    struct member *self;
    int err = enter(queue, &self);
    if (err < 0)
        return err;
    queue_settle_got(queue, self->id);
    int over = no_reader_is_left(queue);
    queue_lock_put_surely(queue, self->id);
    bool closed = atomic_load(&queue->closed), room = has_room(queue, 0);
    queue_unlock(&queue->put_lock, self->id);
    if (closed)
        return MPROC_E_CLOSED;
    return room ? 1 : over;
}
