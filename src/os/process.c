/* Starting and watching processes. SPDX-License-Identifier: MIT */
#include "os/process.h"

#include "os/clock.h"
#include "os/file.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST_REALTIME = 32 };

int os_pidfd_open(pid_t pid)
{
    long fd = syscall(SYS_pidfd_open, pid, 0);
    return fd >= 0 ? os_fd_above_standard((int)fd) : -errno;
}

int os_pidfd_wait(int pidfd, int64_t timeout)
{
    int64_t deadline = os_deadline(timeout);
    for (;;) {
        int result = os_poll_readable(pidfd, os_left(deadline));
        if (result != -EINTR)
            return result;
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
    prctl(PR_SET_NAME, name, 0, 0, 0);
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

/* In the kernel's own layout, whatever that is here, all zeroes is SIG_DFL. libc's wrapper takes longer than the call.
 * Between the standard signals and SIGRTMIN lie libc's own, which it needs. */
void os_signals_reset_but(int except)
{
    static const long zeroes[32];
    for (int signal = 1; signal < NSIG; signal++)
        if (signal != except && (signal < FIRST_REALTIME || signal >= SIGRTMIN))
            syscall(SYS_rt_sigaction, signal, zeroes, NULL, NSIG / 8);
}

void os_signals_reset(void)
{
    os_signals_reset_but(0);
}

void os_signals_unblock(void)
{
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
}

void os_signal_ignore(int signal)
{
    struct sigaction action = { .sa_handler = SIG_IGN };
    sigaction(signal, &action, NULL);
}
