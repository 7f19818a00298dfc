/* Waiting for the first of many. SPDX-License-Identifier: MIT
 *
 *     struct mproc_waitable what[] = {
 *         MPROC_WAIT_QUEUE(orders), MPROC_WAIT_PROCESS(worker), MPROC_WAIT_EVENT(&shared->stop),
 *     };
 *     if (mproc_wait(what, 3, MPROC_SEC(5)) > 0 && what[0].ready)
 *         ...
 */
#ifndef MPROC_WAIT_H
#define MPROC_WAIT_H

#include <mproc/connection.h>
#include <mproc/export.h>
#include <mproc/process.h>
#include <mproc/queue.h>
#include <mproc/sync.h>
#include <mproc/time.h>
#include <stdbool.h>

/** Kinds of things to wait for. */
enum mproc_waitable_kind {
    MPROC_WAITABLE_NONE,       /**< nothing: never ready, like a negative descriptor in poll */
    MPROC_WAITABLE_QUEUE,      /**< ready when there is a message to get, or none will come */
    MPROC_WAITABLE_QUEUE_ROOM, /**< ready when there is room to put, or putting would fail */
    MPROC_WAITABLE_CONNECTION, /**< ready when there is something to receive, or the stream has ended */
    MPROC_WAITABLE_PROCESS,    /**< ready when the process has ended */
    MPROC_WAITABLE_EVENT,      /**< ready when the event is set */
    MPROC_WAITABLE_FD,         /**< ready as poll(2) says */
    MPROC_WAITABLE_FUTURE,     /**< ready when the call has ended, and mproc_future_wait would return at once */
};

/** Something to wait for. */
struct mproc_waitable {
    enum mproc_waitable_kind kind;
    union {
        mproc_queue *queue;
        mproc_connection *connection;
        mproc_process *process;
        mproc_event *event;
        struct mproc_future *future; /* mproc/future.h */
        int fd;
    };
    short events; /**< MPROC_WAITABLE_FD: what to poll for: POLLIN, POLLOUT, ... */
    bool ready;   /**< filled by mproc_wait */
    int result;   /**< filled by mproc_wait: 0; MPROC_WAITABLE_FD: what poll found (revents); negative: why it cannot be
                       waited for, MPROC_E_CLOSED for example, in which case it is ready */
};

#ifndef __cplusplus
/* clang-format off */
/** Values for the elements of mproc_wait's array. Since 0.1. */
#define MPROC_WAIT_QUEUE(queue_) ((struct mproc_waitable) { .kind = MPROC_WAITABLE_QUEUE, .queue = (queue_) })
#define MPROC_WAIT_QUEUE_ROOM(queue_) ((struct mproc_waitable) { .kind = MPROC_WAITABLE_QUEUE_ROOM, .queue = (queue_) })
#define MPROC_WAIT_CONNECTION(connection_) ((struct mproc_waitable) { .kind = MPROC_WAITABLE_CONNECTION, .connection = (connection_) })
#define MPROC_WAIT_PROCESS(process_) ((struct mproc_waitable) { .kind = MPROC_WAITABLE_PROCESS, .process = (process_) })
#define MPROC_WAIT_EVENT(event_) ((struct mproc_waitable) { .kind = MPROC_WAITABLE_EVENT, .event = (event_) })
#define MPROC_WAIT_FD(fd_, events_) ((struct mproc_waitable) { .kind = MPROC_WAITABLE_FD, .fd = (fd_), .events = (events_) })
#define MPROC_WAIT_FUTURE(future_) ((struct mproc_waitable) { .kind = MPROC_WAITABLE_FUTURE, .future = (future_) })
/* clang-format on */
#endif

MPROC_BEGIN_DECLARATIONS

/** Waits until at least one of several things is ready, and says which.
 *
 * - `waitables`: `count` of them. .ready and .result of each are filled, also when the call fails with -ETIMEDOUT or
 *   -EINTR.
 * - `timeout`: nanoseconds; 0 polls, MPROC_FOREVER sets no limit.
 *
 * Ready means that the call that takes what is there need not wait: at this moment, as far as others do not take it
 * first. Nothing is taken. Who waits for a queue is one of its readers from then on, who waits for room one of its
 * writers. Where something is ready at once, it takes no system call for queues and events, and one for all the others
 * together. May be called from any thread and in a forked child; not in a signal handler.
 *
 * Returns how many are ready, or
 * - `-ETIMEDOUT`, `-EINTR`
 * - `-EINVAL`: waitables is NULL, count is negative, or a kind is none
 * - `-EMFILE`, `-ENFILE`: waiting for queues and events takes one descriptor; `-ENOMEM`
 *
 * Since 0.1. */
MPROC_API int mproc_wait(struct mproc_waitable *waitables, int count, int64_t timeout);

MPROC_END_DECLARATIONS

#endif
