/* What the random test of queues expects. SPDX-License-Identifier: MIT */
#include "queue_soak.h"

#include "memory/heap.h"
#include "memory/region.h"
#include "memory/span.h"
#include "memory/units.h"

#include <stdio.h>
#include <string.h>

#define EXPECT(round, condition)                                                                                       \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            fail_msg("%s:%d: %s; MPROC_SOAK_SEED=%u", __FILE__, __LINE__, #condition, (round)->seed);                  \
    } while (0)

/* ---- reading the journals */

static struct put *put_of(const struct round *round, const struct take *take)
{
    struct journal *journal = &round->journals->all[take->producer];
    EXPECT(round, !journal->consumes && take->number < atomic_load(&journal->count));
    return &journal->puts[take->number];
}

static void count_nameless_take(struct doubts *doubts, enum take_state state)
{
    doubts->nameless_taken++;
    doubts->nameless_finished += state == TAKE_FINISHED;
    doubts->nameless_perhaps += state == TAKE_FINISHING;
}

static void read_consumer(const struct round *round, uint32_t number, struct doubts *doubts)
{
    struct journal *journal = &round->journals->all[number];
    uint32_t count = atomic_load(&journal->count);
    for (uint32_t i = 0; i < count; i++) {
        struct take *take = &journal->takes[i];
        enum take_state state = atomic_load(&take->state);
        doubts->held += state == TAKE_HELD;
        doubts->perhaps_finished += state == TAKE_FINISHING;
        if (take->producer == NOBODY) {
            count_nameless_take(doubts, state);
            continue;
        }
        struct put *put = put_of(round, take);
        EXPECT(round, put->last_taker != number + 1); /* nothing comes back to a process that lives */
        put->last_taker = number + 1;
        put->taken++;
        put->finished += state == TAKE_FINISHED;
        put->perhaps_finished += state == TAKE_FINISHING;
    }
    uint32_t most = atomic_load(&journal->call_most), begun = atomic_load(&journal->call_from);
    doubts->consumers_killed += journal->killed;
    if (most == 0)
        return;
    EXPECT(round, journal->killed && count - begun <= most);
    doubts->may_have_taken += (long)(most - (count - begun));
    doubts->calls_for_blocks += atomic_load(&journal->call_gives_block);
}

/* What one producer has put comes to one consumer in that order, but for what came back from others that died: these
 * have it in their journals, or were in a call. */
static long count_astray(const struct round *round, const struct journal *journal)
{
    static uint32_t next[JOURNALS];
    long astray = 0;
    memset(next, 0, sizeof next);
    for (uint32_t i = 0; i < atomic_load(&journal->count); i++) {
        const struct take *take = &journal->takes[i];
        if (take->producer == NOBODY)
            continue;
        if (take->number < next[take->producer])
            astray += put_of(round, take)->taken < 2;
        else
            next[take->producer] = take->number + 1;
    }
    return astray;
}

/* ---- messages */

/* What was put and never finished, as far as can be told. */
struct missing {
    long messages;
    long deliveries; /* how many more they would have to be given up */
};

static void check_message(const struct round *round, const struct put *put, struct missing *missing)
{
    enum put_state state = atomic_load(&put->state);
    unsigned most = round->options.deliveries;
    EXPECT(round, state != PUT_UNKNOWN);
    EXPECT(round, state != PUT_REFUSED || put->taken == 0);
    EXPECT(round, round->options.redeliver || put->taken <= 1);
    EXPECT(round, put->finished <= 1);
    EXPECT(round, most == 0 || put->taken <= most);
    bool gone = round->options.redeliver ? put->finished + put->perhaps_finished == 0 : put->taken == 0;
    if (state != PUT_DONE || !gone)
        return;
    missing->messages++;
    missing->deliveries += put->taken < most ? most - put->taken : 0;
}

/* All named ones have been counted as put too. */
static void check_nameless(const struct round *round, struct doubts *doubts, struct missing *missing)
{
    long taken = doubts->nameless_taken;
    if (round->options.redeliver) {
        EXPECT(round, doubts->nameless_finished <= doubts->nameless_put + doubts->nameless_about);
        taken = doubts->nameless_finished + doubts->nameless_perhaps;
    } else
        EXPECT(round, taken <= doubts->nameless_put + doubts->nameless_about);
    missing->messages += taken < doubts->nameless_put ? doubts->nameless_put - taken : 0;
}

static void check_missing(const struct round *round, const struct doubts *doubts, const struct missing *missing)
{
    long lost = (long)mproc_queue_lost(round->queue);
    if (round->options.deliveries) {
        EXPECT(round, missing->messages <= lost);
        EXPECT(round, missing->deliveries <= doubts->may_have_taken);
    } else if (round->options.redeliver) {
        EXPECT(round, missing->messages == 0);
        EXPECT(round, lost == 0);
    } else {
        EXPECT(round, missing->messages <= doubts->may_have_taken);
        long most = doubts->held + doubts->perhaps_finished + doubts->may_have_taken + doubts->consumers_killed;
        EXPECT(round, lost <= most);
        EXPECT(round, !round->joinable || lost >= doubts->held);
    }
    if (!round->joinable)
        return;
    EXPECT(round, mproc_queue_join(round->queue, 0) == (lost ? MPROC_E_MESSAGES_LOST : 0));
    EXPECT(round, mproc_queue_join(round->queue, 0) == 0);
}

