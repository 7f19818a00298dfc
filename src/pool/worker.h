/* A worker: looks for jobs, runs their items, sleeps. SPDX-License-Identifier: MIT */
#ifndef POOL_WORKER_H
#define POOL_WORKER_H

#include "pool/shared.h"

/* Works in a slot until the pool closes. In a worker process, or in a worker thread. */
void worker_run(struct pool_shared *pool, unsigned slot);

/* Makes idle workers look for work: wakes at most `count` of those that sleep. */
void worker_call(struct pool_shared *pool, unsigned count);

#endif
