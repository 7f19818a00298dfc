/* After a worker's death: whose item it was, and what goes back. SPDX-License-Identifier: MIT
 *
 * All of this runs in the supervisor, which is the only one that knows who is dead.
 */
#ifndef POOL_RECOVERY_H
#define POOL_RECOVERY_H

#include "pool/shared.h"
#include "process/supervisor.h"

struct recovery;

/* For one pool. Returns NULL if there is no memory. */
struct recovery *recovery_create(struct pool_shared *pool);

/* Settles what the dead worker of a slot had in hand: charges the item that it was running with `verdict`, or has it
 * tried again, and gives back what it had taken beyond. Ends the process where there is no memory left, which the
 * callers are told of as they are of its being killed. */
void recovery_worker_ended(struct recovery *recovery, unsigned slot, const struct supervisor_death *death,
                           enum mproc_outcome_kind verdict);

/* Goes on with what had to be put off. Returns in how many nanoseconds it has to be called again, or -1. */
int64_t recovery_attend(struct recovery *recovery);

#endif
