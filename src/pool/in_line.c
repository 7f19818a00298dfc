/* Calls whose items the calling thread runs itself. SPDX-License-Identifier: MIT */
#include "pool/in_line.h"

#include "pool/item.h"
#include "pool/job.h"
#include "pool/options.h"
#include "pool/pool.h"
#include "pool/report_progress.h"
#include "process/registry.h"
#include "sync/watch.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a serial pool has instead of workers. Its state is used by the thread that makes a call. */
struct in_line {
    pthread_mutex_t lock; /* guards the beginning and the end of the state */
    struct pool_options options;
    void *state;
    bool ready, broken;
    uint64_t items;
    unsigned users;
};

int in_line_open(struct pool *pool, const struct mproc_pool_open_arguments *arguments)
{
    struct in_line *in_line = calloc(1, sizeof *in_line + options_extra_size(arguments));
    if (!in_line)
        return -ENOMEM;
    pthread_mutex_init(&in_line->lock, NULL);
    options_write(&in_line->options, arguments, (char *)(in_line + 1));
    pool->in_line = in_line;
    return 0;
}

/* Under the lock. */
static void finalise(struct in_line *in_line, struct runner *runner)
{
    runner->context.state = in_line->state;
    if (in_line->ready && in_line->options.finalize)
        in_line->options.finalize(in_line->options.finalizer_input, in_line->state);
    in_line->ready = false;
    free(in_line->state);
    in_line->state = runner->context.state = NULL;
}

/* Under the lock. Returns 0 or MPROC_E_WORKERS_FAIL. */
static int initialise(struct in_line *in_line, struct runner *runner)
{
    const struct pool_options *options = &in_line->options;
    for (int failures = 0; !in_line->ready && !in_line->broken && failures < options->start_failures; failures++) {
        in_line->state = options->state_size ? calloc(1, options->state_size) : NULL;
        runner->context.state = in_line->state;
        in_line->ready = !options->initialize || options->initialize(options->initializer_input, in_line->state) == 0;
        in_line->items = 0;
        if (!in_line->ready)
            free(in_line->state);
    }
    if (!in_line->ready) {
        in_line->state = NULL;
        in_line->broken = true;
    }
    return in_line->ready ? 0 : MPROC_E_WORKERS_FAIL;
}

/* Before an item; `ended`: how many were run since the last time. */
static int prepare(struct pool *pool, struct runner *runner, unsigned ended)
{
    struct in_line *in_line = pool->in_line;
    if (!in_line || (!in_line->options.initialize && !in_line->options.finalize))
        return 0;
    pthread_mutex_lock(&in_line->lock);
    in_line->items += ended;
    uint64_t most = in_line->options.items_per_worker;
    if (in_line->ready && most > 0 && in_line->items >= most && in_line->users <= 1)
        finalise(in_line, runner);
    int err = initialise(in_line, runner);
    runner->context.state = in_line->state;
    pthread_mutex_unlock(&in_line->lock);
    return err;
}

/* The last item of a call counts, too. */
static void count_last(struct pool *pool, unsigned ended)
{
    if (!pool->in_line || ended == 0)
        return;
    pthread_mutex_lock(&pool->in_line->lock);
    pool->in_line->items += ended;
    pthread_mutex_unlock(&pool->in_line->lock);
}

static void use(struct pool *pool, int more)
{
    if (!pool->in_line)
        return;
    pthread_mutex_lock(&pool->in_line->lock);
    pool->in_line->users += (unsigned)more;
    pthread_mutex_unlock(&pool->in_line->lock);
}

int in_line_close(struct pool *pool)
{
    struct runner runner = { .pid = getpid() };
    if (!pool->in_line)
        return 0;
    int err = pool->in_line->broken ? MPROC_E_WORKERS_FAIL : 0;
    runner_enter(&runner, pool, pool->handle);
    finalise(pool->in_line, &runner);
    runner_leave(&runner);
    pthread_mutex_destroy(&pool->in_line->lock);
    free(pool->in_line);
    return err;
}

static bool is_terminated(const struct pool *pool)
{
    return atomic_load_explicit(&pool->terminated, memory_order_relaxed) != 0;
}

/* Returns how many items have ended. */
static uint32_t run_items(struct work *work, struct pool *pool, struct runner *runner, int *failure)
{
    struct job *job = work->job;
    uint32_t item = 0;
    unsigned ended = 0;
    *failure = MPROC_E_TERMINATED;
    for (; item < job->n && !is_terminated(pool); item++) {
        if (job->sparse && !job_item_is_pending(job, item))
            continue;
        int err = prepare(pool, runner, ended);
        if (err) {
            *failure = err;
            ended = 0;
            break;
        }
        ended = 1;
        if (job->watched)
            item_run_watched(runner, job, item);
        else
            item_run_range(runner, job, item, item + 1);
        if (work->call.progress || work->joblog)
            progress_tick(work, pool);
    }
    count_last(pool, ended);
    return item;
}

void in_line_run(struct work *work, struct pool *pool)
{
    struct job *job = work->job;
    struct worker_slot slot = { .running = NOT_RUNNING };
    struct runner runner = { .terminated = &pool->terminated, .slot = &slot, .job = job, .call = job->call };
    runner.context.is_stopped = runner_is_stopped;
    runner.context.state = task_context_is_pools() ? task_context->state : NULL;
    runner.context.attempt = 1;
    runner.pid = getpid();
    runner_enter(&runner, pool, pool->handle);
    use(pool, 1);
    int failure;
    uint32_t ended = run_items(work, pool, &runner, &failure);
    use(pool, -1);
    runner_leave(&runner);
    if (ended < job->n) {
        job_cancel_items(job, ended, job->n);
        job->failure = failure;
    }
    atomic_store(&job->over, 1);
    if (job->has_callback && atomic_load(pool_polled(pool)))
        watch_tell(pool_watch_object(pool));
}
