/* What the random test of pools shares. SPDX-License-Identifier: MIT */
#ifndef POOL_SOAK_H
#define POOL_SOAK_H

#include "harness.h"

#include <mproc.h>
#include <stdatomic.h>

/* In memory that the test and its callers share. */
struct totals {
    _Atomic long operations, items, ok, crashed, timed_out, cancelled, lost; /* items by their outcomes */
    _Atomic long pools, broken, terminated;
    _Atomic int stop; /* callers are to come to an end */
};

/* In a process of its own: opens pools and calls all that there is, in several threads, until it is told to stop; exits
 * with 0 then, and with another status, having said why, as soon as it finds something wrong. With `bytes`, tasks have
 * bytes as results, of which some are left in the heap if the caller is killed. */
_Noreturn void be_caller(struct totals *totals, unsigned seed, bool bytes);

#endif
