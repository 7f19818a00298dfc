/* The lock that every other one is made of: one word that knows its owner. SPDX-License-Identifier: MIT
 *
 *   bit  0      somebody may be sleeping on it
 *   bit  1      an owner died, and nobody has said since that what the lock guards is in order
 *   bits 2-63   the owner's member id; 0: free
 *
 * The word is the only truth. Acquiring and releasing are one compare-and-swap each. A dead owner is recognised by its
 * id, so that a survivor can replace it by itself in one step. The kernel's sleep looks at the lower half of the word.
 */
#ifndef SYNC_LOCK_WORD_H
#define SYNC_LOCK_WORD_H

#include "memory/member.h"

#include <stdatomic.h>
#include <stdint.h>

#define LOCK_SLEEPERS UINT64_C(1)
#define LOCK_INCONSISTENT UINT64_C(2)

typedef _Atomic uint64_t lock_word;

/* Returns 0, MPROC_E_OWNER_DIED (held), MPROC_E_NOT_INITIALISED, -ETIMEDOUT or -EINTR. */
int lock_word_acquire_slowly(lock_word *lock, member_id self, int64_t deadline);

/* The same, whatever signals come, and without limit. Returns 0 or MPROC_E_OWNER_DIED. */
int lock_word_acquire_surely(lock_word *lock, member_id self);

/* Returns 0 or MPROC_E_NOT_LOCKED. */
int lock_word_release_slowly(lock_word *lock);

int lock_word_mark_consistent(lock_word *lock, member_id self);

pid_t lock_word_owner(lock_word *lock);

static inline bool lock_word_try(lock_word *lock, member_id self)
{
    uint64_t free = 0;
    return atomic_compare_exchange_strong_explicit(lock, &free, self, memory_order_acquire, memory_order_relaxed);
}

static inline int lock_word_release(lock_word *lock, member_id self)
{
    uint64_t mine = self;
    if (self && atomic_compare_exchange_strong_explicit(lock, &mine, 0, memory_order_release, memory_order_relaxed))
        return 0;
    return lock_word_release_slowly(lock);
}

static inline member_id lock_word_holder(lock_word *lock)
{
    return atomic_load_explicit(lock, memory_order_relaxed) & ~MEMBER_FLAGS;
}

#endif
