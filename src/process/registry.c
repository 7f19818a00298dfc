/* The tasks of this program. SPDX-License-Identifier: MIT */
#include "process/registry.h"

#include "base/report.h"
#include "os/fork.h"

#include <errno.h>
#include <mproc/error.h>
#include <pthread.h>
#include <string.h>

/* A list through the registered structs themselves: constructors run before main, and may not count on malloc. A fork
 * in a threaded process can catch the lock taken by another thread, so the child makes it anew: the list is whole after
 * every single store. */
static struct mproc_task *first_task;
static unsigned long newest_order;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void lock(void)
{
    pthread_mutex_lock(&mutex);
}

static void unlock(void)
{
    pthread_mutex_unlock(&mutex);
}

static void renew_lock(void)
{
    mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

__attribute__((constructor)) static void renew_lock_in_forked_children(void)
{
    os_at_fork_child(renew_lock);
}

static struct mproc_task **find_link(const struct mproc_task *task)
{
    struct mproc_task **link = &first_task;
    while (*link && *link != task)
        link = &(*link)->next;
    return link;
}

int mproc_task_register(struct mproc_task *task)
{
    if (!task || !task->name || !task->function || !task->call)
        return -EINVAL;
    lock();
    struct mproc_task **end = find_link(task);
    int err = *end ? -EINVAL : 0;
    if (!err) {
        task->next = NULL;
        task->order = ++newest_order;
        *end = task;
    }
    unlock();
    return err;
}

void mproc_task_unregister(struct mproc_task *task)
{
    if (!task)
        return;
    lock();
    struct mproc_task **link = find_link(task);
    if (*link)
        *link = task->next;
    unlock();
}

const struct mproc_task *registry_find(mproc_function *function, const char *name)
{
    lock();
    const struct mproc_task *task = first_task;
    while (task && !(function ? task->function == function : strcmp(task->name, name) == 0))
        task = task->next;
    unlock();
    return task;
}

static const struct mproc_task *next_of_name(const struct mproc_task *task, const char *name)
{
    while (task && strcmp(task->name, name) != 0)
        task = task->next;
    return task;
}

const struct mproc_task *registry_find_duplicate(const struct mproc_task **other)
{
    lock();
    const struct mproc_task *task = first_task;
    for (*other = NULL; task; task = task->next) {
        *other = next_of_name(task->next, task->name);
        if (*other)
            break;
    }
    unlock();
    return task;
}

const struct mproc_task *registry_find_namesake(const struct mproc_task *task)
{
    lock();
    const struct mproc_task *other = next_of_name(first_task, task->name);
    if (other == task)
        other = next_of_name(task->next, task->name);
    unlock();
    return other;
}

void registry_each(void (*call)(const struct mproc_task *task, void *context), void *context)
{
    lock();
    for (const struct mproc_task *task = first_task; task; task = task->next)
        call(task, context);
    unlock();
}

unsigned long registry_order(void)
{
    lock();
    unsigned long order = newest_order;
    unlock();
    return order;
}

int registry_report_duplicate(struct mproc_error *error, const struct mproc_task *task, const struct mproc_task *other)
{
    return report_text(error, MPROC_E_DUPLICATE_TASK,
                       "two tasks are registered as '%s', at %s:%d and at %s:%d: rename one of them", task->name,
                       task->file ? task->file : "?", task->line, other->file ? other->file : "?", other->line);
}
