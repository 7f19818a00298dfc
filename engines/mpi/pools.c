/* Rank 0: the pools, and which agent gets what. SPDX-License-Identifier: MIT */
#include "world.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHORT_BATCH INT64_C(50000000)

/* Submitted, and maybe sent. Oldest first. */
struct entry {
    struct entry *next;
    uint64_t number;
    int rank; /* that has it; 0: none */
    int64_t sent_at;
    struct parcel *parcel;
};

/* Oldest first. */
struct result {
    struct result *next;
    struct message message;
};

struct mpi_pool {
    struct mpi_pool *next;
    uint64_t id;
    int64_t lease;
    struct entry *batches;
    struct result *results, **results_end;
};

/* An agent. */
struct rank {
    struct mproc_engine_machine machine;
    int64_t heard; /* 0: never */
    unsigned batches;
    int64_t batch_took;
};

static struct mpi_pool *pools;
static struct rank *ranks; /* world.size */
static uint64_t last_id;

/* ---- agents */

/* As many as it has workers; of short batches some more, so that it need not wait for the next. */
static unsigned room(const struct rank *rank)
{
    unsigned each = rank->batch_took < SHORT_BATCH / 10 ? 8 : rank->batch_took < SHORT_BATCH ? 4 : 1;
    unsigned most = rank->machine.workers * each;
    return rank->heard && rank->batches < most ? most - rank->batches : 0;
}

static int find_rank(void)
{
    int best = 0;
    for (int i = 1; i < world.size; i++)
        if (room(&ranks[i]) > (best ? room(&ranks[best]) : 0))
            best = i;
    return best;
}

/* Sends what waits for room. */
static int send_waiting(void)
{
    for (struct mpi_pool *pool = pools; pool; pool = pool->next)
        for (struct entry *batch = pool->batches; batch; batch = batch->next) {
            int rank = batch->rank ? 0 : find_rank();
            if (batch->rank)
                continue;
            if (!rank)
                return 0;
            int err = world_send_parcel(rank, TAG_BATCH, batch->parcel);
            if (err)
                return err;
            batch->rank = rank;
            batch->sent_at = world_now();
            ranks[rank].batches++;
        }
    return 0;
}

static void free_entry(struct entry *entry)
{
    world_drop_parcel(entry->parcel);
    free(entry);
}

static struct entry *make_entry(const struct mpi_pool *pool, const struct mproc_engine_batch *batch)
{
    struct head head = { pool->id, batch->number };
    struct entry *entry = malloc(sizeof *entry);
    struct parcel *parcel = entry ? world_make_parcel(head, batch->head_size + batch->size) : NULL;
    if (!parcel) {
        free(entry);
        return NULL;
    }
    *entry = (struct entry) { .number = batch->number, .parcel = parcel };
    memcpy(parcel->data, batch->head, batch->head_size);
    if (batch->size > 0)
        memcpy(parcel->data + batch->head_size, batch->data, batch->size);
    return entry;
}

/* ---- what comes */

/* Whose message it is then. */
static bool take_result(const struct message *message)
{
    struct mpi_pool *pool = pools;
    struct rank *rank = &ranks[message->rank];
    while (pool && pool->id != message->head.pool)
        pool = pool->next;
    struct entry **link = pool ? &pool->batches : NULL;
    while (link && *link && (*link)->number != message->head.number)
        link = &(*link)->next;
    if (!link || !*link) /* its pool is closed */
        return false;
    struct result *result = malloc(sizeof *result);
    if (!result) {
        world_fail("no memory is left for a result");
        return false;
    }
    struct entry *batch = *link;
    rank->batches--;
    rank->batch_took = world_now() - batch->sent_at;
    *link = batch->next;
    free_entry(batch);
    *result = (struct result) { NULL, *message };
    *pool->results_end = result;
    pool->results_end = &result->next;
    return true;
}

static int take_messages(void)
{
    struct message message;
    int result;
    while ((result = world_receive(&message)) == 1) {
        struct rank *rank = &ranks[message.rank];
        rank->heard = world_now();
        if (message.tag == TAG_MACHINE && message.size == sizeof rank->machine)
            memcpy(&rank->machine, message.data + sizeof message.head, sizeof rank->machine);
        if (message.tag != TAG_RESULT || !take_result(&message))
            world_drop(&message);
    }
    return result;
}

