/* A process that keeps a number of workers alive. SPDX-License-Identifier: MIT */
#include "process/supervisor.h"

#include "os/clock.h"
#include "os/file.h"
#include "os/process.h"
#include "process/exit.h"
#include "process/fork_hooks.h"

#include <errno.h>
#include <mproc/error.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MILLISECOND INT64_C(1000000)

enum { STARTS_TRIED = 10 }; /* with waits of 1, 2, 4, ... ms in between: about a second */

/* Private to the supervisor process. */
struct state {
    const struct supervisor_calls *calls;
    void *pool;
    const char *name;
    unsigned workers, alive;
    pid_t *pids; /* 0: no worker in that slot */
    pid_t self, caller;
    int caller_fd, child_fd, link; /* pidfd; signalfd of SIGCHLD; socket to the caller */
    unsigned failed_starts;        /* one after the other */
    int64_t next_start;            /* not before */
};

static void kill_workers(const struct state *state)
{
    for (unsigned slot = 0; slot < state->workers; slot++)
        if (state->pids[slot] > 0)
            kill(state->pids[slot], SIGKILL);
}

/* Ends everything. Workers are reaped, so that whoever sees the supervisor's end knows that they are gone. */
static _Noreturn void end(const struct state *state)
{
    kill_workers(state);
    while (waitpid(-1, NULL, __WALL) > 0 || errno == EINTR) {
    }
    _exit(0);
}

static _Noreturn void be_worker(const struct state *state, unsigned slot)
{
    if (!os_die_with_parent(state->self))
        _exit(0);
    close(state->caller_fd);
    close(state->child_fd);
    char name[64];
    snprintf(name, sizeof name, "%.11s:%u", state->name, slot);
    os_set_name(name);
    os_signals_reset();
    os_signal_ignore(SIGINT); /* Ctrl-C is the caller's */
    os_signals_unblock();
    int status = state->calls->work(state->pool, slot);
    exit_end_processes(); /* what tasks have started */
    _exit(status);
}

static int start_worker(struct state *state, unsigned slot)
{
    pid_t pid = fork_with_hooks(true);
    if (pid == 0)
        be_worker(state, slot);
    if (pid < 0)
        return pid;
    state->pids[slot] = pid;
    state->alive++;
    state->calls->started(state->pool, slot, pid);
    return 0;
}

/* Fills empty slots. A failure is tried again later, for ever while there is at least one worker, since the pool works
 * on with what it has. */
static void start_missing(struct state *state)
{
    if (state->alive == state->workers || os_now() < state->next_start)
        return;
    for (unsigned slot = 0; slot < state->workers; slot++) {
        if (state->pids[slot] > 0)
            continue;
        int err = start_worker(state, slot);
        if (err == 0) {
            state->failed_starts = 0;
            continue;
        }
        state->failed_starts++;
        if (state->alive == 0 && state->failed_starts >= STARTS_TRIED) {
            state->calls->give_up(state->pool, err);
            end(state);
        }
        unsigned doublings = state->failed_starts < STARTS_TRIED ? state->failed_starts : STARTS_TRIED;
        state->next_start = os_now() + (MILLISECOND / 2 << doublings);
        return;
    }
}

static void reap(struct state *state)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0;) {
        for (unsigned slot = 0; slot < state->workers; slot++) {
            if (state->pids[slot] != pid)
                continue;
            state->pids[slot] = 0;
            state->alive--;
            state->calls->ended(state->pool, slot, pid, status);
        }
    }
}

static int milliseconds_until_next(const struct state *state, int64_t attend_in)
{
    int64_t wait = attend_in;
    if (state->alive < state->workers) {
        int64_t until_start = state->next_start - os_now();
        if (until_start < 0)
            until_start = 0;
        if (wait < 0 || until_start < wait)
            wait = until_start;
    }
    return wait < 0 ? -1 : (int)((wait + MILLISECOND - 1) / MILLISECOND);
}

static void drain_child_signals(const struct state *state)
{
    struct signalfd_siginfo ignored[8];
    while (read(state->child_fd, ignored, sizeof ignored) > 0) {
    }
}

/* The link says two things: a byte that all is to end now; and by hanging up, that the caller has ended or has replaced
 * itself by another program. */
