/* Iterating. SPDX-License-Identifier: MIT
 *
 * Items are sent in batches, each of which is a call of its own. They are taken from their source, and batches are
 * begun, only by who asks for the next result.
 */
#include "base/report.h"
#include "os/clock.h"
#include "pool/future.h"
#include "pool/handle.h"
#include "pool/job.h"
#include "pool/joblog.h"
#include "pool/pool.h"
#include "pool/report_progress.h"
#include "process/registry.h"
#include "sync/handles.h"

#include <errno.h>
#include <mproc/error.h>
#include <mproc/imap.h>
#include <stdlib.h>
#include <string.h>

/* A batch should take its worker about so long. */
#define BATCH_TIME INT64_C(200000)

enum { BATCH_MOST = 256, BATCHES_PER_WORKER = 4 };

struct batch {
    struct future *future; /* NULL: its one item is skipped */
    char *output;
    struct mproc_outcome *outcomes;
    size_t first, count, returned;
};

struct mproc_imap_state {
    pthread_mutex_t lock; /* one caller at a time */
    struct mproc_map_arguments call;
    mproc_pool *pool;
    const char *name;
    unsigned workers; /* 0: in line */
    struct batch **batches;
    int batches_count, batches_room;
    size_t taken, outstanding; /* items that came from the source, and that were not returned yet */
    size_t batch_size;
    bool exhausted;
    int source_error;
    int failure; /* the iteration has ended with it */
    struct joblog *joblog;
    struct progress_state progress;
};

static struct handle_place places[MPROC_IMAPS_MAX];
static struct handles handles = { .places = places, .count = MPROC_IMAPS_MAX };

/* ---- batches */

static void free_batch(struct batch *batch)
{
    free(batch->output);
    free(batch->outcomes);
    free(batch);
}

/* Also one in whose midst the iteration ends. */
static void end_batch(struct mproc_imap_state *imap, struct batch *batch)
{
    if (batch->future) {
        future_cancel(batch->future);
        future_detach(batch->future);
        bool handed_over = batch->future->handed_over && batch->future->state >= FUTURE_CALLING_BACK;
        for (size_t i = batch->returned; imap->call.output_is_bytes && handed_over && i < batch->count; i++)
            if (batch->outcomes[i].kind == MPROC_OK)
                mproc_bytes_free((struct mproc_bytes *)(void *)(batch->output + i * imap->call.output_size));
        future_drop(batch->future);
    }
    free_batch(batch);
}

static struct batch *make_batch(struct mproc_imap_state *imap, size_t count)
{
    if (imap->batches_count == imap->batches_room) {
        int room = imap->batches_room ? 2 * imap->batches_room : 16;
        struct batch **larger = realloc(imap->batches, (size_t)room * sizeof(void *));
        if (!larger)
            return NULL;
        imap->batches = larger;
        imap->batches_room = room;
    }
    struct batch *batch = calloc(1, sizeof *batch);
    if (!batch)
        return NULL;
    batch->output = calloc(count, imap->call.output_size);
    batch->outcomes = calloc(count, sizeof *batch->outcomes);
    batch->count = count;
    if (batch->output && batch->outcomes)
        return batch;
    free_batch(batch);
    return NULL;
}

static void keep(struct mproc_imap_state *imap, struct batch *batch)
{
    batch->first = imap->taken;
    imap->taken += batch->count;
    imap->outstanding += batch->count;
    imap->batches[imap->batches_count++] = batch;
}

static int begin_batch(struct mproc_imap_state *imap, struct batch *batch, const void *input, bool wait)
{
    struct mproc_map_arguments call = imap->call;
    call.input = input;
    call.output = batch->output;
    call.outcomes = batch->outcomes;
    call.n = batch->count;
    call.progress = NULL;
    call.joblog = NULL;
    call.resume = false;
    call.next = NULL;
    call.unordered = false;
    call.window = 0;
    call.no_wait = !wait;
    int err = future_begin(&batch->future, imap->pool, &call, "mproc_imap", FUTURE_INTERNAL);
    if (!err) /* what becomes of the items is told with each of them */
        batch->future->work.call.error = NULL;
    return err;
}

/* ---- the source */

static bool is_logged(const struct mproc_imap_state *imap, size_t item)
{
    return imap->call.resume && joblog_has(imap->joblog, item);
}

