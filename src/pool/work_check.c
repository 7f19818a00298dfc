/* Whether a call makes sense. SPDX-License-Identifier: MIT */
#include "base/report.h"
#include "pool/shared.h"
#include "pool/work.h"
#include "process/registry.h"

#include <errno.h>
#include <mproc/error.h>
#include <string.h>

/* What a process can address on any machine of today: 56 bits. */
#define ADDRESS_SPACE ((size_t)1 << 56)

enum { RETRIES_MOST = 100 };

static int check_arrays(const struct work *work)
{
    const struct mproc_map_arguments *call = &work->call;
    const char *name = work->task->name;
    if (!call->input || (!call->output && !work->asynchronous))
        return report(call->error, -EINVAL, "%s of '%s': the %s array is NULL", work->what, name,
                      call->input ? "output" : "input");
    if (call->input_size == 0 || call->output_size == 0)
        return report(call->error, -EINVAL, "%s of '%s': the size of an %s element is 0", work->what, name,
                      call->input_size ? "output" : "input");
    size_t bytes;
    if (__builtin_mul_overflow(call->n, call->input_size, &bytes) || bytes > ADDRESS_SPACE ||
        __builtin_mul_overflow(call->n, call->output_size, &bytes) || bytes > ADDRESS_SPACE ||
        (work->asynchronous && call->n > JOB_ITEMS_MAX))
        return report(call->error, -EOVERFLOW, "%s of '%s': %zu items", work->what, name, call->n);
    return 0;
}

static int check_sizes(const struct work *work)
{
    const struct mproc_map_arguments *call = &work->call;
    const struct mproc_task *task = work->task;
    if (call->types_checked)
        return 0;
    if (task->input_size == 0)
        return report(call->error, MPROC_E_TYPE_UNKNOWN, "%s of '%s'", work->what, task->name);
    if (task->input_size != call->input_size || task->output_size != call->output_size)
        return report_text(call->error, MPROC_E_TYPE_MISMATCH,
                           "%s of '%s': elements of %zu and %zu bytes, but the task takes %zu and %zu: pass arrays "
                           "of the types that the task takes",
                           work->what, task->name, call->input_size, call->output_size, task->input_size,
                           task->output_size);
    return 0;
}

static int find_task(struct work *work)
{
    const struct mproc_map_arguments *call = &work->call;
    const char *name = call->name ? call->name : "?";
    if (!call->function && (!call->name || call->types_checked)) /* only the macro checks types */
        return report(call->error, -EINVAL, "%s: the task '%s' is NULL", work->what, name);
    work->task = registry_find(call->function, call->name);
    if (!work->task)
        return report_text(call->error, MPROC_E_UNREGISTERED,
                           "'%s' is not registered as a task: write MPROC_TASK with its name after its definition",
                           name);
    if (work->task->kind != MPROC_KIND_TASK)
        return report_text(call->error, MPROC_E_UNREGISTERED,
                           "'%s' is a process's function, registered with MPROC_PROCESS: a map takes a task, which has "
                           "an input and an output",
                           work->task->name);
    const struct mproc_task *other = registry_find_namesake(work->task);
    if (other)
        return registry_report_duplicate(call->error, work->task, other);
    return check_sizes(work);
}

static int check_options(const struct work *work)
{
    const struct mproc_map_arguments *call = &work->call;
    const char *wrong = NULL;
    const unsigned reasons = MPROC_RETRY_CRASHED | MPROC_RETRY_FAILED | MPROC_RETRY_TIMED_OUT | MPROC_RETRY_OVER_MEMORY;
    if (call->timeout < 0)
        wrong = ".timeout is negative: leave it out for none";
    else if (call->retries < 0 || call->retries > RETRIES_MOST)
        wrong = ".retries has to be 0 to 100";
    else if (call->retry_on & ~reasons)
        wrong = ".retry_on is not made of the values of enum mproc_retry";
    else if (call->priority < -MPROC_PRIORITY_MAX || call->priority > MPROC_PRIORITY_MAX)
        wrong = ".priority is beyond MPROC_PRIORITY_MAX";
    else if (call->resume && !call->joblog)
        wrong = ".resume takes a .joblog";
    else if (call->input_is_bytes && call->input_size != sizeof(struct mproc_bytes))
        wrong = ".input_is_bytes, but elements are not of the size of struct mproc_bytes";
    else if (call->output_is_bytes && call->output_size != sizeof(struct mproc_bytes))
        wrong = ".output_is_bytes, but elements are not of the size of struct mproc_bytes";
    return wrong ? report(call->error, -EINVAL, "%s of '%s': %s", work->what, work->task->name, wrong) : 0;
}

int work_refuse_iterating(const struct work *work)
{
    const struct mproc_map_arguments *call = &work->call;
    if (!call->next && !call->unordered && !call->window)
        return 0;
    return report(call->error, -EINVAL, "%s of '%s': .next, .unordered and .window are for mproc_imap", work->what,
                  work->task->name);
}

/* Elements of struct mproc_bytes whose bytes cannot be. */
static int check_bytes(const struct work *work)
{
    const struct mproc_bytes *bytes = work->call.input;
    for (size_t i = 0; work->call.input_is_bytes && i < work->call.n; i++)
        if (!bytes[i].data && bytes[i].size > 0)
            return report(work->call.error, -EINVAL, "%s of '%s': item %zu has %zu bytes at NULL", work->what,
                          work->task->name, i, bytes[i].size);
    return 0;
}

int work_check(struct work *work, const char *what, const struct mproc_map_arguments *arguments)
{
    if (!arguments)
        return -EINVAL;
    if (arguments->size == 0 || arguments->size > sizeof *arguments)
        return MPROC_E_STRUCT_SIZE;
    memcpy(&work->call, arguments, arguments->size);
    work->what = what;
    int err = find_task(work);
    if (!err)
        err = check_options(work);
    if (!err && work->call.n > 0)
        err = check_arrays(work);
    if (!err && work->call.n > 0)
        err = check_bytes(work);
    if (!work->call.retry_on)
        work->call.retry_on = MPROC_RETRY_CRASHED;
    return err;
}