static bool told_to_end(const struct pollfd *link)
{
    char byte;
    return link->revents && (recv(link->fd, &byte, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN);
}

static _Noreturn void supervise(struct state *state)
{
    for (;;) {
        reap(state);
        int64_t attend_in = state->calls->attend(state->pool);
        bool closing = state->calls->closing(state->pool);
        if (closing && state->alive == 0)
            _exit(0);
        if (!closing)
            start_missing(state);

        struct pollfd watched[3] = {
            { .fd = state->child_fd, .events = POLLIN },
            { .fd = state->caller_fd, .events = POLLIN },
            { .fd = state->link, .events = POLLIN },
        };
        int timeout = closing ? -1 : milliseconds_until_next(state, attend_in);
        if (poll(watched, 3, timeout) < 0 && errno != EINTR)
            end(state);
        if (watched[1].revents || told_to_end(&watched[2]))
            end(state);
        drain_child_signals(state);
    }
}

/* SIGCHLD must be neither ignored (children would vanish unseen) nor handled by the program's handler. */
static int watch_children(struct state *state)
{
    struct sigaction action = { .sa_handler = SIG_DFL };
    sigaction(SIGCHLD, &action, NULL);
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    state->child_fd = os_fd_above_standard(signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC));
    return state->child_fd < 0 ? -errno : 0;
}

static _Noreturn void be_supervisor(struct state *state, const struct supervisor_options *options)
{
    state->self = getpid();
    state->caller_fd = os_pidfd_open(state->caller);
    if (getppid() != state->caller)
        _exit(0);
    char name[64];
    snprintf(name, sizeof name, "%.10s:boss", options->name);
    os_set_name(name);
    int err = state->caller_fd < 0 ? state->caller_fd : watch_children(state);
    if (!err)
        err = state->calls->begin(state->pool);
    for (unsigned slot = 0; slot < state->workers && !err; slot++)
        err = start_worker(state, slot);
    if (send(state->link, &err, sizeof err, MSG_NOSIGNAL) != sizeof err || err)
        end(state);
    supervise(state);
}

/* The supervisor says 0 or -errno once; if it dies before that, the link hangs up. */
static int wait_until_started(const struct supervisor *supervisor)
{
    int err;
    ssize_t count;
    do
        count = recv(supervisor->link, &err, sizeof err, MSG_WAITALL);
    while (count < 0 && errno == EINTR);
    return count == sizeof err ? err : MPROC_E_SUPERVISOR_DIED;
}

/* Signals stay blocked in the supervisor: the program's handlers must not run there. */
static pid_t fork_supervisor(struct state *state, const struct supervisor_options *options, int callers_link)
{
    pid_t pid = fork_with_hooks(options->fork_with_threads);
    if (pid == 0) {
        close(callers_link);
        be_supervisor(state, options);
    }
    return pid;
}

int supervisor_start(struct supervisor *supervisor, const struct supervisor_options *options,
                     const struct supervisor_calls *calls, void *pool)
{
    int link[2];
    int err = os_socket_pair(SOCK_STREAM, link);
    if (err)
        return err;
    struct state state = {
        .calls = calls,
        .pool = pool,
        .name = options->name,
        .workers = options->workers,
        .caller = getpid(),
        .link = link[1],
        .pids = calloc(options->workers, sizeof *state.pids),
    };
    pid_t pid = state.pids ? fork_supervisor(&state, options, link[0]) : -ENOMEM;
    free(state.pids);
    close(link[1]);
    int pidfd = pid > 0 ? os_pidfd_open(pid) : pid;
    if (pidfd < 0) {
        close(link[0]); /* ends the supervisor, if there is one */
        if (pid > 0)
            os_reap(pid);
        return pidfd;
    }
    *supervisor = (struct supervisor) { .pid = pid, .pidfd = pidfd, .link = link[0] };
    err = wait_until_started(supervisor);
    if (err)
        supervisor_stop(supervisor, 0);
    return err;
}

int supervisor_wait_workers_gone(const struct supervisor *supervisor)
{
    return os_wait_hang_up(supervisor->link, 1000 * MILLISECOND);
}

bool supervisor_has_ended(const struct supervisor *supervisor)
{
    return os_pidfd_wait(supervisor->pidfd, 0) == 0;
}

void supervisor_end_now(const struct supervisor *supervisor)
{
    char byte = 'x';
    send(supervisor->link, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (os_pidfd_wait(supervisor->pidfd, 5000 * MILLISECOND) != 0)
        os_pidfd_kill(supervisor->pidfd, SIGKILL); /* it must have been stopped, by SIGSTOP or a debugger */
    os_pidfd_wait(supervisor->pidfd, -1);
}

bool supervisor_stop(struct supervisor *supervisor, int64_t patience)
{
    if (patience == 0 || os_pidfd_wait(supervisor->pidfd, patience) != 0)
        supervisor_end_now(supervisor);
    bool gone = supervisor_wait_workers_gone(supervisor) == 0;
    supervisor->killed = os_reap(supervisor->pid) != 0;
    close(supervisor->pidfd);
    close(supervisor->link);
    return gone;
}
