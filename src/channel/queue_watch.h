/* Descriptors that tell of a queue's news, and looking whether there are any. SPDX-License-Identifier: MIT */
#ifndef CHANNEL_QUEUE_WATCH_H
#define CHANNEL_QUEUE_WATCH_H

#include "channel/queue.h"

/* Called where a process has found nothing: makes its descriptor unreadable until there are news. Returns true if it
 * was not so before, so that the caller looks once more. */
bool queue_watch_rearm(struct waiters *waiters);

/* Whether a get, or a put of no bytes, would return at once: 1 or 0, or a negative error, which it would return. */
int queue_can_get(mproc_queue *queue);
int queue_can_put(mproc_queue *queue);

#endif
