/* Sleeping until news come. SPDX-License-Identifier: MIT */
#include "sync/wait.h"

#include "os/clock.h"
#include "os/futex.h"

#include <errno.h>
#include <limits.h>

/* Fills what to sleep on; returns how many words, 0 not to sleep. A life word that changes between here and the sleep
 * ends it at once.
 */
static int gather(const struct wait *wait, struct os_futex_word *words)
{
    int count = 0;
    words[count++] = (struct os_futex_word) { wait->word, wait->expected };
    for (int i = 0; i < wait->watched; i++) {
        struct os_futex_word *word = &words[count];
        word->word = member_life_word(wait->watch[i], &word->expected);
        if (member_is_alive(wait->watch[i]))
            count++;
        else if (wait->only_beside_the_living)
            return 0;
    }
    return count;
}

int wait_sleep(const struct wait *wait)
{
    struct os_futex_word words[1 + WAIT_WATCHED_MOST];
    int64_t now = wait->deadline == 0 ? 0 : os_now();
    if (now >= wait->deadline)
        return -ETIMEDOUT;
    bool last = wait->deadline - now <= WAIT_SLICE;
    int64_t slice = last ? wait->deadline - now : WAIT_SLICE;
    int count = gather(wait, words);
    if (count == 0)
        return 0;
    int result = os_futex_wait_any(words, count, now + slice, slice);
    if (wait->woken && result == 0)
        *wait->woken = true;
    if (result > 0) /* the kernel wakes one sleeper only for a thread that has ended */
        os_futex_wake(words[result].word, INT_MAX);
    if (result == -EINTR || (result == -ETIMEDOUT && last))
        return result;
    return 0;
}
