/* Getting. SPDX-License-Identifier: MIT */
#include "channel/claims.h"
#include "channel/offer.h"
#include "channel/parcels.h"
#include "channel/queue.h"
#include "channel/queue_watch.h"
#include "channel/roles.h"
#include "os/sanitizer.h"
#include "sync/monitor.h"

#include <errno.h>
#include <mproc/memory.h>
#include <string.h>

/* Takes the record at `head`: the store of `head` is what does it. */
static inline void move_head(mproc_queue *queue, const struct offer *offer)
{
    atomic_store_explicit(&queue->head, record_behind(offer->record, offer->word), memory_order_release);
    atomic_store_explicit(&queue->got_bytes,
                          atomic_load_explicit(&queue->got_bytes, memory_order_relaxed) + record_length(offer->word),
                          memory_order_relaxed);
    atomic_store_explicit(&queue->got_messages, atomic_load_explicit(&queue->got_messages, memory_order_relaxed) + 1,
                          memory_order_release);
}

/* Under get_lock: takes the offer with a claim. NULL if there is no memory. */
static struct claim *claim_offer(mproc_queue *queue, struct member *self, const struct offer *offer)
{
    if (offer->returned) {
        claims_take_returned(queue, offer->returned, self);
        return offer->returned;
    }
    struct claim *claim = claims_make(queue, self, offer->record);
    if (claim)
        move_head(queue, offer);
    return claim;
}

/* ---- waiting */

/* Looks without the lock, so that the segment may be used again for something else, or go back to the heap, meanwhile:
 * it stays mapped, and what is found is only a reason to look with the lock. */
#if OS_ADDRESS_SANITIZER
__attribute__((no_sanitize("address")))
#elif OS_THREAD_SANITIZER
__attribute__((no_sanitize("thread")))
#endif
static bool
look_without_lock(struct record *head)
{
    /* Not an atomic operation: ThreadSanitizer would compare it with what is written there as something else. */
    return *(const volatile uint64_t *)(const volatile void *)&head->word != RECORD_NONE;
}

static bool spin(mproc_queue *queue)
{
    uint32_t spun = 0;
    while (queue_may_spin(&spun))
        if (look_without_lock(atomic_load_explicit(&queue->head, memory_order_relaxed)))
            return true;
    return false;
}

static int sleep_for_message(mproc_queue *queue, uint32_t seen, int64_t deadline)
{
    struct wait wait = { .deadline = deadline };
    roles_watch(queue, MPROC_QUEUE_WRITER, &wait);
    claims_watch(queue, &wait);
    return waiters_sleep(&queue->readers, seen, &wait);
}

/* Under get_lock. What came back is for readers; what was lost, joiners wait for. */
static bool recover(mproc_queue *queue, struct member *self)
{
    if (!claims_recover(queue, self))
        return false;
    waiters_tell(&queue->readers, UINT32_MAX);
    waiters_tell(&queue->joiners, UINT32_MAX);
    return true;
}

/* How often it is looked whether consumers have died with some of theirs, so that these come before all others: each
 * time, unless there are many; then once in so many messages. */
enum { RECOVERY_INTERVAL = 64 };

static inline void recover_now_and_then(mproc_queue *queue, struct member *self)
{
    if (__builtin_expect(atomic_load_explicit(&queue->claims_used, memory_order_relaxed) == 0, 1))
        return;
    if (!claims_are_few(queue) && atomic_load(&queue->got_messages) % RECOVERY_INTERVAL != 0)
        return;
    recover(queue, self);
}

/* Under get_lock: what ended processes had taken may have come back. */
static bool find_or_recover(mproc_queue *queue, struct member *self, struct offer *offer)
{
    recover_now_and_then(queue, self);
    if (find_offer(queue, offer))
        return true;
    return !claims_are_few(queue) && recover(queue, self) && find_offer(queue, offer);
}

/* One who leaves without a message may have had the wake-up that another one needs. */
static void pass_on(mproc_queue *queue)
{
    struct record *head = atomic_load(&queue->head);
    if (look_without_lock(head) || atomic_load(&queue->returned) != 0)
        waiters_tell(&queue->readers, 1);
}

/* Waits until there is a message. Returns 0 with get_lock held. */
static int begin_waiting(mproc_queue *queue, struct member *self, struct offer *offer, int64_t deadline)
{
    bool announced = false;
    uint32_t seen = 0;
    int over = 0, err = 0;
    for (;;) {
        int result = queue_lock_get(queue, self->id, deadline);
        if (result == 0 && find_or_recover(queue, self, offer))
            break;
        if (result == 0)
            queue_unlock(&queue->get_lock, self->id);
        if (result == 0)
            result = over ? over : err;
        if (result == 0 && !announced) {
            if (deadline != 0 && err == 0 && spin(queue))
                continue;
            seen = waiters_announce(&queue->readers);
            announced = true;
            over = queue_is_over(queue, self->process_id);
            continue; /* to look again: what was put before it was over is there */
        }
        if (result == 0 && deadline == 0) {
            result = queue_watch_rearm(&queue->readers) ? 0 : -ETIMEDOUT;
            over = queue_is_over(queue, self->process_id);
        } else if (result == 0) {
            err = sleep_for_message(queue, seen, deadline);
            announced = false;
        }
        if (result < 0) {
            if (announced)
                waiters_withdraw(&queue->readers, seen);
            pass_on(queue);
            return result;
        }
    }
    if (announced)
        waiters_withdraw(&queue->readers, seen);
    return 0;
}

