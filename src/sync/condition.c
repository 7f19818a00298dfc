/* Condition. SPDX-License-Identifier: MIT
 *
 * The state is two numbers in one word: how many notifications there were, which sleepers sleep on, and how many
 * wake-ups are still to be had. Who wakes takes one, and goes on sleeping if there is none, so that as many return as
 * were notified. A wake-up that a dead thread was to take is there for another one, who finds it when he looks again.
 * Only one who waited before a notification takes one.
 */
#include "os/futex.h"
#include "sync/objects.h"
#include "sync/wait.h"

#include <errno.h>
#include <limits.h>
#include <mproc/error.h>

struct condition {
    _Atomic uint64_t state;   /* lower half: notifications; upper half: wake-ups to be had */
    _Atomic uint32_t waiters; /* at least as many as there are; dead ones stay counted */
};

_Static_assert(sizeof(mproc_condition) >= sizeof(struct condition), "it fits");

static struct condition *of(mproc_condition *condition)
{
    return (struct condition *)(void *)condition;
}

static _Atomic uint32_t *notifications(struct condition *it)
{
    return (_Atomic uint32_t *)(void *)&it->state;
}

/* With the lock held, so that one that is killed before it has the lock leaves the wake-up to another one. */
static bool take_wake_up(struct condition *it, uint32_t before)
{
    uint64_t seen = atomic_load(&it->state);
    while ((uint32_t)seen != before && seen >> 32 > 0)
        if (atomic_compare_exchange_weak(&it->state, &seen, seen - (UINT64_C(1) << 32)))
            return true;
    return false;
}

/* Sleeps until there seems to be a wake-up. */
static int sleep_until_notified(struct condition *it, uint32_t before, int64_t deadline)
{
    struct wait wait = { .word = notifications(it), .deadline = deadline };
    for (;;) {
        uint64_t seen = atomic_load(&it->state);
        if ((uint32_t)seen != before && seen >> 32 > 0)
            return 0;
        wait.expected = (uint32_t)seen;
        int err = wait_sleep(&wait);
        if (err < 0)
            return err;
    }
}

static int wait_with(mproc_condition *condition, lock_word *lock, int64_t timeout)
{
    struct member *self = member_current();
    struct condition *it = of(condition);
    if (!self || lock_word_holder(lock) != self->id)
        return MPROC_E_NOT_OWNER;
    int64_t deadline = os_deadline(timeout);
    atomic_fetch_add(&it->waiters, 1);
    uint32_t before = (uint32_t)atomic_load(&it->state);
    int err, result;
    for (;;) {
        lock_word_release(lock, self->id);
        err = sleep_until_notified(it, before, deadline);
        result = lock_word_acquire_surely(lock, self->id);
        if (take_wake_up(it, before)) {
            err = 0;
            break;
        }
        if (err < 0 || result < 0)
            break;
    }
    atomic_fetch_sub(&it->waiters, 1);
    return result ? result : err;
}

int mproc_condition_wait(mproc_condition *condition, mproc_lock *lock, int64_t timeout)
{
    return condition && lock ? wait_with(condition, lock_of(lock), timeout) : -EINVAL;
}

int mproc_condition_wait_rlock(mproc_condition *condition, mproc_rlock *lock, int64_t timeout)
{
    if (!condition || !lock)
        return -EINVAL;
    struct rlock *rlock = rlock_of(lock);
    uint32_t depth = rlock->depth;
    int result = wait_with(condition, &rlock->word, timeout);
    if (result != MPROC_E_NOT_OWNER)
        rlock->depth = depth;
    return result;
}

int mproc_condition_wait_for(mproc_condition *condition, mproc_lock *lock, bool (*predicate)(void *), void *argument,
                             int64_t timeout)
{
    if (!condition || !lock || !predicate)
        return -EINVAL;
    struct member *self = member_current();
    if (!self || lock_word_holder(lock_of(lock)) != self->id)
        return MPROC_E_NOT_OWNER;
    int64_t deadline = os_deadline(timeout);
    while (!predicate(argument)) {
        int result = mproc_condition_wait(condition, lock, os_left(deadline));
        if (result != 0)
            return predicate(argument) && result == -ETIMEDOUT ? 0 : result;
    }
    return 0;
}

int mproc_condition_notify(mproc_condition *condition, int count)
{
    struct condition *it = of(condition);
    if (!it || count < 0)
        return -EINVAL;
    uint64_t waiters = atomic_load(&it->waiters), seen = atomic_load(&it->state), next;
    if (waiters == 0 || count == 0)
        return 0;
    do {
        uint64_t wake_ups = (seen >> 32) + (uint64_t)count;
        next = (wake_ups < waiters ? wake_ups : waiters) << 32 | (uint32_t)(seen + 1);
    } while (!atomic_compare_exchange_weak(&it->state, &seen, next));
    os_futex_wake(notifications(it), count);
    return 0;
}

int mproc_condition_notify_all(mproc_condition *condition)
{
    return mproc_condition_notify(condition, INT_MAX);
}
