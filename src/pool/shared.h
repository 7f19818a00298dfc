/* What a pool's processes share. SPDX-License-Identifier: MIT
 *
 * Everything here may be looked at by a survivor after any process was killed at any instruction. So each structure has
 * one truth, which changes by single atomic stores, and the rest is derived from it.
 *
 * THE ITEMS OF A JOB
 *
 * A job is one call. Truth: an item is in exactly one of these places.
 *   1. ended:     its status is not ITEM_PENDING
 *   2. waiting:   its index lies in a `source` of the job, the range [next, end) of items that nobody has taken yet
 *   3. returned:  in the supervisor's private list of ranges that it is about to put into a source
 *   4. taken:     in the claim of a live worker, in state CLAIM_OWNED
 *   5. orphaned:  none of these, because the worker that took it was killed
 * An item is taken by moving a source's `next` with compare-and-swap. A worker first publishes the range that it is
 * after (CLAIM_INTENT), then moves `next`, then publishes that the range is its own (CLAIM_OWNED). Killed in
 * CLAIM_INTENT, it leaves open whether it had moved `next`. The supervisor finds out by elimination: an item of that
 * range which is in none of the first four places is orphaned, once no live worker is itself in CLAIM_INTENT on it
 * (src/pool/recovery.c). Who cancels a job empties the sources into its own hands (a sixth place, until `cancelled` is
 * CANCEL_DONE) and ends those items.
 *
 * Derived: that all items have ended, by looking at their statuses. Whoever ends the last one finds that out.
 *
 * THE LIFE OF A JOB
 *
 * A bit in `active` says that a job may be entered. A worker enters by publishing the job's index in its slot and then
 * looking at the bit again; the caller leaves by clearing the bit and then looking at all the slots. One of the two
 * sees the other (both sides are sequentially consistent), so the job's memory is reused only when nobody is in it.
 *
 * A bit in `open`, and one in `summary` above it, say where there may be items to take. Derived from the sources, and
 * again after each death: whoever fills a source sets them afterwards; who finds all sources empty clears them and then
 * looks at the sources again.
 *
 * HANDING A JOB OVER
 *
 * The word `spinner` holds 1 + the slot of the worker that spins, and above it 1 + the index of a job that it was
 * handed, by compare-and-swap, instead of putting a bit into `open`: so a small job costs its caller and the worker one
 * line. A worker that has been handed a job publishes it in its slot, as that it is in it, before it gives up the role;
 * if it dies, the supervisor puts the job's bit into `open`. Whoever finds more to do than it can, puts it there, too.
 *
 * STOPPING AN ITEM THAT RUNS
 *
 * Signals must hit the item that they are meant for and not the next one. The word `stop` of a worker's slot holds the
 * number of the item that it runs, and one of the states below, which change only as the arrows say:
 *   worker:     STOP_NONE of the next number -> ... -> STOP_ENDED
 *   supervisor: STOP_NONE -> STOP_ASKED -> STOP_DOOMED
 * all by compare-and-swap. Once it is STOP_DOOMED the worker starts nothing any more but ends, and the supervisor,
 * which has seen to that, says how the item ended.
 */
#ifndef POOL_SHARED_H
#define POOL_SHARED_H

#include "memory/member.h"
#include "pool/histogram.h"

#include <mproc/outcome.h>
#include <mproc/pool.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    POOL_JOBS = MPROC_BACKLOG_MAX,
    JOB_WORDS = POOL_JOBS / 64, /* as many as a summary has bits */
    POOL_LEVELS = 2 * MPROC_PRIORITY_MAX + 1,
    JOB_GIVEN_BACK = 15,
    JOB_SPREAD_MOST = 16,
    JOB_SOURCES_MOST = 1 + JOB_SPREAD_MOST + JOB_GIVEN_BACK,
    POOL_BELLS = 64,       /* words to sleep on, for the jobs of one remainder each ... */
    BELL_ANY = POOL_BELLS, /* ... and one for those who wait for several jobs, or for a place */
    CACHE_LINE_PAIR = 128, /* CPUs prefetch lines in pairs */
    WORKER_WORDS = MPROC_WORKERS_MAX / 64,
};

_Static_assert(JOB_WORDS == 64, "one bit of a summary for each word");

#define NOT_RUNNING UINT32_MAX /* value of worker_slot.running; no item has this index */

#define JOB_ITEMS_MAX ((size_t)1 << 31)

