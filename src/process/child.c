/* From the first instruction of a new process to its function. SPDX-License-Identifier: MIT */
#include "process/child.h"

#include "channel/connection.h"
#include "memory/member.h"
#include "memory/region.h"
#include "os/file.h"
#include "os/leash.h"
#include "os/message.h"
#include "os/process.h"
#include "process/exit.h"
#include "process/forkserver.h"
#include "process/queues.h"
#include "process/registry.h"
#include "process/self.h"
#include "process/task_context.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static int set_limit(int resource, uint64_t soft, uint64_t hard)
{
    struct rlimit limit = { .rlim_cur = soft, .rlim_max = hard };
    return soft == 0 || setrlimit(resource, &limit) == 0 ? 0 : -errno;
}

static int arrange_descriptors(struct child_setup *setup)
{
    int heap = region_descriptor();
    int *const others[] = { &setup->leash, &setup->report, &setup->directory, &heap, forkserver_socket() };
    enum { COUNT = sizeof others / sizeof others[0] };
    int err = os_place_descriptors(&setup->placements, others, COUNT);
    if (!err)
        os_close_others(&setup->placements, others, COUNT);
    return err;
}

static int carry_out(struct child_setup *setup, enum start_step step)
{
    switch (step) {
    case STEP_DESCRIPTORS: return arrange_descriptors(setup);
    case STEP_DIRECTORY: return setup->directory < 0 || fchdir(setup->directory) == 0 ? 0 : -errno;
    case STEP_NICE:
        return setup->set_nice == LEAVE || setpriority(PRIO_PROCESS, 0, setup->nice) == 0 ||
                       setup->set_nice == SET_IF_POSSIBLE
                   ? 0
                   : -errno;
    case STEP_CPUS:
        return setup->set_cpus == LEAVE || sched_setaffinity(0, sizeof setup->cpus, &setup->cpus) == 0 ||
                       setup->set_cpus == SET_IF_POSSIBLE
                   ? 0
                   : -errno;
    case STEP_MEMORY_LIMIT: return set_limit(RLIMIT_DATA, setup->memory_limit, setup->memory_limit);
    case STEP_CPU_TIME_LIMIT: return set_limit(RLIMIT_CPU, setup->cpu_seconds, setup->cpu_seconds + 1);
    case STEP_OPEN_FILES_LIMIT:
        return set_limit(RLIMIT_NOFILE, setup->open_files, setup->open_files_hard) == 0 ||
                       setup->set_open_files == SET_IF_POSSIBLE
                   ? 0
                   : -errno;
    default: return 0;
    }
}

/* The record is good if lodging succeeds. That the leash has not hung up says nothing: an owner that is being killed is
 * seen to be dead, and its memory used for something else, before its descriptors are closed. */
int child_set_up(struct child_setup *setup, bool lodge, enum start_step *step)
{
    os_signals_reset();
    setpgid(0, 0);
    *step = STEP_LEASH;
    if (lodge && !member_lodge(setup->owner))
        return -ENOMEM;
    int err = os_leash_take(setup->leash);
    for (int next = STEP_DESCRIPTORS; !err && next <= STEP_OPEN_FILES_LIMIT; next++)
        err = carry_out(setup, *step = (enum start_step)next);
    if (!err && setup->directory >= 0)
        close(setup->directory);
    return err;
}

_Noreturn void child_fail(int report, int err, enum start_step step)
{
    struct process_report text = { .kind = REPORT_FAILED, .err = err, .step = step };
    if (report >= 0)
        os_message_send(report, &(struct os_message) { .data = &text, .size = sizeof text });
    _exit(127);
}

static void say_ready(int report)
{
    struct process_report text = { .kind = REPORT_READY, .pid = getpid() };
    int pidfd = os_pidfd_open(text.pid);
    os_message_send(report, &(struct os_message) { &text, sizeof text, &pidfd, pidfd >= 0, 0 });
    os_close_all((const int[]) { pidfd, report }, 2);
}

/* Only the lowest byte of an exit status reaches those who look at it from outside. */
static int status_of(int value)
{
    return value == (value & 0xff) ? value : 0xff;
}

int child_run(const struct child_setup *setup, const struct mproc_task *task)
{
    struct process_record *record = setup->record;
    struct task_context context = { .pool = NULL };
    task_context = &context;
    connections_drop();
    self_become(record, setup->leash);
    if (!queues_adopt(record))
        child_fail(setup->report, -ENOMEM, STEP_FAMILY);
    os_set_name(record->name);
    if (setup->report >= 0)
        say_ready(setup->report);
    os_signals_unblock();
    int value = task->call(record->argument, NULL);
    if (self_record() != record) { /* a child that the function has forked, and that ought to have ended */
        fflush(NULL);
        _exit(status_of(value));
    }
    record->value = value;
    memcpy(record->message, context.message, sizeof record->message);
    task_context = NULL;
    return value;
}

int child_finish(int value)
{
    exit_end_processes();
    fflush(NULL);
    self_finished();
    return status_of(value);
}

const struct mproc_task *child_find_task(const struct process_record *record, int *err, enum start_step *step)
{
    const struct mproc_task *task = registry_find(NULL, record->function);
    *step = STEP_FUNCTION;
    *err = MPROC_E_FUNCTION_MISSING;
    if (!task || task->kind != MPROC_KIND_PROCESS)
        return NULL;
    *step = STEP_ARGUMENT;
    *err = MPROC_E_TYPE_MISMATCH;
    if (task->input_size && record->argument_size && record->argument_size % task->input_size != 0)
        return NULL;
    return task;
}
