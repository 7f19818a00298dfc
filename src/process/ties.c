/* Descriptors of starts under way. SPDX-License-Identifier: MIT */
#include "process/ties.h"

#include "os/file.h"
#include "os/fork.h"

#include <pthread.h>

/* Held across each fork of libc's, so that the child finds the list whole. The library's own forks are of processes
 * without other threads. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct start *first;
static _Thread_local struct start *own;

void ties_begin_change(void)
{
    pthread_mutex_lock(&mutex);
}

void ties_end_change(void)
{
    pthread_mutex_unlock(&mutex);
}

void ties_add(struct start *start)
{
    start->next = first;
    first = start;
}

void ties_remove(struct start *start)
{
    pthread_mutex_lock(&mutex);
    struct start **link = &first;
    while (*link && *link != start)
        link = &(*link)->next;
    if (*link)
        *link = start->next;
    pthread_mutex_unlock(&mutex);
}

void ties_enter(struct start *start)
{
    own = start;
}

void ties_leave(void)
{
    own = NULL;
}

static void forget_in_forked_child(void)
{
    mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    for (struct start *start = first; start; start = start->next)
        if (start != own)
            os_close_and_forget(
                (int *[]) { &start->leash, &start->report, &start->setup.leash, &start->setup.report, &start->pidfd },
                5);
    first = NULL;
}

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(ties_begin_change, ties_end_change, NULL);
    os_at_fork_child(forget_in_forked_child);
}
