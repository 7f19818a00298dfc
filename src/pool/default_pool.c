/* The pool of those who name none. SPDX-License-Identifier: MIT */
#include "pool/default_pool.h"

#include "pool/handle.h"
#include "pool/pool.h"
#include "process/task_context.h"

#include <mproc/error.h>
#include <stdatomic.h>
#include <stdlib.h>

/* No lock: a fork could catch it locked. Two threads that come first at the same time both open a pool, and the second
 * one closes its own again. In a forked child the handle is the parent's, which handle_acquire tells. */
static _Atomic(mproc_pool *) the_handle;

/* Broken ones, which are closed when nobody is in a call on them any more. Who finds out that one is broken may be in a
 * callback of such a call. */
static _Atomic(struct pool *) set_aside;

static mproc_pool *handle_of(const struct pool *pool)
{
    return (mproc_pool *)(uintptr_t)pool->handle;
}

/* By who has taken it out of the_handle, and nobody else. */
static void set_pool_aside(struct pool *pool)
{
    pool->next_set_aside = atomic_load(&set_aside);
    while (!atomic_compare_exchange_weak(&set_aside, &pool->next_set_aside, pool)) {
    }
}

static void close_set_aside(void)
{
    struct pool *pool = atomic_load_explicit(&set_aside, memory_order_relaxed);
    if (pool)
        pool = atomic_exchange(&set_aside, NULL);
    while (pool) {
        struct pool *next = pool->next_set_aside;
        if (handle_is_used(handle_of(pool)))
            set_pool_aside(pool);
        else
            mproc_pool_close(handle_of(pool));
        pool = next;
    }
}

static void end_at_exit(void)
{
    pool_end_with_program(atomic_load(&the_handle)); /* refused in a forked child, as it should be */
}

static int open_default(mproc_pool *stale, struct mproc_error *error)
{
    static atomic_flag registered = ATOMIC_FLAG_INIT;
    mproc_pool *handle;
    int err = mproc_pool_open(&handle, .error = error);
    if (err)
        return err;
    struct pool *broken;
    mproc_pool *before = stale;
    if (!atomic_compare_exchange_strong(&the_handle, &stale, handle)) {
        mproc_pool_close(handle);
    } else if (handle_acquire(before, &broken) == 0) {
        set_pool_aside(broken);
        handle_release(before);
    }
    if (!atomic_flag_test_and_set(&registered))
        atexit(end_at_exit);
    return 0;
}

int default_pool_acquire(mproc_pool **handle, struct pool **pool, struct mproc_error *error)
{
    static struct pool in_line;
    if (task_context && task_context->pool) {
        *handle = NULL;
        *pool = &in_line;
        return 0;
    }
    close_set_aside();
    for (;;) {
        mproc_pool *current = atomic_load(&the_handle);
        if (handle_acquire(current, pool) == 0) {
            if (!pool_is_broken(*pool)) {
                *handle = current;
                return 0;
            }
            handle_release(current);
        }
        int err = open_default(current, error);
        if (err)
            return err;
    }
}
