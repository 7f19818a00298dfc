/* Handles of pools: told from stale ones for ever. SPDX-License-Identifier: MIT */
#ifndef POOL_HANDLE_H
#define POOL_HANDLE_H

#include <mproc/pool.h>

struct pool;

/* Makes a handle for a pool. Returns NULL if MPROC_POOLS_MAX are in use. */
mproc_pool *handle_create(struct pool *pool);

/* The pool of a handle, which stays until handle_release. Returns 0; MPROC_E_CLOSED or MPROC_E_FORKED. */
int handle_acquire(mproc_pool *handle, struct pool **pool);
void handle_release(mproc_pool *handle);

/* True while somebody has acquired it. */
bool handle_is_used(mproc_pool *handle);

/* Makes the handle stale: later acquires fail. Those that came earlier are waited for, but for `before_waiting`, which
 * is called first (NULL: nothing). Returns 0 and the pool, which is the caller's to destroy; or as handle_acquire. */
int handle_close(mproc_pool *handle, struct pool **pool, void (*before_waiting)(void *pool));

#endif
