/* mproc_map: checks, the job's memory, the wait, the outcomes. SPDX-License-Identifier: MIT */
#include "base/report.h"
#include "os/clock.h"
#include "pool/default_pool.h"
#include "pool/handle.h"
#include "pool/job.h"
#include "pool/pool.h"
#include "pool/result.h"
#include "pool/serial.h"
#include "pool/worker.h"
#include "process/registry.h"

#include <errno.h>
#include <limits.h>
#include <mproc/error.h>
#include <string.h>

/* What a process can address on any machine of today: 56 bits. */
#define ADDRESS_SPACE ((size_t)1 << 56)

/* ---- what was asked for */

static int check_arrays(const struct mproc_map_arguments *map, const struct mproc_task *task)
{
    if (!map->input || !map->output)
        return report(map->error, -EINVAL, "mproc_map of '%s': the %s array is NULL", task->name,
                      map->input ? "output" : "input");
    if (map->input_size == 0 || map->output_size == 0)
        return report(map->error, -EINVAL, "mproc_map of '%s': the size of an %s element is 0", task->name,
                      map->input_size ? "output" : "input");
    size_t bytes;
    if (__builtin_mul_overflow(map->n, map->input_size, &bytes) || bytes > ADDRESS_SPACE ||
        __builtin_mul_overflow(map->n, map->output_size, &bytes) || bytes > ADDRESS_SPACE)
        return report(map->error, -EOVERFLOW, "mproc_map of '%s': %zu items", task->name, map->n);
    return 0;
}

static int check_sizes(const struct mproc_map_arguments *map, const struct mproc_task *task)
{
    if (map->types_checked)
        return 0;
    if (task->input_size == 0)
        return report(map->error, MPROC_E_TYPE_UNKNOWN, "mproc_map of '%s'", task->name);
    if (task->input_size != map->input_size || task->output_size != map->output_size)
        return report_text(
            map->error, MPROC_E_TYPE_MISMATCH,
            "mproc_map of '%s': elements of %zu and %zu bytes, but the task takes %zu and %zu: pass arrays "
            "of the types that the task takes",
            task->name, map->input_size, map->output_size, task->input_size, task->output_size);
    return 0;
}

static int find_task(const struct mproc_map_arguments *map, const struct mproc_task **task)
{
    const char *name = map->name ? map->name : "?";
    if (!map->function && (!map->name || map->types_checked)) /* only the macro checks types */
        return report(map->error, -EINVAL, "mproc_map: the task '%s' is NULL", name);
    *task = registry_find(map->function, map->name);
    if (!*task)
        return report_text(map->error, MPROC_E_UNREGISTERED,
                           "'%s' is not registered as a task: write MPROC_TASK with its name after its definition",
                           name);
    if ((*task)->kind != MPROC_KIND_TASK)
        return report_text(map->error, MPROC_E_UNREGISTERED,
                           "'%s' is a process's function, registered with MPROC_PROCESS: a map takes a task, which has "
                           "an input and an output",
                           (*task)->name);
    const struct mproc_task *other = registry_find_namesake(*task);
    if (other)
        return registry_report_duplicate(map->error, *task, other);
    return check_sizes(map, *task);
}

/* ---- the job */

static size_t align_up(size_t size)
{
    return (size + CACHE_LINE_PAIR - 1) / CACHE_LINE_PAIR * CACHE_LINE_PAIR;
}

