/* Waiting for the first of many. SPDX-License-Identifier: MIT
 *
 * Queues and events are looked at; the rest is polled. To sleep until there is something to look at, the caller has
 * itself told on a socket (sync/watch.h), which is polled with the others. All in slices: whoever was to tell may have
 * been killed.
 */
#include "channel/connection.h"
#include "channel/queue_watch.h"
#include "channel/wait_hooks.h"
#include "os/clock.h"
#include "sync/event.h"
#include "sync/watch.h"

#include <errno.h>
#include <mproc/error.h>
#include <mproc/wait.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { FEW = 16 };

static const struct wait_hooks *futures;

void wait_for_futures_by(const struct wait_hooks *hooks)
{
    futures = hooks;
}

/* The entry by which the caller is told of news; NULL: it is polled. */
struct watched {
    struct region_watch *entry;
};

/* One call. */
struct waiting {
    struct mproc_waitable *waitables;
    int count;
    struct pollfd *polled;   /* one for each, and one for the socket */
    struct watched *watched; /* one for each */
    int socket;
};

static bool is_known(enum mproc_waitable_kind kind)
{
    return kind >= MPROC_WAITABLE_NONE && kind <= MPROC_WAITABLE_FUTURE;
}

/* What is in the heap: 1, 0 or a negative error. */
static int look(const struct mproc_waitable *waitable)
{
    switch (waitable->kind) {
    case MPROC_WAITABLE_QUEUE: return queue_can_get(waitable->queue);
    case MPROC_WAITABLE_QUEUE_ROOM: return queue_can_put(waitable->queue);
    case MPROC_WAITABLE_EVENT: return waitable->event ? mproc_event_is_set(waitable->event) : -EINVAL;
    case MPROC_WAITABLE_CONNECTION: return connection_has_kept(waitable->connection);
    case MPROC_WAITABLE_FUTURE: return futures ? futures->look(waitable->future) : -EINVAL;
    default: return 0;
    }
}

/* The descriptor to poll; -1: none; other negative numbers: errors. */
static int descriptor_of(const struct mproc_waitable *waitable)
{
    switch (waitable->kind) {
    case MPROC_WAITABLE_CONNECTION: return mproc_connection_fd(waitable->connection);
    case MPROC_WAITABLE_PROCESS: return mproc_process_fd(waitable->process);
    case MPROC_WAITABLE_FD: return waitable->fd < 0 ? -1 : waitable->fd;
    default: return -1;
    }
}

static void set(struct mproc_waitable *waitable, int result)
{
    waitable->ready = true;
    waitable->result = result;
}

/* Looks at all that needs no system call, and finds the descriptors of the rest. Returns how many are ready. */
static int look_at_all(struct waiting *waiting)
{
    int ready = 0;
    for (int i = 0; i < waiting->count; i++) {
        struct mproc_waitable *waitable = &waiting->waitables[i];
        waitable->ready = false;
        waitable->result = 0;
        int result = look(waitable), fd = descriptor_of(waitable);
        if (result == 0 && fd < -1)
            result = fd;
        if (result != 0)
            set(waitable, result < 0 ? result : 0);
        short events = waitable->kind == MPROC_WAITABLE_FD ? waitable->events : POLLIN;
        waiting->polled[i] = (struct pollfd) { .fd = fd < 0 ? -1 : fd, .events = events };
        ready += waitable->ready;
    }
    return ready;
}

/* Polls, at most `timeout` nanoseconds. Returns how many more are ready, or -EINTR. */
static int poll_all(struct waiting *waiting, int64_t timeout)
{
    int ready = 0;
    struct timespec length = { .tv_sec = (time_t)(timeout / 1000000000), .tv_nsec = (long)(timeout % 1000000000) };
    waiting->polled[waiting->count] = (struct pollfd) { .fd = waiting->socket, .events = POLLIN };
    if (ppoll(waiting->polled, (nfds_t)waiting->count + 1, &length, NULL) < 0)
        return -errno;
    for (int i = 0; i < waiting->count; i++) {
        struct mproc_waitable *waitable = &waiting->waitables[i];
        if (waiting->polled[i].revents == 0 || waitable->ready)
            continue;
        set(waitable, waitable->kind == MPROC_WAITABLE_FD ? waiting->polled[i].revents : 0);
        ready++;
    }
    return ready;
}

