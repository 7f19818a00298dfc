/* Ending items as the results come. SPDX-License-Identifier: MIT */
#include "cluster/cluster.h"
#include "cluster/messages.h"
#include "os/clock.h"
#include "pool/item.h"
#include "pool/job.h"

#include <errno.h>
#include <mproc/error.h>
#include <string.h>

/* Work in a batch: long beside what its way costs, short enough that machines end at about the same time. */
#define BATCH_SHORT INT64_C(4000000)
#define BATCH_LONG INT64_C(16000000)

/* When little is left it is split finely, but not so finely that the way takes longer than the work. */
#define BATCH_LEAST INT64_C(300000)

enum { BATCH_GROWTH = 16, WANT_MOST = 4096 };

static bool fits(const struct result_head *head, const struct flight *flight)
{
    const struct job *job = flight->job;
    return head->n == flight->count && head->output_is_bytes == job->output_is_bytes &&
           (job->output_is_bytes || head->output_size == job->output_size);
}

/* As many as take so long, if `count` took `ran`. */
static uint32_t items_for(int64_t time, uint32_t count, int64_t ran, uint32_t most)
{
    int64_t items = time * count / (ran > 0 ? ran : 1);
    return items > most ? most : items > 1 ? (uint32_t)items : 1;
}

static void adapt(struct cluster *cluster, const struct flight *flight, int64_t ran, size_t bytes)
{
    struct pace *pace = &cluster->paces[flight->job->index];
    if (flight->count == 0)
        return;
    pace->output_bytes = bytes / flight->count;
    pace->least = items_for(BATCH_LEAST, flight->count, ran, WANT_MOST);
    if ((ran >= BATCH_SHORT || flight->count < pace->want) && ran <= BATCH_LONG)
        return;
    uint32_t most = pace->want < WANT_MOST / BATCH_GROWTH ? pace->want * BATCH_GROWTH : WANT_MOST;
    pace->want = items_for((BATCH_SHORT + BATCH_LONG) / 2, flight->count, ran, most);
}

struct arrival {
    int64_t began; /* when its machine had got the batch, by this one's clock */
    unsigned slot;
};

static void note_record(struct job *job, uint32_t index, const struct item_message *item, const struct arrival *arrival)
{
    if (!job->records || !item->has_times)
        return;
    struct item_record *record = &job->records[index];
    int64_t started = arrival->began + item->started;
    record->pid = (uint32_t)item->outcome.pid;
    record->worker = (uint16_t)arrival->slot;
    record->attempts = item->outcome.attempts > 0 ? (uint16_t)(item->outcome.attempts - 1) : 0;
    record->started = started > job->submitted ? started : job->submitted;
    record->ran = item->outcome.ran;
    record->cpu_time = item->outcome.cpu_time;
    record->peak_memory = item->outcome.peak_memory;
}

/* Returns how the item ended: a result that there is no memory for is a failure. */
static enum mproc_outcome_kind take_output(struct job *job, uint32_t index, struct item_message *item)
{
    char *output = job->output + (size_t)index * job->output_size;
    if (!job->output_is_bytes) {
        memcpy(output, item->output, job->output_size);
        return MPROC_OK;
    }
    if (item->output_size == 0) /* the struct says so from the beginning */
        return MPROC_OK;
    if (mproc_bytes_copy((struct mproc_bytes *)(void *)output, item->output, item->output_size) == 0)
        return MPROC_OK;
    item->outcome.code = -ENOMEM;
    strcpy(item->outcome.message, "no memory is left for the result");
    return MPROC_FAILED;
}

/* Returns how many attempts did not succeed. */
static uint32_t end_item(struct job *job, uint32_t index, struct item_message *item, const struct arrival *arrival)
{
    if (!job_item_is_pending(job, index))
        return 0;
    enum mproc_outcome_kind kind = item->outcome.kind;
    note_record(job, index, item, arrival);
    if (kind == MPROC_OK)
        kind = take_output(job, index, item);
    if (kind != MPROC_OK && job->outcomes) {
        item->outcome.worker = (int)arrival->slot;
        job->outcomes[index] = item->outcome;
    }
    job_end_item(job, index, kind);
    return (item->outcome.attempts > 1 ? (uint32_t)item->outcome.attempts - 1 : 0) + (kind != MPROC_OK);
}

