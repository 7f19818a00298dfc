/* Handles of pools. SPDX-License-Identifier: MIT */
#include "pool/handle.h"

#include "sync/handles.h"

static struct handle_place places[MPROC_POOLS_MAX];
static struct handles handles = { .places = places, .count = MPROC_POOLS_MAX };

mproc_pool *handle_create(struct pool *pool)
{
    return handles_create(&handles, pool);
}

int handle_acquire(mproc_pool *handle, struct pool **pool)
{
    void *object;
    int err = handles_acquire(&handles, handle, &object);
    if (!err)
        *pool = object;
    return err;
}

void handle_release(mproc_pool *handle)
{
    handles_release(&handles, handle);
}

bool handle_is_used(mproc_pool *handle)
{
    return handles_is_used(&handles, handle);
}

int handle_close(mproc_pool *handle, struct pool **pool, void (*before_waiting)(void *pool))
{
    void *object;
    int err = handles_close(&handles, handle, &object, before_waiting);
    if (!err)
        *pool = object;
    return err;
}
