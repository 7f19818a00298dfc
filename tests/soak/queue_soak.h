/* The random test of queues: what its processes write down, and what is checked. SPDX-License-Identifier: MIT
 *
 * Each process has a journal in shared memory, in which it says what it is about to do and what it has done, so that
 * what a killed one did is known but for the call that it was in. The test's own process reads them when all have
 * ended (queue_model.c).
 */
#ifndef QUEUE_SOAK_H
#define QUEUE_SOAK_H

#include "harness.h"

#include <mproc.h>
#include <stdatomic.h>

enum {
    JOURNALS = 1500,
    ENTRIES = 1 << 14,
    BATCH = 4, /* messages of one call at most */
    HELD_MOST = 4,
    SIZE_MOST = 100 << 10,
};

/* Messages of no bytes do not say whose they are. */
#define NOBODY UINT32_MAX

enum put_state { PUT_UNKNOWN = 0, PUT_ABOUT, PUT_DONE, PUT_REFUSED };

/* The index is the message's number. */
struct put {
    _Atomic uint32_t state;
    /* The model's: */
    uint32_t taken, finished, perhaps_finished;
    uint32_t last_taker; /* its journal's number + 1 */
};

enum take_state { TAKE_HELD = 0, TAKE_FINISHING, TAKE_FINISHED };

struct take {
    uint32_t producer, number;
    _Atomic uint32_t state;
};

struct journal {
    bool consumes;
    bool killed;
    _Atomic uint32_t count; /* entries */
    _Atomic uint32_t operations;
    _Atomic uint32_t call_from, call_most; /* consumers: entries before the call; what it may take, 0 outside */
    _Atomic bool call_gives_block;
    union {
        struct put puts[ENTRIES];
        struct take takes[ENTRIES];
    };
};

struct journals {
    _Atomic bool stop_putting, stop_taking;
    _Atomic bool ending; /* calls may say that the queue is closed, or that nobody is left */
    uint32_t count;
    struct journal all[JOURNALS];
};

/* What is known of a round. */
struct round {
    unsigned seed;
    struct mproc_queue_arguments options;
    mproc_queue *queue;
    struct journals *journals;
    void **slots; /* in the heap, one for each journal: the block that its process has in hand */
    bool joinable;
};

/* What the model counts. */
struct totals {
    long rounds, kills, put, taken, again, lost, blocks_left;
};

/* What the journals leave open, and what they say of messages that have no name. */
struct doubts {
    long may_have_taken;   /* messages that killed consumers may have taken by calls that did not return */
    long calls_for_blocks; /* such calls of mproc_queue_get_block */
    long consumers_killed;
    long held; /* by processes that have ended, and not finished */
    long perhaps_finished;
    long nameless_put, nameless_about, nameless_taken, nameless_finished, nameless_perhaps;
};

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            _exit(100);                                                                                                \
        }                                                                                                              \
    } while (0)

/* ---- queue_players.c */

/* A message's size and bytes follow from producer and number. */
size_t message_size(uint32_t producer, uint32_t number);

/* In a process of their own; `me` is the number of the journal. */
_Noreturn void be_producer(const struct round *round, uint32_t me);
_Noreturn void be_consumer(const struct round *round, uint32_t me);

/* Takes one message, is done with it, and writes that down. Returns what mproc_queue_get returns. */
int take_one(const struct round *round, uint32_t me, int64_t timeout);

/* ---- queue_model.c: when all processes have ended */

/* Before mproc_queue_free. Fills `doubts`, which are all 0 before. */
void check_messages(const struct round *round, struct doubts *doubts, struct totals *totals);

/* After it: what is left in the heap, processes that were killed had in hand. Frees that. */
void check_heap(const struct round *round, const struct doubts *doubts, struct totals *totals);

#endif
