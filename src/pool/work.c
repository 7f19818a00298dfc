/* One call, on the caller's side: the job. SPDX-License-Identifier: MIT */
#include "pool/work.h"

#include "base/report.h"
#include "memory/heap.h"
#include "os/clock.h"
#include "pool/board.h"
#include "pool/in_line.h"
#include "pool/job.h"
#include "pool/joblog.h"
#include "pool/pool.h"
#include "pool/report_progress.h"
#include "process/registry.h"
#include "sync/wait.h"

#include <errno.h>
#include <mproc/error.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* ---- what the job's memory holds */

/* Items for each worker, from which on each has a part of its own to begin with. */
enum { SPREAD_LEAST = 64 };

/* Offsets in one block; in front of them is the job itself. */
struct layout {
    bool reads_callers, copy_input, copy_bytes, has_records;
    unsigned spread_count;
    size_t spread, status, records, name, input, bytes, output, size;
};

static bool is_shared(const struct pool *pool, const void *array, size_t size)
{
    return (!pool->backend || pool->backend->shares_heap) && heap_contains(array, size);
}

static bool place(size_t *end, size_t *offset, size_t size)
{
    *offset = (*end + CACHE_LINE_PAIR / 2 - 1) / (CACHE_LINE_PAIR / 2) * (CACHE_LINE_PAIR / 2);
    return !__builtin_add_overflow(*offset, size, end);
}

/* Bytes, so that what comes behind them is aligned as malloc's blocks are. */
static size_t align(size_t size)
{
    return (size + 15) & ~(size_t)15;
}

/* Bytes that inputs of struct mproc_bytes point to, and that workers do not see. False if they are too many. */
static bool count_bytes(const struct work *work, const struct pool *pool, size_t *total)
{
    const struct mproc_bytes *bytes = work->call.input;
    *total = 0;
    for (size_t i = 0; i < work->call.n; i++) {
        size_t size = align(bytes[i].size);
        if (!is_shared(pool, bytes[i].data, bytes[i].size) &&
            (size < bytes[i].size || __builtin_add_overflow(*total, size, total)))
            return false;
    }
    return true;
}

/* Into how many parts the items are split to begin with. */
static unsigned spread_over(const struct work *work, const struct pool *pool)
{
    unsigned workers = work->in_line ? 0 : atomic_load_explicit(&pool->shared->most, memory_order_relaxed);
    if (workers > JOB_SPREAD_MOST)
        workers = JOB_SPREAD_MOST;
    return workers > 1 && work->call.n >= (size_t)workers * SPREAD_LEAST ? workers : 0;
}

static size_t place_small(size_t *end, size_t size)
{
    size_t offset = align(*end);
    *end = offset + size;
    return offset;
}

/* Few small items lie beside what workers change of the job. */
static bool lay_out_small(const struct work *work, struct layout *layout)
{
    const struct mproc_map_arguments *call = &work->call;
    size_t n = call->n, end = offsetof(struct job, small), name = strlen(work->task->name) + 1;
    if (n > 8 || (layout->copy_input && call->input_size > 32) || (work->copy_output && call->output_size > 32) ||
        layout->has_records || layout->copy_bytes || name > JOB_SMALL_SIZE - sizeof(struct job))
        return false;
    layout->status = place_small(&end, job_status_size(n));
    layout->input = place_small(&end, layout->copy_input ? n * call->input_size : 0);
    layout->output = place_small(&end, work->copy_output ? n * call->output_size : 0);
    layout->name = sizeof(struct job);
    layout->spread_count = 0;
    layout->size = JOB_SMALL_SIZE;
    return end <= sizeof(struct job);
}

