/* Which pools the calling thread is in the midst of a call on. SPDX-License-Identifier: MIT */
#include "pool/inside.h"

#include "pool/pool.h"

static _Thread_local struct inside *innermost;

void inside_enter(struct inside *inside, struct pool *pool)
{
    *inside = (struct inside) { innermost, pool ? pool->handle : NULL, pool };
    innermost = inside;
}

void inside_leave(const struct inside *inside)
{
    innermost = inside->outer;
}

struct pool *inside_find(const mproc_pool *handle)
{
    const struct inside *inside = innermost;
    while (inside && (!inside->handle || inside->handle != handle))
        inside = inside->outer;
    return inside ? inside->pool : NULL;
}
