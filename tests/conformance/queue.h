/* What the suites of queues share. SPDX-License-Identifier: MIT */
#ifndef TESTS_QUEUE_H
#define TESTS_QUEUE_H

#include "parties.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* What the parties see of each other. */
struct shared {
    mproc_queue *queue;
    _Atomic int ready, go, done;
    _Atomic int64_t sum, count;
};

extern struct shared *shared;

static inline void wait_for(_Atomic int *number, int least)
{
    while (atomic_load(number) < least)
        harness_sleep_ms(1);
}

#define begin_with(...)                                                                                                \
    do {                                                                                                               \
        shared = mproc_calloc(1, sizeof *shared);                                                                      \
        assert_non_null(shared);                                                                                       \
        assert_int_equal(mproc_queue_create(&shared->queue, __VA_ARGS__), 0);                                          \
    } while (0)

#define begin_unlimited() begin_with(.messages = 0)

static inline void end(void)
{
    assert_int_equal(mproc_queue_free(shared->queue), 0);
    assert_int_equal(mproc_free(shared), 0);
}

static inline int put_number(int64_t number, int64_t timeout)
{
    return mproc_queue_put(shared->queue, &number, sizeof number, timeout);
}

/* The next number; negative: an error. */
static inline int64_t get_number(int64_t timeout)
{
    int64_t number = 0;
    size_t size;
    int err = mproc_queue_get(shared->queue, &number, sizeof number, &size, timeout);
    return err < 0 ? err : size != sizeof number ? -EBADMSG : number;
}

/* Bytes that tell where they come from. */
static inline void fill(unsigned char *bytes, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)((seed + i) * 37 + (i >> 8));
}

static inline bool is_filled(const unsigned char *bytes, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != (unsigned char)((seed + i) * 37 + (i >> 8)))
            return false;
    return true;
}

#endif