static int lay_out(struct work *work, const struct pool *pool, struct layout *layout)
{
    const struct mproc_map_arguments *call = &work->call;
    size_t n = call->n, input_bytes = n * call->input_size, output_bytes = n * call->output_size, bytes = 0;
    bool separate = pool->backend && pool->backend->separate_memory;
    layout->reads_callers = separate && pool->backend->reads_here && !work->asynchronous;
    bool copy = (separate && !layout->reads_callers) || (work->asynchronous && !work->in_line);
    layout->copy_bytes = call->input_is_bytes && copy;
    layout->copy_input = layout->copy_bytes || (copy && !is_shared(pool, call->input, input_bytes));
    work->copy_output = (separate || work->asynchronous) &&
                        (call->output_is_bytes || !call->output || !is_shared(pool, call->output, output_bytes));
    layout->has_records = call->outcomes || (work->asynchronous && !work->unwatched) || pool->trace || call->joblog ||
                          call->retries > 0 || call->usage;
    if (layout->copy_bytes && !count_bytes(work, pool, &bytes))
        return -EOVERFLOW;
    if (lay_out_small(work, layout))
        return 0;
    layout->spread_count = spread_over(work, pool);
    layout->size = sizeof(struct job);
    if (place(&layout->size, &layout->spread, layout->spread_count * sizeof(struct source)) &&
        place(&layout->size, &layout->status, job_status_size(n)) &&
        place(&layout->size, &layout->records, layout->has_records ? n * sizeof(struct item_record) : 0) &&
        place(&layout->size, &layout->name, strlen(work->task->name) + 1) &&
        place(&layout->size, &layout->input, layout->copy_input ? input_bytes : 0) &&
        place(&layout->size, &layout->bytes, bytes) &&
        place(&layout->size, &layout->output, work->copy_output ? output_bytes : 0))
        return 0;
    return -EOVERFLOW;
}

static void *allocate(const struct backend *memory, size_t size)
{
    void *block = NULL;
    if (memory)
        return memory->allocate(size);
    return posix_memalign(&block, CACHE_LINE_PAIR, size) == 0 ? block : NULL;
}

static void copy_bytes(const struct work *work, const struct pool *pool, struct mproc_bytes *input, char *to)
{
    for (size_t i = 0; i < work->call.n; i++) {
        if (is_shared(pool, input[i].data, input[i].size) || input[i].size == 0)
            continue;
        input[i].data = memcpy(to, input[i].data, input[i].size);
        to += align(input[i].size);
    }
}

static void fill_job(struct work *work, const struct pool *pool, const struct layout *layout)
{
    const struct mproc_map_arguments *call = &work->call;
    struct job *job = work->job;
    char *base = (char *)job;
    memset(base, 0, sizeof *job);
    job->call = pool->shared && pool->shared->options.by_name ? NULL : work->task->call;
    job->name = memcpy(base + layout->name, work->task->name, strlen(work->task->name) + 1);
    job->reads_callers = layout->reads_callers;
    job->input = layout->copy_input ? base + layout->input : call->input;
    if (layout->copy_input && call->n > 0)
        memcpy(base + layout->input, call->input, call->n * call->input_size);
    if (layout->copy_bytes)
        copy_bytes(work, pool, (struct mproc_bytes *)(void *)(base + layout->input), base + layout->bytes);
    job->output = work->copy_output ? base + layout->output : call->output;
    if (call->output_is_bytes && call->n > 0) /* who settles an item frees what it points to, also if it never began */
        memset(job->output, 0, call->n * sizeof(struct mproc_bytes));
    job->input_size = call->input_size;
    job->output_size = call->output_size;
    job->n = (uint32_t)call->n;
    job->chunk = (uint32_t)(call->chunk < CLAIM_ITEMS_MAX ? call->chunk : CLAIM_ITEMS_MAX);
    job->level = (uint8_t)(MPROC_PRIORITY_MAX - call->priority);
    job->usage = call->usage;
    job->timeout = call->timeout;
    job->input_is_bytes = call->input_is_bytes;
    job->output_is_bytes = call->output_is_bytes;
    job->has_callback = call->on_done != NULL;
    job->attempts_most = (uint8_t)(call->retries + 1);
    job->retry_on = call->retries ? (uint8_t)call->retry_on : 0;
    job->status = (_Atomic uint8_t *)(base + layout->status);
    job_reset_status(job);
    if (layout->has_records)
        job->records = memset(base + layout->records, 0, call->n * sizeof(struct item_record));
    job->watched = job->records || call->timeout || (pool->shared && pool->shared->options.memory_kill);
    job->summed = work->unwatched;
    job->submitted = work->progress.began;
    atomic_store_explicit(&job->references, 1, memory_order_relaxed);
    job->spread = (struct source *)(void *)(base + layout->spread);
    job->spread_count = (uint16_t)layout->spread_count;
    job_fill_sources(job);
}

