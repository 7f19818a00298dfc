/* The lock that every other one is made of. SPDX-License-Identifier: MIT */
#include "sync/lock_word.h"

#include "memory/region.h"
#include "memory/sweep.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/futex.h"
#include "sync/wait.h"

#include <errno.h>
#include <mproc/error.h>

enum { SPINS = 100 };

static _Atomic uint32_t *low_half(lock_word *lock)
{
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the lower half comes first");
    return (_Atomic uint32_t *)(void *)lock;
}

/* Takes the lock if it is free or its owner is dead, or finds that it is no lock; `seen` is what it holds, and is
 * loaded anew on failure. `flag`: LOCK_SLEEPERS if others may sleep whom nobody else would wake. */
static bool take(lock_word *lock, member_id self, uint64_t *seen, uint64_t flag, int *result)
{
    member_id owner = *seen & ~MEMBER_FLAGS;
    if (owner != 0 && !member_was_ever(owner)) {
        *result = MPROC_E_NOT_INITIALISED;
        return true;
    }
    if (owner != 0 && member_is_alive(owner))
        return false;
    if (owner != 0) /* before the lock is taken, so that it is done under the lock whoever dies */
        sweep_publishing(region_existing(), owner);
    uint64_t mine = self | (*seen & MEMBER_FLAGS) | flag | (owner ? LOCK_INCONSISTENT : 0);
    if (!atomic_compare_exchange_strong_explicit(lock, seen, mine, memory_order_acquire, memory_order_relaxed))
        return false;
    *result = mine & LOCK_INCONSISTENT ? MPROC_E_OWNER_DIED : 0;
    return true;
}

/* Waits for the lock without sleeping, for about as long as a short critical section takes. */
static bool spin(lock_word *lock, member_id self, int *result)
{
    for (int i = 0; i < SPINS; i++) {
        uint64_t seen = atomic_load_explicit(lock, memory_order_relaxed);
        if ((seen & ~MEMBER_FLAGS) == 0 && take(lock, self, &seen, 0, result))
            return true;
        os_cpu_relax();
    }
    return false;
}

/* One who slept and gives up may have had the wake-up that another one needs. */
static void pass_on(lock_word *lock)
{
    uint64_t seen = atomic_load_explicit(lock, memory_order_relaxed);
    while ((seen & ~MEMBER_FLAGS) != 0)
        if (atomic_compare_exchange_weak_explicit(lock, &seen, seen | LOCK_SLEEPERS, memory_order_relaxed,
                                                  memory_order_relaxed))
            return;
    os_futex_wake(low_half(lock), 1);
}

static int sleep_on(lock_word *lock, uint64_t seen, int64_t deadline)
{
    if (!(seen & LOCK_SLEEPERS) && !atomic_compare_exchange_strong_explicit(lock, &seen, seen | LOCK_SLEEPERS,
                                                                            memory_order_relaxed, memory_order_relaxed))
        return 0;
    struct wait wait = { .word = low_half(lock),
                         .expected = (uint32_t)(seen | LOCK_SLEEPERS),
                         .deadline = deadline,
                         .only_beside_the_living = true,
                         .watched = 1,
                         .watch = { seen & ~MEMBER_FLAGS } };
    return wait_sleep(&wait);
}

int lock_word_acquire_slowly(lock_word *lock, member_id self, int64_t deadline)
{
    int result, err = 0;
    uint64_t flag = 0;
    uint64_t seen = atomic_load_explicit(lock, memory_order_relaxed);
    if (deadline != 0 && (seen & ~MEMBER_FLAGS) != 0 && spin(lock, self, &result))
        return result;
    for (;;) {
        seen = atomic_load_explicit(lock, memory_order_relaxed);
        do {
            if (take(lock, self, &seen, flag, &result))
                return result;
        } while ((seen & ~MEMBER_FLAGS) == 0);
        if (err < 0) {
            if (flag)
                pass_on(lock);
            return err;
        }
        err = deadline == 0 ? -ETIMEDOUT : sleep_on(lock, seen, deadline);
        flag = deadline == 0 ? 0 : LOCK_SLEEPERS;
    }
}

int lock_word_acquire_surely(lock_word *lock, member_id self)
{
    int result;
    if (lock_word_try(lock, self))
        return 0;
    do
        result = lock_word_acquire_slowly(lock, self, INT64_MAX);
    while (result == -EINTR);
    return result;
}

/* Killed between the two steps, it leaves sleepers that were watching it, or that look again within WAIT_SLICE. */
int lock_word_release_slowly(lock_word *lock)
{
    uint64_t seen = atomic_load_explicit(lock, memory_order_relaxed), free;
    do {
        member_id owner = seen & ~MEMBER_FLAGS;
        if (owner == 0)
            return MPROC_E_NOT_LOCKED;
        if (!member_was_ever(owner))
            return MPROC_E_NOT_INITIALISED;
        free = (seen & LOCK_INCONSISTENT) | (member_is_alive(owner) ? 0 : LOCK_INCONSISTENT);
    } while (!atomic_compare_exchange_weak_explicit(lock, &seen, free, memory_order_release, memory_order_relaxed));
    if (seen & LOCK_SLEEPERS)
        os_futex_wake(low_half(lock), 1);
    return 0;
}

int lock_word_mark_consistent(lock_word *lock, member_id self)
{
    uint64_t seen = atomic_load_explicit(lock, memory_order_relaxed);
    if ((seen & ~MEMBER_FLAGS) != self)
        return MPROC_E_NOT_OWNER;
    if (!(seen & LOCK_INCONSISTENT))
        return -EINVAL;
    while (!atomic_compare_exchange_weak_explicit(lock, &seen, seen & ~LOCK_INCONSISTENT, memory_order_relaxed,
                                                  memory_order_relaxed))
        if ((seen & ~MEMBER_FLAGS) != self)
            return MPROC_E_NOT_OWNER; /* another one has released it in the meantime */
    return 0;
}

pid_t lock_word_owner(lock_word *lock)
{
    member_id owner = lock_word_holder(lock);
    return owner && member_was_ever(owner) && member_is_alive(owner) ? member_pid(owner) : 0;
}
