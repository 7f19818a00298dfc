/* Futures. SPDX-License-Identifier: MIT */
#include "pool/future.h"

#include "base/report.h"
#include "os/clock.h"
#include "pool/board.h"
#include "pool/handle.h"
#include "pool/inside.h"
#include "pool/item.h"
#include "pool/job.h"
#include "pool/pool.h"
#include "process/registry.h"
#include "sync/handles.h"
#include "sync/watcher.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdlib.h>

static struct handle_place places[MPROC_FUTURES_MAX];
static struct handles handles = { .places = places, .count = MPROC_FUTURES_MAX };

_Static_assert((int)MPROC_FUTURES_MAX <= (int)HANDLES_MOST, "a handle names its place");

/* ---- references */

int future_get(mproc_future *handle, struct future **future)
{
    void *object;
    int err = handle ? handles_acquire(&handles, handle, &object) : -EINVAL;
    if (err)
        return err;
    *future = object;
    atomic_fetch_add(&(*future)->references, 1);
    handles_release(&handles, handle);
    return 0;
}

static struct future *make(void)
{
    struct future *future = calloc(1, sizeof *future);
    if (!future)
        return NULL;
    atomic_store(&future->references, 1);
    pthread_mutex_init(&future->lock, NULL);
    pthread_cond_init(&future->delivered, NULL);
    return future;
}

/* One that has no job, or has it no more. */
static void discard(struct future *future)
{
    pthread_mutex_destroy(&future->lock);
    pthread_cond_destroy(&future->delivered);
    free(future);
}

void future_drop(struct future *future)
{
    if (atomic_fetch_sub(&future->references, 1) != 1)
        return;
    if (!future->handed_over)
        item_drop_results(future->work.job);
    watcher_close(future->work.job);
    work_end(&future->work);
#ifndef __clang_analyzer__ /* which does not count references */
    discard(future);
#endif
}

/* ---- a pool's list */

static void list(struct pool *pool, struct future *future)
{
    atomic_fetch_add(&future->references, 1);
    pthread_mutex_lock(&pool->lock);
    future->listed = true;
    future->previous = pool->last_future;
    *(pool->last_future ? &pool->last_future->next : &pool->first_future) = future;
    pool->last_future = future;
    if (!pool->first_with_place)
        pool->first_with_place = future;
    pthread_mutex_unlock(&pool->lock);
}

static void unlist(struct pool *pool, struct future *future)
{
    pthread_mutex_lock(&pool->lock);
    bool listed = future->listed;
    if (listed) {
        *(future->previous ? &future->previous->next : &pool->first_future) = future->next;
        *(future->next ? &future->next->previous : &pool->last_future) = future->previous;
        if (pool->first_with_place == future)
            pool->first_with_place = future->next;
        future->listed = false;
    }
    pthread_mutex_unlock(&pool->lock);
    if (listed)
        future_drop(future);
}

static bool keeps_a_place(const struct future *future)
{
    return future->work.on_board && work_is_over(&future->work);
}

/* There may be many that have none any more, and are waiting to be delivered. Under the lock. */
static struct future *first_with_place(struct pool *pool)
{
    while (pool->first_with_place && !pool->first_with_place->work.on_board)
        pool->first_with_place = pool->first_with_place->next;
    return pool->first_with_place;
}

/* The first of the list that a question is answered with yes for, with a reference. */
static struct future *find(struct pool *pool, bool (*question)(const struct future *future))
{
    pthread_mutex_lock(&pool->lock);
    struct future *future = question == keeps_a_place ? first_with_place(pool) : pool->first_future;
    while (future && !question(future))
        future = future->next;
    if (future)
        atomic_fetch_add(&future->references, 1);
    pthread_mutex_unlock(&pool->lock);
    return future;
}

/* Under the pool's lock, so that only one does it. */
static bool take_from_board(struct pool *pool, struct future *future)
{
    pthread_mutex_lock(&pool->lock);
    bool on_board = future->work.on_board;
    future->work.on_board = false;
    pthread_mutex_unlock(&pool->lock);
    return on_board;
}

static void leave_place(struct pool *pool, struct future *future)
{
    if (take_from_board(pool, future))
        places_leave(pool, future->work.job);
}

bool futures_leave_places(struct pool *pool)
{
    bool any = false;
    for (struct future *future; (future = find(pool, keeps_a_place));) {
        leave_place(pool, future);
        future_drop(future);
        any = true;
    }
    return any;
}