static int make_job(struct work *work, struct pool *pool)
{
    struct layout layout = { .spread = 0 };
    int err = lay_out(work, pool, &layout);
    if (err)
        return err;
    work->memory = work->in_line ? NULL : pool->backend;
    /* The pool's only as long as the caller is in a call on it. */
    struct pool *keeper = work->memory && !work->asynchronous ? pool : NULL;
    work->job = keeper ? places_take_spare(keeper, layout.size) : NULL;
    size_t size = work->job ? work->job->memory_size : layout.size;
    if (!work->job)
        work->job = allocate(work->memory, size);
    if (!work->job)
        return -ENOMEM;
    fill_job(work, pool, &layout);
    work->job->spare_of = keeper;
    work->job->memory_size = size;
    if (work->call.outcomes || work->call.error || work->call.joblog || pool->trace || work->asynchronous) {
        work->job->outcomes = allocate(work->memory, work->call.n * sizeof(struct mproc_outcome));
        if (!work->job->outcomes)
            err = -ENOMEM;
    }
    if (err)
        work_end(work);
    return err;
}

/* ---- the log */

/* Items that it lists as done end before the job begins. */
static int open_log(struct work *work)
{
    struct job *job = work->job;
    int err = joblog_open(&work->joblog, work->call.joblog, work->task->name, work->call.resume);
    if (err)
        return report(work->call.error, err, "%s of '%s': the job log '%s'", work->what, work->task->name,
                      work->call.joblog);
    work->logged = calloc(job->n / 8 + 1, 1);
    if (!work->logged)
        return report(work->call.error, -ENOMEM, "%s of '%s'", work->what, work->task->name);
    for (uint32_t item = 0; item < job->n; item++)
        if (joblog_has(work->joblog, item)) {
            atomic_store(&job->status[item], item_status(MPROC_SKIPPED));
            work->logged[item / 8] |= (uint8_t)(1 << item % 8);
            job->sparse = true;
        }
    return 0;
}

/* ---- beginning */

static int begin_on_board(struct work *work, struct pool *pool, bool wait)
{
    struct job *job = work->job;
    bool late =
        pool->backend->separate_memory && !pool->shared->options.by_name && work->task->order > pool->registered;
    int place = late ? MPROC_E_REGISTERED_LATE : pool_is_broken(pool) ? pool_reason(pool) : places_take(pool, wait);
    if (place < 0)
        return work_report(work, pool, place);
    job->index = (uint32_t)place;
    work->on_board = true;
    atomic_fetch_add(&job->references, 1);
    atomic_store_explicit(&job->caller_looks, !work->asynchronous && pool->shared->spin > 0, memory_order_relaxed);
    board_publish(pool->shared, job);
    if (pool->backend->published)
        pool->backend->published(pool);
    if (job->sparse)
        board_announce_if_done(pool->shared, job);
    if (pool->shared->options.adaptive && !board_has_idle(pool->shared))
        pool->backend->look(pool);
    return 0;
}

int work_begin(struct work *work, struct pool *pool, bool wait)
{
    work->in_line = !pool->backend;
    work->progress.began = os_now();
    int err = make_job(work, pool);
    if (err)
        return report(work->call.error, err, "%s of '%s': %zu items of %zu and %zu bytes", work->what, work->task->name,
                      work->call.n, work->call.input_size, work->call.output_size);
    if (work->call.joblog)
        err = open_log(work);
    if (!err && work->in_line)
        in_line_run(work, pool);
    else if (!err)
        err = begin_on_board(work, pool, wait);
    if (err) {
        if (err < 0 && work->call.outcomes)
            work_cancel_rest(&work->call, 0);
        work_end(work);
    }
    return err;
}

int work_acquire_pool(const struct work *work, mproc_pool **handle, struct pool **pool)
{
    bool is_default = !*handle; /* which fills the error itself */
    int err = pool_acquire(handle, pool, work->call.error);
    return err && !is_default ? work_report(work, NULL, err) : err;
}

/* ---- waiting */

