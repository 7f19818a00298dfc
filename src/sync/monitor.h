/* A lock around an object's own words, and what to do when somebody died inside. SPDX-License-Identifier: MIT
 *
 * Objects of more than one word have a truth that changes by single stores, and values derived from it. Whoever enters
 * after a death derives them anew and goes on.
 */
#ifndef SYNC_MONITOR_H
#define SYNC_MONITOR_H

#include "os/clock.h"
#include "sync/lock_word.h"
#include "sync/wait.h"

#include <mproc/error.h>

/* Enters for a call with that deadline, however short that is: others are inside for a moment only. Returns 0,
 * MPROC_E_OWNER_DIED (inside; to be repaired), -ETIMEDOUT or -EINTR. */
static inline int monitor_enter(lock_word *monitor, member_id self, int64_t deadline)
{
    if (lock_word_try(monitor, self))
        return 0;
    int64_t patient = os_now() + WAIT_SLICE;
    return lock_word_acquire_slowly(monitor, self, deadline > patient ? deadline : patient);
}

static inline void monitor_leave(lock_word *monitor, member_id self)
{
    lock_word_release(monitor, self);
}

#endif
