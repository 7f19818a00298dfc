/* Stopping items that run: too long, in a cancelled call, or with too much memory. SPDX-License-Identifier: MIT
 *
 * All of this runs in the supervisor.
 */
#ifndef POOL_LIMITS_H
#define POOL_LIMITS_H

#include "pool/shared.h"

#include <stdbool.h>

struct limits;

/* For one pool. Returns NULL if there is no memory. */
struct limits *limits_create(struct pool_shared *pool);

/* Looks at all workers, and does what it is time for. Returns in how many nanoseconds it has to look again, or -1. */
int64_t limits_attend(struct limits *limits);

/* How an item ends whose worker has ended while it ran it: as it was to be stopped, or MPROC_CRASHED. */
enum mproc_outcome_kind limits_verdict(const struct limits *limits, unsigned slot);

#endif