/* Nanoseconds after which a caller that is awake takes it that another worker would be of use. */
#define HELP_AFTER INT64_C(4000)

enum { LOOKS = 16 }; /* between looks at the clock */

/* A pool that grows by itself, where there is work and nobody idle. */
static void grow_if_busy(struct pool *pool)
{
    struct pool_shared *shared = pool->shared;
    if (shared->options.adaptive && board_has_work(shared) && !board_has_idle(shared))
        pool->backend->look(pool);
}

/* A caller that is awake wakes more workers the longer it takes: the first worker of a small job, which is done by
 * then, need not. */
static bool look_for_a_while(const struct work *work, struct pool *pool)
{
    struct job *job = work->job;
    if (pool->shared->spin == 0)
        return job_is_over(job);
    bool helps = atomic_load_explicit(&job->caller_looks, memory_order_relaxed);
    int64_t began = os_now(), now = began, help = began + HELP_AFTER;
    while (!job_is_over(job) && now - began < CALLER_SPIN) {
        for (int i = 0; i < LOOKS && !job_is_over(job); i++)
            os_cpu_relax();
        now = os_now();
        if (now < help || job_is_over(job))
            continue;
        os_yield(); /* the kernel likes to put who was woken behind who woke it */
        if (helps && job_has_begun(job))
            board_call_for(pool->shared, job);
        help = os_now() + HELP_AFTER;
    }
    if (job_is_over(job))
        return true;
    if (helps) { /* from now on workers call each other */
        atomic_store(&job->caller_looks, 0);
        board_call_for(pool->shared, job);
        grow_if_busy(pool);
    }
    return false;
}

/* Sleeps until the job is over, or there is a reason to look. */
static int sleep_once(const struct work *work, struct pool *pool, int64_t deadline)
{
    struct pool_shared *shared = pool->shared;
    struct job *job = work->job;
    member_id supervisor = atomic_load_explicit(&shared->supervisor, memory_order_relaxed);
    struct wait wait = {
        .word = board_bell(shared, job),
        .expected = atomic_load(board_bell(shared, job)),
        .deadline = deadline,
        .watched = supervisor != 0,
        .watch = { supervisor },
    };
    /* Sequentially consistent: who ends the job stores that, and then looks whether anybody waits. */
    atomic_fetch_or(&job->awaited, AWAITED_ALONE);
    return job_is_over(job) ? 0 : wait_sleep(&wait);
}

int work_wait(struct work *work, struct pool *pool, int64_t deadline, bool ticks)
{
    ticks = ticks && (work->call.progress || work->call.joblog);
    if (work->in_line || !work->on_board || (deadline != 0 && look_for_a_while(work, pool)))
        return 0;
    while (!work_is_over(work)) {
        if (pool_is_broken(pool)) {
            pool_end_calls(pool);
            continue;
        }
        int64_t tick = ticks ? os_now() + PROGRESS_INTERVAL : INT64_MAX;
        int err = sleep_once(work, pool, tick < deadline ? tick : deadline);
        if (ticks)
            progress_tick(work, pool);
        if (work_is_over(work))
            break;
        if (err == -EINTR || (err == -ETIMEDOUT && (deadline == 0 || os_left(deadline) == 0)))
            return err;
    }
    return 0;
}

void work_break_off(struct work *work, struct pool *pool)
{
    job_cancel(work->job);
    work->job->abandoned = work->copy_output;
    if (work->job->reads_callers)
        pool->backend->leave_inputs(pool, work->job);
    if (work->copy_output)
        return;
    /* The caller's array is free to be used for something else when the call returns. */
    atomic_store(&work->job->stop_running, 1);
    pool->backend->look(pool);
    board_withdraw(pool->shared, work->job->index, work->job->level);
    while (places_have_visitors(pool, work->job->index))
        os_sleep(100000);
}

void work_leave(struct work *work, struct pool *pool)
{
    if (!work->on_board)
        return;
    work->on_board = false;
    places_leave(pool, work->job);
}

void work_end(struct work *work)
{
    joblog_close(work->joblog);
    free(work->logged);
    if (work->job)
        job_release(work->memory, work->job);
    work->job = NULL;
    work->joblog = NULL;
    work->logged = NULL;
}
