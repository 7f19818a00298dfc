/* mproc_map. SPDX-License-Identifier: MIT */
#include "base/report.h"
#include "pool/handle.h"
#include "pool/job.h"
#include "pool/pool.h"
#include "pool/work.h"
#include "process/registry.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>

static int run(struct work *work, struct pool *pool)
{
    int err = work_begin(work, pool, !work->call.no_wait);
    if (err)
        return err;
    err = work_wait(work, pool, INT64_MAX, true);
    if (err)
        work_break_off(work, pool);
    int result = work_deliver(work, pool, err);
    work_leave(work, pool);
    work_end(work);
    return result;
}

/* A job counts its items in 31 bits; a larger map is several jobs, one after the other. */
static int run_slices(const struct work *whole, struct pool *pool)
{
    const struct mproc_map_arguments *call = &whole->call;
    size_t unsuccessful = 0;
    for (size_t first = 0; first < call->n; first += JOB_ITEMS_MAX) {
        struct mproc_error error;
        struct work slice = *whole;
        slice.call.n = call->n - first < JOB_ITEMS_MAX ? call->n - first : JOB_ITEMS_MAX;
        slice.call.input = (const char *)call->input + first * call->input_size;
        slice.call.output = (char *)call->output + first * call->output_size;
        slice.call.outcomes = call->outcomes ? call->outcomes + first : NULL;
        slice.call.error = call->error ? &error : NULL;
        size_t n = slice.call.n;
        int result = run(&slice, pool);
        if (result != 0 && call->error && (unsuccessful == 0 || result < 0)) {
            if (error.item != SIZE_MAX)
                error.item += first;
            *call->error = error;
        }
        if (result < 0) {
            work_cancel_rest(call, first + n);
            return result;
        }
        unsuccessful += (size_t)result;
    }
    int count = unsuccessful < INT_MAX ? (int)unsuccessful : INT_MAX;
    if (count > 0 && call->error)
        call->error->code = count;
    return count;
}

int mproc_map_with(mproc_pool *handle, const struct mproc_map_arguments *arguments)
{
    struct work work = { .on_board = false };
    int err = work_check(&work, "mproc_map", arguments);
    if (err)
        return err;
    err = work_refuse_iterating(&work);
    if (err)
        return err;
    if (work.call.on_done)
        return report(work.call.error, -EINVAL, "mproc_map of '%s': .on_done is for asynchronous calls",
                      work.task->name);
    if (!handle && work.call.n == 0)
        return 0;
    struct pool *pool = NULL;
    err = work_acquire_pool(&work, &handle, &pool);
    if (err)
        return err;
    err = work.call.n <= JOB_ITEMS_MAX && work.call.n > 0 ? run(&work, pool) : run_slices(&work, pool);
    if (handle)
        handle_release(handle);
    return err;
}