/* The clock is asked only if it is needed. */
static inline int begin(mproc_queue *queue, struct member *self, struct offer *offer, int64_t timeout)
{
    if (__builtin_expect(lock_word_try(&queue->get_lock, self->id), 1)) {
        recover_now_and_then(queue, self);
        if (__builtin_expect(find_offer(queue, offer), 1))
            return 0;
        queue_unlock(&queue->get_lock, self->id);
    }
    return begin_waiting(queue, self, offer, os_deadline(timeout));
}

/* Releases get_lock, after so many were taken. */
static inline void finish(mproc_queue *queue, struct member *self, uint32_t taken)
{
    queue_unlock(&queue->get_lock, self->id);
    /* Where bytes are counted, room for one message may be room for many, or not for the first that waits. */
    waiters_tell(&queue->writers, queue->bytes_most == UINT64_MAX ? taken : UINT32_MAX);
}

/* The calling thread as one of the queue's readers. */
static inline int enter(mproc_queue *queue, struct member **self)
{
    int err = queue_enter(queue, self);
    return __builtin_expect(err < 0, 0) ? err : roles_attach(queue, *self, MPROC_QUEUE_READER);
}

int queue_can_get(mproc_queue *queue)
{
    struct member *self;
    struct offer offer;
    int err = enter(queue, &self);
    if (err < 0)
        return err;
    int over = queue_is_over(queue, self->process_id); /* before the look, so that nothing came in between */
    queue_lock_get_surely(queue, self->id);
    bool found = find_or_recover(queue, self, &offer);
    queue_unlock(&queue->get_lock, self->id);
    return found ? 1 : over;
}

/* ---- taking */

static const void *bytes_of(struct record *record, uint64_t word)
{
    if (record_kind(word) != RECORD_PARCEL)
        return record->data;
    return parcel_address(((const struct parcel_reference *)(const void *)record->data)->parcel);
}

/* What was taken by a call that returns a copy: done with, or to be said so. */
static void settle_claim(mproc_queue *queue, struct claim *claim, struct member *self)
{
    if (queue->joinable)
        claim_deliver(claim, self, CLAIM_TAKEN);
    else
        claim_release(queue, claim, self);
}

/* Under get_lock, which it releases: takes the offer with a claim that returns it if this process ends. */
static struct claim *claim_and_finish(mproc_queue *queue, struct member *self, const struct offer *offer)
{
    struct claim *claim = claim_offer(queue, self, offer);
    if (claim) {
        finish(queue, self, 1);
        return claim;
    }
    queue_unlock(&queue->get_lock, self->id);
    pass_on(queue);
    return NULL;
}

static int take_claim(mproc_queue *queue, struct member *self, int64_t timeout, struct offer *offer,
                      struct claim **claim)
{
    int err = begin(queue, self, offer, timeout);
    if (err < 0)
        return err;
    *claim = claim_and_finish(queue, self, offer);
    return *claim ? 0 : -ENOMEM;
}

/* Under get_lock, which it releases. */
static int take_copy_slowly(mproc_queue *queue, struct member *self, const struct offer *offer, void *buffer)
{
    struct claim *claim = claim_and_finish(queue, self, offer);
    if (!claim)
        return -ENOMEM;
    queue_copy(buffer, bytes_of(offer->record, offer->word), record_length(offer->word));
    settle_claim(queue, claim, self);
    return 0;
}

static inline bool is_plain(const mproc_queue *queue, const struct offer *offer)
{
    return record_kind(offer->word) == RECORD_INLINE && !queue->joinable && !offer->returned;
}

int mproc_queue_get(mproc_queue *queue, void *buffer, size_t capacity, size_t *size, int64_t timeout)
{
    struct member *self;
    struct offer offer;
    int err = enter(queue, &self);
    if (err < 0)
        return err;
    if (!buffer && capacity != 0)
        return -EINVAL;
    err = begin(queue, self, &offer, timeout);
    if (err < 0)
        return err;
    size_t length = record_length(offer.word);
    if (__builtin_expect(length > capacity, 0)) {
        queue_unlock(&queue->get_lock, self->id);
        pass_on(queue);
        err = -EMSGSIZE;
    } else if (__builtin_expect(is_plain(queue, &offer), 1)) {
        queue_copy(buffer, offer.record->data, length);
        move_head(queue, &offer);
        finish(queue, self, 1);
    } else
        err = take_copy_slowly(queue, self, &offer, buffer);
    if (size && (err == 0 || err == -EMSGSIZE))
        *size = length;
    return err;
}

