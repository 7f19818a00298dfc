/* Reader-writer lock. SPDX-License-Identifier: MIT
 *
 * Truth: who writes, and how often each thread reads; each changes by one store. The next writer's place is a wish: if
 * that thread dies, gives up or is stopped, somebody else takes it.
 */
#include "memory/member.h"
#include "memory/publish.h"
#include "memory/region.h"
#include "memory/sweep.h"
#include "os/futex.h"
#include "sync/holders.h"
#include "sync/monitor.h"

#include <errno.h>
#include <limits.h>
#include <mproc/sync.h>

/* Everything is changed inside the monitor only. */
struct rwlock {
    lock_word monitor;
    _Atomic uint64_t writer, next_writer;
    _Atomic uint32_t changes;  /* what sleepers sleep on */
    _Atomic uint32_t sleepers; /* at least as many as there are; dead ones may stay counted */
    _Atomic uint32_t inconsistent;
    _Atomic int64_t wished; /* when the next writer was last awake, by the monotonic clock */
    struct holders readers; /* by thread */
};

_Static_assert(sizeof(mproc_rwlock) >= sizeof(struct rwlock), "it fits");

static struct rwlock *of(mproc_rwlock *lock)
{
    return (struct rwlock *)(void *)lock;
}

/* Memory that was never zeroed has something else where the list of readers goes on. */
static int check(mproc_rwlock *lock)
{
    if (!lock)
        return -EINVAL;
    void *more = atomic_load(&of(lock)->readers.more);
    return more && !memory_is_block(more, sizeof(struct more_holders)) ? MPROC_E_NOT_INITIALISED : 0;
}

static void enter_surely(struct rwlock *it, member_id self)
{
    if (lock_word_acquire_surely(&it->monitor, self) == MPROC_E_OWNER_DIED)
        lock_word_mark_consistent(&it->monitor, self); /* there is nothing derived */
}

static int enter(struct rwlock *it, member_id self, int64_t deadline)
{
    int result = monitor_enter(&it->monitor, self, deadline);
    if (result == MPROC_E_OWNER_DIED)
        lock_word_mark_consistent(&it->monitor, self);
    return result == MPROC_E_OWNER_DIED ? 0 : result;
}

/* Leaves, and wakes all if they may go on now: which of them can is found out by trying. */
static void leave(struct rwlock *it, member_id self, bool wake)
{
    bool sleepers = wake && atomic_load(&it->sleepers) > 0;
    if (sleepers)
        atomic_fetch_add(&it->changes, 1);
    monitor_leave(&it->monitor, self);
    if (sleepers)
        os_futex_wake(&it->changes, INT_MAX);
}

static void drop_dead(struct rwlock *it)
{
    member_id writer = atomic_load(&it->writer), next = atomic_load(&it->next_writer);
    if (writer && !member_is_alive(writer)) {
        sweep_publishing(region_existing(), writer);
        atomic_store(&it->inconsistent, 1);
        atomic_store(&it->writer, 0);
    }
    /* One that waits looks up every WAIT_SLICE. */
    if (next && (!member_is_alive(next) || os_now() - atomic_load(&it->wished) > 4 * WAIT_SLICE))
        atomic_store(&it->next_writer, 0);
}

/* Forgets dead readers; returns true if there are living ones. */
static bool has_readers(struct rwlock *it)
{
    bool any = false;
    struct holders_walk walk = { &it->readers, NULL, 0 };
    for (struct holder *holder; (holder = holders_next(&walk));) {
        if (atomic_load(&holder->count) == 0)
            continue;
        if (member_is_alive(atomic_load(&holder->id)))
            any = true;
        else
            atomic_store(&holder->count, 0);
    }
    return any;
}

/* 0, -EAGAIN if it has to wait, or an error. */
static int try_read(struct rwlock *it, member_id self)
{
    if (atomic_load(&it->writer) == self)
        return -EDEADLK;
    struct holder *mine = holders_find(&it->readers, self);
    if (!mine && (atomic_load(&it->writer) || atomic_load(&it->next_writer)))
        return -EAGAIN;
    if (mine && atomic_load(&mine->count) == UINT32_MAX)
        return -EOVERFLOW;
    if (!mine) {
        has_readers(it); /* makes room */
        mine = holders_unused(&it->readers);
        if (!mine)
            return -ENOMEM;
        atomic_store(&mine->id, self);
    }
    atomic_fetch_add(&mine->count, 1);
    return 0;
}

