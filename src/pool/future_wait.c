/* Waiting for several futures, and polling. SPDX-License-Identifier: MIT */
#include "channel/wait_hooks.h"
#include "os/futex.h"
#include "pool/board.h"
#include "pool/future.h"
#include "pool/handle.h"
#include "pool/pool.h"
#include "sync/wait.h"
#include "sync/watcher.h"

#include <errno.h>
#include <limits.h>
#include <mproc/error.h>
#include <stdlib.h>

/* ---- several */

enum { POOLS_MOST = 15 }; /* whose bells are slept on; those of others are looked at ten times a second */

struct several {
    struct future *const *futures; /* NULL where none was given */
    struct future **own;           /* with references */
    int count;
    mproc_pool *held[POOLS_MOST];
    struct pool *pools[POOLS_MOST];
    int pools_count;
};

static void add_pool(struct several *several, const struct future *future)
{
    int i = several->pools_count;
    if (i == POOLS_MOST || !future_acquire_pool(future, &several->pools[i], &several->held[i]))
        return;
    for (int other = 0; other < i; other++)
        if (several->pools[other] == several->pools[i]) {
            future_release_pool(several->held[i]);
            return;
        }
    several->pools_count++;
}

static void end(struct several *several)
{
    for (int i = 0; i < several->count; i++)
        if (several->own[i])
            future_drop(several->own[i]);
    free(several->own);
}

static int begin(struct several *several, mproc_future *const *handles, int count)
{
    bool any = false;
    int err = 0;
    *several = (struct several) { .count = count };
    if (!handles || count <= 0)
        return -EINVAL;
    several->futures = several->own = calloc((size_t)count, sizeof(void *));
    if (!several->own)
        return -ENOMEM;
    for (int i = 0; i < count && err == 0; i++)
        if (handles[i]) {
            err = future_get(handles[i], &several->own[i]);
            any = true;
        }
    if (err == 0 && !any)
        err = -EINVAL;
    if (err)
        end(several);
    return err;
}

static int find_over(const struct several *several)
{
    for (int i = 0; i < several->count; i++)
        if (several->futures[i] && work_is_over(&several->futures[i]->work))
            return i;
    return -1;
}

static void end_calls_of_broken(const struct several *several)
{
    for (int i = 0; i < several->pools_count; i++)
        if (pool_is_broken(several->pools[i]))
            pool_end_calls(several->pools[i]);
}

/* What to sleep on: the bells, and the supervisors' lives. */
static int gather(const struct several *several, struct os_futex_word *words)
{
    int count = 0;
    for (int i = 0; i < several->pools_count; i++) {
        _Atomic uint32_t *bell = &several->pools[i]->shared->bells[BELL_ANY];
        words[count++] = (struct os_futex_word) { bell, atomic_load(bell) };
    }
    for (int i = 0; i < several->pools_count; i++) {
        member_id supervisor = atomic_load(&several->pools[i]->shared->supervisor);
        if (supervisor) {
            words[count].word = member_life_word(supervisor, &words[count].expected);
            count++;
        }
    }
    return count;
}

static int sleep_once(const struct several *several, int64_t deadline)
{
    struct os_futex_word words[2 * POOLS_MOST];
    int count = gather(several, words);
    for (int i = 0; i < several->count; i++)
        if (several->futures[i])
            atomic_fetch_or(&several->futures[i]->work.job->awaited, AWAITED_AMONG_OTHERS);
    end_calls_of_broken(several);
    if (find_over(several) >= 0)
        return 0;
    int64_t now = os_now();
    if (now >= deadline)
        return -ETIMEDOUT;
    int64_t slice = deadline - now < WAIT_SLICE ? deadline - now : WAIT_SLICE;
    if (count == 0) {
        os_sleep(slice);
        return 0;
    }
    int result = os_futex_wait_any(words, count, now + slice, slice);
    if (result > 0)
        os_futex_wake(words[result].word, INT_MAX);
    return result == -EINTR ? result : 0;
}