/* ---- delivery */

/* A number that no other thread has as long as this one lives. */
static uint64_t this_thread(void)
{
    static _Thread_local char mark;
    return (uint64_t)(uintptr_t)&mark;
}

static int deliver(struct future *future, struct pool *pool)
{
    int result = work_deliver(&future->work, pool, 0);
    future->handed_over = !future->work.copy_output || future->work.call.output;
    if (pool) {
        leave_place(pool, future);
        unlist(pool, future);
    }
    return result;
}

/* Under its lock. */
static bool calls_back_elsewhere(const struct future *future)
{
    return future->state == FUTURE_CALLING_BACK && !pthread_equal(future->deliverer, pthread_self());
}

/* True if it is the caller's to do; false if it was done. */
static bool begin_delivery(struct future *future, bool somebody_else_will)
{
    pthread_mutex_lock(&future->lock);
    while (future->state == FUTURE_DELIVERING || calls_back_elsewhere(future) ||
           (future->state == FUTURE_PENDING && somebody_else_will && future->pool_handle))
        pthread_cond_wait(&future->delivered, &future->lock);
    bool mine = future->state == FUTURE_PENDING;
    if (mine)
        future->state = FUTURE_DELIVERING;
    pthread_mutex_unlock(&future->lock);
    return mine;
}

static void end_delivery(struct future *future, int result)
{
    pthread_mutex_lock(&future->lock);
    future->result = result;
    future->state = FUTURE_CALLING_BACK;
    future->deliverer = pthread_self();
    mproc_future *handle = future->handle;
    pthread_mutex_unlock(&future->lock);
    if (future->work.call.on_done)
        future->work.call.on_done(handle, future->work.call.on_done_context);
    pthread_mutex_lock(&future->lock);
    future->state = FUTURE_DELIVERED;
    pthread_cond_broadcast(&future->delivered);
    pthread_mutex_unlock(&future->lock);
    if (future->for_nobody && handle)
        mproc_future_free(handle);
}

bool future_acquire_pool(const struct future *future, struct pool **pool, mproc_pool **held)
{
    mproc_pool *handle = future->pool_handle;
    *held = NULL;
    if (!handle)
        return false;
    if ((*pool = inside_find(handle)))
        return true;
    if (handle_acquire(handle, pool) != 0)
        return false;
    *held = handle;
    return true;
}

void future_release_pool(mproc_pool *held)
{
    if (held)
        handle_release(held);
}

/* One thread at a time reports progress. Its callback may wait for this very future, which is no reason to wait for the
 * callback. */
static int wait_with_ticks(struct future *future, struct pool *pool, int64_t deadline)
{
    uint64_t nobody = 0;
    bool ticks = atomic_compare_exchange_strong(&future->ticker, &nobody, this_thread());
    int err = work_wait(&future->work, pool, deadline, ticks);
    if (ticks)
        atomic_store(&future->ticker, 0);
    return err;
}

static bool another_ticks(struct future *future)
{
    uint64_t ticker = atomic_load(&future->ticker);
    return ticker && ticker != this_thread();
}

static void finish_delivery(struct future *future, struct pool *pool)
{
    struct inside inside;
    while (another_ticks(future)) /* the call is over: no other thread begins to, and this one soon ends */
        os_sleep(100000);
    atomic_fetch_add(&future->references, 1);
    int result = deliver(future, pool);
    inside_enter(&inside, pool);
    end_delivery(future, result);
    inside_leave(&inside);
    future_drop(future);
}

/* `pool`: NULL in line, in a task. */
static void deliver_in(struct future *future, struct pool *pool)
{
    if (begin_delivery(future, false))
        finish_delivery(future, pool);
}

int future_deliver(struct future *future)
{
    struct pool *pool = NULL;
    mproc_pool *held;
    if (future_acquire_pool(future, &pool, &held)) {
        deliver_in(future, pool);
        future_release_pool(held);
    } else if (begin_delivery(future, true)) { /* unless it has no pool, who closes that delivers it, or lets it go */
        finish_delivery(future, NULL);
    }
    return future->result;
}

static bool is_due(const struct future *future)
{
    return work_is_over(&future->work) && (future->work.call.on_done || !future->handle) &&
           !atomic_load(&future->ticker); /* else who waits for it, perhaps this very thread, delivers it */
}

