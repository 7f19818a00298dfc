/* Starting a process. SPDX-License-Identifier: MIT */
#include "process/start.h"

#include "base/report.h"
#include "os/file.h"
#include "os/fork.h"
#include "os/message.h"
#include "os/process.h"
#include "process/exit.h"
#include "process/fork_hooks.h"
#include "process/forkserver.h"
#include "process/process.h"
#include "process/queues.h"
#include "process/ties.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* A server's children are to be as the caller is in this, not as the server is. */
static void set_options(struct start *start)
{
    const struct mproc_process_start_arguments *arguments = start->arguments;
    struct child_setup *setup = &start->setup;
    enum child_set as_caller = arguments->method == MPROC_FORK ? LEAVE : SET_IF_POSSIBLE;
    setup->set_nice = arguments->nice ? SET : as_caller;
    setup->nice = setup->set_nice == LEAVE ? 0 : getpriority(PRIO_PROCESS, 0) + arguments->nice;
    setup->memory_limit = arguments->memory_limit;
    setup->cpu_seconds =
        (uint64_t)arguments->cpu_time_limit / 1000000000 + (arguments->cpu_time_limit % 1000000000 > 0);
    struct rlimit limit = { (rlim_t)arguments->open_files_limit, (rlim_t)arguments->open_files_limit };
    setup->set_open_files = arguments->open_files_limit ? SET : as_caller;
    if (setup->set_open_files == SET_IF_POSSIBLE)
        getrlimit(RLIMIT_NOFILE, &limit);
    setup->open_files = limit.rlim_cur;
    setup->open_files_hard = limit.rlim_max;
    setup->set_cpus = arguments->cpus_count ? SET : as_caller;
    CPU_ZERO(&setup->cpus);
    if (setup->set_cpus == SET_IF_POSSIBLE && sched_getaffinity(0, sizeof setup->cpus, &setup->cpus) != 0)
        setup->set_cpus = LEAVE; /* more CPUs than there is room for */
    for (size_t i = 0; i < arguments->cpus_count; i++)
        CPU_SET((size_t)arguments->cpus[i], &setup->cpus);
}

/* Whether something can go wrong in the new process that has to be told. Descriptors that are in each other's way take
 * more of them for a moment. */
static bool has_to_report(const struct start *start)
{
    const struct child_setup *setup = &start->setup;
    bool crossed = false;
    for (unsigned i = 0; i < setup->placements.count; i++)
        crossed |=
            setup->placements.source[i] <= STDERR_FILENO && setup->placements.source[i] != setup->placements.target[i];
    return start->arguments->method != MPROC_FORK || setup->directory >= 0 || setup->set_nice == SET ||
           setup->set_cpus == SET || setup->memory_limit || setup->cpu_seconds || setup->set_open_files == SET ||
           setup->placements.count > 3 || crossed || setup->record->queues_count > 0;
}

static int open_ties(struct start *start)
{
    int pipe[2], pair[2] = { -1, -1 };
    ties_begin_change();
    int err = os_pipe(pipe);
    if (!err && has_to_report(start)) {
        err = os_socket_pair(SOCK_SEQPACKET, pair);
        if (err)
            os_close_all(pipe, 2);
    }
    if (!err) {
        start->setup.leash = pipe[0];
        start->leash = pipe[1];
        start->report = pair[0];
        start->setup.report = pair[1];
        ties_add(start);
    }
    ties_end_change();
    return err ? start_report(start, err) : 0;
}

/* ---- by fork */

static _Noreturn void be_child(struct start *start)
{
    enum start_step step;
    int err = child_set_up(&start->setup, start->lodge, &step);
    if (err)
        child_fail(start->setup.report, err, step);
    _exit(child_finish(child_run(&start->setup, start->task)));
}

/* What streams hold is written by this process, and not by both. Beside other threads, which only fork_with_threads
 * allows, one that somebody is using cannot be waited for. */
static void flush_streams(bool beside_threads)
{
    FILE *const streams[] = { stdout, stderr };
    if (!beside_threads)
        fflush(NULL);
    for (int i = 0; i < 2 && beside_threads; i++) {
        if (ftrylockfile(streams[i]) != 0)
            continue;
        fflush_unlocked(streams[i]);
        funlockfile(streams[i]);
    }
}

static int check_threads(struct start *start)
{
    int other = start->arguments->fork_with_threads ? 0 : os_has_other_threads();
    return other == 0 ? 0 : start_report(start, other < 0 ? other : MPROC_E_THREADED_FORK);
}

static int fork_now(struct start *start)
{
    bool loud = start->arguments->fork_with_threads;
    flush_streams(loud);
    pid_t pid = fork_with_hooks(loud);
    if (pid == 0) {
        close(start->leash);
        be_child(start);
    }
    if (pid < 0)
        return start_report_step(start, pid, STEP_FORK);
    start->pid = pid;
    start->pidfd = os_pidfd_open(pid);
    return start->pidfd < 0 ? start_report(start, start->pidfd) : 0;
}

/* ---- what the new process says */

static int report_end_before_start(const struct start *start, pid_t pid, int status)
{
    struct mproc_outcome outcome = { .kind = MPROC_CRASHED,
                                     .pid = pid,
                                     .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                                     .exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 0 };
    char text[160];
    if (outcome.signal)
        mproc_outcome_text(&outcome, text, sizeof text);
    else
        snprintf(text, sizeof text, "it exited with status %d%s", outcome.exit_status,
                 start->arguments->method == MPROC_SPAWN ? " before main called mproc_init" : "");
    return report(start->arguments->error, MPROC_E_NOT_STARTED, "mproc_process_start: '%s': %s", start->task->name,
                  text);
}

