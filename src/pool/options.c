/* What a pool is opened with. SPDX-License-Identifier: MIT */
#include "pool/options.h"

#include "base/report.h"
#include "memory/member.h"
#include "os/cpu.h"
#include "os/usage.h"
#include "pool/backend.h"
#include "pool/pool.h"
#include "pool/worker.h"
#include "process/registry.h"
#include "process/task_context.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdio.h>
#include <string.h>

#define SECOND INT64_C(1000000000)

int options_find_backend(enum mproc_backend name, const struct backend **backend)
{
    switch (name) {
    case MPROC_PROCESSES: *backend = &backend_processes; return 0;
    case MPROC_THREADS: *backend = &backend_threads; return 0;
    case MPROC_SERIAL: *backend = NULL; return 0;
    case MPROC_CLUSTER: *backend = &backend_cluster; return 0;
    }
    return -EINVAL;
}

static int refuse(const struct mproc_pool_open_arguments *arguments, const char *what)
{
    return report(arguments->error, -EINVAL, "mproc_pool_open: %s", what);
}

static int check_task(const struct mproc_pool_open_arguments *arguments, const struct mproc_worker_task *task,
                      const char *what)
{
    if (!task->function && !task->name)
        return 0;
    const struct mproc_task *found = registry_find(task->function, task->name);
    if (!found || found->kind != MPROC_KIND_TASK)
        return report(arguments->error, MPROC_E_UNREGISTERED, "mproc_pool_open: the %s '%s'", what,
                      task->name ? task->name : "?");
    if (task->input_size > 0 && !task->input)
        return report(arguments->error, -EINVAL, "mproc_pool_open: the input of the %s '%s' is NULL", what,
                      found->name);
    if (strlen(found->name) >= sizeof((struct pool_options *)0)->initializer)
        return report(arguments->error, -EINVAL, "mproc_pool_open: the %s's name is too long", what);
    return 0;
}

static int check_workers(struct mproc_pool_open_arguments *arguments)
{
    if (arguments->workers < 0 || arguments->workers > MPROC_WORKERS_MAX)
        return report(arguments->error, -EINVAL, "mproc_pool_open: %d workers, but 1 to %d are possible",
                      arguments->workers, MPROC_WORKERS_MAX);
    if (!arguments->workers && arguments->backend != MPROC_CLUSTER)
        arguments->workers = task_context_is_pools() ? 1 : os_cpu_count();
    if (arguments->workers > MPROC_WORKERS_MAX)
        arguments->workers = MPROC_WORKERS_MAX;
    if (arguments->workers_least < 0 || arguments->workers_least > arguments->workers)
        return report(arguments->error, -EINVAL,
                      "mproc_pool_open: .workers_least is %d, but 0 to .workers, %d, are possible",
                      arguments->workers_least, arguments->workers);
    if (!arguments->workers_least)
        arguments->workers_least = arguments->workers;
    if (arguments->backend == MPROC_SERIAL)
        return 0;
    if (worker_depth >= MPROC_POOL_DEPTH_MAX)
        return report_text(arguments->error, -EAGAIN,
                           "mproc_pool_open: this is a task of a pool that a task has opened, and so on, %u deep: use "
                           "MPROC_SERIAL here, or the pool that runs the task",
                           worker_depth);
    unsigned others = member_add_workers(0);
    if (others + (unsigned)arguments->workers > MPROC_FAMILY_WORKERS_MAX)
        return report_text(arguments->error, -EAGAIN,
                           "mproc_pool_open: the pools of this program and its tasks have %u workers already, and may "
                           "have %d: close some, or open pools in fewer tasks",
                           others, MPROC_FAMILY_WORKERS_MAX);
    return 0;
}

static int check_rest(struct mproc_pool_open_arguments *arguments)
{
    if (arguments->method < MPROC_FORK || arguments->method > MPROC_SPAWN)
        return refuse(arguments, ".method is none of enum mproc_start_method");
    if (arguments->backlog > MPROC_BACKLOG_MAX)
        return refuse(arguments, ".backlog is more than MPROC_BACKLOG_MAX");
    if (arguments->start_failures < 0)
        return refuse(arguments, ".start_failures is negative");
    if (arguments->idle_timeout < 0)
        return refuse(arguments, ".idle_timeout is negative");
    if (arguments->ask_grace < MPROC_FOREVER || arguments->terminate_grace < MPROC_FOREVER)
        return refuse(arguments, ".ask_grace or .terminate_grace is negative, and not MPROC_FOREVER");
    if (arguments->memory_kill && arguments->memory_limit > arguments->memory_kill)
        return refuse(arguments, ".memory_kill is less than .memory_limit");
    if (arguments->nice < 0 && !os_may_be_nicer(arguments->nice))
        return report(arguments->error, -EPERM, "mproc_pool_open: .nice is %d", arguments->nice);
    if (arguments->backend == MPROC_CLUSTER && !arguments->cluster)
        return refuse(arguments, ".backend = MPROC_CLUSTER takes .cluster, a URL");
    if (arguments->cluster && arguments->backend != MPROC_CLUSTER)
        return refuse(arguments, ".cluster is for processes on other machines: leave out .backend");
    if (arguments->backend == MPROC_CLUSTER && arguments->fork_with_threads)
        return refuse(arguments, ".fork_with_threads is not for a cluster");
    if ((arguments->memory_limit || arguments->memory_kill) && arguments->backend != MPROC_PROCESSES &&
        arguments->backend != MPROC_CLUSTER)
        return refuse(arguments, ".memory_limit and .memory_kill take processes: others have no memory of their own");
    return 0;
}