/* Takes messages as they come as long as they are plain and fit. Under get_lock. */
static int take_run(mproc_queue *queue, struct offer *offer, struct iovec *buffers, int count)
{
    int taken = 0;
    do {
        size_t length = record_length(offer->word);
        if (!is_plain(queue, offer) || length > buffers[taken].iov_len)
            break;
        queue_copy(buffers[taken].iov_base, offer->record->data, length);
        move_head(queue, offer);
        buffers[taken++].iov_len = length;
    } while (taken < count && find_offer(queue, offer));
    return taken;
}

/* Takes at least one message. Returns how many, or an error; with -EMSGSIZE *needed gets the first one's size. */
static int take_some(mproc_queue *queue, struct member *self, struct iovec *buffers, int count, int64_t timeout,
                     size_t *needed)
{
    struct offer offer;
    int err = begin(queue, self, &offer, timeout);
    if (err < 0)
        return err;
    size_t length = record_length(offer.word);
    if (length > buffers[0].iov_len) {
        queue_unlock(&queue->get_lock, self->id);
        pass_on(queue);
        *needed = length;
        return -EMSGSIZE;
    }
    if (!is_plain(queue, &offer)) {
        err = take_copy_slowly(queue, self, &offer, buffers[0].iov_base);
        if (err == 0)
            buffers[0].iov_len = length;
        return err == 0 ? 1 : err;
    }
    int taken = take_run(queue, &offer, buffers, count);
    finish(queue, self, (uint32_t)taken);
    return taken;
}

int mproc_queue_get_many(mproc_queue *queue, struct iovec *buffers, int count, int64_t timeout)
{
    struct member *self;
    int err = enter(queue, &self), taken = 0;
    if (err < 0)
        return err;
    if (count < 0 || (!buffers && count > 0))
        return -EINVAL;
    for (int i = 0; i < count; i++)
        if (!buffers[i].iov_base && buffers[i].iov_len != 0)
            return -EINVAL;
    size_t needed = 0;
    while (taken < count &&
           (err = take_some(queue, self, buffers + taken, count - taken, taken ? 0 : timeout, &needed)) > 0)
        taken += err;
    if (taken == 0 && err == -EMSGSIZE)
        buffers[0].iov_len = needed;
    return taken > 0 ? taken : err;
}

/* ---- without a copy */

int mproc_queue_borrow(mproc_queue *queue, struct mproc_message *message, int64_t timeout)
{
    struct member *self;
    struct offer offer;
    struct claim *claim;
    int err = enter(queue, &self);
    if (err < 0)
        return err;
    if (!message)
        return -EINVAL;
    err = take_claim(queue, self, timeout, &offer, &claim);
    if (err < 0)
        return err;
    *message = (struct mproc_message) { .data = (void *)(uintptr_t)bytes_of(offer.record, offer.word),
                                        .size = record_length(offer.word),
                                        .deliveries = atomic_load(&claim->deliveries) + 1,
                                        .place_ = claim };
    claim_deliver(claim, self, CLAIM_BORROWED);
    return 0;
}

int mproc_queue_release(mproc_queue *queue, struct mproc_message *message)
{
    struct member *self;
    int err = queue_enter(queue, &self);
    if (err < 0)
        return err;
    if (!message || !claim_end_borrowing(queue, message->place_, self))
        return -EINVAL;
    claim_release(queue, message->place_, self);
    *message = (struct mproc_message) { .data = NULL };
    return 0;
}

/* Takes the memory of a claimed message out of the queue, if it is a parcel's and need not be kept. From the phase on,
 * the message is taken: whoever is killed on the way takes it along. */
static void *take_memory(mproc_queue *queue, struct claim *claim, const struct offer *offer, struct member *self)
{
    if (record_kind(offer->word) != RECORD_PARCEL || queue->joinable)
        return NULL;
    struct parcel *parcel = ((const struct parcel_reference *)(const void *)offer->record->data)->parcel;
    void *block = parcel_address(parcel);
    claim_set_phase(claim, self, CLAIM_RELEASING);
    atomic_store(&parcel->address, NULL);
    claim_release(queue, claim, self);
    return block;
}

int mproc_queue_get_block(mproc_queue *queue, void **block, size_t *size, int64_t timeout)
{
    struct member *self;
    struct offer offer;
    struct claim *claim;
    int err = enter(queue, &self);
    if (err < 0)
        return err;
    if (!block)
        return -EINVAL;
    err = take_claim(queue, self, timeout, &offer, &claim);
    if (err < 0)
        return err;
    size_t length = record_length(offer.word);
    void *taken = take_memory(queue, claim, &offer, self);
    if (!taken) {
        taken = mproc_alloc_owned(length);
        if (!taken) {
            claims_return(queue, claim, self);
            return -ENOMEM;
        }
        queue_copy(taken, bytes_of(offer.record, offer.word), length);
        settle_claim(queue, claim, self);
        mproc_disown(taken);
    }
    *block = taken;
    if (size)
        *size = length;
    return 0;
}
