/* Who writes to a queue and who reads from it. SPDX-License-Identifier: MIT
 *
 * An entry's `count` holds its roles and is its truth; its `id` is the process. `mark` is not
 * MARK_OWN as long as the entry is reserved for another process.
 */
#include "channel/roles.h"

#include "sync/monitor.h"

#include <errno.h>

enum { MARK_OWN = 0 };

_Thread_local struct role_memory role_memory[ROLE_MEMORY] __attribute__((tls_model("initial-exec")));

/* Each entry is true by itself, so a dead holder leaves nothing to repair. */
static void enter(mproc_queue *queue, struct member *self)
{
    if (lock_word_acquire_surely(&queue->roles_lock, self->id) == MPROC_E_OWNER_DIED)
        lock_word_mark_consistent(&queue->roles_lock, self->id);
}

static void leave(mproc_queue *queue, struct member *self)
{
    lock_word_release(&queue->roles_lock, self->id);
}

/* One that adopted roles may have several entries. */
static struct holder *next_own(struct holders_walk *walk, member_id process)
{
    for (struct holder *holder; (holder = holders_next(walk));)
        if (atomic_load(&holder->count) && atomic_load(&holder->id) == process &&
            atomic_load(&holder->mark) == MARK_OWN)
            return holder;
    return NULL;
}

/* One that is reserved may be adopted just now, by a process that does not enter: it is theirs who change `id` first,
 * here to what is nobody's. */
static void forget_dead(mproc_queue *queue)
{
    struct holders_walk walk = { &queue->roles, NULL, 0 };
    for (struct holder *holder; (holder = holders_next(&walk));) {
        uint64_t id = atomic_load(&holder->id);
        if (atomic_load(&holder->count) && !member_process_is_alive(id) &&
            atomic_compare_exchange_strong(&holder->id, &id, 0))
            atomic_store(&holder->count, 0);
    }
}

/* Inside. */
static struct holder *add(mproc_queue *queue, member_id process, unsigned roles, uint32_t mark)
{
    forget_dead(queue);
    struct holder *holder = holders_unused(&queue->roles);
    if (!holder)
        return NULL;
    atomic_store(&holder->id, process);
    atomic_store(&holder->mark, mark);
    atomic_store(&holder->count, roles);
    return holder;
}

int roles_attach_slowly(mproc_queue *queue, struct member *self, unsigned roles)
{
    uint64_t epoch = atomic_load(&queue->epoch);
    enter(queue, self);
    struct holders_walk walk = { &queue->roles, NULL, 0 };
    struct holder *own = next_own(&walk, self->process_id);
    if (own)
        atomic_fetch_or(&own->count, roles);
    else
        own = add(queue, self->process_id, roles, MARK_OWN);
    unsigned has = own ? atomic_load(&own->count) : 0;
    leave(queue, self);
    if (!own)
        return -ENOMEM;
    *role_memory_of(queue) = (struct role_memory) { queue, epoch, self->process_id, has };
    return 0;
}

/* Whoever waits for what will not come is told. */
static void tell_all(mproc_queue *queue)
{
    waiters_tell(&queue->readers, UINT32_MAX);
    waiters_tell(&queue->writers, UINT32_MAX);
    waiters_tell(&queue->joiners, UINT32_MAX);
}

int roles_detach(mproc_queue *queue, struct member *self, unsigned roles)
{
    enter(queue, self);
    struct holders_walk walk = { &queue->roles, NULL, 0 };
    for (struct holder *own; (own = next_own(&walk, self->process_id));)
        atomic_fetch_and(&own->count, ~roles);
    atomic_fetch_add(&queue->epoch, 1);
    leave(queue, self);
    tell_all(queue);
    return 0;
}

/* Looks again if the process that was looked at is not the holder any more: another one may have adopted the role
 * before that one ended. */
static bool is_held(struct holder *holder, unsigned role)
{
    uint64_t id;
    do {
        id = atomic_load(&holder->id);
        if (!(atomic_load(&holder->count) & role))
            return false;
        if (member_process_is_alive(id))
            return true;
    } while (atomic_load(&holder->id) != id);
    return false;
}

bool roles_alive(mproc_queue *queue, unsigned role)
{
    struct holders_walk walk = { &queue->roles, NULL, 0 };
    for (struct holder *holder; (holder = holders_next(&walk));)
        if (is_held(holder, role))
            return true;
    return false;
}

void roles_watch(mproc_queue *queue, unsigned role, struct wait *wait)
{
    struct holders_walk walk = { &queue->roles, NULL, 0 };
    for (struct holder *holder; wait->watched < WAIT_WATCHED_MOST && (holder = holders_next(&walk));)
        if (atomic_load(&holder->count) & role)
            wait->watch[wait->watched++] = atomic_load(&holder->id);
}

bool roles_reserve(mproc_queue *queue, struct member *self, unsigned roles, struct role_reservation *reservation)
{
    enter(queue, self);
    if (++queue->reservations == MARK_OWN)
        queue->reservations++;
    struct holder *holder = add(queue, self->process_id, roles, queue->reservations);
    *reservation = (struct role_reservation) { queue, holder, self->process_id, queue->reservations };
    leave(queue, self);
    return holder != NULL;
}

/* The entry may have been given to somebody else, if the process that reserved it has ended. */
void roles_adopt(const struct role_reservation *reservation, struct member *self)
{
    member_id by = reservation->by;
    if (atomic_load(&reservation->holder->mark) == reservation->token &&
        atomic_compare_exchange_strong(&reservation->holder->id, &by, self->process_id))
        atomic_store(&reservation->holder->mark, MARK_OWN);
}

void roles_drop(const struct role_reservation *reservation, struct member *self)
{
    mproc_queue *queue = queue_of(reservation->queue);
    if (!queue)
        return;
    enter(queue, self);
    struct holder *holder = reservation->holder;
    if (atomic_load(&holder->id) == self->process_id && atomic_load(&holder->mark) == reservation->token)
        atomic_store(&holder->count, 0);
    leave(queue, self);
    tell_all(queue);
}
