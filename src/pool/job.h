/* A job: what the workers see of one map. SPDX-License-Identifier: MIT */
#ifndef POOL_JOB_H
#define POOL_JOB_H

#include "pool/shared.h"

#include <stdbool.h>

/* Bytes of a struct job for so many workers. */
size_t job_size(unsigned workers);

/* Takes at least one and at most `most` items from the job's sources for a worker; fewer when little is left, so that
 * the others get some too. Returns false if there are none to take. Lock-free. */
bool job_claim(struct job *job, struct worker_slot *worker, unsigned workers, uint32_t most, struct claim *claim);

/* Ends a worker's claim: adds the number of items that have ended to its tally. */
void job_settle(struct worker_slot *worker, struct job_tally *tally, uint32_t ended);

/* True if all items have ended. Any process that can see the job may ask. */
bool job_is_done(const struct job *job, unsigned workers);

/* Empties the sources, so that no more items start; returns what was left in the first. */
struct range job_cancel(struct job *job);

/* Says that the job is over, and wakes the caller that waits for it. A worker that dies between the two leaves the
 * waking to the supervisor (announce_again in recovery.c), the supervisor leaves it to the kernel. */
void job_announce(struct job_slot *slot);

#endif
