/* Descriptors that tell of a queue's news. SPDX-License-Identifier: MIT */
#include "channel/queue_watch.h"

#include "sync/watcher.h"

bool queue_watch_rearm(struct waiters *waiters)
{
    return atomic_load(&waiters->watched) != 0 && watcher_rearm(waiters);
}

static struct waiters *waiters_of(mproc_queue *queue, enum mproc_queue_role role)
{
    if (role == MPROC_QUEUE_READER)
        return &queue->readers;
    return role == MPROC_QUEUE_WRITER ? &queue->writers : NULL;
}

int mproc_queue_fd(mproc_queue *queue, enum mproc_queue_role role)
{
    struct member *self;
    int err = queue_enter(queue, &self);
    if (err < 0)
        return err;
    struct waiters *waiters = waiters_of(queue, role);
    return waiters ? watcher_open(waiters, &waiters->watched) : -EINVAL;
}

int mproc_queue_fd_close(mproc_queue *queue, enum mproc_queue_role role)
{
    struct member *self;
    int err = queue_enter(queue, &self);
    if (err < 0)
        return err;
    struct waiters *waiters = waiters_of(queue, role);
    if (!waiters)
        return -EINVAL;
    watcher_close(waiters);
    return 0;
}