/* Nanoseconds that an idle worker looks for news before it sleeps: about what it costs to be woken. The caller of a map
 * looks for longer, so that it is still awake if a worker had to be woken first. */
#define POOL_SPIN INT64_C(50000)
#define CALLER_SPIN INT64_C(100000)

/* An item's status: ITEM_PENDING, or how it ended. */
enum { ITEM_PENDING = 0 };

static inline uint8_t item_status(enum mproc_outcome_kind kind)
{
    return (uint8_t)(kind + 1);
}

static inline enum mproc_outcome_kind item_kind(uint8_t status)
{
    return (enum mproc_outcome_kind)(status - 1);
}

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

/* A claim in one word: first item (31 bits), number of items (19), index of the job (12), state (2). The job is part of
 * it so that the supervisor, which reads the claims of workers that are running, never takes one for another job's. */
enum claim_state { CLAIM_NONE = 0, CLAIM_INTENT, CLAIM_OWNED };
enum { CLAIM_JOB_BITS = 12, CLAIM_COUNT_BITS = 19, CLAIM_ITEMS_MAX = (1 << CLAIM_COUNT_BITS) - 1 };

_Static_assert(POOL_JOBS <= 1 << CLAIM_JOB_BITS, "a claim names its job");

struct claim {
    uint32_t first, count;
    uint32_t job;
    enum claim_state state;
};

static inline uint64_t claim_pack(struct claim claim)
{
    return (uint64_t)claim.first << (CLAIM_COUNT_BITS + CLAIM_JOB_BITS + 2) |
           (uint64_t)claim.count << (CLAIM_JOB_BITS + 2) | (uint64_t)claim.job << 2 | claim.state;
}

static inline struct claim claim_unpack(uint64_t word)
{
    return (struct claim) {
        .first = (uint32_t)(word >> (CLAIM_COUNT_BITS + CLAIM_JOB_BITS + 2)),
        .count = (uint32_t)(word >> (CLAIM_JOB_BITS + 2)) & CLAIM_ITEMS_MAX,
        .job = (uint32_t)(word >> 2) & (POOL_JOBS - 1),
        .state = (enum claim_state)(word & 3),
    };
}

static inline struct range claim_range(const struct claim *claim)
{
    return (struct range) { claim->first, claim->first + claim->count };
}

/* What was measured of an item. Written by its worker: `started` and what is in front of it before the task is called,
 * the rest before its status; after the worker's death by the supervisor. */
struct item_record {
    uint32_t pid;
    uint16_t worker;
    uint16_t attempts; /* with this one */
    int64_t started;
    int64_t ran, cpu_time, peak_memory;
};

enum job_cancel { CANCEL_NONE = 0, CANCEL_BEGUN, CANCEL_DONE };

/* Where items of a job wait: the range that nobody has taken yet. */
struct source {
    _Alignas(CACHE_LINE_PAIR) _Atomic uint64_t range;
};

struct job {
    /* Constant while the job is active. */
    int (*call)(const void *input, void *output); /* NULL: workers find the task by its name */
    const char *input;
    char *output;
    size_t input_size, output_size;
    _Atomic uint8_t *status; /* n, and up to a multiple of 8 more that are never 0. Written by the item's worker; after
                                its death by the supervisor; of items in nobody's hands by who cancels. Never changes
                                back to ITEM_PENDING */
    int64_t submitted;
    uint32_t n, chunk; /* chunk 0: adapt */

    struct source *spread;          /* spread_count sources: of a large job, one for each worker to begin with */
    struct mproc_outcome *outcomes; /* n, or NULL. Written before the item's status; meaningful for a status that is
                                       neither ok nor cancelled, lost or skipped */
    struct item_record *records;    /* n, or NULL */
    const char *name;
    int64_t timeout; /* 0: none */
    uint32_t index;  /* in pool_shared.jobs */
    uint16_t spread_count;
    uint8_t level; /* 0: the highest priority */
    uint8_t attempts_most;
    uint8_t retry_on;
    bool watched; /* its items are timed, and can be stopped one by one */
    bool usage, input_is_bytes, output_is_bytes, has_callback;
    bool sparse; /* some items had ended before the job began */
    bool summed; /* see `ran` */

