/* Calls whose items the calling thread runs itself. SPDX-License-Identifier: MIT */
#ifndef POOL_IN_LINE_H
#define POOL_IN_LINE_H

#include "pool/work.h"

/* A serial pool's initializer and finalizer. Opening returns 0 or -ENOMEM; closing 0 or MPROC_E_WORKERS_FAIL. */
int in_line_open(struct pool *pool, const struct mproc_pool_open_arguments *arguments);
int in_line_close(struct pool *pool);

/* Runs all items of a call, one after the other. */
void in_line_run(struct work *work, struct pool *pool);

#endif
