/* Calling those who want to know of forks. SPDX-License-Identifier: MIT */
#include "process/fork_hooks.h"

#include "os/fork.h"
#include "os/process.h"

#include <errno.h>
#include <mproc/fork.h>
#include <pthread.h>

enum { HOOKS_MOST = 64 };

/* The lock is held across a fork, so that the child finds the list whole, and makes itself a new one. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct mproc_fork_hooks list[HOOKS_MOST];
static int count;

int mproc_fork_hooks_add(const struct mproc_fork_hooks *hooks)
{
    if (!hooks)
        return -EINVAL;
    pthread_mutex_lock(&mutex);
    int err = count < HOOKS_MOST ? 0 : -ENOMEM;
    if (!err)
        list[count++] = *hooks;
    pthread_mutex_unlock(&mutex);
    return err;
}

static int find(const struct mproc_fork_hooks *hooks)
{
    for (int i = count - 1; i >= 0; i--)
        if (list[i].before == hooks->before && list[i].after_in_parent == hooks->after_in_parent &&
            list[i].after_in_child == hooks->after_in_child && list[i].context == hooks->context)
            return i;
    return -1;
}

int mproc_fork_hooks_remove(const struct mproc_fork_hooks *hooks)
{
    if (!hooks)
        return -EINVAL;
    pthread_mutex_lock(&mutex);
    int at = find(hooks);
    if (at >= 0) {
        count--;
        for (int i = at; i < count; i++)
            list[i] = list[i + 1];
    }
    pthread_mutex_unlock(&mutex);
    return at >= 0 ? 0 : -EINVAL;
}

static void before(void)
{
    pthread_mutex_lock(&mutex);
    for (int i = count - 1; i >= 0; i--)
        if (list[i].before)
            list[i].before(list[i].context);
}

static void after_in_parent(void)
{
    for (int i = 0; i < count; i++)
        if (list[i].after_in_parent)
            list[i].after_in_parent(list[i].context);
    pthread_mutex_unlock(&mutex);
}

static void after_in_child(void)
{
    for (int i = 0; i < count; i++)
        if (list[i].after_in_child)
            list[i].after_in_child(list[i].context);
}

static void renew_lock(void)
{
    mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

__attribute__((constructor)) static void watch_forks(void)
{
    os_at_fork_child(renew_lock);
}

pid_t fork_with_hooks(bool loud)
{
    sigset_t mask;
    os_signals_block(&mask);
    before();
    pid_t pid = loud ? os_fork_loud() : os_fork_quiet();
    if (pid == 0) {
        after_in_child();
        return 0;
    }
    after_in_parent();
    os_signals_restore(&mask);
    return pid;
}
