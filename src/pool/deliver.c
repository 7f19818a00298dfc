/* From a job that has ended to what the caller gets. SPDX-License-Identifier: MIT */
#include "base/report.h"
#include "pool/item.h"
#include "pool/job.h"
#include "pool/joblog.h"
#include "pool/pool.h"
#include "pool/report_progress.h"
#include "pool/trace.h"
#include "pool/work.h"
#include "process/registry.h"

#include <errno.h>
#include <limits.h>
#include <mproc/error.h>
#include <string.h>

static bool succeeded(enum mproc_outcome_kind kind)
{
    return kind == MPROC_OK || kind == MPROC_SKIPPED;
}

/* After a call that was broken off, workers may still be writing: each status is read once. What has not ended then may
 * have run in part. */
static enum mproc_outcome_kind kind_of(const struct job *job, uint32_t item)
{
    uint8_t status = atomic_load_explicit(&job->status[item], memory_order_acquire);
    return status == ITEM_PENDING ? MPROC_LOST : item_kind(status);
}

static void copy_results(const struct work *work, size_t first, size_t count)
{
    const struct job *job = work->job;
    char *results = job->output + first * job->output_size;
    if (!work->copy_output || !work->call.output || count == 0)
        return;
    memcpy((char *)work->call.output + first * job->output_size, results, count * job->output_size);
    if (job->abandoned) /* what points to bytes stays behind only where the caller has not got them */
        memset(results, 0, count * job->output_size);
}

struct unsuccessful {
    size_t count, first;
    struct mproc_outcome outcome; /* of the first */
};

static void note(struct unsuccessful *unsuccessful, size_t item, const struct mproc_outcome *outcome)
{
    if (unsuccessful->count++ > 0)
        return;
    unsuccessful->first = item;
    unsuccessful->outcome = *outcome;
}

static void deliver_items(struct work *work, const struct pool *pool, struct unsuccessful *unsuccessful)
{
    const struct job *job = work->job;
    struct trace *trace = pool ? pool->trace : NULL;
    size_t first_ok = 0;
    for (uint32_t item = 0; item < job->n; item++) {
        enum mproc_outcome_kind kind = kind_of(job, item);
        if (kind != MPROC_OK) {
            copy_results(work, first_ok, item - first_ok);
            first_ok = item + 1;
        } else if (!work->call.outcomes && !trace) {
            continue;
        }
        struct mproc_outcome outcome = item_outcome(job, item, kind);
        if (work->call.outcomes)
            work->call.outcomes[item] = outcome;
        if (trace)
            trace_item(trace, job->name, item, job->records ? job->records[item].started : 0, &outcome);
        if (!succeeded(kind))
            note(unsuccessful, item, &outcome);
    }
    copy_results(work, first_ok, job->n - first_ok);
}

int work_report(const struct work *work, const struct pool *pool, int err)
{
    const char *name = work->task->name;
    if (err == -EAGAIN && pool)
        return report_text(
            work->call.error, err,
            "%s of '%s': the pool has %u calls already, which is its .backlog: wait for one, or leave out "
            ".no_wait",
            work->what, name, pool->backlog);
    if (err == MPROC_E_CLOSED)
        return report_text(work->call.error, err, "%s of '%s': the pool is closed, or being closed", work->what, name);
    if (err == MPROC_E_NO_WORKERS && pool && pool->shared)
        return report(work->call.error, err, "%s of '%s' (%s)", work->what, name,
                      mproc_strerror(atomic_load(&pool->shared->reason)));
    if (pool && pool->backend && pool->backend->explain && err == pool_reason(pool)) {
        char text[MPROC_ERROR_MESSAGE_SIZE];
        pool->backend->explain(pool, text, sizeof text);
        return report_text(work->call.error, err, "%s of '%s': %s", work->what, name, text);
    }
    return report(work->call.error, err, "%s of '%s'", work->what, name);
}

/* Texts of outcomes begin with what the item did, or with what it was. */
static bool is_participle(enum mproc_outcome_kind kind)
{
    return kind == MPROC_CANCELLED || kind == MPROC_LOST || kind == MPROC_OVER_MEMORY;
}

static void describe(const struct work *work, const struct pool *pool, int err, const struct unsuccessful *unsuccessful)
{
    struct mproc_error *error = work->call.error;
    if (!error)
        return;
    if (err)
        work_report(work, pool, err);
    if (unsuccessful->count == 0)
        return;
    if (!err) {
        char text[240];
        mproc_outcome_text(&unsuccessful->outcome, text, sizeof text);
        report_text(error, unsuccessful->count < INT_MAX ? (int)unsuccessful->count : INT_MAX,
                    "%zu of %u items of '%s' did not succeed; the first is item %zu, which %s%s", unsuccessful->count,
                    work->job->n, work->job->name, unsuccessful->first,
                    is_participle(unsuccessful->outcome.kind) ? "was " : "", text);
    }
    error->item = unsuccessful->first;
    error->outcome = unsuccessful->outcome;
}

int work_deliver(struct work *work, struct pool *pool, int err)
{
    const struct job *job = work->job;
    struct unsuccessful unsuccessful = { .count = 0 };
    if (!err)
        err = job->failure;
    bool all_are_ok = !atomic_load_explicit(&job->any_unsuccessful, memory_order_relaxed) && !job->sparse;
    if (err || work->call.outcomes || (pool && pool->trace) || !all_are_ok)
        deliver_items(work, pool, &unsuccessful);
    else
        copy_results(work, 0, job->n);
    progress_end(work, pool);
    int log_err = joblog_close(work->joblog);
    work->joblog = NULL;
    if (log_err && !err)
        return report(work->call.error, log_err, "%s of '%s': the job log '%s'", work->what, job->name,
                      work->call.joblog);
    if (err || unsuccessful.count)
        describe(work, pool, err, &unsuccessful);
    if (err)
        return err;
    return unsuccessful.count < INT_MAX ? (int)unsuccessful.count : INT_MAX;
}

void work_cancel_rest(const struct mproc_map_arguments *call, size_t first)
{
    if (!call->outcomes || first >= call->n)
        return;
    memset(call->outcomes + first, 0, (call->n - first) * sizeof *call->outcomes);
    for (size_t item = first; item < call->n; item++) {
        call->outcomes[item].kind = MPROC_CANCELLED;
        call->outcomes[item].worker = -1;
    }
}
