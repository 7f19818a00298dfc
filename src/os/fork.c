/* Copying this process. SPDX-License-Identifier: MIT */
#include "os/fork.h"

#include "os/file.h"
#include "os/life.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HANDLERS_MOST = 12 };

static void (*handlers[HANDLERS_MOST])(void);
static int handlers_count;

void os_at_fork_child(void (*handler)(void))
{
    if (handlers_count < HANDLERS_MOST)
        handlers[handlers_count++] = handler;
    pthread_atfork(NULL, NULL, handler);
}

int os_thread_count(void)
{
    char text[1024];
    int length = os_read_file("/proc/self/stat", text, sizeof text);
    if (length < 0)
        return length;
    /* The second field, the name, may hold spaces and parentheses; num_threads is the 18th after it. */
    char *rest = strrchr(text, ')');
    for (int field = 0; rest && field < 18; field++)
        rest = strchr(rest + 1, ' ');
    return rest ? atoi(rest) : -EIO;
}

/* libc's own: true as long as it has never started a thread. */
extern char __libc_single_threaded __attribute__((weak));

/* The kernel's flag of a thread that has begun to exit, which it sets before pthread_join can return. */
#define PF_EXITING 4ul

/* False for one that is on its way out or gone. */
static bool is_running(const char *thread)
{
    char path[64], text[1024];
    unsigned long flags;
    snprintf(path, sizeof path, "/proc/self/task/%.20s/stat", thread);
    if (os_read_file(path, text, sizeof text) <= 0)
        return false;
    const char *rest = strrchr(text, ')');
    return !rest || sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %lu", &flags) != 1 || !(flags & PF_EXITING);
}

/* Those that were joined are still counted until they are wholly gone. */
int os_has_other_threads(void)
{
    if (&__libc_single_threaded && __libc_single_threaded)
        return 0;
    int count = os_thread_count();
    if (count <= 1)
        return count == 1 ? 0 : count;
    DIR *threads = opendir("/proc/self/task");
    if (!threads)
        return -errno;
    long own = syscall(SYS_gettid);
    bool found = false;
    for (struct dirent *thread; !found && (thread = readdir(threads));)
        found = thread->d_name[0] != '.' && atol(thread->d_name) != own && is_running(thread->d_name);
    closedir(threads);
    return found;
}

/* Where libc keeps the calling thread's id: what it has the kernel clear at the thread's end or, if this kernel does
 * not tell, in front of the list of lives, as in glibc. NULL if it is in neither place. */
static pid_t *own_thread_id(void *lives)
{
    pid_t id = (pid_t)syscall(SYS_gettid), *address = NULL;
    if (prctl(PR_GET_TID_ADDRESS, &address, 0, 0, 0) != 0 && lives)
        address = (pid_t *)(void *)((char *)lives - sizeof(void *)) - 2;
    return address && *address == id ? address : NULL;
}

pid_t os_fork_quiet(void)
{
    void *lives = os_life_list();
    pid_t *id = own_thread_id(lives);
    if (!id)
        return os_fork_loud();
    /* An exit signal of 0 in place of SIGCHLD is what hides the child: wait() passes over such children unless it is
     * called with __WALL or __WCLONE (clone(2), wait(2)). The id's address goes to both places where architectures
     * have it; the other one is not looked at. */
    long flags = CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
#if defined(__s390x__) || defined(__CRIS__)
    long pid = syscall(SYS_clone, NULL, flags, NULL, id, id);
#else
    long pid = syscall(SYS_clone, flags, NULL, NULL, id, id);
#endif
    if (pid == 0) {
        os_life_list_renew(lives);
        for (int i = 0; i < handlers_count; i++)
            handlers[i]();
    }
    return pid >= 0 ? (pid_t)pid : -errno;
}

pid_t os_fork_loud(void)
{
    pid_t pid = fork();
    return pid >= 0 ? pid : -errno;
}
