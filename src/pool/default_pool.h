/* The pool of those who name none. SPDX-License-Identifier: MIT */
#ifndef POOL_DEFAULT_POOL_H
#define POOL_DEFAULT_POOL_H

#include <mproc/pool.h>

struct pool;

/* This process's default pool, opened if need be. *handle is for handle_release, or NULL where there is nothing to
 * release: inside a task, where the pool is serial. Returns 0, or what mproc_pool_open does with *error filled. */
int default_pool_acquire(mproc_pool **handle, struct pool **pool, struct mproc_error *error);

#endif