static void fill_in(struct mproc_pool_open_arguments *arguments)
{
    if (!arguments->name)
        arguments->name = POOL_NAME;
    if (!arguments->backlog)
        arguments->backlog = MPROC_BACKLOG_MAX;
    if (!arguments->start_failures)
        arguments->start_failures = 10;
    if (!arguments->idle_timeout)
        arguments->idle_timeout = 10 * SECOND;
    if (!arguments->ask_grace)
        arguments->ask_grace = SECOND / 10;
    if (!arguments->terminate_grace)
        arguments->terminate_grace = SECOND;
    if (arguments->memory_limit && !arguments->memory_kill)
        arguments->memory_kill = arguments->memory_limit > SIZE_MAX / 2 ? SIZE_MAX : 2 * arguments->memory_limit;
}

int options_check(struct mproc_pool_open_arguments *arguments)
{
    const struct backend *backend;
    if (arguments->cluster && arguments->backend == MPROC_PROCESSES)
        arguments->backend = MPROC_CLUSTER;
    if (options_find_backend(arguments->backend, &backend) != 0)
        return report(arguments->error, -EINVAL, "mproc_pool_open: there is no backend %d", (int)arguments->backend);
    int err = check_workers(arguments);
    if (!err)
        err = check_rest(arguments);
    if (err)
        return err;
    fill_in(arguments);
    const struct mproc_task *other, *task = registry_find_duplicate(&other);
    if (task)
        return registry_report_duplicate(arguments->error, task, other);
    err = check_task(arguments, &arguments->initializer, "initializer");
    return err ? err : check_task(arguments, &arguments->finalizer, "finalizer");
}

/* ---- for the workers */

static size_t align(size_t size)
{
    return (size + 63) / 64 * 64;
}

size_t options_extra_size(const struct mproc_pool_open_arguments *arguments)
{
    return align(arguments->initializer.input_size) + align(arguments->finalizer.input_size);
}

static int (*write_task(char *name, size_t size, const struct mproc_worker_task *task))(const void *, void *)
{
    if (!task->function && !task->name)
        return NULL;
    const struct mproc_task *found = registry_find(task->function, task->name);
    snprintf(name, size, "%s", found->name);
    return found->call;
}

static const void *write_input(char *to, const struct mproc_worker_task *task)
{
    return task->input_size ? memcpy(to, task->input, task->input_size) : NULL;
}

void options_write(struct pool_options *options, const struct mproc_pool_open_arguments *arguments, char *extra)
{
    size_t initializers = arguments->initializer.state_size, finalizers = arguments->finalizer.state_size;
    bool adaptive = arguments->workers_least < arguments->workers;
    *options = (struct pool_options) {
        .by_name = arguments->backend == MPROC_CLUSTER ||
                   (arguments->backend == MPROC_PROCESSES && arguments->method != MPROC_FORK),
        .pin = arguments->pin,
        .nice = arguments->nice,
        .adaptive = adaptive,
        .start_failures = arguments->start_failures,
        .idle_timeout = arguments->idle_timeout,
        .ask_grace = arguments->ask_grace,
        .terminate_grace = arguments->terminate_grace,
        .items_per_worker = arguments->items_per_worker,
        .memory_limit = arguments->memory_limit,
        .memory_kill = arguments->memory_kill,
        .state_size = initializers > finalizers ? initializers : finalizers,
    };
    options->initialize = write_task(options->initializer, sizeof options->initializer, &arguments->initializer);
    options->finalize = write_task(options->finalizer, sizeof options->finalizer, &arguments->finalizer);
    options->initializer_input = write_input(extra, &arguments->initializer);
    options->finalizer_input = write_input(extra + align(arguments->initializer.input_size), &arguments->finalizer);
}
