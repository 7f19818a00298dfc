/* A queue as a whole. SPDX-License-Identifier: MIT */
#include "channel/queue.h"

#include "channel/claims.h"
#include "channel/parcels.h"
#include "channel/roles.h"
#include "channel/segments.h"
#include "memory/publish.h"
#include "sync/monitor.h"

#include <errno.h>
#include <mproc/cpu.h>
#include <mproc/memory.h>
#include <string.h>

/* ---- making and freeing */

static void fill(mproc_queue *queue, const struct mproc_queue_arguments *arguments)
{
    memset(queue, 0, sizeof *queue);
    queue->messages_most = arguments->messages ? arguments->messages : UINT64_MAX;
    queue->bytes_most = arguments->bytes ? arguments->bytes : UINT64_MAX;
    queue->redeliver = arguments->redeliver;
    queue->joinable = arguments->joinable || arguments->redeliver;
    queue->deliveries_most = arguments->deliveries ? arguments->deliveries : UINT32_MAX;
    atomic_store(&queue->epoch, (uint64_t)os_now());
    atomic_store(&queue->magic, QUEUE_MAGIC);
}

static int build(mproc_queue *queue, struct member *self)
{
    int err = roles_attach_slowly(queue, self, MPROC_QUEUE_WRITER_AND_READER);
    return err == 0 && !segments_begin(queue) ? -ENOMEM : err;
}

int mproc_queue_create_with(mproc_queue **queue, const struct mproc_queue_arguments *arguments)
{
    static const struct mproc_queue_arguments defaults = { .size = sizeof defaults };
    if (!arguments)
        arguments = &defaults;
    if (arguments->size != sizeof *arguments)
        return MPROC_E_STRUCT_SIZE;
    if (!queue || (arguments->deliveries && !arguments->redeliver))
        return -EINVAL;
    struct member *self = member_self();
    mproc_queue *made = self ? memory_allocate_owned(_Alignof(struct mproc_queue), sizeof *made) : NULL;
    if (!made)
        return -ENOMEM;
    fill(made, arguments);
    int err = build(made, self);
    if (err != 0) {
        mproc_free(made);
        return err;
    }
    /* Both belong to this process until now, so that nothing is left of a queue that nobody has heard of. */
    mproc_disown(made);
    mproc_disown(made->oldest);
    *queue = made;
    return 0;
}

int mproc_queue_free(mproc_queue *queue)
{
    struct member *self;
    int err = queue ? queue_enter(queue, &self) : 0;
    if (!queue || err < 0)
        return err;
    mproc_queue_fd_close(queue, MPROC_QUEUE_READER);
    mproc_queue_fd_close(queue, MPROC_QUEUE_WRITER);
    /* What a dead holder left on its way is put in order first. */
    queue_lock_get_surely(queue, self->id);
    queue_lock_put_surely(queue, self->id);
    atomic_store(&queue->magic, 0);
    parcels_end(queue);
    segments_end(queue);
    claims_end(queue);
    holders_destroy(&queue->roles);
    return mproc_free(queue);
}

/* ---- locks */

static void repair_put(mproc_queue *queue, member_id self)
{
    queue->got_messages_seen = atomic_load(&queue->got_messages);
    queue->got_bytes_seen = atomic_load(&queue->got_bytes);
    queue->parcel_cursor_piece = NULL;
    segments_repair(queue);
    parcels_repair(queue);
    lock_word_mark_consistent(&queue->put_lock, self);
}

int queue_lock_put_slowly(mproc_queue *queue, member_id self, int64_t deadline)
{
    int result = monitor_enter(&queue->put_lock, self, deadline);
    if (result == MPROC_E_OWNER_DIED)
        repair_put(queue, self);
    return result == MPROC_E_OWNER_DIED ? 0 : result;
}

/* `head` is the truth: counts what is in front of it, from its segment's beginning on. */
static void count_got(mproc_queue *queue)
{
    struct record *head = atomic_load(&queue->head), *record = segment_first(segment_of(head));
    uint64_t messages = segment_of(head)->messages_before, bytes = segment_of(head)->bytes_before;
    while (record != head) {
        uint64_t word = record_word(record);
        messages++;
        bytes += record_length(word);
        record = record_behind(record, word);
    }
    atomic_store(&queue->got_messages, messages);
    atomic_store(&queue->got_bytes, bytes);
}

static void repair_get(mproc_queue *queue, member_id self)
{
    count_got(queue);
    claims_repair(queue);
    lock_word_mark_consistent(&queue->get_lock, self);
}

int queue_lock_get_slowly(mproc_queue *queue, member_id self, int64_t deadline)
{
    int result = monitor_enter(&queue->get_lock, self, deadline);
    if (result == MPROC_E_OWNER_DIED)
        repair_get(queue, self);
    return result == MPROC_E_OWNER_DIED ? 0 : result;
}

static bool holder_has_died(lock_word *lock)
{
    uint64_t word = atomic_load(lock);
    member_id holder = word & ~MEMBER_FLAGS;
    return (word & LOCK_INCONSISTENT) || (holder != 0 && !member_is_alive(holder));
}