/* The index of one that is over. */
static int wait_for_one(struct several *several, int64_t deadline)
{
    int index, err = 0;
    if ((index = find_over(several)) >= 0)
        return index;
    for (int i = 0; i < several->count; i++)
        if (several->futures[i])
            add_pool(several, several->futures[i]);
    while ((index = find_over(several)) < 0 && err == 0)
        err = sleep_once(several, deadline);
    for (int i = 0; i < several->pools_count; i++)
        future_release_pool(several->held[i]);
    return index >= 0 ? index : err;
}

int future_wait_for_one(struct future *const *futures, int count, int64_t deadline)
{
    struct several several = { .futures = futures, .count = count };
    return wait_for_one(&several, deadline);
}

int mproc_future_wait_any(mproc_future *const *futures, int count, int64_t timeout)
{
    struct several several;
    int64_t deadline = os_deadline(timeout);
    int result = begin(&several, futures, count);
    if (result != 0)
        return result;
    result = wait_for_one(&several, deadline);
    if (result >= 0)
        future_deliver(several.futures[result]);
    end(&several);
    return result;
}

int mproc_future_wait_all(mproc_future *const *futures, int count, int64_t timeout)
{
    struct several several;
    int64_t deadline = os_deadline(timeout);
    int err = begin(&several, futures, count), unsuccessful = 0;
    if (err != 0)
        return err;
    for (int i = 0; i < count && err == 0; i++) {
        if (!several.futures[i])
            continue;
        err = future_wait_until_over(several.futures[i], deadline);
        if (err == 0)
            unsuccessful += future_deliver(several.futures[i]) != 0;
    }
    end(&several);
    return err < 0 ? err : unsuccessful;
}

/* ---- descriptors */

int mproc_future_fd(mproc_future *handle)
{
    struct future *future;
    int result = future_get(handle, &future);
    if (result < 0)
        return result;
    struct job *job = future->work.job;
    result = watcher_open(job, &job->polled);
    /* Not readable for no reason once it was found not to be over; and readable if it was over before. */
    if (result >= 0 && !work_is_over(&future->work))
        watcher_rearm(job);
    future_drop(future);
    return result;
}

int mproc_pool_fd(mproc_pool *handle)
{
    struct pool *pool;
    if (!handle)
        return -EINVAL;
    int result = handle_acquire(handle, &pool);
    if (result < 0)
        return result;
    result = watcher_open(pool_watch_object(pool), pool_polled(pool));
    handle_release(handle);
    return result;
}

int mproc_pool_dispatch(mproc_pool *handle)
{
    struct pool *pool;
    if (!handle)
        return -EINVAL;
    int err = handle_acquire(handle, &pool), callbacks = 0;
    if (err < 0)
        return err;
    do {
        if (pool_is_broken(pool))
            pool_end_calls(pool);
        callbacks += futures_dispatch(pool);
    } while (atomic_load(pool_polled(pool)) && watcher_rearm(pool_watch_object(pool)));
    handle_release(handle);
    return callbacks;
}

int mproc_pool_join(mproc_pool *handle, int64_t timeout)
{
    struct pool *pool;
    if (!handle)
        return -EINVAL;
    if (pool_is_running(handle))
        return -EDEADLK;
    int64_t deadline = os_deadline(timeout);
    int err = handle_acquire(handle, &pool);
    if (err < 0)
        return err;
    err = futures_join(pool, deadline, false);
    handle_release(handle);
    return err;
}

/* ---- mproc_wait */

static int look(void *future)
{
    struct future *found;
    int err = future_get(future, &found);
    if (err)
        return err;
    bool over = work_is_over(&found->work);
    struct pool *pool;
    if (!over && found->pool_handle && handle_acquire(found->pool_handle, &pool) == 0) {
        if (pool_is_broken(pool))
            pool_end_calls(pool);
        handle_release(found->pool_handle);
        over = work_is_over(&found->work);
    }
    future_drop(found);
    return over;
}

static const void *object_of(void *future, _Atomic uint32_t **polled)
{
    struct future *found;
    if (future_get(future, &found) != 0)
        return NULL;
    struct job *job = found->work.job;
    *polled = &job->polled;
    future_drop(found);
    return job;
}

static __attribute__((constructor)) void tell_wait(void)
{
    static const struct wait_hooks hooks = { look, object_of };
    wait_for_futures_by(&hooks);
}
