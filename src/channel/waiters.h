/* Those who wait for news of one kind. SPDX-License-Identifier: MIT
 *
 * One word: in its lower half the number of the last news, in its upper half how many announced that they are about to
 * sleep and were not given news since. Both change in one step, so that whoever finds that it need not sleep after all
 * knows whether its announcement is still counted. Derived: killed sleepers stay counted, which costs a system call
 * each.
 *
 * Who brings news stores them first and then looks at the word; who is about to sleep announces it and then looks for
 * news. Both orders are sequentially consistent, so that one of them sees the other. Who is killed between the two
 * leaves a sleeper that looks again within WAIT_SLICE (sync/wait.h).
 */
#ifndef CHANNEL_WAITERS_H
#define CHANNEL_WAITERS_H

#include "sync/wait.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct waiters {
    _Atomic uint64_t word;
    _Atomic uint32_t watched; /* not 0: some process polls a descriptor (channel/watch.h); only grows */
};

/* Wakes at most `count` that sleep, and tells those who poll. */
void waiters_tell_slowly(struct waiters *waiters, uint32_t count);

/* The caller has just released a lock by a sequentially consistent operation. */
static inline void waiters_tell(struct waiters *waiters, uint32_t count)
{
    if (__builtin_expect((atomic_load(&waiters->word) >> 32) != 0 || atomic_load(&waiters->watched) != 0, 0))
        waiters_tell_slowly(waiters, count);
}

/* Announces that the caller is about to sleep. Returns the number of the last news. */
uint32_t waiters_announce(struct waiters *waiters);

/* Takes the announcement back, if no news came since. */
void waiters_withdraw(struct waiters *waiters, uint32_t seen);

/* Sleeps until news come, as wait_sleep; `wait` says which threads to watch, and the deadline. The announcement is
 * taken back if none came. */
int waiters_sleep(struct waiters *waiters, uint32_t seen, struct wait *wait);

#endif
