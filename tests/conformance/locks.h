/* What the suites of locks share. SPDX-License-Identifier: MIT */
#ifndef LOCKS_H
#define LOCKS_H

#include "parties.h"

#include <stdatomic.h>

enum { MANY = 4, TIMES = 5000 };

/* In the shared heap, as users would have it. */
struct shared {
    mproc_lock lock;
    mproc_rlock rlock;
    mproc_condition condition, other;
    mproc_event event, answer;
    mproc_rwlock rwlock;
    long counter, copy;
    _Atomic int ready, done, inside;
    _Atomic int waiters[MANY]; /* their thread ids */
    int items;
};

static struct shared *shared;

static inline void begin(void)
{
    shared = mproc_calloc(1, sizeof *shared);
    assert_non_null(shared);
}

static inline void end(void)
{
    mproc_rwlock_destroy(&shared->rwlock);
    assert_int_equal(mproc_free(shared), 0);
}

static inline void wait_ready(int count)
{
    while (atomic_load(&shared->ready) < count)
        harness_sleep_ms(1);
}

#endif
