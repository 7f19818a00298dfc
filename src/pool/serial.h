/* Maps in line. SPDX-License-Identifier: MIT */
#ifndef POOL_SERIAL_H
#define POOL_SERIAL_H

#include "pool/pool.h"

/* Runs the items in the calling thread, one after the other. As mproc_map. */
int serial_map(struct pool *pool, const struct mproc_map_arguments *map, const struct mproc_task *task);

#endif
