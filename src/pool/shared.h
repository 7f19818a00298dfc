/* What a pool's processes share. SPDX-License-Identifier: MIT
 *
 * Everything here may be looked at by a survivor after any process was killed at any instruction. So each structure has
 * one truth, which changes by single atomic stores, and the rest is derived from it.
 *
 * THE ITEMS OF A JOB
 *
 * Truth: an item is in exactly one of these places.
 *   1. ended:     its status is not ITEM_PENDING
 *   2. waiting:   its index lies in a `source` of the job, the range [next, end) of items that nobody has taken yet
 *   3. returned:  in the supervisor's private list of ranges that it is about to put into a source
 *   4. taken:     in the claim of a live worker, in state CLAIM_OWNED
 *   5. orphaned:  none of these, because the worker that took it was killed
 * An item is taken by moving a source's `next` with compare-and-swap. A worker first publishes the range that it is
 * after (CLAIM_INTENT), then moves `next`, then publishes that the range is its own (CLAIM_OWNED). Killed in
 * CLAIM_INTENT, it leaves open whether it had moved `next`. The supervisor finds out by elimination: an item of that
 * range which is in none of the first four places is orphaned, once no live worker is itself in CLAIM_INTENT on it
 * (src/pool/recovery.c).
 *
 * Derived: how many items have ended. Each worker counts its own, so that there is no shared counter to lose;
 * `done_before` is the count as it was before the current claim, so that the supervisor can redo the sum for a worker
 * that was killed.
 *
 * THE LIFE OF A JOB
 *
 * A bit in `active` says that a job may be entered. A worker enters by publishing the job's index in its slot and then
 * looking at the bit again; the caller leaves by clearing the bit and then looking at all the slots. One of the two
 * sees the other (both sides are sequentially consistent), so the job's memory is reused only when nobody is in it.
 */
#ifndef POOL_SHARED_H
#define POOL_SHARED_H

#include "os/futex.h"

#include <mproc/outcome.h>
#include <mproc/pool.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum {
    POOL_JOBS = 64,        /* maps that run at a time on one pool: one bit each in a word */
    JOB_SOURCES = 16,      /* the first is the input; the others hold ranges that dead workers had taken */
    CACHE_LINE_PAIR = 128, /* CPUs prefetch lines in pairs */
    WORKER_WORDS = MPROC_WORKERS_MAX / 64,
};

#define NOT_RUNNING UINT32_MAX /* value of worker_slot.running; no item has this index */

#define JOB_ITEMS_MAX ((size_t)1 << 31)

/* Nanoseconds that an idle worker, and the caller of a map, look for news before they sleep: about what it costs to be
 * woken. */
#define POOL_SPIN INT64_C(50000)

enum item_status { ITEM_PENDING = 0, ITEM_OK, ITEM_FAILED, ITEM_CRASHED };

/* A range of items in one word. */
struct range {
    uint32_t next, end;
};

static inline uint64_t range_pack(struct range range)
{
    return (uint64_t)range.end << 32 | range.next;
}

static inline struct range range_unpack(uint64_t word)
{
    return (struct range) { (uint32_t)word, (uint32_t)(word >> 32) };
}

/* A claim in one word: first item (31 bits), number of items (25), index of the job (6), state (2). The job is part of
 * it so that the supervisor, which reads the claims of workers that are running, never takes one for another job's. */
enum claim_state { CLAIM_NONE = 0, CLAIM_INTENT, CLAIM_OWNED };
enum { CLAIM_ITEMS_MAX = (1 << 25) - 1 };

struct claim {
    uint32_t first, count;
    uint32_t job;
    enum claim_state state;
};

static inline uint64_t claim_pack(struct claim claim)
{
    return (uint64_t)claim.first << 33 | (uint64_t)claim.count << 8 | (uint64_t)claim.job << 2 | claim.state;
}

static inline struct claim claim_unpack(uint64_t word)
{
    return (struct claim) {
        .first = (uint32_t)(word >> 33),
        .count = (uint32_t)(word >> 8) & CLAIM_ITEMS_MAX,
        .job = (uint32_t)(word >> 2) & (POOL_JOBS - 1),
        .state = (enum claim_state)(word & 3),
    };
}

static inline struct range claim_range(const struct claim *claim)
{
    return (struct range) { claim->first, claim->first + claim->count };
}

