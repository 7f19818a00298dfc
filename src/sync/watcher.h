/* Descriptors of this process that become readable at news of an object. SPDX-License-Identifier: MIT
 *
 * Each is an epoll descriptor around the socket that news are sent to (sync/watch.h), and a timer: ten times a second
 * it asks for a look, as one who had news may have been killed before it sent them. All timers of all processes go off
 * at the same moments.
 */
#ifndef SYNC_WATCHER_H
#define SYNC_WATCHER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* This process's descriptor for the object, which is readable at first; `watched` is set so that others look whom to
 * tell. Returns it, or -errno. */
int watcher_open(const void *object, _Atomic uint32_t *watched);

/* Closes it; does nothing if there is none. */
void watcher_close(const void *object);

/* For one who has looked and found nothing: makes the descriptor unreadable until there are news. True if it was not so
 * before; the caller then looks again. False if this process has no descriptor for the object. */
bool watcher_rearm(const void *object);

#endif
