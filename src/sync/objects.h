/* What is in the public structs. SPDX-License-Identifier: MIT */
#ifndef SYNC_OBJECTS_H
#define SYNC_OBJECTS_H

#include "sync/lock_word.h"

#include <mproc/sync.h>

struct rlock {
    lock_word word;
    uint32_t depth; /* the holder's alone */
};

static inline lock_word *lock_of(mproc_lock *lock)
{
    _Static_assert(sizeof(mproc_lock) >= sizeof(lock_word), "it fits");
    return (lock_word *)(void *)lock;
}

static inline struct rlock *rlock_of(mproc_rlock *lock)
{
    _Static_assert(sizeof(mproc_rlock) >= sizeof(struct rlock), "it fits");
    return (struct rlock *)(void *)lock;
}

#endif
