/* Telling how far a call has come. SPDX-License-Identifier: MIT */
#include "pool/report_progress.h"

#include "os/clock.h"
#include "pool/inside.h"
#include "pool/item.h"
#include "pool/job.h"
#include "pool/joblog.h"

#include <time.h>

/* How much of the rate is the last interval's. */
#define RATE_WEIGHT 0.2

/* Seconds; what is said to take longer hangs. */
#define LEFT_MOST (100 * 3600.0)

void progress_report(struct progress_state *state, const struct mproc_map_arguments *call, bool over)
{
    struct mproc_progress *report = &state->report;
    int64_t now = os_now();
    uint64_t ended = report->ended;
    report->elapsed = now - state->began;
    int64_t since = state->last ? now - state->last : report->elapsed;
    double rate = since > 0 ? (double)(ended - state->last_ended) * 1e9 / (double)since : 0;
    report->rate = state->last && report->rate > 0 ? (1 - RATE_WEIGHT) * report->rate + RATE_WEIGHT * rate : rate;
    if (over && report->elapsed > 0)
        report->rate = (double)ended * 1e9 / (double)report->elapsed;
    report->left = -1;
    double left = report->n != SIZE_MAX && report->rate > 0 ? (double)(report->n - ended) / report->rate : -1;
    if (left >= 0 && left < LEFT_MOST)
        report->left = (int64_t)(left * 1e9);
    report->over = over;
    state->last = now;
    state->last_ended = ended;
    if (call->progress)
        call->progress(report, call->progress_context);
}

int64_t progress_real_time(int64_t monotonic)
{
    struct timespec real;
    clock_gettime(CLOCK_REALTIME, &real);
    return monotonic ? (int64_t)real.tv_sec * 1000000000 + real.tv_nsec - (os_now() - monotonic) : 0;
}

static size_t bytes_of(const char *element, size_t size, bool is_bytes)
{
    return is_bytes ? ((const struct mproc_bytes *)(const void *)element)->size : size;
}

static void log_item(struct work *work, uint32_t item, enum mproc_outcome_kind kind)
{
    const struct job *job = work->job;
    struct mproc_outcome outcome = item_outcome(job, item, kind);
    size_t sent = bytes_of(job->input + item * job->input_size, job->input_size, work->call.input_is_bytes);
    size_t received = bytes_of(job->output + item * job->output_size, job->output_size, work->call.output_is_bytes);
    joblog_add(work->joblog, item, progress_real_time(job->records[item].started), &outcome, sent,
               kind == MPROC_OK ? received : 0);
}

void progress_log(struct work *work)
{
    const struct job *job = work->job;
    for (uint32_t item = 0; work->joblog && item < job->n; item++) {
        uint8_t bit = (uint8_t)(1 << item % 8);
        uint8_t status = atomic_load_explicit(&job->status[item], memory_order_acquire);
        if (status == ITEM_PENDING || (work->logged[item / 8] & bit))
            continue;
        log_item(work, item, item_kind(status));
        work->logged[item / 8] |= bit;
    }
    if (work->joblog)
        joblog_flush(work->joblog);
}

static void report(struct work *work, struct pool *pool, bool over)
{
    struct inside inside;
    struct mproc_progress *progress = &work->progress.report;
    uint64_t ended, unsuccessful;
    if (!work->call.progress)
        return;
    job_count(work->job, &ended, &unsuccessful);
    progress->name = work->job->name;
    progress->n = work->call.n;
    progress->ended = ended > progress->ended ? ended : progress->ended;
    progress->unsuccessful = unsuccessful;
    inside_enter(&inside, pool);
    progress_report(&work->progress, &work->call, over);
    inside_leave(&inside);
}

void progress_tick(struct work *work, struct pool *pool)
{
    int64_t now = os_now();
    if (now - (work->progress.last ? work->progress.last : work->progress.began) < PROGRESS_INTERVAL)
        return;
    work->progress.last = work->call.progress ? work->progress.last : now;
    progress_log(work);
    report(work, pool, false);
}

void progress_end(struct work *work, struct pool *pool)
{
    progress_log(work);
    report(work, pool, true);
}
