/* A worker: looks for jobs, runs their items, sleeps. SPDX-License-Identifier: MIT */
#ifndef POOL_WORKER_H
#define POOL_WORKER_H

#include "pool/shared.h"

/* Works in a slot until the pool closes or the worker is to be replaced. In a worker process, or in a worker thread.
 * Returns 0; or what the initializer returned if it failed, in which case no item was touched. */
int worker_run(struct pool_shared *pool, unsigned slot);

/* How many pools the calling thread is within. */
extern _Thread_local unsigned worker_depth;

/* Makes a slot that was never used ready for use. For who starts workers. */
void worker_slot_format(struct worker_slot *slot);

/* Before a worker is started in a slot. */
void worker_slot_begin(struct worker_slot *slot, uint32_t pid);

/* Counts the time that a worker was at work, which it is not any more. By itself, or after its death. */
void worker_slot_rest(struct worker_slot *slot, int64_t now);

/* Says where the slots end that were ever used. */
void worker_slots_raise(struct pool_shared *pool, unsigned count);

#endif