int futures_dispatch(struct pool *pool)
{
    int callbacks = 0;
    for (struct future *future; (future = find(pool, is_due));) {
        callbacks += future->work.call.on_done != NULL;
        deliver_in(future, pool);
        future_drop(future);
    }
    return callbacks;
}

static bool is_any(const struct future *future)
{
    (void)future;
    return true;
}

int futures_join(struct pool *pool, int64_t deadline, bool whatever_signals)
{
    for (struct future *future; (future = find(pool, is_any));) {
        int err = wait_with_ticks(future, pool, deadline);
        if (err == 0)
            deliver_in(future, pool);
        future_drop(future);
        if (err == -ETIMEDOUT || (err < 0 && !whatever_signals))
            return err;
    }
    return 0;
}

static bool is_nobodys(const struct future *future)
{
    return !future->handle || future->for_nobody;
}

static void let_go(struct pool *pool, struct future *future)
{
    leave_place(pool, future);
    pthread_mutex_lock(&future->lock);
    atomic_store(&future->pool_handle, NULL);
    bool abandoned = is_nobodys(future); /* just now; or mproc_future_free calls back */
    pthread_cond_broadcast(&future->delivered);
    pthread_mutex_unlock(&future->lock);
    unlist(pool, future);
    if (abandoned)
        deliver_in(future, NULL);
}

void futures_let_go(struct pool *pool)
{
    for (struct future *future; (future = find(pool, is_any));) {
        if (is_nobodys(future))
            deliver_in(future, pool);
        else
            let_go(pool, future);
        future_drop(future);
    }
}

/* ---- beginning */

/* In a task of the pool, or of any with no pool named, there is no list that somebody will look at. */
static int begin(struct future *future, mproc_pool *handle, struct pool *pool)
{
    int err = work_begin(&future->work, pool, !future->work.call.no_wait);
    if (err)
        return err;
    future->pool_handle = handle;
    if (handle)
        list(pool, future);
    return 0;
}

/* Before others can find the future. */
static int publish(struct future *future, enum future_audience audience)
{
    future->for_nobody = audience == FUTURE_FOR_CALLBACK;
    if (audience == FUTURE_INTERNAL || (audience == FUTURE_FOR_CALLBACK && !future->work.call.on_done))
        return 0;
    atomic_fetch_add(&future->references, 1);
    future->handle = handles_create(&handles, future);
    return future->handle
               ? 0
               : report(future->work.call.error, -EMFILE, "%s: MPROC_FUTURES_MAX futures", future->work.what);
}

/* One whose call did not begin. */
static void unpublish(struct future *future)
{
    void *object;
    if (future->handle)
        handles_close(&handles, future->handle, &object, NULL);
}

static int begin_work(struct future **made, mproc_pool *handle, const struct mproc_map_arguments *arguments,
                      const char *what, enum future_audience audience, struct work work)
{
    int err = work_check(&work, what, arguments);
    if (!err)
        err = work_refuse_iterating(&work);
    if (err)
        return err;
    struct future *future = make();
    if (!future)
        return report(work.call.error, -ENOMEM, "%s of '%s'", what, work.task->name);
    future->work = work;
    struct pool *pool = NULL;
    err = publish(future, audience);
    if (!err)
        err = work_acquire_pool(&work, &handle, &pool);
    if (!err) {
        err = begin(future, handle, pool);
        if (handle)
            handle_release(handle);
    }
    if (err) {
        unpublish(future);
        discard(future);
    } else {
        *made = future;
    }
    return err;
}

int future_begin(struct future **made, mproc_pool *handle, const struct mproc_map_arguments *arguments,
                 const char *what, enum future_audience audience)
{
    return begin_work(made, handle, arguments, what, audience, (struct work) { .asynchronous = true });
}

void future_detach(struct future *future)
{
    pthread_mutex_lock(&future->lock);
    while (future->state == FUTURE_DELIVERING)
        pthread_cond_wait(&future->delivered, &future->lock);
    struct mproc_map_arguments *call = &future->work.call;
    if (future->state == FUTURE_PENDING) {
        call->output = NULL;
        call->outcomes = NULL;
        call->error = NULL;
        call->progress = NULL;
    }
    pthread_mutex_unlock(&future->lock);
}