    /* The caller's process only. */
    _Alignas(CACHE_LINE_PAIR) _Atomic uint32_t references;
    int failure;        /* written before `over`: why the call broke off */
    bool abandoned;     /* the caller has left with what there was, workers may be writing to the rest: bytes of results
                           that nobody has got are freed with the job */
    bool reads_callers; /* inputs are where the caller has them, until it returns (reads_here of backend.h) */
    _Atomic uint32_t left; /* it does */
    struct pool *spare_of; /* the pool may keep the memory, for the next call; NULL: it may not */
    size_t memory_size;    /* of all of the job */

    /* The caller looks at these all the time, so that nothing else that workers change is beside them. */
    _Alignas(CACHE_LINE_PAIR / 2) _Atomic uint32_t over; /* all items have ended; derived. Nobody in the pool waits for
                                                            it any more */
    _Atomic uint32_t awaited; /* bits of enum job_awaited: a bell is to be rung when it is over; only grows */
    _Atomic uint32_t polled;  /* not 0: a descriptor is polled for it (sync/watch.h) */

    /* Empty until `any_given_back` is set. Filled, when empty, by the supervisor only: ranges that dead workers had
     * taken. Emptied as `waiting` is. */
    _Alignas(CACHE_LINE_PAIR) _Atomic uint64_t given_back[JOB_GIVEN_BACK];

    /* Set by the caller before the job is active: all items, unless they are spread. Emptied from below by workers, and
     * at once by the caller when it cancels. */
    _Alignas(CACHE_LINE_PAIR) _Atomic uint64_t waiting;
    _Atomic uint32_t any_given_back;   /* written by the supervisor */
    _Atomic uint32_t cancelled;        /* enum job_cancel; set by the caller: stop between items */
    _Atomic uint32_t stop_running;     /* set by the caller: stop those that are running, too */
    _Atomic uint32_t caller_looks;     /* set by the caller: it is awake, and calls more workers if need be */
    _Atomic uint32_t any_unsuccessful; /* set before the first status that is not ok; derived, saves a search */
    _Atomic uint32_t ended_up_to;      /* all items in front of it have ended; derived */
    _Atomic int64_t ran;               /* nanoseconds that its items took, if `summed`: workers add each claim */

    /* On the line beside it: statuses, inputs and results, if they are so few. */
    _Alignas(CACHE_LINE_PAIR / 2) char small[CACHE_LINE_PAIR / 2];
};

enum job_awaited { AWAITED_ALONE = 1, AWAITED_AMONG_OTHERS = 2 };

enum stop_state { STOP_NONE = 0, STOP_ASKED, STOP_DOOMED, STOP_ENDED /* all bits: between items, too */ };
enum { STOP_NUMBER_SHIFT = 2, STOP_STATE_MASK = 3 };

/* Why a worker ends: another one is to take its place, or none. */
enum worker_ending { WORKER_STAYS = 0, WORKER_TO_BE_REPLACED, WORKER_NOT_NEEDED };

/* Bytes of a small job: one whose items fit job.small, with the task's name behind it. */
#define JOB_SMALL_SIZE (sizeof(struct job) + CACHE_LINE_PAIR)

struct worker_slot {
    _Alignas(CACHE_LINE_PAIR) _Atomic uint32_t pid; /* 0: no worker. Written by the supervisor */
    _Atomic uint32_t retire;                        /* written by the supervisor: to end between items */
    /* The rest is written by the worker; after its death by the supervisor. */
    _Atomic uint32_t ready;        /* it has been initialised */
    _Atomic uint32_t ending;       /* enum worker_ending: it ends of its own will */
    _Atomic uint32_t job;          /* 1 + index of the job that it is in, or 0 */
    _Atomic uint32_t running;      /* the item whose task was called, or NOT_RUNNING */
    _Atomic uint64_t claim;        /* of items of that job */
    _Atomic uint64_t stop;         /* see above: of watched items */
    _Atomic int64_t started;       /* when the task of the watched item was called */
    _Atomic int64_t idle_since;    /* 0: at work */
    _Atomic int64_t working_since; /* 0: idle, or not ready; not in `busy` yet */

    /* Statistics, wrong at most by what a worker was at when it was killed. */
    _Alignas(64) _Atomic uint64_t items, unsuccessful;
    _Atomic int64_t busy, alive_since, alive_before;
    _Atomic uint64_t crashes;
    _Atomic uint64_t starts;
    struct histogram latency, run;
};

enum pool_state {
    POOL_OPEN = 0,
    POOL_CLOSING,
    POOL_TERMINATING,
    POOL_NO_WORKERS,
    POOL_WORKERS_FAIL,
    POOL_CLUSTER_FAILS
};