/* A flight's items are nobody else's to end. */
static void end_all(struct job *job, const struct flight *flight, const void *outputs)
{
    memcpy(job->output + flight->first * job->output_size, outputs, flight->count * job->output_size);
    for (uint32_t item = flight->first; item < flight->first + flight->count; item++)
        job_end_item(job, item, MPROC_OK);
}

static void count(struct worker_slot *slot, const struct job *job, const struct result_head *head,
                  uint32_t unsuccessful, int64_t now)
{
    if (head->n == 0)
        return;
    atomic_fetch_add_explicit(&slot->items, head->n, memory_order_relaxed);
    atomic_fetch_add_explicit(&slot->unsuccessful, unsuccessful, memory_order_relaxed);
    atomic_fetch_add_explicit(&slot->busy, head->ran, memory_order_relaxed);
    histogram_add(&slot->run, head->ran / head->n, head->n);
    histogram_add(&slot->latency, now - job->submitted, head->n);
}

static void land_with(struct cluster *cluster, struct flight *flight, struct reader *reader,
                      const struct result_head *head)
{
    int64_t now = os_now();
    cluster->batch_took = cluster->paces[flight->job->index].took = head->took;
    struct arrival arrival = { now - head->took, cluster_slot_of(cluster, head->machine) };
    struct job *job = flight->job;
    uint32_t unsuccessful = 0;
    size_t bytes = reader->left;
    if (head->all_are_ok)
        end_all(job, flight, reader->data);
    for (uint32_t i = 0; i < head->n && !head->all_are_ok; i++) {
        struct item_message item;
        if (result_read_item(reader, head, &item))
            unsuccessful += end_item(job, flight->first + i, &item, &arrival);
    }
    count(&cluster->pool->shared->slots[arrival.slot], job, head, unsuccessful, now);
    adapt(cluster, flight, head->ran, bytes);
    cluster_land(cluster, flight);
}

static void completed(void *context, uint64_t number, const void *data, size_t size)
{
    struct cluster *cluster = context;
    struct flight *flight = cluster_find_flight(cluster, number);
    struct reader reader = { .data = data, .left = size };
    struct result_head head;
    if (!flight) /* of one that was not waited for any more */
        return;
    bool is_one = result_read_head(&reader, &head);
    if (is_one && head.failure < 0) {
        cluster_fail(cluster, head.failure, "machine '%s': %s", head.machine, head.reason);
        return;
    }
    if (is_one && fits(&head, flight) && result_is_whole(&reader, &head)) {
        land_with(cluster, flight, &reader, &head);
        return;
    }
    cluster_fail(cluster, MPROC_E_WIRE, "the result of %u items of '%s' from machine '%s' cannot be understood",
                 flight->count, flight->job->name, head.machine);
}

static void lost(void *context, uint64_t number)
{
    struct flight *flight = cluster_find_flight(context, number);
    if (flight)
        cluster_end_flight(context, flight, MPROC_LOST);
}

static void send_anew(struct cluster *cluster, struct flight *flight)
{
    flight->number = ++cluster->last_number;
    flight->sent = flight->cancelled = flight->doubtful = false;
}

static void rejected(void *context, uint64_t number, enum mproc_engine_rejection why)
{
    struct flight *flight = cluster_find_flight(context, number);
    if (!flight)
        return;
    if (why == MPROC_ENGINE_GONE && !cluster_is_repeatable(flight->job)) {
        cluster_end_flight(context, flight, MPROC_LOST);
        return;
    }
    flight->sent = false;
    flight->not_before = os_now() + FLIGHT_RETRY_AFTER;
    if (why == MPROC_ENGINE_DOUBTFUL)
        flight->doubtful = true;
    else
        send_anew(context, flight);
}

/* All of them get new numbers: commands of a connection that was lost may come late, into the new stream, and the
 * server takes no number that is below one that it has. */
static void forgotten(void *context)
{
    struct cluster *cluster = context;
    for (unsigned i = 0; i < FLIGHTS_MOST; i++) {
        struct flight *flight = &cluster->flights[i];
        if (flight->number == 0)
            continue;
        bool never_sent = !flight->sent && !flight->doubtful;
        if (never_sent || cluster_is_repeatable(flight->job))
            send_anew(cluster, flight);
        else
            cluster_end_flight(cluster, flight, MPROC_LOST);
    }
}

const struct mproc_engine_results cluster_results = {
    .completed = completed,
    .lost = lost,
    .rejected = rejected,
    .forgotten = forgotten,
};
