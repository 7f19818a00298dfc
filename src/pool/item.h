/* Running one item. SPDX-License-Identifier: MIT */
#ifndef POOL_ITEM_H
#define POOL_ITEM_H

#include "process/task_context.h"

#include <stdbool.h>

/* Marks the calling thread as running tasks of a pool, until item_leave. */
void item_enter(struct task_context *context, const void *pool);
void item_leave(struct task_context *context);

/* Writes the outcome of a task that returned code, not 0, in this thread. */
void item_write_failure(const struct task_context *context, int code, struct mproc_outcome *outcome);

#endif
