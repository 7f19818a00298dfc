/* A process that keeps a number of workers alive. SPDX-License-Identifier: MIT */
#include "process/supervisor.h"

#include "os/clock.h"
#include "os/file.h"
#include "os/process.h"
#include "process/exit.h"
#include "process/fork_hooks.h"
#include "process/process.h"

#include <errno.h>
#include <mproc/error.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
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
    unsigned slots, alive;              /* no slot from `slots` on was ever used */
    pid_t pids[SUPERVISOR_WORKERS_MAX]; /* 0: no worker in that slot */
    pid_t self, caller;
    int caller_fd, child_fd, link;  /* pidfd; signalfd of SIGCHLD; socket to the caller */
    unsigned failed_starts;         /* one after the other: it could not be forked ... */
    unsigned useless, useless_most; /* ... or was of no use */
    int64_t next_start;             /* not before */
};

static void kill_workers(const struct state *state)
{
    for (unsigned slot = 0; slot < state->slots; slot++)
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
    os_signals_unblock();
    int status = state->calls->work(state->pool, slot);
    exit_end_processes(); /* what tasks have started */
    _exit(status);
}

static int start_worker(struct state *state, unsigned slot)
{
    state->calls->starting(state->pool, slot);
    pid_t pid = fork_with_hooks(true);
    if (pid == 0)
        be_worker(state, slot);
    if (pid < 0)
        return pid;
    if (state->slots <= slot)
        state->slots = slot + 1;
    state->pids[slot] = pid;
    state->alive++;
    state->calls->started(state->pool, slot, pid);
    return 0;
}

/* After a start that failed, or was of no use: not so soon again. */
static void put_off(struct state *state, unsigned times)
{
    unsigned doublings = times < STARTS_TRIED ? times : STARTS_TRIED;
    state->next_start = os_now() + (MILLISECOND / 2 << doublings);
}

/* Fills empty slots. A failure is tried again later, for ever while there is at least one worker, since the pool works
 * on with what it has. */
static void start_missing(struct state *state, unsigned missing)
{
    if (missing == 0 || os_now() < state->next_start)
        return;
    for (unsigned slot = 0; slot < SUPERVISOR_WORKERS_MAX && missing > 0; slot++) {
        if (state->pids[slot] > 0)
            continue;
        int err = start_worker(state, slot);
        if (err == 0) {
            state->failed_starts = 0;
            missing--;
            continue;
        }
        state->failed_starts++;
        if (state->alive == 0 && state->failed_starts >= STARTS_TRIED) {
            state->calls->give_up(state->pool, err);
            end(state);
        }
        put_off(state, state->failed_starts);
        return;
    }
    if (missing > 0) /* all slots are taken, also by workers that are about to end */
        put_off(state, STARTS_TRIED / 2);
}

static void retire_surplus(struct state *state, unsigned surplus)
{
    for (unsigned slot = state->slots; slot-- > 0 && surplus > 0;)
        if (state->pids[slot] > 0 && !state->calls->is_ending(state->pool, slot)) {
            state->calls->retire(state->pool, slot);
            surplus--;
        }
}

/* Workers that will go on living. */
static unsigned count_staff(const struct state *state)
{
    unsigned staff = 0;
    for (unsigned slot = 0; slot < state->slots; slot++)
        staff += state->pids[slot] > 0 && !state->calls->is_ending(state->pool, slot);
    return staff;
}

/* How many are missing. */
static unsigned adjust_staff(struct state *state)
{
    unsigned wanted = state->calls->wanted(state->pool), staff = count_staff(state);
    if (staff > wanted)
        retire_surplus(state, staff - wanted);
    start_missing(state, staff < wanted ? wanted - staff : 0);
    staff = count_staff(state);
    return staff < wanted ? wanted - staff : 0;
}

static void note_death(struct state *state, unsigned slot, const struct supervisor_death *death)
{
    state->pids[slot] = 0;
    state->alive--;
    if (state->calls->ended(state->pool, slot, death)) {
        state->useless = 0;
        return;
    }
    if (++state->useless >= state->useless_most) {
        state->calls->give_up(state->pool, MPROC_E_WORKERS_FAIL);
        end(state);
    }
    put_off(state, state->useless);
}

