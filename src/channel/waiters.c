/* Those who wait for news of one kind. SPDX-License-Identifier: MIT */
#include "channel/waiters.h"

#include "os/futex.h"
#include "sync/watch.h"

#include <errno.h>
#include <limits.h>

#define ONE_SLEEPER (UINT64_C(1) << 32)

/* The kernel's sleep looks at the lower half. */
static _Atomic uint32_t *news_of(struct waiters *waiters)
{
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the lower half comes first");
    return (_Atomic uint32_t *)(void *)&waiters->word;
}

void waiters_tell_slowly(struct waiters *waiters, uint32_t count)
{
    uint64_t seen = atomic_load(&waiters->word), told;
    uint32_t sleepers;
    do {
        sleepers = (uint32_t)(seen >> 32);
        if (sleepers > count)
            sleepers = count;
        told = ((seen >> 32) - sleepers) << 32 | (uint32_t)((uint32_t)seen + 1);
    } while (sleepers != 0 && !atomic_compare_exchange_weak(&waiters->word, &seen, told));
    int saved = errno, most = sleepers > INT_MAX ? INT_MAX : (int)sleepers;
    /* If fewer sleep, then nobody does: the others that were counted have ended, or looked again by themselves. Who has
     * announced itself since has changed the word. */
    if (most > 0 && os_futex_wake(news_of(waiters), most) < most)
        atomic_compare_exchange_strong(&waiters->word, &told, (uint32_t)told);
    if (atomic_load(&waiters->watched) != 0)
        watch_tell(waiters);
    errno = saved;
}

uint32_t waiters_announce(struct waiters *waiters)
{
    uint32_t seen = (uint32_t)atomic_fetch_add(&waiters->word, ONE_SLEEPER);
    atomic_thread_fence(memory_order_seq_cst);
    return seen;
}

void waiters_withdraw(struct waiters *waiters, uint32_t seen)
{
    uint64_t word = atomic_load(&waiters->word);
    while ((uint32_t)word == seen && (word >> 32) != 0)
        if (atomic_compare_exchange_weak(&waiters->word, &word, word - ONE_SLEEPER))
            return;
}

int waiters_sleep(struct waiters *waiters, uint32_t seen, struct wait *wait)
{
    bool woken = false;
    wait->word = news_of(waiters);
    wait->expected = seen;
    wait->woken = &woken;
    int err = wait_sleep(wait);
    /* Woken, its announcement was used, though the news may have had the number that it saw: it slept with that, while
     * they were on their way to another one. */
    if (!woken)
        waiters_withdraw(waiters, seen);
    return err;
}