/* 0 when the process is about to run its function. */
static int wait_until_ready(struct start *start)
{
    struct process_report report;
    int fd = -1, err;
    struct os_message message;
    do {
        message = (struct os_message) { &report, sizeof report, &fd, 1, 0 };
        err = os_message_receive(start->report, &message);
    } while (err == -EINTR);
    if (err == -EPIPE)
        return start_report(start,
                            start->arguments->method == MPROC_FORK ? MPROC_E_NOT_STARTED : MPROC_E_FORKSERVER_DIED);
    if (err)
        return start_report(start, err);
    if (report.kind == REPORT_FAILED)
        return start_report_step(start, report.err, report.step);
    if (report.kind == REPORT_ENDED)
        return report_end_before_start(start, report.pid, report.status);
    if (start->pidfd >= 0 && message.fds_count > 0)
        close(fd);
    else if (message.fds_count > 0)
        start->pidfd = fd;
    if (start->pidfd < 0)
        return start_report(start, -EMFILE);
    start->pid = report.pid;
    return 0;
}

/* ---- both */

static int launch(struct start *start)
{
    ties_enter(start);
    int err = start->arguments->method == MPROC_FORK ? fork_now(start) : forkserver_ask(start);
    ties_leave();
    os_close_and_forget((int *[]) { &start->setup.report }, 1);
    if (!err && start->report >= 0)
        err = wait_until_ready(start);
    return err;
}

static int make_handle(struct start *start)
{
    const struct mproc_process_start_arguments *arguments = start->arguments;
    struct process *process = calloc(1, sizeof *process);
    if (!process)
        return start_report(start, -ENOMEM);
    *process = (struct process) {
        .pid = start->pid,
        .pidfd = start->pidfd,
        .leash = start->leash,
        .leash_end = start->setup.leash,
        .report = arguments->method == MPROC_FORK ? -1 : start->report,
        .of_server = arguments->method != MPROC_FORK,
        .daemon = arguments->daemon,
        .record = start->setup.record,
    };
    pthread_mutex_init(&process->mutex, NULL);
    mproc_process *handle = process_publish(process);
    if (!handle) {
        pthread_mutex_destroy(&process->mutex);
        free(process);
        return report_text(arguments->error, -EMFILE, "mproc_process_start: %d handles are open: close some",
                           MPROC_PROCESSES_MAX);
    }
    if (arguments->method == MPROC_FORK)
        os_close_and_forget((int *[]) { &start->report }, 1);
    *arguments->process = handle;
    return 0;
}

/* The server says of a process that it ended, if one was started; or that none was; or is dead. */
static void wait_until_ended(struct start *start)
{
    struct process_report report = { .kind = REPORT_READY };
    int err = 0, fd;
    while (report.kind == REPORT_READY && (err == 0 || err == -EINTR)) {
        struct os_message message = { &report, sizeof report, &fd, 1, 0 };
        err = os_poll_readable(start->report, SERVER_PATIENCE);
        if (!err)
            err = os_message_receive(start->report, &message);
        if (!err && message.fds_count > 0)
            close(fd);
    }
}

/* The leash ends the process, if there is one by now, and is not held by others that were forked. */
static void undo(struct start *start, int err)
{
    bool asked = start->report >= 0 && start->pid == 0 && start->arguments->method != MPROC_FORK;
    if (start->pidfd >= 0)
        os_pidfd_kill(start->pidfd, SIGKILL);
    os_close_and_forget((int *[]) { &start->leash, &start->setup.leash, &start->setup.report }, 3);
    if (start->pidfd >= 0)
        os_pidfd_wait(start->pidfd, -1);
    if (start->pid > 0 && start->arguments->method == MPROC_FORK)
        os_reap(start->pid);
    if (asked && err == -EMFILE)
        wait_until_ended(start);
    os_close_and_forget((int *[]) { &start->report, &start->pidfd }, 2);
    os_close_all(start->pipes, START_PIPES);
    queues_drop(start->setup.record);
    record_free(start->setup.record);
}

static int run(struct start *start)
{
    int err = start_check(start);
    if (!err)
        err = start->arguments->method == MPROC_FORK ? check_threads(start) : 0;
    if (!err)
        err = forkserver_check(start);
    if (err)
        return err;
    set_options(start);
    err = start_prepare_descriptors(start);
    if (!err)
        err = start_make_record(start);
    if (!err)
        err = open_ties(start);
    if (!err)
        err = launch(start);
    if (!err)
        err = make_handle(start);
    os_close_all(start->opened, start->opened_count);
    if (err)
        undo(start, err);
    ties_remove(start);
    if (err)
        return err;
    for (int i = 0; i < START_PIPES; i++)
        if (start->pipes[i] >= 0)
            *start_stream(start, i)->pipe = start->pipes[i];
    exit_watch();
    return 0;
}

int mproc_process_start_with(const struct mproc_process_start_arguments *arguments)
{
    if (!arguments)
        return -EINVAL;
    if (arguments->size == 0 || arguments->size > sizeof *arguments)
        return MPROC_E_STRUCT_SIZE;
    struct mproc_process_start_arguments full = { 0 };
    memcpy(&full, arguments, arguments->size);
    struct start start = {
        .arguments = &full,
        .setup = { .leash = -1, .report = -1, .directory = -1 },
        .leash = -1,
        .report = -1,
        .pidfd = -1,
        .pipes = { -1, -1, -1 },
    };
    return run(&start);
}