static bool any_is_polled(const struct waiting *waiting)
{
    for (int i = 0; i < waiting->count; i++)
        if (waiting->polled[i].fd >= 0)
            return true;
    return false;
}

/* What tells of news of it, and the word that has others look for whom to tell; NULL if it is polled. */
static const void *object_of(const struct mproc_waitable *waitable, _Atomic uint32_t **watched)
{
    struct waiters *waiters = NULL;
    switch (waitable->kind) {
    case MPROC_WAITABLE_QUEUE: waiters = &waitable->queue->readers; break;
    case MPROC_WAITABLE_QUEUE_ROOM: waiters = &waitable->queue->writers; break;
    case MPROC_WAITABLE_EVENT: *watched = event_watched(waitable->event); return waitable->event;
    case MPROC_WAITABLE_FUTURE: return futures->object(waitable->future, watched);
    default: return NULL;
    }
    *watched = &waiters->watched;
    return waiters;
}

/* Has the caller told of news. Nothing is ready, so that all objects are good. */
static int begin_watching(struct waiting *waiting)
{
    struct watch_name name;
    for (int i = 0; i < waiting->count; i++) {
        _Atomic uint32_t *watched;
        const void *object = object_of(&waiting->waitables[i], &watched);
        if (!object)
            continue;
        if (waiting->socket < 0)
            waiting->socket = watch_open(&name);
        if (waiting->socket < 0)
            return waiting->socket;
        waiting->watched[i].entry = watch_begin(object, &name);
        if (!waiting->watched[i].entry)
            return -EMFILE;
        atomic_store(watched, 1);
    }
    return 0;
}

static void end_watching(struct waiting *waiting)
{
    for (int i = 0; i < waiting->count; i++)
        if (waiting->watched[i].entry)
            watch_end(waiting->watched[i].entry);
    if (waiting->socket >= 0)
        close(waiting->socket);
}

static void arm(struct waiting *waiting)
{
    if (waiting->socket >= 0)
        watch_drain(waiting->socket);
    for (int i = 0; i < waiting->count; i++)
        if (waiting->watched[i].entry && !watch_is_armed(waiting->watched[i].entry))
            watch_arm(waiting->watched[i].entry);
}

static int wait_for_any(struct waiting *waiting, int64_t deadline)
{
    int err = begin_watching(waiting);
    while (err == 0) {
        arm(waiting);
        int ready = look_at_all(waiting);
        int64_t left = os_left(deadline);
        bool last = left >= 0 && left <= WAIT_SLICE;
        int more = poll_all(waiting, ready > 0 ? 0 : last ? left : WAIT_SLICE);
        if (ready + (more > 0 ? more : 0) > 0)
            return ready + (more > 0 ? more : 0);
        /* What came at the last moment. */
        if (more < 0 || last)
            return (ready = look_at_all(waiting)) > 0 ? ready : more < 0 ? more : -ETIMEDOUT;
    }
    return err;
}

static int run(struct waiting *waiting, int64_t deadline)
{
    int ready = look_at_all(waiting);
    int more = any_is_polled(waiting) ? poll_all(waiting, 0) : 0;
    if (ready + (more > 0 ? more : 0) > 0)
        return ready + (more > 0 ? more : 0);
    if (more < 0 || deadline == 0)
        return more < 0 ? more : -ETIMEDOUT;
    int result = wait_for_any(waiting, deadline);
    end_watching(waiting);
    return result;
}

int mproc_wait(struct mproc_waitable *waitables, int count, int64_t timeout)
{
    struct pollfd few_polled[FEW + 1];
    struct watched few_watched[FEW] = { { NULL } };
    struct waiting waiting = { waitables, count, few_polled, few_watched, -1 };
    int64_t deadline = os_deadline(timeout);
    if (count < 0 || (!waitables && count > 0))
        return -EINVAL;
    for (int i = 0; i < count; i++)
        if (!is_known(waitables[i].kind))
            return -EINVAL;
    if (count > FEW) {
        waiting.polled = malloc(((size_t)count + 1) * sizeof *waiting.polled);
        waiting.watched = calloc((size_t)count, sizeof *waiting.watched);
    }
    int result = waiting.polled && waiting.watched ? run(&waiting, deadline) : -ENOMEM;
    if (count > FEW) {
        free(waiting.polled);
        free(waiting.watched);
    }
    return result;
}
