/* The batches that an agent has in hand. SPDX-License-Identifier: MIT */
#include "cluster/agent.h"
#include "os/clock.h"
#include "pool/future.h"
#include "pool/item.h"
#include "pool/job.h"
#include "process/registry.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void agent_free_batch(struct agent_batch *batch)
{
    mproc_future_free(batch->future);
    writer_free(&batch->result);
    free(batch);
}

/* ---- beginning */

static void done(mproc_future *future, void *context)
{
    struct agent_batch *batch = context;
    (void)future;
    batch->is_done = true;
}

/* Returns why the items cannot be run. */
static int check(struct agent_batch *batch)
{
    const struct batch_message *message = &batch->message;
    batch->task = registry_find(NULL, message->task);
    if (!batch->task || batch->task->kind != MPROC_KIND_TASK)
        return MPROC_E_FUNCTION_MISSING;
    if (batch->task->input_size &&
        (batch->task->input_size != message->input_size || batch->task->output_size != message->output_size))
        return MPROC_E_TYPE_MISMATCH;
    if (message->has_addresses && batch->session->family != batch->session->agent->family)
        return MPROC_E_HEAP_ADDRESS;
    return 0;
}

static int submit(struct agent_batch *batch)
{
    const struct batch_message *message = &batch->message;
    struct mproc_map_arguments arguments = {
        .size = sizeof arguments,
        .function = batch->task->function,
        .name = batch->task->name,
        .input = message->input_is_bytes ? (const void *)message->bytes : message->input,
        .input_size = message->input_size,
        .output_size = message->output_size,
        .types_checked = true,
        .input_is_bytes = message->input_is_bytes,
        .output_is_bytes = message->output_is_bytes,
        .n = message->n,
        .timeout = message->timeout,
        .retries = message->retries,
        .retry_on = message->retry_on,
        .priority = message->priority,
        .usage = message->usage,
        .on_done = done,
        .on_done_context = batch,
        .no_wait = true, /* it has far fewer calls than a pool takes */
    };
    bool watched = message->detailed || message->timeout || message->retries;
    return (watched ? mproc_map_async_with : future_map_unwatched)(&batch->future, batch->session->local, &arguments);
}

bool agent_begin_batch(struct session *session, uint64_t number, const void *data, size_t size)
{
    struct agent_batch *batch = calloc(1, sizeof *batch);
    if (!batch)
        return false;
    batch->session = session;
    batch->number = number;
    batch->arrived = os_now();
    if (!batch_read(&batch->message, data, size)) {
        batch->pool_failure = MPROC_E_WIRE;
    } else {
        batch->failure = check(batch);
        if (!batch->failure)
            batch->pool_failure = session->failure ? session->failure : submit(batch);
    }
    batch->is_done = batch->failure || batch->pool_failure;
    free(batch->message.bytes);
    batch->message.bytes = NULL;
    batch->message.input = NULL; /* the local pool has a copy */
    batch->next = session->batches;
    session->batches = batch;
    session->agent->batches++;
    return true;
}

void agent_cancel_batch(struct session *session, uint64_t number)
{
    for (struct agent_batch *batch = session->batches; batch; batch = batch->next)
        if (batch->number == number && batch->future)
            mproc_future_cancel(batch->future);
}

/* ---- results */

static void write_items_that_cannot_run(struct agent_batch *batch, const struct result_head *head)
{
    struct item_message item = { .outcome = { .kind = MPROC_FAILED, .code = batch->failure } };
    snprintf(item.outcome.message, sizeof item.outcome.message, "%s", mproc_strerror(batch->failure));
    for (uint32_t i = 0; i < head->n; i++)
        result_write_item(&batch->result, head, &item, true);
}

/* The job is looked at itself, as asking its future for each item would take longer than short tasks do. */
static void read_item(const struct agent_batch *batch, const struct job *job, uint32_t index, struct item_message *item)
{
    enum mproc_outcome_kind kind = item_kind(job->status[index]);
    const char *output = job->output + index * job->output_size;
    if (batch->message.detailed || kind != MPROC_OK) {
        *item = (struct item_message) { .outcome = item_outcome(job, index, kind) };
        item->has_times = item->outcome.attempts > 0;
        item->started = item->outcome.waited;
    }
    item->outcome.kind = kind;
    item->output = output;
    item->output_size = job->output_size;
    if (job->output_is_bytes) {
        const struct mproc_bytes *bytes = (const struct mproc_bytes *)(const void *)output;
        item->output = bytes->data;
        item->output_size = bytes->size;
    }
}

