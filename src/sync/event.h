/* What waiting for many needs to know of events. SPDX-License-Identifier: MIT */
#ifndef SYNC_EVENT_H
#define SYNC_EVENT_H

#include <mproc/sync.h>
#include <stdatomic.h>

/* Not 0: whoever sets the event tells those who watch it (sync/watch.h). */
_Atomic uint32_t *event_watched(mproc_event *event);

#endif
