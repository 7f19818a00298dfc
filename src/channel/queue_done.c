/* Being done with what was taken. SPDX-License-Identifier: MIT */
#include "channel/claims.h"
#include "channel/offer.h"
#include "channel/queue.h"
#include "channel/roles.h"
#include "os/clock.h"

#include <errno.h>
#include <mproc/error.h>

/* What others have taken may be delivered again. One who is not done itself does not wait for that: two such would wait
 * for each other. */
int queue_is_over(mproc_queue *queue, member_id self)
{
    bool closed = atomic_load(&queue->closed);
    if (!closed && roles_alive(queue, MPROC_QUEUE_WRITER))
        return 0;
    if (queue->redeliver && claims_any(queue, self) && !claims_of(queue, self))
        return 0;
    return closed ? MPROC_E_CLOSED : MPROC_E_NO_WRITERS;
}

/* Those who wait for a message only because it might come back are told, too, that it will not. */
void queue_tell_done(mproc_queue *queue)
{
    waiters_tell(&queue->joiners, UINT32_MAX);
    if (queue->redeliver && (atomic_load(&queue->closed) || !roles_alive(queue, MPROC_QUEUE_WRITER)))
        waiters_tell(&queue->readers, UINT32_MAX);
}

int mproc_queue_task_done(mproc_queue *queue)
{
    struct member *self;
    int err = queue_enter(queue, &self);
    if (err < 0)
        return err;
    if (!queue->joinable)
        return -EINVAL;
    /* Under the lock, so that two threads of one process do not find the same. */
    queue_lock_get_surely(queue, self->id);
    struct claim *claim = claims_oldest(queue, self->process_id, CLAIM_TAKEN);
    if (claim)
        claim_set_phase(claim, self, CLAIM_RELEASING);
    queue_unlock(&queue->get_lock, self->id);
    if (!claim)
        return MPROC_E_RELEASED_TOO_OFTEN;
    claim_release(queue, claim, self);
    return 0;
}

/* Under get_lock: nothing to take, and nothing that is not done. */
static bool all_is_done(mproc_queue *queue, struct member *self)
{
    struct offer offer;
    claims_recover(queue, self);
    return !find_offer(queue, &offer) && !claims_any(queue, 0);
}

static int joined(mproc_queue *queue)
{
    uint64_t lost = atomic_load(&queue->lost);
    return atomic_exchange(&queue->lost_told, lost) == lost ? 0 : MPROC_E_MESSAGES_LOST;
}

/* 0: it goes on. */
static int look(mproc_queue *queue, struct member *self, int64_t deadline, bool *done)
{
    int over = roles_alive(queue, MPROC_QUEUE_READER) ? 0 : MPROC_E_NO_READERS;
    int err = queue_lock_get(queue, self->id, deadline);
    if (err < 0)
        return err;
    *done = all_is_done(queue, self);
    bool returned = atomic_load(&queue->returned) != 0;
    queue_unlock(&queue->get_lock, self->id);
    if (returned)
        waiters_tell(&queue->readers, UINT32_MAX);
    return *done ? joined(queue) : over;
}

int mproc_queue_join(mproc_queue *queue, int64_t timeout)
{
    struct member *self;
    int err = queue_enter(queue, &self);
    if (err < 0)
        return err;
    if (!queue->joinable)
        return -EINVAL;
    int64_t deadline = os_deadline(timeout);
    for (;;) {
        bool done = false;
        uint32_t seen = waiters_announce(&queue->joiners);
        int result = look(queue, self, deadline, &done);
        if (!done && result == 0)
            result = deadline == 0 ? -ETIMEDOUT : err;
        if (done || result < 0) {
            waiters_withdraw(&queue->joiners, seen);
            return result;
        }
        struct wait wait = { .deadline = deadline };
        roles_watch(queue, MPROC_QUEUE_READER, &wait);
        err = waiters_sleep(&queue->joiners, seen, &wait);
    }
}