/* Lays out job, statuses and, where they need a copy, arrays in one block. */
static int allocate_job(struct pool *pool, const struct mproc_map_arguments *map, unsigned index)
{
    const struct backend *backend = pool->backend;
    size_t input_bytes = map->n * map->input_size, output_bytes = map->n * map->output_size;
    bool copy = backend->separate_memory;
    size_t status_at = align_up(job_size(pool->workers));
    size_t input_at = align_up(status_at + map->n);
    size_t output_at, size;
    if (__builtin_add_overflow(input_at, copy ? align_up(input_bytes) : 0, &output_at) ||
        __builtin_add_overflow(output_at, copy ? output_bytes : 0, &size))
        return -EOVERFLOW;

    struct job_memory memory = { backend->allocate(size, true), NULL };
    if (memory.block && (map->outcomes || map->error))
        memory.outcomes = backend->allocate(map->n * sizeof(struct mproc_outcome), false);
    if (!memory.block || ((map->outcomes || map->error) && !memory.outcomes)) {
        backend->free(memory.block);
        return -ENOMEM;
    }
    memset(memory.block, 0, input_at);
    struct job *job = memory.block;
    char *base = memory.block;
    job->input = copy ? memcpy(base + input_at, map->input, input_bytes) : map->input;
    job->output = copy ? base + output_at : map->output;
    job->status = (_Atomic uint8_t *)(base + status_at);
    job->outcomes = memory.outcomes;
    pool->memory[index] = memory;
    pool->shared->jobs[index].job = job;
    return 0;
}

static struct job *publish_job(struct pool *pool, const struct mproc_map_arguments *map, const struct mproc_task *task,
                               unsigned index)
{
    struct job_slot *slot = &pool->shared->jobs[index];
    struct job *job = slot->job;
    job->call = task->call;
    job->input_size = map->input_size;
    job->output_size = map->output_size;
    job->n = (uint32_t)map->n;
    job->chunk = (uint32_t)(map->chunk < CLAIM_ITEMS_MAX ? map->chunk : CLAIM_ITEMS_MAX);
    job->index = index;
    atomic_store_explicit(&job->sources[0], range_pack((struct range) { 0, job->n }), memory_order_relaxed);
    /* Not if the supervisor's id is gone: it has died, and there will be nobody to say so. */
    uint32_t seen = atomic_load_explicit(&slot->waiting.word, memory_order_relaxed);
    while ((seen & FUTEX_TID_MASK) &&
           !atomic_compare_exchange_weak(&slot->waiting.word, &seen, seen & FUTEX_TID_MASK)) {
    }
    /* Sequentially consistent: see worker.c, visit; and a release of all of the above. */
    atomic_fetch_or(&pool->shared->active, UINT64_C(1) << index);
    worker_call(pool->shared, job->n < pool->workers ? job->n : pool->workers);
    return job;
}

/* Returns 0 when the job is done; -EINTR; or MPROC_E_SUPERVISOR_DIED when nobody is left to say so. */
static int wait_for_job(struct pool *pool, struct job_slot *slot)
{
    _Atomic uint32_t *word = &slot->waiting.word;
    int64_t deadline = pool->shared->spin ? os_now() + pool->shared->spin : 0;
    uint32_t seen;
    while (!((seen = atomic_load_explicit(word, memory_order_acquire)) & JOB_OVER)) {
        if (deadline) {
            for (int i = 0; i < 16 && atomic_load_explicit(word, memory_order_relaxed) == seen; i++)
                os_cpu_relax();
            if (os_now() > deadline)
                deadline = 0;
            continue;
        }
        if (!(seen & FUTEX_WAITERS) && !atomic_compare_exchange_strong(word, &seen, seen | FUTEX_WAITERS))
            continue;
        if (os_futex_wait(word, seen | FUTEX_WAITERS, -1) == -EINTR)
            return -EINTR;
    }
    return seen & FUTEX_TID_MASK ? 0 : MPROC_E_SUPERVISOR_DIED;
}

/* Why the wait broke off, now that it has. */
static int reason_of_break(struct pool *pool, int *reason)
{
    switch (atomic_load(&pool->shared->state)) {
    case POOL_TERMINATING: return MPROC_E_TERMINATED;
    case POOL_NO_WORKERS: *reason = atomic_load(&pool->shared->reason); return MPROC_E_NO_WORKERS;
    default: return MPROC_E_SUPERVISOR_DIED;
    }
}

/* Ends a job that will not be done. Returns the items that surely did not start. Afterwards nobody writes to the
 * caller's arrays any more. */
static struct range break_off_job(struct pool *pool, struct job *job)
{
    struct range left = job_cancel(job);
    atomic_fetch_and(&pool->shared->active, ~(UINT64_C(1) << job->index));
    if (!pool->backend->separate_memory) {
        while (pool_job_has_visitors(pool, job->index))
            os_sleep(100000);
        return (struct range) { 0, job->n };
    }
    return left;
}

