/* Descriptors of starts under way. SPDX-License-Identifier: MIT
 *
 * Whoever holds a copy of a process's leash or report socket keeps the process from being killed, or the server from
 * reaping it. So a child that another thread forks while a start is under way has to close them. For that it has to
 * know of each, from the instant at which it is opened.
 */
#ifndef PROCESS_TIES_H
#define PROCESS_TIES_H

#include "process/start.h"

/* Between the two no other thread forks. */
void ties_begin_change(void);
void ties_end_change(void);

/* Within a change: from now on the start's descriptors are closed in forked children. */
void ties_add(struct start *start);

/* To be called for each start in the end; nothing if it was not added. */
void ties_remove(struct start *start);

/* What this thread forks from here to ties_leave is the start's own process, which needs them. */
void ties_enter(struct start *start);
void ties_leave(void);

#endif