static void reap(struct state *state)
{
    int status;
    struct rusage usage;
    for (pid_t pid; (pid = wait4(-1, &status, WNOHANG | __WALL, &usage)) > 0;)
        for (unsigned slot = 0; slot < state->slots; slot++)
            if (state->pids[slot] == pid)
                note_death(state, slot, &(struct supervisor_death) { pid, status, &usage });
}

static int milliseconds_until_next(const struct state *state, int64_t attend_in, unsigned missing)
{
    int64_t wait = attend_in;
    if (missing > 0) {
        int64_t until_start = state->next_start - os_now();
        if (until_start < 0)
            until_start = 0;
        if (wait < 0 || until_start < wait)
            wait = until_start;
    }
    if (wait > INT64_C(1000) * 3600 * MILLISECOND)
        wait = INT64_C(1000) * 3600 * MILLISECOND;
    return wait < 0 ? -1 : (int)((wait + MILLISECOND - 1) / MILLISECOND);
}

/* True if it was told to end by a signal, which only one that was started as a process listens to. */
static bool drain_signals(const struct state *state)
{
    struct signalfd_siginfo signals[8];
    bool told = false;
    for (ssize_t size; (size = read(state->child_fd, signals, sizeof signals)) > 0;)
        for (size_t i = 0; i < (size_t)size / sizeof signals[0]; i++)
            told = told || signals[i].ssi_signo == SIGTERM;
    return told;
}

enum { TELL_END = 'x', TELL_LOOK = 'l' };

/* The link says three things: a byte that all is to end now; another, that it is to look; and by hanging up, that the
 * caller has ended or has replaced itself by another program. */
static bool told_to_end(const struct pollfd *link)
{
    char bytes[64];
    if (!link->revents)
        return false;
    ssize_t size = recv(link->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    return size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR) ||
           (size > 0 && memchr(bytes, TELL_END, (size_t)size));
}

static _Noreturn void supervise(struct state *state)
{
    for (;;) {
        reap(state);
        int64_t attend_in = state->calls->attend(state->pool);
        bool closing = state->calls->closing(state->pool);
        if (closing && state->alive == 0)
            _exit(0);
        unsigned missing = closing ? 0 : adjust_staff(state);

        struct pollfd watched[3] = {
            { .fd = state->child_fd, .events = POLLIN },
            { .fd = state->caller_fd, .events = POLLIN },
            { .fd = state->link, .events = POLLIN },
        };
        if (poll(watched, 3, milliseconds_until_next(state, attend_in, missing)) < 0 && errno != EINTR)
            end(state);
        bool told = drain_signals(state);
        if (told || watched[1].revents || told_to_end(&watched[2]))
            end(state);
    }
}

/* SIGCHLD must be neither ignored (children would vanish unseen) nor handled by the program's handler. Workers inherit
 * all of it: default dispositions, and Ctrl-C is the caller's. */
static int watch_signals(struct state *state, bool is_process)
{
    os_signals_reset();
    os_signal_ignore(SIGINT);
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    if (is_process)
        sigaddset(&child, SIGTERM);
    state->child_fd = os_fd_above_standard(signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC));
    return state->child_fd < 0 ? -errno : 0;
}

static _Noreturn void be_supervisor(const struct supervisor_message *message, const struct supervisor_calls *calls,
                                    bool is_process)
{
    static struct state state;
    state = (struct state) {
        .calls = calls,
        .pool = message->pool,
        .name = message->name,
        .useless_most = message->useless_most,
        .self = getpid(),
        .caller = message->caller,
        .caller_fd = os_pidfd_open(message->caller),
        .link = message->link,
    };
    if (!is_process && getppid() != state.caller)
        _exit(0);
    char name[64];
    snprintf(name, sizeof name, "%.10s:boss", state.name);
    os_set_name(name);
    int err = state.caller_fd < 0 ? state.caller_fd : watch_signals(&state, is_process);
    if (!err)
        err = calls->begin(state.pool);
    unsigned wanted = err ? 0 : calls->wanted(state.pool);
    for (unsigned slot = 0; slot < wanted && !err; slot++)
        err = start_worker(&state, slot);
    if (send(state.link, &err, sizeof err, MSG_NOSIGNAL) != sizeof err || err)
        end(&state);
    supervise(&state);
}