static void write_items(struct agent_batch *batch, const struct job *job, const struct result_head *head)
{
    struct item_message item = { .output = NULL };
    struct mproc_engine_machine *self = &batch->session->agent->self;
    if (head->all_are_ok)
        write_raw(&batch->result, job->output, head->n * job->output_size);
    for (uint32_t i = 0; i < head->n && !head->all_are_ok; i++) {
        read_item(batch, job, i, &item);
        self->unsuccessful += item.outcome.kind != MPROC_OK;
        result_write_item(&batch->result, head, &item, batch->message.detailed);
    }
    self->items += head->n;
    self->busy += head->ran;
}

static int64_t time_of_all(const struct job *job)
{
    int64_t sum = atomic_load_explicit(&job->ran, memory_order_relaxed);
    for (uint32_t i = 0; job->records && i < job->n; i++)
        sum += job->records[i].started ? job->records[i].ran : 0;
    return sum;
}

/* A pool of ours that broke cannot run anything of that session any more; the other side says so to its user. */
static int failure_of_pool(const struct agent_batch *batch)
{
    if (batch->pool_failure)
        return batch->pool_failure;
    int result = batch->future ? mproc_future_wait(batch->future, 0) : 0;
    return result < 0 && result != -ETIMEDOUT && result != MPROC_E_TERMINATED ? result : 0;
}

/* Nothing is to be said of single items. */
static bool all_are_ok(const struct agent_batch *batch, const struct job *job)
{
    return !batch->message.detailed && !job->output_is_bytes &&
           !atomic_load_explicit(&job->any_unsuccessful, memory_order_relaxed);
}

/* `future`: NULL if the batch could not be begun. */
static void write_result(struct agent_batch *batch, const struct future *future)
{
    static struct result_head head;
    head = (struct result_head) {
        .n = batch->message.n,
        .failure = failure_of_pool(batch),
        .ran = future ? time_of_all(future->work.job) : 0,
        .took = os_now() - batch->arrived,
        .output_is_bytes = batch->message.output_is_bytes,
        .output_size = batch->message.output_size,
        .all_are_ok = future && all_are_ok(batch, future->work.job),
    };
    batch->session->agent->batch_took = head.took;
    snprintf(head.machine, sizeof head.machine, "%s", batch->session->agent->self.name);
    if (head.failure) {
        head.n = 0;
        head.all_are_ok = false;
        snprintf(head.reason, sizeof head.reason, "%s",
                 batch->session->failure ? batch->session->reason : mproc_strerror(head.failure));
    }
    if (head.all_are_ok)
        writer_expect(&batch->result, sizeof head + head.n * head.output_size);
    result_write_head(&batch->result, &head);
    if (future)
        write_items(batch, future->work.job, &head);
    else
        write_items_that_cannot_run(batch, &head);
}

/* Of a batch that is done: its future, if it has one, was delivered. Returns false when it is not the time. */
static bool make_result(struct agent_batch *batch)
{
    struct future *future = NULL;
    if (batch->future && future_get(batch->future, &future) != 0)
        return false;
    write_result(batch, future);
    if (future)
        future_drop(future);
    return true;
}

static int send_result(struct agent *agent, struct agent_batch *batch)
{
    if (!batch->result.data && !make_result(batch))
        return -EAGAIN;
    if (batch->result.failed) { /* no memory: its lease runs out, and another machine tries */
        writer_free(&batch->result);
        return -EAGAIN;
    }
    return agent->engine->complete(agent->connection, batch->session->pool, batch->number, batch->result.data,
                                   batch->result.size);
}

static int send_results_of(struct agent *agent, struct session *session)
{
    if (session->local)
        mproc_pool_dispatch(session->local);
    for (struct agent_batch **link = &session->batches; *link;) {
        struct agent_batch *batch = *link;
        int err = batch->is_done ? send_result(agent, batch) : -EAGAIN;
        if (err && err != -EAGAIN)
            return err;
        if (err) {
            link = &batch->next;
            continue;
        }
        *link = batch->next;
        agent->batches--;
        agent_free_batch(batch);
    }
    return 0;
}

int agent_send_results(struct agent *agent)
{
    int err = 0;
    for (struct session *session = agent->sessions; session && !err; session = session->next)
        err = send_results_of(agent, session);
    return err;
}