/* What the workers and the supervisor are to do. Constant. */
struct pool_options {
    bool by_name; /* workers have another image of the program than the caller */
    bool pin, adaptive;
    int nice, start_failures;
    int64_t idle_timeout, ask_grace, terminate_grace;
    uint64_t items_per_worker; /* 0: no limit */
    uint64_t memory_limit, memory_kill;
    char initializer[128], finalizer[128];              /* names; "": none */
    int (*initialize)(const void *input, void *output); /* unless by_name */
    int (*finalize)(const void *input, void *output);
    const void *initializer_input; /* behind the slots */
    const void *finalizer_input;
    size_t state_size;
};

struct pool_shared {
    /* Constant. */
    struct pool_options options;
    _Atomic uint64_t supervisor; /* member_id of its process; 0: threads. Set by the supervisor as it begins */
    pid_t supervisor_pid;
    member_id owner;
    const void *handle;   /* the caller's */
    struct pool *threads; /* threads: the pool; NULL otherwise */
    unsigned depth;       /* 1 and how many pools this one is within */
    int64_t opened;
    unsigned cpus;
    int64_t spin; /* nanoseconds an idle worker looks for work before it sleeps; 0 on one CPU */

    /* Goes from POOL_OPEN to one of the others and never back. Written by the caller; POOL_NO_WORKERS and
     * POOL_WORKERS_FAIL by the supervisor, after `reason`. */
    _Alignas(CACHE_LINE_PAIR) _Atomic uint32_t state;
    _Atomic int32_t reason;        /* with POOL_NO_WORKERS and POOL_CLUSTER_FAILS: a negative error */
    _Atomic uint32_t polled;       /* not 0: a descriptor is polled for calls with a callback */
    _Atomic uint32_t place_wanted; /* not 0: somebody waits for a job's place, or for any call to end */
    _Atomic uint32_t slots_used;   /* no slot from here on was ever used; written by the supervisor */

    /* How many workers are wanted: least <= wanted <= most. `least` and `most` are written by the caller, `wanted` by
     * the supervisor. */
    _Atomic uint32_t least, most, wanted;

    /* The supervisor is to look: set before it is told. It looks by itself at `next_look`, 0: it is looking. */
    _Atomic uint32_t attention;
    _Atomic int64_t next_look;

    /* At most one idle worker spins; see "handing a job over". On one line with what it looks at then. */
    _Alignas(CACHE_LINE_PAIR) _Atomic uint64_t spinner;
    /* Futex: grows with every reason to look for work. */
    _Atomic uint32_t wake;
    /* Written by the caller's threads: jobs that may be entered, by index. */
    _Atomic uint64_t active[JOB_WORDS];
    /* Jobs that the supervisor is looking into; their memory may not be freed. Written by the supervisor. */
    _Alignas(CACHE_LINE_PAIR) _Atomic uint64_t supervised[JOB_WORDS];

    _Alignas(CACHE_LINE_PAIR) _Atomic uint64_t summary[POOL_LEVELS];
    _Alignas(CACHE_LINE_PAIR) _Atomic uint32_t next[POOL_LEVELS]; /* where to look first, so that jobs take turns */
    _Alignas(CACHE_LINE_PAIR) _Atomic uint64_t open[POOL_LEVELS][JOB_WORDS];

    /* Workers that sleep, or are about to. Derived; wrong only in ways that cost a system call or a little time. */
    _Alignas(CACHE_LINE_PAIR) _Atomic uint64_t asleep[WORKER_WORDS];

    _Alignas(64) _Atomic uint32_t bells[POOL_BELLS + 1]; /* futexes: grow when a job is over that somebody awaits */

    struct job *jobs[POOL_JOBS]; /* written by the caller while the job is not active */
    struct worker_slot slots[];
};

static inline bool pool_is_terminating(const struct pool_shared *pool)
{
    return atomic_load_explicit(&pool->state, memory_order_relaxed) == POOL_TERMINATING;
}

static inline unsigned pool_slots_used(const struct pool_shared *pool)
{
    return atomic_load_explicit(&pool->slots_used, memory_order_acquire);
}

static inline bool job_is_active(const struct pool_shared *pool, uint32_t index)
{
    return atomic_load_explicit(&pool->active[index / 64], memory_order_seq_cst) >> index % 64 & 1;
}

#endif
