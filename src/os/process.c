/* Starting and watching processes. SPDX-License-Identifier: MIT */
#include "os/process.h"

#include "os/clock.h"
#include "os/file.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

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

int os_has_other_threads(void)
{
    for (int attempt = 0; attempt < 20; attempt++) {
        int count = os_thread_count();
        if (count <= 1)
            return count == 1 ? 0 : count;
        os_sleep(500000);
    }
    return 1;
}

pid_t os_fork_quiet(void)
{
    /* An exit signal of 0 in place of SIGCHLD is what hides the child: wait() passes over such children unless it is
     * called with __WALL or __WCLONE (clone(2), wait(2)). */
    long pid;
#if defined(__s390x__) || defined(__CRIS__)
    pid = syscall(SYS_clone, NULL, 0UL, NULL, NULL, 0UL);
#else
    pid = syscall(SYS_clone, 0UL, NULL, NULL, NULL, 0UL);
#endif
    return pid >= 0 ? (pid_t)pid : -errno;
}

int os_pidfd_open(pid_t pid)
{
    long fd = syscall(SYS_pidfd_open, pid, 0);
    return fd >= 0 ? os_fd_above_standard((int)fd) : -errno;
}

int os_pidfd_wait(int pidfd, int64_t timeout)
{
    int64_t deadline = timeout < 0 ? INT64_MAX : os_now() + timeout;
    for (;;) {
        struct pollfd entry = { .fd = pidfd, .events = POLLIN };
        int64_t left = timeout < 0 ? -1 : deadline - os_now();
        int milliseconds = timeout < 0 ? -1 : left > 0 ? (int)(left / 1000000) + 1 : 0;
        if (poll(&entry, 1, milliseconds) > 0)
            return 0;
        if (timeout >= 0 && left <= 0)
            return -ETIMEDOUT;
    }
}

int os_pidfd_kill(int pidfd, int signal)
{
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) == 0 ? 0 : -errno;
}

int os_reap(pid_t pid)
{
    int result, status;
    do
        result = waitpid(pid, &status, __WALL);
    while (result < 0 && errno == EINTR);
    return result == pid ? status : -errno;
}

void os_reap_ending(pid_t pid)
{
    for (int attempt = 0; attempt < 500 && waitpid(pid, NULL, __WALL | WNOHANG) == 0; attempt++)
        os_sleep(200000);
}

bool os_die_with_parent(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    return getppid() == parent;
}

bool os_adopts_orphans(void)
{
    int subreaper = 0;
    prctl(PR_GET_CHILD_SUBREAPER, &subreaper, 0, 0, 0);
    return subreaper || getpid() == 1;
}

void os_set_name(const char *name)
{
    char text[16];
    snprintf(text, sizeof text, "%s", name);
    prctl(PR_SET_NAME, text, 0, 0, 0);
}

void os_signals_block(sigset_t *saved)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, saved);
}

void os_signals_restore(const sigset_t *saved)
{
    pthread_sigmask(SIG_SETMASK, saved, NULL);
}

void os_signals_reset_for_worker(void)
{
    struct sigaction action = { .sa_handler = SIG_DFL };
    for (int signal = 1; signal < NSIG; signal++)
        sigaction(signal, &action, NULL); /* refused for SIGKILL, SIGSTOP and libc's own: as it should be */
    action.sa_handler = SIG_IGN;
    sigaction(SIGINT, &action, NULL);
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
}
