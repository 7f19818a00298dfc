/* What can be done with a process that runs. SPDX-License-Identifier: MIT */
#include "memory/member.h"
#include "os/file.h"
#include "os/futex.h"
#include "os/process.h"
#include "os/subtree.h"
#include "process/process.h"
#include "process/self.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

int mproc_process_join(mproc_process *handle, int64_t timeout)
{
    if (handle && handle == self_handle())
        return -EDEADLK;
    if (handle && handle == self_parent_handle())
        return self_leash() >= 0 ? os_poll_readable(self_leash(), timeout) : 0;
    struct process *process;
    int err = process_acquire(handle, &process);
    if (err)
        return err;
    err = process_learn(process, timeout);
    if (err == -ETIMEDOUT && process_has_ended(process))
        err = 0; /* and the server, stopped, does not say how */
    process_release(handle);
    return err;
}

bool mproc_process_is_alive(mproc_process *handle)
{
    if (handle && handle == self_handle())
        return true;
    if (handle && handle == self_parent_handle())
        return self_leash() >= 0 && !os_has_hung_up(self_leash());
    struct process *process;
    if (process_acquire(handle, &process) != 0)
        return false;
    bool ended = process_has_ended(process);
    if (ended)
        process_learn(process, 0);
    process_release(handle);
    return !ended;
}

int mproc_process_outcome(mproc_process *handle, struct mproc_outcome *outcome)
{
    struct process *process;
    int err = outcome ? process_acquire(handle, &process) : -EINVAL;
    if (err)
        return err;
    if (process_is_known(process))
        *outcome = process->outcome;
    else
        err = -EAGAIN;
    process_release(handle);
    return err;
}

pid_t mproc_process_pid(mproc_process *handle)
{
    struct process *process;
    if (handle && handle == self_handle())
        return getpid();
    if (handle && handle == self_parent_handle())
        return self_record() ? self_record()->owner_pid : 0;
    if (process_acquire(handle, &process) != 0)
        return 0;
    pid_t pid = process->pid;
    process_release(handle);
    return pid;
}

const char *mproc_process_name(mproc_process *handle)
{
    struct process *process;
    if (handle && handle == self_handle())
        return self_name();
    if (handle && handle == self_parent_handle())
        return self_record() ? self_record()->owner_name : "";
    if (process_acquire(handle, &process) != 0)
        return "";
    const char *name = process->record->name;
    process_release(handle);
    return name;
}

int mproc_process_fd(mproc_process *handle)
{
    struct process *process;
    if (handle && handle == self_parent_handle() && self_leash() >= 0)
        return self_leash();
    int fd = process_acquire(handle, &process);
    if (fd == 0) {
        fd = process->pidfd;
        process_release(handle);
    }
    return fd;
}

static int send_signal(mproc_process *handle, int signal)
{
    struct process *process;
    int err = process_acquire(handle, &process);
    if (err)
        return err;
    err = os_pidfd_kill(process->pidfd, signal);
    process_release(handle);
    return err == -ESRCH ? 0 : err;
}

int mproc_process_terminate(mproc_process *handle)
{
    return send_signal(handle, SIGTERM);
}

int mproc_process_kill(mproc_process *handle)
{
    return send_signal(handle, SIGKILL);
}

int mproc_process_interrupt(mproc_process *handle)
{
    return send_signal(handle, SIGINT);
}

/* ---- stop */

static int ask(struct process *process, int64_t patience)
{
    atomic_store(&process->record->stop, 1);
    os_futex_wake(&process->record->stop, INT_MAX);
    return os_poll_readable(process->pidfd, patience);
}

/* Signals all that can be found, and waits for their end. What they have started meanwhile is found by looking again: a
 * process that SIGKILL was sent to starts nothing more. Where /proc cannot be read, the process group is all there is.
 */
static int signal_all(struct process *process, struct os_subtree *subtree, int signal, int64_t patience)
{
    unsigned known = subtree->count;
    os_subtree_signal(subtree, process_number(process), process->pidfd, signal);
    while (os_subtree_look(subtree, process_number(process)) > 0) {
        os_subtree_signal_from(subtree, known, signal);
        known = subtree->count;
        if (signal != SIGKILL)
            break;
    }
    return os_subtree_wait(subtree, process->pidfd, patience);
}

static int stop(struct process *process, struct os_subtree *subtree, int64_t asked, int64_t terminate, int64_t kill)
{
    int looked = os_subtree_look(subtree, process_number(process));
    int err = asked == 0 ? -ETIMEDOUT : ask(process, asked);
    if (err == 0) { /* before its end it may have started more, which then is in its process group at least */
        looked = os_subtree_look(subtree, process_number(process));
        err = os_subtree_wait(subtree, process->pidfd, 0);
    }
    if (err == -ETIMEDOUT && terminate != 0)
        err = signal_all(process, subtree, SIGTERM, terminate);
    if (err == -ETIMEDOUT && kill != 0)
        err = signal_all(process, subtree, SIGKILL, kill);
    return err == 0 && looked < 0 ? looked : err;
}

int mproc_process_stop(mproc_process *handle, int64_t asked, int64_t terminate, int64_t kill)
{
    struct process *process;
    if (handle && handle == self_handle())
        return -EDEADLK;
    int err = process_acquire(handle, &process);
    if (err)
        return err;
    struct os_subtree subtree = { 0 };
    process_hold(process);
    err = stop(process, &subtree, asked, terminate, kill);
    os_subtree_forget(&subtree);
    process_unhold(process);
    process_release(handle);
    return err;
}

int mproc_active_children(mproc_process **processes, int most)
{
    if (most < 0 || (most > 0 && !processes))
        return -EINVAL;
    struct process *process;
    unsigned index = 0;
    int count = 0;
    for (mproc_process *handle; (handle = process_next(&index, &process));) {
        if (process->hidden) {
            process_release(handle);
            continue;
        }
        if (!process_has_ended(process)) {
            if (count < most)
                processes[count] = handle;
            count++;
        } else {
            process_learn(process, 0);
        }
        process_release(handle);
    }
    return count;
}
