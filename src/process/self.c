/* What a process knows of itself. SPDX-License-Identifier: MIT */
#include "process/self.h"

#include "os/clock.h"
#include "os/fork.h"
#include "os/futex.h"

#include <errno.h>
#include <unistd.h>

/* Inherited by forked children, in which it is another process's: `pid` tells. */
static struct {
    pid_t pid;
    struct process_record *record;
    int leash;
} self = { .leash = -1 };

static char self_place, parent_place;

/* A child of fork outlives the parent's parent if it wants to, and has no part in the leash. */
static void forget_in_forked_child(void)
{
    if (self.leash >= 0)
        close(self.leash);
    self.leash = -1;
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
    self.record = record;
    self.leash = leash;
    self.pid = getpid();
}

struct process_record *self_record(void)
{
    return self.record && self.pid == getpid() ? self.record : NULL;
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
    return self.record && atomic_load_explicit(&self.record->stop, memory_order_acquire) && self_record();
}

int mproc_stop_wait(int64_t timeout)
{
    struct process_record *record = self_record();
    if (!record)
        return -ECHILD;
    int64_t deadline = timeout < 0 ? 0 : os_now() + timeout;
    while (!atomic_load(&record->stop)) {
        int64_t left = timeout < 0 ? -1 : deadline - os_now();
        int err = timeout >= 0 && left <= 0 ? -ETIMEDOUT : os_futex_wait(&record->stop, 0, left);
        if ((err == -ETIMEDOUT || err == -EINTR) && !atomic_load(&record->stop))
            return err;
    }
    return 0;
}