static void read_producer(const struct round *round, uint32_t producer, struct doubts *doubts, struct missing *missing,
                          struct totals *totals)
{
    const struct journal *journal = &round->journals->all[producer];
    for (uint32_t i = 0; i < atomic_load(&journal->count); i++) {
        const struct put *put = &journal->puts[i];
        enum put_state state = atomic_load(&put->state);
        totals->put += state == PUT_DONE;
        totals->taken += put->taken;
        totals->again += put->taken > 1 ? put->taken - 1 : 0;
        if (message_size(producer, i) == 0) {
            doubts->nameless_put += state == PUT_DONE;
            doubts->nameless_about += state == PUT_ABOUT;
        } else
            check_message(round, put, missing);
    }
}

void check_messages(const struct round *round, struct doubts *doubts, struct totals *totals)
{
    const struct journals *journals = round->journals;
    struct missing missing = { 0 };
    long astray = 0;
    for (uint32_t i = 0; i < journals->count; i++)
        if (journals->all[i].consumes)
            read_consumer(round, i, doubts);
    for (uint32_t i = 0; i < journals->count; i++)
        if (journals->all[i].consumes)
            astray += count_astray(round, &journals->all[i]);
        else
            read_producer(round, i, doubts, &missing, totals);
    check_nameless(round, doubts, &missing);
    check_missing(round, doubts, &missing);
    EXPECT(round, astray <= doubts->may_have_taken);
    EXPECT(round, mproc_queue_size(round->queue) == 0 && mproc_queue_bytes(round->queue) == 0);
    EXPECT(round, mproc_queue_is_empty(round->queue) && !mproc_queue_is_full(round->queue));
    totals->taken += doubts->nameless_taken;
    totals->lost += missing.messages;
}

/* ---- memory */

enum { LEFT_MOST = 4 * JOURNALS };

struct left {
    int count;
    void *blocks[LEFT_MOST];
};

static void add_left(void *block, size_t size, void *left_argument)
{
    struct left *left = left_argument;
    (void)size;
    assert_true(left->count < LEFT_MOST);
    left->blocks[left->count++] = block;
}

/* All blocks of the heap. */
static void find_left(struct left *left)
{
    struct region *region = region_existing();
    heap_bytes_in_use(); /* frees what belonged to processes that have ended */
    left->count = 0;
    for (uint32_t unit = region->geometry.first_unit; unit < atomic_load(&region->used_end);) {
        uint64_t word = atomic_load(&region->table[unit]);
        enum unit_state state = unit_state(word);
        if (state == UNIT_SPAN)
            span_visit(region, unit, word, add_left, left);
        else if (state == UNIT_BLOCK)
            add_left(region_unit_address(region, unit), 0, left);
        unit += state == UNIT_SPAN || state == UNIT_BLOCK ? unit_count(word) : 1;
    }
}

/* Takes it out; false if it is not there. */
static bool forget(struct left *left, const void *block)
{
    for (int i = 0; i < left->count; i++)
        if (left->blocks[i] == block) {
            left->blocks[i] = left->blocks[--left->count];
            return true;
        }
    return false;
}

/* Who was killed had in hand what its slot names: a consumer a block that it took, or had freed already; a producer one
 * that may be the queue's. */
static void check_slot(const struct round *round, uint32_t number, struct left *left, long *swallowed)
{
    const struct journal *journal = &round->journals->all[number];
    void *block = round->slots[number];
    uint32_t count = atomic_load(&journal->count);
    if (!block)
        return;
    EXPECT(round, journal->killed);
    if (journal->consumes) {
        if (forget(left, block))
            mproc_free(block);
        return;
    }
    /* It may have been killed before it said what it is about to do. */
    const struct put *put = count > 0 ? &journal->puts[count - 1] : NULL;
    enum put_state state = put ? atomic_load(&put->state) : PUT_UNKNOWN;
    if (state == PUT_DONE || (state == PUT_ABOUT && put->taken > 0))
        return;
    if (forget(left, block))
        mproc_free(block);
    else
        *swallowed += state == PUT_ABOUT && message_size(number, count - 1) != 0;
}

void check_heap(const struct round *round, const struct doubts *doubts, struct totals *totals)
{
    static struct left left;
    long swallowed = 0;
    find_left(&left);
    EXPECT(round, forget(&left, round->slots));
    for (uint32_t i = 0; i < round->journals->count; i++)
        if (round->journals->all[i].consumes)
            check_slot(round, i, &left, &swallowed);
    for (uint32_t i = 0; i < round->journals->count; i++)
        if (!round->journals->all[i].consumes)
            check_slot(round, i, &left, &swallowed);
    EXPECT(round, swallowed <= (round->options.redeliver && !round->options.deliveries ? 0 : doubts->may_have_taken));
    /* Blocks that were taken from the queue by a call that did not return. */
    EXPECT(round, left.count <= doubts->calls_for_blocks);
    totals->blocks_left += left.count;
    while (left.count > 0)
        mproc_free(left.blocks[--left.count]);
}
