/* Sending items off in batches. SPDX-License-Identifier: MIT */
#include "cluster/cluster.h"

#include "cluster/messages.h"
#include "cluster/program.h"
#include "os/clock.h"
#include "pool/board.h"
#include "pool/item.h"
#include "pool/job.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of inputs or results that a batch has at most, unless one item alone has more. */
#define BATCH_BYTES_MOST ((size_t)460 << 10)

enum { BATCH_ITEMS_MOST = 4096 };

bool cluster_is_repeatable(const struct job *job)
{
    return job->attempts_most > 1 && (job->retry_on & MPROC_RETRY_CRASHED);
}

/* ---- being in a job */

static void mark(struct pool_shared *shared, uint32_t index)
{
    atomic_fetch_or(&shared->supervised[index / 64], UINT64_C(1) << index % 64);
}

static void unmark_unless_needed(struct cluster *cluster, uint32_t index)
{
    if (cluster->paces[index].flights == 0)
        atomic_fetch_and(&cluster->pool->shared->supervised[index / 64], ~(UINT64_C(1) << index % 64));
}

static struct pace *pace_of(struct cluster *cluster, const struct job *job)
{
    struct pace *pace = &cluster->paces[job->index];
    if (pace->job != job || pace->submitted != job->submitted) {
        pace->job = job;
        pace->submitted = job->submitted;
        pace->want = pace->least = 1;
        pace->took = 0;
        pace->input_bytes = pace->output_bytes = 0;
    }
    return pace;
}

/* ---- flights */

static struct flight *take_flight(struct cluster *cluster)
{
    for (unsigned i = 0; i < FLIGHTS_MOST; i++)
        if (cluster->flights[i].number == 0) {
            if (cluster->flights_used <= i)
                cluster->flights_used = i + 1;
            return &cluster->flights[i];
        }
    return NULL;
}

struct flight *cluster_find_flight(struct cluster *cluster, uint64_t number)
{
    for (unsigned i = 0; i < cluster->flights_used; i++)
        if (cluster->flights[i].number == number)
            return &cluster->flights[i];
    return NULL;
}

void cluster_land(struct cluster *cluster, struct flight *flight)
{
    struct job *job = flight->job;
    uint32_t index = job->index;
    cluster->flight_bytes -= flight->bytes;
    cluster->flights_count--;
    cluster->load -= flight->load;
    cluster->paces[index].flights--;
    flight->number = 0;
    while (cluster->flights_used > 0 && cluster->flights[cluster->flights_used - 1].number == 0)
        cluster->flights_used--;
    board_announce_if_done(cluster->pool->shared, job);
    unmark_unless_needed(cluster, index);
}

void cluster_end_flight(struct cluster *cluster, struct flight *flight, enum mproc_outcome_kind kind)
{
    struct job *job = flight->job;
    for (uint32_t item = flight->first; item < flight->first + flight->count; item++)
        if (job_item_is_pending(job, item)) {
            item_drop_result(job, item);
            job_end_item(job, item, kind);
        }
    cluster_land(cluster, flight);
}

void cluster_lose_all_flights(struct cluster *cluster)
{
    bool broken = atomic_load(&cluster->pool->shared->state) != POOL_OPEN;
    for (unsigned i = 0; i < FLIGHTS_MOST; i++) {
        struct flight *flight = &cluster->flights[i];
        if (flight->number == 0)
            continue;
        if (broken)
            flight->job->failure = pool_reason(cluster->pool);
        cluster_end_flight(cluster, flight, MPROC_LOST);
    }
}

/* ---- a batch as bytes */

static size_t bytes_of(const struct job *job, uint32_t item, bool input_is_bytes)
{
    if (!input_is_bytes)
        return job->input_size;
    return ((const struct mproc_bytes *)(const void *)job->input)[item].size + 8;
}

static void write_bytes(struct writer *writer, const struct job *job, uint32_t first, uint32_t count)
{
    const struct mproc_bytes *bytes = (const struct mproc_bytes *)(const void *)job->input + first;
    for (uint32_t i = 0; i < count; i++)
        write_number(writer, bytes[i].size, 8);
    for (uint32_t i = 0; i < count; i++)
        write_raw(writer, bytes[i].data, bytes[i].size);
}