static int run_job(struct pool *pool, const struct mproc_map_arguments *map, const struct mproc_task *task)
{
    unsigned index = pool_take_job(pool);
    int err = allocate_job(pool, map, index);
    if (err) {
        pool_leave_job(pool, index);
        return report(map->error, err, "mproc_map of '%s': %zu items of %zu and %zu bytes", task->name, map->n,
                      map->input_size, map->output_size);
    }
    struct job *job = publish_job(pool, map, task, index);
    err = wait_for_job(pool, &pool->shared->jobs[index]);
    if (err && job_is_done(job, pool->workers))
        err = 0;
    struct result result = { .map = map, .job = job, .name = task->name, .copy_output = job->output != map->output };
    if (err) {
        if (err == MPROC_E_SUPERVISOR_DIED) {
            err = reason_of_break(pool, &result.reason);
            pool_keep_memory_unless(pool, pool->backend->workers_gone(pool));
        }
        result.not_started = break_off_job(pool, job);
    }
    err = result_deliver(&result, err);
    pool_leave_job(pool, index);
    return err;
}

/* ---- the calls */

static int run(struct pool *pool, const struct mproc_map_arguments *map, const struct mproc_task *task)
{
    if (!pool->backend || pool_is_running_this(pool)) /* a thread would wait for itself */
        return serial_map(pool, map, task);
    int err = 0, reason;
    if (task->order > pool->registered)
        err = MPROC_E_REGISTERED_LATE;
    else if (pool_is_broken(pool))
        err = reason_of_break(pool, &reason);
    if (err) {
        result_cancel_rest(map, 0);
        return report(map->error, err, "mproc_map of '%s'", task->name);
    }
    return run_job(pool, map, task);
}

/* A job counts its items in 31 bits; a larger map is several jobs, one after the other. */
static int run_slices(struct pool *pool, const struct mproc_map_arguments *map, const struct mproc_task *task)
{
    size_t unsuccessful = 0;
    for (size_t first = 0; first < map->n; first += JOB_ITEMS_MAX) {
        struct mproc_error error;
        struct mproc_map_arguments slice = *map;
        slice.n = map->n - first < JOB_ITEMS_MAX ? map->n - first : JOB_ITEMS_MAX;
        slice.input = (const char *)map->input + first * map->input_size;
        slice.output = (char *)map->output + first * map->output_size;
        slice.outcomes = map->outcomes ? map->outcomes + first : NULL;
        slice.error = map->error ? &error : NULL;
        int result = run(pool, &slice, task);
        if (result != 0 && map->error && (unsuccessful == 0 || result < 0)) {
            if (error.item != SIZE_MAX)
                error.item += first;
            *map->error = error;
        }
        if (result < 0) {
            result_cancel_rest(map, first + slice.n);
            return result;
        }
        unsuccessful += (size_t)result;
    }
    int count = unsuccessful < INT_MAX ? (int)unsuccessful : INT_MAX;
    if (count > 0 && map->error)
        map->error->code = count;
    return count;
}

int mproc_map_with(mproc_pool *handle, const struct mproc_map_arguments *arguments)
{
    if (!arguments)
        return -EINVAL;
    if (arguments->size == 0 || arguments->size > sizeof *arguments)
        return MPROC_E_STRUCT_SIZE;
    struct mproc_map_arguments map = { 0 };
    memcpy(&map, arguments, arguments->size);
    const struct mproc_task *task = NULL;
    int err = find_task(&map, &task);
    if (err || !task)
        return err;
    err = map.n > 0 ? check_arrays(&map, task) : 0;
    if (err || (!handle && map.n == 0))
        return err;

    struct pool *pool = NULL;
    if (!handle)
        err = default_pool_acquire(&handle, &pool, map.error);
    else if ((err = handle_acquire(handle, &pool)) != 0)
        report(map.error, err, "mproc_map of '%s'", task->name);
    if (err)
        return err;
    err = run_slices(pool, &map, task);
    if (handle)
        handle_release(handle);
    return err;
}
