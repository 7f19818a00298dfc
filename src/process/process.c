/* The starting process's side of a process. SPDX-License-Identifier: MIT */
#include "process/process.h"

#include "os/clock.h"
#include "os/file.h"
#include "os/fork.h"
#include "os/message.h"
#include "os/process.h"
#include "process/child.h"
#include "process/queues.h"
#include "process/self.h"
#include "sync/handles.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

/* Another thread may hear it first, and close the socket. */
#define SERVER_SLICE INT64_C(10000000)

static struct handle_place places[MPROC_PROCESSES_MAX];
static struct handles handles = { .places = places, .count = MPROC_PROCESSES_MAX };

/* A forked child that kept a leash would keep the parent's processes alive after the parent. */
static void let_go(void *object)
{
    struct process *process = object;
    os_close_and_forget((int *[]) { &process->leash, &process->leash_end, &process->report, &process->pidfd }, 4);
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

void process_hide(mproc_process *handle)
{
    struct process *process;
    if (process_acquire(handle, &process) == 0) {
        process->hidden = true;
        process_release(handle);
    }
}

mproc_process *process_next(unsigned *index, struct process **process)
{
    void *object;
    mproc_process *handle = handles_next(&handles, index, &object);
    if (handle)
        *process = object;
    return handle;
}

bool process_has_ended(const struct process *process)
{
    return atomic_load(&process->over) || os_pidfd_wait(process->pidfd, 0) == 0;
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

/* The server says it soon after the end; or hangs up, being dead. -EAGAIN: not yet. */
static int status_from_server(const struct process *process, int *status)
{
    while (os_poll_readable(process->report, 0) == 0) {
        struct process_report report;
        struct os_message message = { .data = &report, .size = sizeof report };
        int err = os_message_receive(process->report, &message);
        if (err && err != -EINTR)
            return err;
        if (!err && report.kind == REPORT_ENDED) {
            *status = report.status;
            return 0;
        }
    }
    return -EAGAIN;
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

/* With the mutex held, of a process that has ended. What it said itself need not be asked for. */
static void find_out(struct process *process)
{
    int status = 0;
    siginfo_t info = { .si_status = 0 };
    if (!process->of_server) {
        bool seen = status_of_own(process, &info, process->holds > 0 ? WNOWAIT : 0) == 0;
        set_outcome(process, seen, info.si_code == CLD_EXITED, info.si_status);
        process->known = true;
        return;
    }
    int err = atomic_load(&process->record->finished) ? -EPIPE : status_from_server(process, &status);
    if (err == -EAGAIN)
        return;
    set_outcome(process, err == 0, WIFEXITED(status), WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    process->known = true;
}

/* What it has left behind is let off the leash before that is closed. The server reaps when its socket is closed. */
static void let_number_go(struct process *process)
{
    fcntl(process->leash_end, F_SETFL, 0);
    os_close_and_forget((int *[]) { &process->leash_end, &process->leash, &process->report }, 3);
    process->released = true;
    atomic_store(&process->over, true);
}

/* Returns true if it is known how it ended. */
static bool try_to_learn(struct process *process)
{
    siginfo_t info;
    pthread_mutex_lock(&process->mutex);
    bool before = process->known;
    if (!before)
        find_out(process);
    if (process->known && !process->released && process->holds == 0) {
        if (before && !process->of_server)
            status_of_own(process, &info, 0);
        let_number_go(process);
    }
    bool known = process->known;
    pthread_mutex_unlock(&process->mutex);
    if (known && !before)
        queues_drop(process->record);
    return known;
}

int process_learn(struct process *process, int64_t timeout)
{
    if (atomic_load(&process->over))
        return 0;
    int err = os_poll_readable(process->pidfd, timeout);
    if (err != 0 || try_to_learn(process))
        return err;
    int64_t deadline = os_deadline(timeout < 0 || timeout > SERVER_PATIENCE ? SERVER_PATIENCE : timeout);
    for (int64_t left; (left = os_left(deadline)) > 0;) {
        err = os_poll_readable(process->report, left < SERVER_SLICE ? left : SERVER_SLICE);
        if (try_to_learn(process))
            return 0;
        if (err == -EINTR)
            return err;
    }
    return -ETIMEDOUT;
}

bool process_is_known(struct process *process)
{
    return process_has_ended(process) && process_learn(process, SERVER_PATIENCE) == 0;
}

void process_hold(struct process *process)
{
    pthread_mutex_lock(&process->mutex);
    process->holds++;
    pthread_mutex_unlock(&process->mutex);
}

void process_unhold(struct process *process)
{
    pthread_mutex_lock(&process->mutex);
    process->holds--;
    pthread_mutex_unlock(&process->mutex);
    process_learn(process, 0);
}

/* Its own child cannot be reaped by others, unless they ask for it with __WALL, before it has ended; the server's is
 * reaped by nobody else as long as the server lives. */
pid_t process_number(const struct process *process)
{
    siginfo_t info;
    if (process->released)
        return 0;
    if (!process_has_ended(process))
        return process->pid;
    bool gone =
        process->of_server ? os_has_hung_up(process->report) : status_of_own(process, &info, WNOWAIT | WNOHANG) != 0;
    return gone ? 0 : process->pid;
}

static void destroy(struct process *process)
{
    os_close_and_forget((int *[]) { &process->pidfd }, 1);
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
    bool known = process_is_known(process);
    process_release(handle);
    if (!known)
        return -EBUSY;
    err = handles_close(&handles, handle, &object, NULL);
    if (!err)
        destroy(object);
    return err;
}