/* What is in front of the inputs; or, where these are bytes, all of it. */
static void write_batch(struct writer *writer, const struct job *job, const struct flight *flight)
{
    struct batch_message batch = {
        .n = flight->count,
        .input_size = job->input_size,
        .output_size = job->output_size,
        .input_is_bytes = job->input_is_bytes,
        .output_is_bytes = job->output_is_bytes,
        .usage = job->usage,
        .detailed = job->records != NULL,
        .retries = (uint8_t)(job->attempts_most - 1),
        .retry_on = job->retry_on,
        .priority = (int8_t)(MPROC_PRIORITY_MAX - job->level),
        .timeout = job->timeout,
    };
    const char *input = job->input + flight->first * job->input_size;
    size_t size = flight->count * job->input_size;
    snprintf(batch.task, sizeof batch.task, "%s", job->name);
    batch.has_addresses =
        !batch.input_is_bytes && job->input_size % sizeof(void *) == 0 && program_has_addresses(input, size);
    batch_write_head(writer, &batch);
    if (batch.input_is_bytes)
        write_bytes(writer, job, flight->first, flight->count);
}

/* Returns false if the caller has left, and has taken its inputs along. */
static bool begin_reading(struct cluster *cluster, struct job *job)
{
    atomic_store(&cluster->reading, job);
    if (!job->reads_callers || !atomic_load(&job->left))
        return true;
    atomic_store(&cluster->reading, NULL);
    return false;
}

static void end_reading(struct cluster *cluster)
{
    atomic_store(&cluster->reading, NULL);
}

static int submit(struct cluster *cluster, const struct flight *flight)
{
    const struct job *job = flight->job;
    struct writer writer = { .data = NULL };
    write_batch(&writer, job, flight);
    struct mproc_engine_batch batch = {
        .number = flight->number,
        .times = cluster_is_repeatable(job) ? job->attempts_most : 1,
        .head = writer.data,
        .head_size = writer.size,
        .data = job->input_is_bytes ? NULL : job->input + flight->first * job->input_size,
        .size = job->input_is_bytes ? 0 : flight->count * job->input_size,
    };
    int err = writer.failed ? -EAGAIN : cluster->engine->submit(cluster->connection, &batch);
    writer_free(&writer);
    return err;
}

/* Returns false when it is not the time to send anything more. */
static bool send_flight(struct cluster *cluster, struct flight *flight)
{
    if (!begin_reading(cluster, flight->job)) {
        cluster_end_flight(cluster, flight, MPROC_CANCELLED);
        return true;
    }
    int err = submit(cluster, flight);
    end_reading(cluster);
    flight->sent = err == 0;
    flight->not_before = err ? os_now() + FLIGHT_RETRY_AFTER : 0;
    if (err && err != -EAGAIN)
        cluster_fail(cluster, err, "%s", cluster->engine->message(cluster->connection));
    return err == 0;
}

/* The lowest number first: the server takes them in order. */
bool cluster_send_again(struct cluster *cluster)
{
    for (;;) {
        struct flight *lowest = NULL;
        for (unsigned i = 0; i < cluster->flights_used; i++) {
            struct flight *flight = &cluster->flights[i];
            if (flight->number && !flight->sent && (!lowest || flight->number < lowest->number))
                lowest = flight;
        }
        if (!lowest)
            return true;
        if (job_is_cancelled(lowest->job) && atomic_load(&lowest->job->stop_running))
            cluster_end_flight(cluster, lowest, MPROC_CANCELLED);
        else if (os_now() < lowest->not_before || !send_flight(cluster, lowest))
            return false;
    }
}

/* ---- what to send */

/* Batches that take less are short, or long. */
#define SHORT_BATCH INT64_C(5000000)
#define LONG_BATCH INT64_C(50000000)

/* So many are on their way that workers need not wait for the next; and no more, as what is more urgent waits for all
 * of them: two of long ones for each worker, five, or ten of short ones. How long a job's are is not known at first. */
enum { LOAD_OF_A_WORKER = 10, LOAD_LONG = 5, LOAD_MIDDLE = 2, LOAD_SHORT = 1 };

static unsigned load_of(const struct pace *pace)
{
    if (pace->took == 0 || pace->took >= LONG_BATCH)
        return LOAD_LONG;
    return pace->took >= SHORT_BATCH ? LOAD_MIDDLE : LOAD_SHORT;
}

static bool has_room(const struct cluster *cluster, unsigned load)
{
    unsigned most = cluster->workers ? LOAD_OF_A_WORKER * (cluster->workers + 1) : 0;
    return cluster->load + load <= most && cluster->flights_count < FLIGHTS_MOST &&
           (cluster->flights_count == 0 || cluster->flight_bytes < FLIGHT_BYTES_MOST);
}