static int map(mproc_future **result, mproc_pool *pool, const struct mproc_map_arguments *arguments, struct work work)
{
    struct future *future = NULL;
    int err = begin_work(&future, pool, arguments, arguments && arguments->n == 1 ? "mproc_submit" : "mproc_map_async",
                         result ? FUTURE_FOR_CALLER : FUTURE_FOR_CALLBACK, work);
    if (err || !future)
        return err;
    if (result)
        *result = future->handle;
    else if (!future->pool_handle)
        future_deliver(future);
    future_drop(future);
    return 0;
}

int mproc_map_async_with(mproc_future **result, mproc_pool *pool, const struct mproc_map_arguments *arguments)
{
    return map(result, pool, arguments, (struct work) { .asynchronous = true });
}

int future_map_unwatched(mproc_future **result, mproc_pool *pool, const struct mproc_map_arguments *arguments)
{
    return map(result, pool, arguments, (struct work) { .asynchronous = true, .unwatched = true });
}

/* ---- the calls */

int future_wait_until_over(struct future *future, int64_t deadline)
{
    struct pool *pool = NULL;
    mproc_pool *held;
    if (work_is_over(&future->work) || !future_acquire_pool(future, &pool, &held))
        return 0; /* closed: whoever closes it delivers, or has done so */
    int err = wait_with_ticks(future, pool, deadline);
    if (err == -ETIMEDOUT && atomic_load(&future->work.job->polled) && watcher_rearm(future->work.job) &&
        work_is_over(&future->work))
        err = 0;
    future_release_pool(held);
    return err;
}

int mproc_future_wait(mproc_future *handle, int64_t timeout)
{
    struct future *future;
    int err = future_get(handle, &future);
    if (err)
        return err;
    err = future_wait_until_over(future, os_deadline(timeout));
    if (!err)
        err = future_deliver(future);
    future_drop(future);
    return err;
}

bool mproc_future_is_ready(mproc_future *handle)
{
    struct future *future;
    if (future_get(handle, &future) != 0)
        return false;
    bool over = work_is_over(&future->work);
    future_drop(future);
    return over;
}

static bool is_delivered(struct future *future)
{
    pthread_mutex_lock(&future->lock);
    bool delivered = future->state >= FUTURE_CALLING_BACK;
    pthread_mutex_unlock(&future->lock);
    return delivered;
}

int mproc_future_outcome(mproc_future *handle, size_t item, struct mproc_outcome *outcome)
{
    struct future *future;
    int err = outcome ? future_get(handle, &future) : -EINVAL;
    if (err)
        return err;
    const struct job *job = future->work.job;
    if (!is_delivered(future))
        err = -EAGAIN;
    else if (item >= job->n)
        err = -EINVAL;
    else
        *outcome = item_outcome(job, (uint32_t)item, item_kind(job->status[item]));
    future_drop(future);
    return err;
}

const void *mproc_future_value(mproc_future *handle, size_t item)
{
    struct future *future;
    const void *value = NULL;
    if (future_get(handle, &future) != 0)
        return NULL;
    const struct job *job = future->work.job;
    if (is_delivered(future) && item < job->n && job->status[item] == item_status(MPROC_OK))
        value = job->output + item * job->output_size;
    future_drop(future);
    return value;
}

void future_cancel(struct future *future)
{
    struct pool *pool = NULL;
    struct job *job = future->work.job;
    mproc_pool *held;
    if (work_is_over(&future->work) || !future_acquire_pool(future, &pool, &held))
        return;
    atomic_store(&job->stop_running, 1);
    job_cancel(job);
    if (pool->shared) {
        board_announce_if_done(pool->shared, job);
        pool->backend->look(pool);
    }
    future_release_pool(held);
}

int mproc_future_cancel(mproc_future *handle)
{
    struct future *future;
    int err = future_get(handle, &future);
    if (err)
        return err;
    future_cancel(future);
    future_drop(future);
    return 0;
}

int mproc_future_free(mproc_future *handle)
{
    struct future *future;
    void *object;
    if (!handle)
        return 0;
    int err = future_get(handle, &future);
    if (err)
        return err;
    err = handles_close(&handles, handle, &object, NULL);
    if (!err) {
        future_detach(future);
        pthread_mutex_lock(&future->lock);
        future->handle = NULL;
        bool let_go = !future->pool_handle; /* no pool will call back */
        pthread_mutex_unlock(&future->lock);
        if (let_go && future->work.call.on_done)
            deliver_in(future, NULL);
        future_drop(future); /* the handle's */
    }
    future_drop(future);
    return err;
}
