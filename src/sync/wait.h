/* Sleeping until news come, somebody dies, or the time is up. SPDX-License-Identifier: MIT */
#ifndef SYNC_WAIT_H
#define SYNC_WAIT_H

#include "memory/member.h"
#include "os/clock.h"

#include <stdatomic.h>
#include <stdint.h>

enum { WAIT_WATCHED_MOST = 16 };

/* Nothing that concerns a sleeper stays unseen for longer, whoever was killed on the way to wake it. */
#define WAIT_SLICE INT64_C(100000000)

/* The word to sleep on, and the threads whose end is to wake the sleeper. */
struct wait {
    _Atomic uint32_t *word;
    uint32_t expected;
    int64_t deadline;
    bool *woken;                 /* set to true if a wake-up on the word ended the sleep; may be NULL */
    bool only_beside_the_living; /* not at all if one that is watched has ended already */
    int watched;
    member_id watch[WAIT_WATCHED_MOST]; /* a thread that has ended already is not watched */
};

/* Sleeps while *word is expected. Returns 0 when there may be news: the word was another one, or a wake-up came, or a
 * watched thread ended, or WAIT_SLICE is over. -ETIMEDOUT if the deadline was over at the beginning or passed without
 * any of these; -EINTR. A wake-up that came is never hidden behind an error. */
int wait_sleep(const struct wait *wait);

#endif
