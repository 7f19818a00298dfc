/* Event. SPDX-License-Identifier: MIT
 *
 *   bit  0      set
 *   bit  1      somebody may be sleeping
 *   bits 2-31   how often it was set, so that a sleeper sees one that was set and cleared in the meantime
 *
 * Behind it a word that is not 0 once some process has asked for a descriptor, or waits for several things.
 */
#include "sync/event.h"
#include "os/futex.h"
#include "sync/wait.h"
#include "sync/watch.h"
#include "sync/watcher.h"

#include <errno.h>
#include <limits.h>
#include <mproc/sync.h>

enum { EVENT_SET = 1, EVENT_SLEEPERS = 2, EVENT_ONCE = 4 };

static _Atomic uint32_t *of(const mproc_event *event)
{
    return (_Atomic uint32_t *)(void *)(uintptr_t)event;
}

_Atomic uint32_t *event_watched(mproc_event *event)
{
    _Static_assert(sizeof *event == 2 * sizeof(uint32_t), "both words fit");
    return of(event) + 1;
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
    int saved = errno;
    if (seen & EVENT_SLEEPERS)
        os_futex_wake(of(event), INT_MAX);
    if (atomic_load(event_watched(event)) != 0)
        watch_tell(event);
    errno = saved;
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
        if (err < 0 && !(deadline == 0 && atomic_load(event_watched(event)) != 0 && watcher_rearm(event)))
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

int mproc_event_fd(mproc_event *event)
{
    return event ? watcher_open(event, event_watched(event)) : -EINVAL;
}

int mproc_event_fd_close(mproc_event *event)
{
    if (!event)
        return -EINVAL;
    watcher_close(event);
    return 0;
}
