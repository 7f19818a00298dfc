/* Maps in line. SPDX-License-Identifier: MIT */
#include "pool/serial.h"

#include "base/report.h"
#include "pool/item.h"
#include "pool/result.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdlib.h>

static void run_item(struct job *job, uint32_t i, struct task_context *context)
{
    int code = job->call(job->input + i * job->input_size, job->output + i * job->output_size);
    if (code != 0) {
        atomic_store(&job->any_unsuccessful, 1);
        if (job->outcomes)
            item_write_failure(context, code, &job->outcomes[i]);
    }
    context->message[0] = '\0';
    atomic_store_explicit(&job->status[i], code ? ITEM_FAILED : ITEM_OK, memory_order_relaxed);
}

static int run_items(struct pool *pool, struct job *job)
{
    struct task_context context;
    item_enter(&context, pool);
    uint32_t i = 0;
    while (i < job->n && !atomic_load_explicit(&pool->terminated, memory_order_relaxed))
        run_item(job, i++, &context);
    item_leave(&context);
    return i < job->n ? MPROC_E_TERMINATED : 0;
}

int serial_map(struct pool *pool, const struct mproc_map_arguments *map, const struct mproc_task *task)
{
    bool detail = map->outcomes || map->error;
    struct job job = {
        .call = task->call,
        .input = map->input,
        .output = map->output,
        .input_size = map->input_size,
        .output_size = map->output_size,
        .n = (uint32_t)map->n,
        .status = calloc(map->n, sizeof *job.status),
        .outcomes = detail ? calloc(map->n, sizeof *job.outcomes) : NULL,
    };
    int err = -ENOMEM;
    if (job.status && (job.outcomes || !detail)) {
        err = run_items(pool, &job);
        struct result result = { .map = map, .job = &job, .name = task->name, .not_started = { 0, job.n } };
        err = result_deliver(&result, err);
    } else {
        report(map->error, err, "mproc_map of '%s': %zu items", task->name, map->n);
    }
    free((void *)job.status);
    free(job.outcomes);
    return err;
}