struct job {
    /* Constant while the job is active. */
    int (*call)(const void *input, void *output);
    const char *input;
    char *output;
    size_t input_size, output_size;
    uint32_t n, chunk;              /* chunk 0: adapt */
    uint32_t index;                 /* in pool_shared.jobs */
    _Atomic uint8_t *status;        /* n of enum item_status. Written by the item's worker; after its death by the
                                       supervisor. Never changes back to ITEM_PENDING */
    struct mproc_outcome *outcomes; /* n, or NULL. Written before the item's status; meaningful if that is ITEM_FAILED
                                       or ITEM_CRASHED */

    _Alignas(CACHE_LINE_PAIR) _Atomic uint32_t cancelled; /* set by the caller: stop between items */
    _Atomic uint32_t any_unsuccessful; /* set before the first status that is not ITEM_OK; derived, saves a search */

    /* [0] is set by the caller before the job is active. The others are filled, when empty, by the supervisor only. All
     * are emptied from below by workers, and at once by the caller when it cancels. */
    _Alignas(CACHE_LINE_PAIR) _Atomic uint64_t sources[JOB_SOURCES];

    /* By worker slot: items that ended in this slot. Written by the slot's worker; after its death by the supervisor.
     */
    struct job_tally {
        _Alignas(CACHE_LINE_PAIR) _Atomic uint64_t done;
    } tallies[];
};

/* Set in job_slot.waiting when there is nothing to wait for any more. The bit is the kernel's: it sets the same one. */
#define JOB_OVER FUTEX_OWNER_DIED

struct job_slot {
    /* A robust word of the supervisor's. Always holds its thread id (threads: 1), until the kernel takes it out because
     * the supervisor has died: so a caller that comes after that death sees it too. JOB_OVER is set by whoever finds
     * the job done, or by the kernel; and cleared by the next job's caller, by compare-and-swap, as long as the id is
     * there. */
    _Alignas(64) struct os_robust_word waiting;
    struct job *job; /* written by the caller while the job is not active */
};

struct worker_slot {
    _Alignas(CACHE_LINE_PAIR) _Atomic uint32_t pid; /* 0: no worker. Written by the supervisor */
    /* The rest is written by the worker; after its death by the supervisor. */
    _Atomic uint32_t job;         /* 1 + index of the job that it is in, or 0 */
    _Atomic uint32_t running;     /* the item whose task was called, or NOT_RUNNING */
    _Atomic uint64_t claim;       /* of items of that job */
    _Atomic uint64_t done_before; /* its tally in that job when it published the claim */
};

enum pool_state { POOL_OPEN = 0, POOL_CLOSING, POOL_TERMINATING, POOL_NO_WORKERS };

struct pool_shared {
    /* Constant. */
    uint32_t workers;
    pid_t supervisor; /* 0: threads. Set by the supervisor as it begins */
    int64_t spin;     /* nanoseconds an idle worker looks for work before it sleeps; 0 on one CPU */

    /* Goes from POOL_OPEN to one of the others and never back. Written by the caller; POOL_NO_WORKERS by the
     * supervisor, after `reason`. */
    _Alignas(CACHE_LINE_PAIR) _Atomic uint32_t state;
    _Atomic int32_t reason; /* -errno with POOL_NO_WORKERS */

    /* Jobs that may be entered, by index. Written by the caller's threads. */
    _Alignas(CACHE_LINE_PAIR) _Atomic uint64_t active;
    /* Jobs that the supervisor is looking into; it may not be freed. Written by the supervisor. */
    _Atomic uint64_t supervised;

    /* Futex: grows with every reason to look for work. */
    _Alignas(CACHE_LINE_PAIR) _Atomic uint32_t wake;
    /* Derived; wrong only in ways that cost a system call or a little time. */
    _Alignas(CACHE_LINE_PAIR) _Atomic uint32_t spinner; /* 1 + slot of the worker that spins, or 0 */
    _Alignas(64) _Atomic uint64_t asleep[WORKER_WORDS]; /* workers that sleep, or are about to */

    struct job_slot jobs[POOL_JOBS];
    struct worker_slot slots[];
};

static inline size_t pool_shared_size(unsigned workers)
{
    return sizeof(struct pool_shared) + workers * sizeof(struct worker_slot);
}

#endif
