/* Descriptors of this process that become readable at news of an object. SPDX-License-Identifier: MIT */
#include "sync/watcher.h"

#include "memory/member.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/fork.h"
#include "sync/wait.h"
#include "sync/watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct watcher {
    struct watcher *next;
    const void *object;
    int descriptor, socket, timer;
    struct region_watch *watch;
    struct watch_name name;
};

/* This process's; a forked child closes its copies and begins with none. */
static struct watcher *watchers;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t owner; /* stamp of the process that they are of */

static struct watcher *find(const void *object)
{
    struct watcher *watcher = owner == member_process_stamp() ? watchers : NULL;
    while (watcher && watcher->object != object)
        watcher = watcher->next;
    return watcher;
}

static void close_descriptors(struct watcher *watcher)
{
    int fds[] = { watcher->descriptor, watcher->socket, watcher->timer };
    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static void forget_parents(void)
{
    pthread_mutex_init(&mutex, NULL);
    for (struct watcher *watcher = watchers; watcher; watcher = watcher->next)
        close_descriptors(watcher);
    watchers = NULL;
}

static __attribute__((constructor)) void begin(void)
{
    os_at_fork_child(forget_parents);
}

static int timer_open(void)
{
    int64_t now = os_now(), next = (now / WAIT_SLICE + 1) * WAIT_SLICE;
    struct itimerspec when = {
        .it_interval = { .tv_nsec = WAIT_SLICE },
        .it_value = { .tv_sec = next / 1000000000, .tv_nsec = next % 1000000000 },
    };
    int fd = os_fd_above_standard(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (fd >= 0)
        timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL);
    return fd < 0 ? -errno : fd;
}

static int add(const struct watcher *watcher, int fd)
{
    struct epoll_event event = { .events = EPOLLIN };
    return epoll_ctl(watcher->descriptor, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static int open_descriptors(struct watcher *watcher)
{
    int err = 0;
    watcher->timer = watcher->descriptor = -1;
    watcher->socket = watch_open(&watcher->name);
    if (watcher->socket < 0)
        return watcher->socket;
    watcher->timer = timer_open();
    if (watcher->timer < 0)
        return watcher->timer;
    watcher->descriptor = os_fd_above_standard(epoll_create1(EPOLL_CLOEXEC));
    err = watcher->descriptor < 0 ? -errno : add(watcher, watcher->socket);
    return err < 0 ? err : add(watcher, watcher->timer);
}

static int make(const void *object, struct watcher **made)
{
    struct watcher *watcher = calloc(1, sizeof *watcher);
    if (!watcher)
        return -ENOMEM;
    watcher->object = object;
    int err = open_descriptors(watcher);
    if (err == 0 && !(watcher->watch = watch_begin(object, &watcher->name)))
        err = -EMFILE;
    if (err < 0) {
        close_descriptors(watcher);
        free(watcher);
        return err;
    }
    *made = watcher;
    return 0;
}

int watcher_open(const void *object, _Atomic uint32_t *watched)
{
    int result = 0;
    pthread_mutex_lock(&mutex);
    struct watcher *watcher = find(object);
    if (!watcher && (result = make(object, &watcher)) == 0) {
        if (owner != member_process_stamp())
            watchers = NULL; /* a child by a bare clone: its parent's are none of its business */
        owner = member_process_stamp();
        watcher->next = watchers;
        watchers = watcher;
        atomic_store(watched, 1);
        watch_send(&watcher->name);
    }
    result = result < 0 ? result : watcher->descriptor;
    pthread_mutex_unlock(&mutex);
    return result;
}

void watcher_close(const void *object)
{
    pthread_mutex_lock(&mutex);
    struct watcher *watcher = find(object), **link = &watchers;
    while (watcher && *link != watcher)
        link = &(*link)->next;
    if (watcher) {
        *link = watcher->next;
        watch_end(watcher->watch);
        close_descriptors(watcher);
        free(watcher);
    }
    pthread_mutex_unlock(&mutex);
}

bool watcher_rearm(const void *object)
{
    uint64_t expirations;
    bool news = false;
    pthread_mutex_lock(&mutex);
    struct watcher *watcher = find(object);
    if (watcher) {
        /* The timer alone is no reason to look again: the caller has just looked. */
        if (read(watcher->timer, &expirations, sizeof expirations) < 0)
            expirations = 0;
        /* One who was killed after it had told has left the watch armed. */
        news = watch_drain(watcher->socket) || !watch_is_armed(watcher->watch);
        if (news)
            watch_arm(watcher->watch);
    }
    pthread_mutex_unlock(&mutex);
    return news;
}