static size_t larger(size_t one, size_t other)
{
    return one > other ? one : other;
}

static uint32_t batch_items(const struct job *job, const struct pace *pace)
{
    if (job->sparse) /* what had ended before is left out one by one */
        return 1;
    if (job->chunk)
        return job->chunk < BATCH_ITEMS_MOST ? job->chunk : BATCH_ITEMS_MOST;
    size_t item = larger(job->input_is_bytes ? pace->input_bytes : job->input_size,
                         job->output_is_bytes ? pace->output_bytes : job->output_size);
    if (job->input_is_bytes || job->output_is_bytes)
        item = larger(item, BATCH_BYTES_MOST / 64);
    size_t fits = larger(BATCH_BYTES_MOST / larger(item, 1), 1);
    return pace->want < fits ? pace->want : (uint32_t)fits;
}

/* Of the tail, no fewer than their way is worth. */
static uint32_t next_items(const struct cluster *cluster, const struct job *job, const struct pace *pace)
{
    uint32_t most = batch_items(job, pace);
    if (job->chunk || most == 1)
        return most;
    uint32_t fair = job_fair_share((uint32_t)job_count_waiting(job), cluster->workers);
    fair = fair > pace->least ? fair : pace->least;
    return fair < most ? fair : most;
}

static bool fly(struct cluster *cluster, struct job *job, uint32_t first, uint32_t count)
{
    struct flight *flight = take_flight(cluster);
    size_t bytes = 0;
    if (begin_reading(cluster, job)) {
        for (uint32_t i = 0; i < count; i++)
            bytes += bytes_of(job, first + i, job->input_is_bytes);
        end_reading(cluster);
    }
    *flight = (struct flight) { .number = ++cluster->last_number,
                                .job = job,
                                .first = first,
                                .count = count,
                                .bytes = bytes,
                                .load = load_of(&cluster->paces[job->index]) };
    cluster->flights_count++;
    cluster->load += flight->load;
    cluster->flight_bytes += bytes;
    cluster->paces[job->index].flights++;
    cluster->paces[job->index].input_bytes = count ? bytes / count : 0;
    return cluster_send_again(cluster);
}

/* Returns false when nothing more is to be sent now. */
static bool send_of(struct cluster *cluster, struct job *job)
{
    struct pool_shared *shared = cluster->pool->shared;
    struct pace *pace = pace_of(cluster, job);
    struct claim claim;
    while (has_room(cluster, load_of(pace)) && !job_is_cancelled(job)) {
        if (!job_claim(job, cluster->claimer, 0, 0, next_items(cluster, job, pace), &claim)) {
            board_close(shared, job);
            board_announce_if_done(shared, job);
            return true;
        }
        if (job->sparse && !job_item_is_pending(job, claim.first))
            continue;
        if (!fly(cluster, job, claim.first, claim.count))
            return false;
    }
    if (job_is_cancelled(job)) {
        board_close(shared, job);
        board_announce_if_done(shared, job);
    }
    return has_room(cluster, load_of(pace));
}

void cluster_send(struct cluster *cluster)
{
    struct pool_shared *shared = cluster->pool->shared;
    bool goes_on = cluster_send_again(cluster);
    uint32_t level;
    int picked;
    while (goes_on && has_room(cluster, LOAD_SHORT) && (picked = board_pick(shared, &level)) >= 0) {
        uint32_t index = (uint32_t)picked;
        mark(shared, index);             /* sequentially consistent, then: is it active? See "the life of a job" */
        cluster->paces[index].flights++; /* as if there were one more: the last to land is not to unmark it meanwhile */
        if (!job_is_active(shared, index) || shared->jobs[index]->level != level)
            board_forget(shared, index, level);
        else
            goes_on = send_of(cluster, shared->jobs[index]);
        cluster->paces[index].flights--;
        unmark_unless_needed(cluster, index);
    }
}

/* ---- cancelling */

void cluster_pass_on_cancels(struct cluster *cluster)
{
    for (unsigned i = 0; i < cluster->flights_used; i++) {
        struct flight *flight = &cluster->flights[i];
        if (flight->number == 0 || !flight->sent || flight->cancelled || !atomic_load(&flight->job->stop_running))
            continue;
        int result = cluster->engine->cancel(cluster->connection, flight->number);
        flight->cancelled = result >= 0;
        if (result > 0) /* no machine has it */
            cluster_end_flight(cluster, flight, MPROC_CANCELLED);
    }
}