static int try_write(struct rwlock *it, member_id self)
{
    if (atomic_load(&it->writer) == self || holders_find(&it->readers, self))
        return -EDEADLK;
    member_id next = atomic_load(&it->next_writer);
    if (!atomic_load(&it->writer) && !has_readers(it) && (next == 0 || next == self)) {
        atomic_store(&it->writer, self);
        atomic_store(&it->next_writer, 0);
        return 0;
    }
    if (next == 0 || next == self) {
        atomic_store(&it->wished, os_now());
        atomic_store(&it->next_writer, self);
    }
    return -EAGAIN;
}

/* Leaves, sleeps, enters. */
static int sleep_outside(struct rwlock *it, member_id self, int64_t deadline)
{
    struct wait wait = { .word = &it->changes, .expected = atomic_load(&it->changes), .deadline = deadline };
    member_id writer = atomic_load(&it->writer), next = atomic_load(&it->next_writer);
    if (writer)
        wait.watch[wait.watched++] = writer;
    if (next && next != self)
        wait.watch[wait.watched++] = next;
    struct holders_walk walk = { &it->readers, NULL, 0 };
    for (struct holder *holder; wait.watched < WAIT_WATCHED_MOST && (holder = holders_next(&walk));)
        if (atomic_load(&holder->count) != 0)
            wait.watch[wait.watched++] = atomic_load(&holder->id);
    atomic_fetch_add(&it->sleepers, 1);
    monitor_leave(&it->monitor, self);
    int err = wait_sleep(&wait);
    enter_surely(it, self);
    if (atomic_load(&it->sleepers) > 0)
        atomic_fetch_sub(&it->sleepers, 1);
    return err;
}

static int acquire(mproc_rwlock *lock, int64_t timeout, int (*try)(struct rwlock *, member_id))
{
    int wrong = check(lock);
    if (wrong)
        return wrong;
    struct rwlock *it = of(lock);
    struct member *self = member_self();
    if (!self)
        return -ENOMEM;
    int64_t deadline = os_deadline(timeout);
    int err = enter(it, self->id, deadline), result;
    if (err < 0)
        return err;
    for (;;) {
        drop_dead(it);
        result = try(it, self->id);
        if (result != -EAGAIN || err < 0)
            break;
        err = sleep_outside(it, self->id, deadline);
    }
    bool gave_up = result == -EAGAIN && atomic_load(&it->next_writer) == self->id;
    if (gave_up)
        atomic_store(&it->next_writer, 0);
    if (result == 0 && atomic_load(&it->inconsistent))
        result = MPROC_E_OWNER_DIED;
    leave(it, self->id, gave_up);
    return result == -EAGAIN ? err : result;
}

int mproc_rwlock_acquire_read(mproc_rwlock *lock, int64_t timeout)
{
    return acquire(lock, timeout, try_read);
}

int mproc_rwlock_acquire_write(mproc_rwlock *lock, int64_t timeout)
{
    return acquire(lock, timeout, try_write);
}

int mproc_rwlock_release(mproc_rwlock *lock)
{
    int wrong = check(lock);
    if (wrong)
        return wrong;
    struct rwlock *it = of(lock);
    struct member *self = member_self();
    if (!self)
        return -ENOMEM;
    int result = 0;
    enter_surely(it, self->id);
    struct holder *mine = holders_find(&it->readers, self->id);
    if (atomic_load(&it->writer) == self->id)
        atomic_store(&it->writer, 0);
    else if (mine)
        atomic_fetch_sub(&mine->count, 1);
    else
        result = MPROC_E_NOT_OWNER;
    leave(it, self->id, result == 0);
    return result;
}

int mproc_rwlock_mark_consistent(mproc_rwlock *lock)
{
    int wrong = check(lock);
    if (wrong)
        return wrong;
    struct rwlock *it = of(lock);
    struct member *self = member_self();
    if (!self)
        return -ENOMEM;
    int result = 0;
    enter_surely(it, self->id);
    if (atomic_load(&it->writer) != self->id)
        result = MPROC_E_NOT_OWNER;
    else if (!atomic_exchange(&it->inconsistent, 0))
        result = -EINVAL;
    leave(it, self->id, false);
    return result;
}

int mproc_rwlock_destroy(mproc_rwlock *lock)
{
    int wrong = check(lock);
    if (wrong)
        return wrong;
    holders_destroy(&of(lock)->readers);
    return 0;
}