/* Asks .next for at most `most` items. Returns how many there are in `input`. */
static size_t ask(struct mproc_imap_state *imap, char *input, size_t most)
{
    size_t count = 0, size = imap->call.input_size;
    void *item = (void *)(uintptr_t)imap->call.input;
    while (count < most && !imap->exhausted && (count == 0 || !is_logged(imap, imap->taken + count))) {
        int result = imap->call.next(imap->call.next_context, item);
        if (result <= 0) {
            imap->exhausted = true;
            imap->source_error = result;
            break;
        }
        memcpy(input + count++ * size, item, size);
    }
    return count;
}

static size_t count_to_take(const struct mproc_imap_state *imap, size_t room)
{
    size_t most = imap->batch_size < room ? imap->batch_size : room, left = imap->call.n - imap->taken;
    if (imap->call.next && imap->call.input_is_bytes && most > 1)
        most = 1; /* the next one may come in the same buffer */
    if (most > left)
        most = left;
    for (size_t i = 1; i < most && imap->call.resume && !imap->call.next; i++)
        if (is_logged(imap, imap->taken + i))
            return i;
    return most;
}

/* Takes items from the source and sends them. Returns 0 or an error. */
static int send_batch(struct mproc_imap_state *imap, size_t room, bool wait)
{
    size_t size = imap->call.input_size, count = count_to_take(imap, room);
    bool logged = is_logged(imap, imap->taken);
    if (logged)
        count = 1;
    if (count == 0 || size == 0)
        return 0;
    char *asked = imap->call.next ? malloc(count * size) : NULL;
    if (imap->call.next && !asked)
        return -ENOMEM;
    const void *input = asked ? asked : (const char *)imap->call.input + imap->taken * size;
    if (asked)
        count = ask(imap, asked, count);
    int err = 0;
    struct batch *batch = count > 0 ? make_batch(imap, count) : NULL;
    if (count > 0 && !batch)
        err = -ENOMEM;
    if (batch && logged)
        batch->outcomes[0] = (struct mproc_outcome) { .kind = MPROC_SKIPPED, .worker = -1 };
    else if (batch)
        err = begin_batch(imap, batch, input, wait);
    if (batch && err == -EAGAIN && asked) /* what was asked for has to go */
        err = begin_batch(imap, batch, input, true);
    free(asked);
    if (batch && !err)
        keep(imap, batch);
    else if (batch)
        free_batch(batch);
    if (imap->taken == imap->call.n)
        imap->exhausted = true;
    return err;
}

static size_t window(const struct mproc_imap_state *imap)
{
    if (imap->workers == 0)
        return 1;
    return imap->call.window ? imap->call.window : imap->batch_size * imap->workers * BATCHES_PER_WORKER;
}

static int fill_up(struct mproc_imap_state *imap)
{
    while (!imap->exhausted && imap->outstanding < window(imap)) {
        int err = send_batch(imap, window(imap) - imap->outstanding, imap->outstanding == 0);
        if (err == -EAGAIN && imap->outstanding > 0)
            return 0; /* others fill the backlog; there is something to wait for */
        if (err)
            return err;
    }
    return 0;
}

/* Grows with how little items take. */
static void adapt(struct mproc_imap_state *imap, const struct batch *batch)
{
    int64_t ran = 0;
    if (batch->count == 0)
        return;
    for (size_t i = 0; i < batch->count; i++)
        ran += batch->outcomes[i].ran;
    int64_t mean = ran / (int64_t)batch->count + 1;
    size_t fits = (size_t)(BATCH_TIME / mean);
    if (imap->call.chunk || imap->workers == 0)
        return;
    if (fits > 2 * imap->batch_size)
        fits = 2 * imap->batch_size;
    imap->batch_size = fits < 1 ? 1 : fits < BATCH_MOST ? fits : BATCH_MOST;
}

/* ---- the next one */

static bool is_ready(const struct batch *batch)
{
    return !batch->future || work_is_over(&batch->future->work);
}

static int wait_for_any(struct mproc_imap_state *imap, int64_t deadline)
{
    for (int i = 0; i < imap->batches_count; i++)
        if (is_ready(imap->batches[i]))
            return i;
    struct future **futures = malloc((size_t)imap->batches_count * sizeof(void *));
    if (!futures)
        return -ENOMEM;
    for (int i = 0; i < imap->batches_count; i++)
        futures[i] = imap->batches[i]->future;
    int result = future_wait_for_one(futures, imap->batches_count, deadline);
    free(futures);
    return result;
}

