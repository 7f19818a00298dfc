/* What a process knows of itself. SPDX-License-Identifier: MIT */
#include "process/self.h"

#include "os/clock.h"
#include "os/file.h"
#include "os/fork.h"
#include "os/futex.h"
#include "process/task_context.h"

#include <errno.h>
#include <fcntl.h>

/* Inherited by forked children, in which it is another process's: `process` tells. */
static struct {
    uint64_t process; /* stamp */
    struct process_record *record;
    int leash;
} self = { .leash = -1 };

static char self_place, parent_place;

/* A child of fork outlives the parent's parent if it wants to, and has no part in the leash. */
static void forget_in_forked_child(void)
{
    os_close_and_forget((int *[]) { &self.leash }, 1);
}

__attribute__((constructor)) static void watch_forks(void)
{
    os_at_fork_child(forget_in_forked_child);
}

mproc_process *self_handle(void)
{
    return (mproc_process *)(void *)&self_place;
}

mproc_process *self_parent_handle(void)
{
    return (mproc_process *)(void *)&parent_place;
}

void self_become(struct process_record *record, int leash)
{
    fcntl(leash, F_SETFD, 0); /* should this process execute another program, it stays on the leash */
    self.record = record;
    self.leash = leash;
    self.process = member_process_stamp();
}

struct process_record *self_record(void)
{
    return self.record && self.process == member_process_stamp() ? self.record : NULL;
}

void self_finished(void)
{
    struct process_record *record = self_record();
    if (record)
        atomic_store(&record->finished, 1);
}

int self_leash(void)
{
    return self_record() ? self.leash : -1;
}

const char *self_name(void)
{
    struct process_record *record = self_record();
    return record ? record->name : "main";
}

mproc_process *mproc_current_process(void)
{
    return self_handle();
}

mproc_process *mproc_parent_process(void)
{
    return self_record() ? self_parent_handle() : NULL;
}

bool mproc_stop_requested(void)
{
    if (task_context && task_context->is_stopped && task_context->is_stopped(task_context))
        return true;
    return self.record && atomic_load_explicit(&self.record->stop, memory_order_acquire) && self_record();
}

int mproc_stop_wait(int64_t timeout)
{
    struct process_record *record = self_record();
    if (!record)
        return -ECHILD;
    int64_t deadline = os_deadline(timeout);
    while (!atomic_load(&record->stop)) {
        int64_t left = os_left(deadline);
        int err = left == 0 ? -ETIMEDOUT : os_futex_wait(&record->stop, 0, left);
        if ((err == -ETIMEDOUT || err == -EINTR) && !atomic_load(&record->stop))
            return err;
    }
    return 0;
}
