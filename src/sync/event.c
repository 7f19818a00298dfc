/* Event. SPDX-License-Identifier: MIT
 *
 *   bit  0      set
 *   bit  1      somebody may be sleeping
 *   bits 2-31   how often it was set, so that a sleeper sees one that was set and cleared in the meantime
 */
#include "os/futex.h"
#include "sync/wait.h"

#include <errno.h>
#include <limits.h>
#include <mproc/sync.h>

enum { EVENT_SET = 1, EVENT_SLEEPERS = 2, EVENT_ONCE = 4 };

static _Atomic uint32_t *of(const mproc_event *event)
{
    return (_Atomic uint32_t *)(void *)(uintptr_t)event;
}

int mproc_event_set(mproc_event *event)
{
    if (!event)
        return -EINVAL;
    uint32_t seen = atomic_load(of(event));
    do {
        if (seen & EVENT_SET)
            return 0;
    } while (!atomic_compare_exchange_weak(of(event), &seen, ((seen & ~(uint32_t)EVENT_SLEEPERS) + EVENT_ONCE) | 1));
    if (seen & EVENT_SLEEPERS) {
        int saved = errno;
        os_futex_wake(of(event), INT_MAX);
        errno = saved;
    }
    return 0;
}

int mproc_event_clear(mproc_event *event)
{
    if (!event)
        return -EINVAL;
    atomic_fetch_and(of(event), ~(uint32_t)EVENT_SET);
    return 0;
}

bool mproc_event_is_set(const mproc_event *event)
{
    return event && (atomic_load(of(event)) & EVENT_SET);
}

int mproc_event_wait(mproc_event *event, int64_t timeout)
{
    if (!event)
        return -EINVAL;
    uint32_t seen = atomic_load(of(event)), times = seen / EVENT_ONCE;
    int64_t deadline = os_deadline(timeout);
    int err = 0;
    while (!(seen & EVENT_SET) && seen / EVENT_ONCE == times) {
        if (err < 0)
            return err;
        if ((seen & EVENT_SLEEPERS) || deadline == 0 ||
            atomic_compare_exchange_strong(of(event), &seen, seen | EVENT_SLEEPERS)) {
            struct wait wait = { .word = of(event), .expected = seen | EVENT_SLEEPERS, .deadline = deadline };
            err = wait_sleep(&wait);
        }
        seen = atomic_load(of(event));
    }
    return 0;
}
