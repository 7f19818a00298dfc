/* Descriptors that tell of a queue's news. SPDX-License-Identifier: MIT */
#ifndef CHANNEL_QUEUE_WATCH_H
#define CHANNEL_QUEUE_WATCH_H

#include "channel/queue.h"

/* Called where a process has found nothing: makes its descriptor unreadable until there are news. Returns true if it
 * was not so before, so that the caller looks once more. */
bool queue_watch_rearm(struct waiters *waiters);

#endif