void queue_lock_put_surely(mproc_queue *queue, member_id self)
{
    if (lock_word_acquire_surely(&queue->put_lock, self) == MPROC_E_OWNER_DIED)
        repair_put(queue, self);
}

void queue_lock_get_surely(mproc_queue *queue, member_id self)
{
    if (lock_word_acquire_surely(&queue->get_lock, self) == MPROC_E_OWNER_DIED)
        repair_get(queue, self);
}

void queue_settle_got(mproc_queue *queue, member_id self)
{
    if (!holder_has_died(&queue->get_lock))
        return;
    queue_lock_get_surely(queue, self);
    queue_unlock(&queue->get_lock, self);
}

static void settle_put(mproc_queue *queue, member_id self)
{
    if (!holder_has_died(&queue->put_lock))
        return;
    queue_lock_put_surely(queue, self);
    queue_unlock(&queue->put_lock, self);
}

_Atomic int queue_cpus;

bool queue_may_spin(uint32_t *spun)
{
    enum { SPINS = QUEUE_QUICK_LOOKS + 300, SPINS_BETWEEN_YIELDS = 32 };
    if (atomic_load_explicit(&queue_cpus, memory_order_relaxed) == 0)
        atomic_store_explicit(&queue_cpus, mproc_machine_cpu_count(), memory_order_relaxed);
    if (atomic_load_explicit(&queue_cpus, memory_order_relaxed) == 1 || *spun >= SPINS)
        return false;
    if (++*spun <= QUEUE_QUICK_LOOKS) /* relaxing takes longer than a message that is on its way */
        return true;
    if (*spun % SPINS_BETWEEN_YIELDS == 0)
        os_yield();
    else
        os_cpu_relax();
    return true;
}

/* ---- looking */

/* The queue, with counters that can be relied on; NULL if it is none. */
static mproc_queue *settled(const mproc_queue *queue)
{
    mproc_queue *it = queue_of(queue);
    struct member *self = it ? member_self() : NULL;
    if (self) {
        settle_put(it, self->id);
        queue_settle_got(it, self->id);
    }
    return it;
}

/* What was got is read first; both only grow. */
static uint64_t difference(_Atomic uint64_t *put, _Atomic uint64_t *got)
{
    uint64_t before = atomic_load(got), after = atomic_load(put);
    return after > before ? after - before : 0;
}

size_t mproc_queue_size(const mproc_queue *queue)
{
    mproc_queue *it = settled(queue);
    return it ? difference(&it->put_messages, &it->got_messages) + atomic_load(&it->returned) : 0;
}

size_t mproc_queue_bytes(const mproc_queue *queue)
{
    mproc_queue *it = settled(queue);
    return it ? difference(&it->put_bytes, &it->got_bytes) + atomic_load(&it->returned_bytes) : 0;
}

bool mproc_queue_is_empty(const mproc_queue *queue)
{
    return mproc_queue_size(queue) == 0;
}

bool mproc_queue_is_full(const mproc_queue *queue)
{
    mproc_queue *it = settled(queue);
    if (!it)
        return false;
    uint64_t messages = difference(&it->put_messages, &it->got_messages);
    return messages >= it->messages_most ||
           (messages > 0 && difference(&it->put_bytes, &it->got_bytes) > it->bytes_most);
}

size_t mproc_queue_lost(const mproc_queue *queue)
{
    mproc_queue *it = queue_of(queue);
    return it ? atomic_load(&it->lost) : 0;
}

/* ---- ending, and who uses it */

int mproc_queue_close(mproc_queue *queue)
{
    struct member *self;
    int err = queue_enter(queue, &self);
    if (err < 0)
        return err;
    /* Under the lock, so that nothing is put once the call has returned. */
    queue_lock_put_surely(queue, self->id);
    atomic_store(&queue->closed, 1);
    queue_unlock(&queue->put_lock, self->id);
    waiters_tell(&queue->readers, UINT32_MAX);
    waiters_tell(&queue->writers, UINT32_MAX);
    return 0;
}

bool mproc_queue_is_closed(const mproc_queue *queue)
{
    mproc_queue *it = queue_of(queue);
    return it && atomic_load(&it->closed);
}

static int change_roles(mproc_queue *queue, enum mproc_queue_role role,
                        int (*change)(mproc_queue *, struct member *, unsigned))
{
    struct member *self;
    int err = queue_enter(queue, &self);
    if (err < 0)
        return err;
    if (role < MPROC_QUEUE_WRITER || role > MPROC_QUEUE_WRITER_AND_READER)
        return -EINVAL;
    return change(queue, self, role);
}

int mproc_queue_attach(mproc_queue *queue, enum mproc_queue_role role)
{
    return change_roles(queue, role, roles_attach_slowly);
}

int mproc_queue_detach(mproc_queue *queue, enum mproc_queue_role role)
{
    return change_roles(queue, role, roles_detach);
}
