/* Lock and recursive lock. SPDX-License-Identifier: MIT */
#include "sync/lock_word.h"
#include "sync/objects.h"
#include "sync/wait.h"

#include <errno.h>
#include <mproc/error.h>
#include <mproc/sync.h>

int mproc_lock_acquire(mproc_lock *lock, int64_t timeout)
{
    member_id id = member_current_id();
    if (!lock)
        return -EINVAL;
    if (id && lock_word_try(lock_of(lock), id))
        return 0;
    struct member *self = member_self();
    if (!self)
        return -ENOMEM;
    return lock_word_acquire_slowly(lock_of(lock), self->id, os_deadline(timeout));
}

int mproc_lock_release(mproc_lock *lock)
{
    return lock ? lock_word_release(lock_of(lock), member_current_id()) : -EINVAL;
}

int mproc_lock_mark_consistent(mproc_lock *lock)
{
    struct member *self = member_current();
    if (!lock)
        return -EINVAL;
    return self ? lock_word_mark_consistent(lock_of(lock), self->id) : MPROC_E_NOT_OWNER;
}

pid_t mproc_lock_owner(const mproc_lock *lock)
{
    return lock ? lock_word_owner(lock_of((mproc_lock *)lock)) : 0;
}

int mproc_rlock_acquire(mproc_rlock *lock, int64_t timeout)
{
    if (!lock)
        return -EINVAL;
    struct rlock *rlock = rlock_of(lock);
    struct member *self = member_self();
    if (!self)
        return -ENOMEM;
    if (lock_word_holder(&rlock->word) == self->id) {
        if (rlock->depth == UINT32_MAX)
            return -EOVERFLOW;
        rlock->depth++;
        return atomic_load_explicit(&rlock->word, memory_order_relaxed) & LOCK_INCONSISTENT ? MPROC_E_OWNER_DIED : 0;
    }
    int result = 0;
    if (!lock_word_try(&rlock->word, self->id))
        result = lock_word_acquire_slowly(&rlock->word, self->id, os_deadline(timeout));
    if (result == 0 || result == MPROC_E_OWNER_DIED)
        rlock->depth = 1; /* a dead owner's depth means nothing */
    return result;
}

int mproc_rlock_release(mproc_rlock *lock)
{
    struct member *self = member_current();
    if (!lock)
        return -EINVAL;
    struct rlock *rlock = rlock_of(lock);
    member_id holder = lock_word_holder(&rlock->word);
    if (!self || holder != self->id)
        return holder ? MPROC_E_NOT_OWNER : MPROC_E_NOT_LOCKED;
    if (--rlock->depth > 0)
        return 0;
    return lock_word_release(&rlock->word, self->id);
}

int mproc_rlock_mark_consistent(mproc_rlock *lock)
{
    struct member *self = member_current();
    if (!lock)
        return -EINVAL;
    return self ? lock_word_mark_consistent(&rlock_of(lock)->word, self->id) : MPROC_E_NOT_OWNER;
}

pid_t mproc_rlock_owner(const mproc_rlock *lock)
{
    return lock ? lock_word_owner(&rlock_of((mproc_rlock *)lock)->word) : 0;
}
