/* After a worker's death: whose item it was, and what goes back. SPDX-License-Identifier: MIT
 *
 * All of this runs in the supervisor, which is the only one that knows who is dead.
 */
#ifndef POOL_RECOVERY_H
#define POOL_RECOVERY_H

#include "pool/shared.h"

#include <sys/types.h>

struct recovery;

/* For one pool. Returns NULL if there is no memory. */
struct recovery *recovery_create(struct pool_shared *pool);

/* Settles what the dead worker of a slot had in hand: charges the item that it was running with the crash, and gives
 * back what it had taken beyond. `status` is that of waitpid. Ends the process where there is no memory left, which the
 * callers are told of as they are of its being killed. */
void recovery_worker_ended(struct recovery *recovery, unsigned slot, pid_t pid, int status);

/* Goes on with what had to be put off. Returns in how many nanoseconds it has to be called again, or -1. */
int64_t recovery_attend(struct recovery *recovery);

#endif