/* The index of a batch that has something to return. */
static int wait_for_batch(struct mproc_imap_state *imap, int64_t deadline)
{
    if (imap->call.unordered)
        return wait_for_any(imap, deadline);
    struct batch *first = imap->batches[0];
    return is_ready(first) ? 0 : future_wait_until_over(first->future, deadline);
}

static int64_t tick(struct mproc_imap_state *imap, int64_t deadline)
{
    int64_t soon = os_now() + PROGRESS_INTERVAL;
    return imap->call.progress && soon < deadline ? soon : deadline;
}

static void report_now(struct mproc_imap_state *imap, bool over)
{
    int64_t now = os_now();
    if (imap->call.progress && (over || now - imap->progress.last >= PROGRESS_INTERVAL))
        progress_report(&imap->progress, &imap->call, over);
}

/* A batch's results arrived. */
static int open_batch(struct mproc_imap_state *imap, struct batch *batch)
{
    if (!batch->future || batch->returned > 0)
        return 0;
    int result = future_deliver(batch->future);
    adapt(imap, batch);
    return result < 0 ? result : 0;
}

static void log_item(struct mproc_imap_state *imap, const struct batch *batch, size_t i)
{
    const struct mproc_outcome *outcome = &batch->outcomes[i];
    int64_t started = batch->future ? batch->future->work.job->records[i].started : 0;
    const struct mproc_bytes *bytes = (const void *)(batch->output + i * imap->call.output_size);
    joblog_add(imap->joblog, batch->first + i, progress_real_time(started), outcome, imap->call.input_size,
               outcome->kind != MPROC_OK    ? 0
               : imap->call.output_is_bytes ? bytes->size
                                            : imap->call.output_size);
    joblog_flush(imap->joblog);
}

static void return_item(struct mproc_imap_state *imap, int index, struct mproc_imap_item *item)
{
    struct batch *batch = imap->batches[index];
    size_t i = batch->returned++;
    item->index = batch->first + i;
    item->outcome = batch->outcomes[i];
    if (item->outcome.kind == MPROC_OK)
        memcpy(imap->call.output, batch->output + i * imap->call.output_size, imap->call.output_size);
    if (imap->joblog && item->outcome.kind != MPROC_SKIPPED)
        log_item(imap, batch, i);
    imap->outstanding--;
    imap->progress.report.ended++;
    imap->progress.report.unsuccessful += item->outcome.kind != MPROC_OK && item->outcome.kind != MPROC_SKIPPED;
    if (batch->returned < batch->count)
        return;
    imap->batches_count--;
    memmove(&imap->batches[index], &imap->batches[index + 1], (size_t)(imap->batches_count - index) * sizeof(void *));
    if (batch->future)
        future_drop(batch->future);
    free_batch(batch);
}

static int fail(struct mproc_imap_state *imap, int err)
{
    imap->failure = err;
    if (imap->call.error && imap->call.error->code != err) /* it tells of what came after */
        report(imap->call.error, err, "mproc_imap of '%s'", imap->name);
    return err;
}

static int finish(struct mproc_imap_state *imap)
{
    if (imap->source_error)
        report(imap->call.error, imap->source_error, "mproc_imap of '%s': .next", imap->name);
    if (imap->progress.report.over)
        return imap->source_error;
    report_now(imap, true);
    imap->progress.report.over = true;
    int err = joblog_close(imap->joblog);
    imap->joblog = NULL;
    return imap->source_error ? imap->source_error : err;
}

static int next(struct mproc_imap_state *imap, struct mproc_imap_item *item, int64_t deadline)
{
    if (imap->failure)
        return imap->failure;
    int err = fill_up(imap);
    if (err == -EINTR)
        return err;
    if (err && imap->batches_count == 0)
        return fail(imap, err);
    if (err) { /* what was begun before is still to come */
        imap->exhausted = true;
        imap->source_error = err;
    }
    if (imap->batches_count == 0)
        return finish(imap);
    for (;;) {
        int index = wait_for_batch(imap, tick(imap, deadline));
        if (index >= 0) {
            err = open_batch(imap, imap->batches[index]);
            if (err)
                return fail(imap, err);
            return_item(imap, index, item);
            report_now(imap, false);
            return 1;
        }
        report_now(imap, false);
        if (index != -ETIMEDOUT || deadline == 0 || os_left(deadline) == 0)
            return index;
    }
}

