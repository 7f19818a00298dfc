/* Which pools the calling thread is in the midst of a call on. SPDX-License-Identifier: MIT
 *
 * A caller's function that a call on a pool calls, such as .on_done, may use that pool, also while another thread is
 * closing it; but it may not close it, which would wait for the very call that it is in.
 */
#ifndef POOL_INSIDE_H
#define POOL_INSIDE_H

#include <mproc/pool.h>

struct pool;

/* On the stack of the call. */
struct inside {
    struct inside *outer;
    const void *handle;
    struct pool *pool;
};

/* Around a call of the caller's function. `pool`: NULL in line, in a task. */
void inside_enter(struct inside *inside, struct pool *pool);
void inside_leave(const struct inside *inside);

/* The pool of that handle, if the thread is inside a call on it; else NULL. */
struct pool *inside_find(const mproc_pool *handle);

#endif