_Noreturn void supervisor_be(const struct supervisor_message *message, const struct supervisor_calls *calls)
{
    sigset_t ignored;
    os_signals_block(&ignored);
    be_supervisor(message, calls, true);
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
static int fork_supervisor(struct supervisor *supervisor, const struct supervisor_options *options,
                           const struct supervisor_calls *calls, const struct supervisor_message *message)
{
    pid_t pid = fork_with_hooks(options->fork_with_threads);
    if (pid == 0) {
        close(supervisor->link);
        be_supervisor(message, calls, false);
    }
    if (pid < 0)
        return pid;
    supervisor->pid = pid;
    supervisor->pidfd = os_pidfd_open(pid);
    return supervisor->pidfd < 0 ? supervisor->pidfd : 0;
}

/* A process of the server's, or a spawned one. */
static int start_supervisor(struct supervisor *supervisor, const struct supervisor_options *options,
                            const struct supervisor_message *message)
{
    struct mproc_process_start_arguments arguments = {
        .size = sizeof arguments,
        .process = &supervisor->process,
        .function_name = options->function,
        .argument = message,
        .argument_size = sizeof *message,
        .method = options->method,
        .name = options->name,
        .daemon = true,
        .standard_input = { .kind = MPROC_STREAM_DEFAULT },
        .keep_fds = &message->link,
        .keep_fds_count = 1,
        .error = options->error,
    };
    int err = mproc_process_start_with(&arguments);
    if (err)
        return err;
    process_hide(supervisor->process);
    supervisor->pid = mproc_process_pid(supervisor->process);
    supervisor->pidfd = mproc_process_fd(supervisor->process);
    return 0;
}

/* Takes it out of the process table. */
static int reap_supervisor(struct supervisor *supervisor)
{
    if (!supervisor->process)
        return os_reap(supervisor->pid);
    struct mproc_outcome outcome = { .kind = MPROC_LOST };
    mproc_process_join(supervisor->process, -1);
    mproc_process_outcome(supervisor->process, &outcome);
    mproc_process_close(supervisor->process);
    return outcome.kind == MPROC_OK ? 0 : 1;
}

static void drop(struct supervisor *supervisor)
{
    if (!supervisor->process && supervisor->pidfd >= 0)
        close(supervisor->pidfd);
    close(supervisor->link);
}

int supervisor_start(struct supervisor *supervisor, const struct supervisor_options *options,
                     const struct supervisor_calls *calls, void *pool)
{
    int link[2];
    int err = os_socket_pair(SOCK_STREAM, link);
    if (err)
        return err;
    *supervisor = (struct supervisor) { .pidfd = -1, .link = link[0] };
    struct supervisor_message message = { pool, getpid(), link[1], options->useless_most, "" };
    snprintf(message.name, sizeof message.name, "%s", options->name);
    err = options->method == MPROC_FORK ? fork_supervisor(supervisor, options, calls, &message)
                                        : start_supervisor(supervisor, options, &message);
    close(link[1]);
    if (err) {
        drop(supervisor); /* ends the supervisor, if there is one */
        if (supervisor->pid > 0)
            reap_supervisor(supervisor);
        return err;
    }
    err = wait_until_started(supervisor);
    if (err)
        supervisor_stop(supervisor, 0);
    return err;
}

void supervisor_tell(const struct supervisor *supervisor)
{
    char byte = TELL_LOOK;
    send(supervisor->link, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT); /* if there is no room, it is told already */
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
    char byte = TELL_END;
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
    supervisor->killed = reap_supervisor(supervisor) != 0;
    drop(supervisor);
    return gone;
}