int mproc_imap_next(mproc_imap *handle, struct mproc_imap_item *item, int64_t timeout)
{
    void *object;
    int64_t deadline = os_deadline(timeout);
    if (!handle || !item)
        return -EINVAL;
    int result = handles_acquire(&handles, handle, &object);
    if (result < 0)
        return result;
    struct mproc_imap_state *imap = object;
    pthread_mutex_lock(&imap->lock);
    result = next(imap, item, deadline);
    pthread_mutex_unlock(&imap->lock);
    handles_release(&handles, handle);
    return result;
}

/* ---- from the beginning to the end */

static int check(const struct mproc_map_arguments *arguments, struct work *work)
{
    if (!arguments)
        return -EINVAL;
    struct mproc_map_arguments call = { 0 };
    struct mproc_bytes none = { NULL, 0 };
    if (arguments->size > 0 && arguments->size <= sizeof call)
        memcpy(&call, arguments, arguments->size);
    /* Of a source that is asked, n and what its one item holds now mean nothing. */
    size_t n = call.n;
    if (call.next) {
        call.n = 1;
        call.input = call.input && call.input_is_bytes ? &none : call.input;
    }
    if (n == MPROC_UNTIL_END && !call.next) {
        report(call.error, -EINVAL, "mproc_imap of '%s': MPROC_UNTIL_END takes .next", call.name ? call.name : "?");
        return -EINVAL;
    }
    int err = work_check(work, "mproc_imap", call.next ? &call : arguments);
    if (err)
        return err;
    work->call.n = n;
    work->call.input = arguments->input;
    if (call.outcomes || call.on_done || call.no_wait)
        return report(call.error, -EINVAL, "mproc_imap of '%s': .outcomes, .on_done and .no_wait are for other calls",
                      work->task->name);
    if (!call.output && n > 0)
        return report(call.error, -EINVAL, "mproc_imap of '%s': the place for the result is NULL", work->task->name);
    return 0;
}

static int find_workers(mproc_pool *handle, const struct work *work, unsigned *workers)
{
    struct pool *pool = NULL;
    int err = work_acquire_pool(work, &handle, &pool);
    if (err)
        return err;
    *workers = pool->shared ? atomic_load(&pool->shared->most) : 0;
    if (handle)
        handle_release(handle);
    return 0;
}

static void destroy(struct mproc_imap_state *imap)
{
    for (int i = 0; i < imap->batches_count; i++)
        end_batch(imap, imap->batches[i]);
    free(imap->batches);
    joblog_close(imap->joblog);
    pthread_mutex_destroy(&imap->lock);
    free(imap);
}

static struct mproc_imap_state *make(mproc_pool *pool, const struct work *work, unsigned workers)
{
    struct mproc_imap_state *imap = calloc(1, sizeof *imap);
    if (!imap)
        return NULL;
    pthread_mutex_init(&imap->lock, NULL);
    imap->call = work->call;
    imap->pool = pool;
    imap->workers = workers;
    imap->name = work->task->name;
    imap->batch_size = work->call.chunk ? work->call.chunk : 1;
    imap->exhausted = work->call.n == 0;
    imap->progress.began = os_now();
    imap->progress.report.name = work->task->name;
    imap->progress.report.n = work->call.n;
    return imap;
}

int mproc_imap_with(mproc_imap **results, mproc_pool *pool, const struct mproc_map_arguments *arguments)
{
    struct work work = { .asynchronous = true };
    unsigned workers = 0;
    int err = check(arguments, &work);
    if (err)
        return err;
    if (!results)
        return report(work.call.error, -EINVAL, "mproc_imap: the place for the iterator is NULL");
    err = find_workers(pool, &work, &workers);
    if (err)
        return err;
    struct mproc_imap_state *imap = make(pool, &work, workers);
    if (!imap)
        return report(work.call.error, -ENOMEM, "mproc_imap of '%s'", work.task->name);
    if (work.call.joblog)
        err = joblog_open(&imap->joblog, work.call.joblog, work.task->name, work.call.resume);
    mproc_imap *handle = err ? NULL : handles_create(&handles, imap);
    if (err || !handle) {
        destroy(imap);
        return report(work.call.error, err ? err : -EMFILE, "mproc_imap of '%s'", work.task->name);
    }
    *results = handle;
    return 0;
}

int mproc_imap_free(mproc_imap *handle)
{
    void *object;
    if (!handle)
        return 0;
    int err = handles_close(&handles, handle, &object, NULL);
    if (!err)
        destroy(object);
    return err;
}
