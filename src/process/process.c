/* The starting process's side of a process. SPDX-License-Identifier: MIT */
#include "process/process.h"

#include "os/file.h"
#include "os/fork.h"
#include "os/message.h"
#include "os/process.h"
#include "process/child.h"
#include "process/handles.h"
#include "process/self.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static struct handle_place places[MPROC_PROCESSES_MAX];
static struct handles handles = { .places = places, .count = MPROC_PROCESSES_MAX };

/* A forked child that kept a leash would keep the parent's processes alive after the parent. */
static void let_go(void *object)
{
    struct process *process = object;
    os_close_all((const int[]) { process->leash, process->report, process->pidfd }, 3);
    process->leash = process->report = process->pidfd = -1;
}

static void forget_in_forked_child(void)
{
    handles_each_foreign(&handles, let_go);
}

__attribute__((constructor)) static void watch_forks(void)
{
    os_at_fork_child(forget_in_forked_child);
}

mproc_process *process_publish(struct process *process)
{
    return handles_create(&handles, process);
}

int process_acquire(mproc_process *handle, struct process **process)
{
    if (!handle)
        return -EINVAL;
    if (handle == self_handle() || handle == self_parent_handle())
        return -ECHILD;
    void *object;
    int err = handles_acquire(&handles, handle, &object);
    if (!err)
        *process = object;
    return err;
}

void process_release(mproc_process *handle)
{
    handles_release(&handles, handle);
}

mproc_process *process_next(unsigned *index, struct process **process)
{
    void *object;
    mproc_process *handle = handles_next(&handles, index, &object);
    if (handle)
        *process = object;
    return handle;
}

static bool has_ended(struct process *process)
{
    return atomic_load(&process->ended) || os_pidfd_wait(process->pidfd, 0) == 0;
}

/* ---- how it ended */

/* -ECHILD if somebody else has reaped it. */
static int status_of_own(const struct process *process, siginfo_t *info, int options)
{
    int result;
    do
        result = waitid((idtype_t)P_PIDFD, (id_t)process->pidfd, info, WEXITED | __WALL | options);
    while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : -errno;
}

/* The server says it soon after the end; or hangs up, being dead. */
static int status_from_server(const struct process *process, int *status)
{
    for (;;) {
        struct process_report report;
        int fd;
        struct os_message message = { &report, sizeof report, &fd, 1, 0 };
        int err = os_message_receive(process->report, &message);
        if (message.fds_count > 0)
            close(fd);
        if (err == -EINTR)
            continue;
        if (err)
            return err;
        if (report.kind == REPORT_ENDED) {
            *status = report.status;
            return 0;
        }
    }
}

static void set_outcome(struct process *process, bool seen, bool exited, int number)
{
    struct mproc_outcome *outcome = &process->outcome;
    const struct process_record *record = process->record;
    memset(outcome, 0, sizeof *outcome);
    outcome->pid = process->pid;
    if (atomic_load(&process->record->finished)) {
        outcome->kind = record->value ? MPROC_FAILED : MPROC_OK;
        outcome->code = record->value;
        if (record->value)
            memcpy(outcome->message, record->message, sizeof outcome->message);
    } else if (!seen) {
        outcome->kind = MPROC_LOST;
    } else if (exited) {
        outcome->kind = number ? MPROC_FAILED : MPROC_OK;
        outcome->code = number;
    } else {
        outcome->kind = MPROC_CRASHED;
        outcome->signal = number;
    }
}

/* What the process said itself need not be asked for. */
static void find_out(struct process *process, int options)
{
    int status = 0;
    siginfo_t info = { .si_status = 0 };
    bool seen = false;
    if (!process->of_server) {
        seen = status_of_own(process, &info, options) == 0;
        set_outcome(process, seen, info.si_code == CLD_EXITED, info.si_status);
    } else {
        if (!atomic_load(&process->record->finished))
            seen = status_from_server(process, &status) == 0;
        set_outcome(process, seen, WIFEXITED(status), WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    }
    process->known = true;
}

static void close_ties(struct process *process)
{
    os_close_all((const int[]) { process->report, process->leash }, 2);
    process->report = process->leash = -1;
    process->released = true;
}

/* With the mutex held. The server reaps when its socket is closed. */
static void learn_locked(struct process *process)
{
    bool held = process->holds > 0;
    siginfo_t info;
    if (!process->known)
        find_out(process, held ? WNOWAIT : 0);
    else if (!held && !process->released && !process->of_server)
        status_of_own(process, &info, 0);
    if (!held && !process->released)
        close_ties(process);
}

static void learn(struct process *process)
{
    pthread_mutex_lock(&process->mutex);
    learn_locked(process);
    atomic_store(&process->ended, true);
    pthread_mutex_unlock(&process->mutex);
}

bool process_learn(struct process *process)
{
    if (!has_ended(process))
        return false;
    learn(process);
    return true;
}

bool process_hold(struct process *process)
{
    pthread_mutex_lock(&process->mutex);
    bool held = !process->released;
    process->holds += held;
    pthread_mutex_unlock(&process->mutex);
    return held;
}

void process_unhold(struct process *process)
{
    pthread_mutex_lock(&process->mutex);
    process->holds--;
    if (process->known)
        learn_locked(process);
    pthread_mutex_unlock(&process->mutex);
}

int process_join(struct process *process, int64_t timeout)
{
    int err = atomic_load(&process->ended) ? 0 : os_poll_readable(process->pidfd, timeout);
    if (!err)
        learn(process);
    return err;
}

void process_destroy(struct process *process)
{
    if (!process)
        return;
    os_close_all((const int[]) { process->report, process->leash, process->pidfd }, 3);
    pthread_mutex_destroy(&process->mutex);
    record_free(process->record);
    free(process);
}

int mproc_process_close(mproc_process *handle)
{
    struct process *process;
    void *object;
    int err = handle ? process_acquire(handle, &process) : 0;
    if (!handle || err)
        return err;
    bool ended = process_learn(process);
    process_release(handle);
    if (!ended)
        return -EBUSY;
    err = handles_close(&handles, handle, &object, NULL);
    if (!err)
        process_destroy(object);
    return err;
}