/* Time for which this process has stood still, maybe with all others (a job may be suspended), is no rank's silence. */
static void forgive_pause(int64_t now, int64_t lease)
{
    static int64_t looked; /* five times in a lease */
    int64_t pause = looked ? now - looked : 0;
    for (int i = 1; i < world.size && pause > lease / 2; i++)
        if (ranks[i].heard)
            ranks[i].heard = ranks[i].heard + pause < now ? ranks[i].heard + pause : now;
    looked = now;
}

/* An agent that computes says so all the same, once a second: its process does nothing but this. */
static int check_ranks(int64_t lease)
{
    int64_t now = world_now();
    lease = lease > INT64_C(2500000000) ? lease : INT64_C(2500000000);
    forgive_pause(now, lease);
    for (int i = 1; i < world.size; i++)
        if (ranks[i].heard && now - ranks[i].heard > 2 * lease)
            return world_fail("rank %d (%s) has not been heard of for %lld s, and MPI goes on without none", i,
                              ranks[i].machine.name, (long long)(2 * lease / 1000000000));
    return 0;
}

/* ---- pools */

int pools_open(struct mpi_pool **opened, const struct mproc_engine_options *options)
{
    struct mpi_pool *pool = calloc(1, sizeof *pool);
    if (!ranks)
        ranks = calloc((size_t)world.size, sizeof *ranks);
    if (!pool || !ranks) {
        free(pool);
        return -ENOMEM;
    }
    pool->id = ++last_id;
    pool->lease = options->lease;
    pool->results_end = &pool->results;
    pool->next = pools;
    pools = pool;
    *opened = pool;
    return 0;
}

static struct result *take_first(struct mpi_pool *pool)
{
    struct result *result = pool->results;
    pool->results = result->next;
    if (!pool->results)
        pool->results_end = &pool->results;
    return result;
}

void pools_close(struct mpi_pool *pool)
{
    struct mpi_pool **link = &pools;
    while (*link != pool)
        link = &(*link)->next;
    *link = pool->next;
    for (int i = 1; i < world.size; i++)
        world_send(i, TAG_CLOSE, (struct head) { pool->id, 0 }, NULL, 0);
    while (pool->batches) {
        struct entry *batch = pool->batches;
        pool->batches = batch->next;
        if (batch->rank && ranks[batch->rank].batches > 0)
            ranks[batch->rank].batches--;
        free_entry(batch);
    }
    while (pool->results) {
        struct result *result = take_first(pool);
        world_drop(&result->message);
        free(result);
    }
    free(pool);
}

int pools_begin(struct mpi_pool *pool, const void *description, size_t size)
{
    int err = 0;
    for (int i = 1; i < world.size && !err; i++)
        err = world_send(i, TAG_OPEN, (struct head) { pool->id, 0 }, description, size);
    return err;
}

int pools_submit(struct mpi_pool *pool, const struct mproc_engine_batch *batch)
{
    struct entry *entry = make_entry(pool, batch);
    struct entry **end = &pool->batches;
    if (!entry)
        return -EAGAIN;
    while (*end)
        end = &(*end)->next;
    *end = entry;
    int err = send_waiting();
    return err == -EAGAIN ? 0 : err; /* it is kept, and sent later */
}

int pools_results(struct mpi_pool *pool, const struct mproc_engine_results *results, void *context)
{
    int err = take_messages();
    if (!err)
        err = send_waiting();
    while (pool->results) {
        struct result *result = take_first(pool);
        struct message *message = &result->message;
        if (message->size > 0)
            results->completed(context, message->head.number, message->data + sizeof message->head, message->size);
        else /* the rank runs another program */
            results->lost(context, message->head.number);
        world_drop(message);
        free(result);
    }
    return err;
}

int pools_cancel(struct mpi_pool *pool, uint64_t number)
{
    struct entry **link = &pool->batches;
    while (*link && (*link)->number != number)
        link = &(*link)->next;
    struct entry *batch = *link;
    if (!batch)
        return 0;
    if (batch->rank)
        return world_send(batch->rank, TAG_CANCEL, (struct head) { pool->id, number }, NULL, 0);
    *link = batch->next;
    free_entry(batch);
    return 1;
}

int pools_machines(struct mproc_engine_machine *machines, int most)
{
    int err = take_messages(), count = 0;
    if (err)
        return err;
    for (int i = 1; i < world.size; i++)
        if (ranks[i].heard && ranks[i].machine.workers > 0 && count++ < most)
            machines[count - 1] = ranks[i].machine;
    return count;
}

int pools_tend(struct mpi_pool *pool)
{
    int err = take_messages();
    return err ? err : check_ranks(pool->lease);
}
