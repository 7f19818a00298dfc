/* The server that starts processes from a snapshot of the program. SPDX-License-Identifier: MIT */
#include "process/forkserver.h"

#include "base/report.h"
#include "memory/member.h"
#include "os/file.h"
#include "os/fork.h"
#include "os/message.h"
#include "os/process.h"
#include "process/fork_hooks.h"
#include "process/server.h"

#include <errno.h>
#include <mproc/error.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
    bool there;
    int socket; /* inherited by all processes of the family that come after */
    /* Of the process that started it alone: */
    uint64_t owner; /* stamp */
    pid_t pid;
    int leash;
    char *program; /* its first argument */
} server = { .socket = -1, .leash = -1 };

int *forkserver_socket(void)
{
    return &server.socket;
}

/* Another one is begun, in a daemon say, whose parent had the first one and has ended. */
static void forget_dead_server(void)
{
    if (!server.there || !os_has_hung_up(server.socket))
        return;
    if (server.owner == member_process_stamp())
        os_reap(server.pid);
    os_close_and_forget((int *[]) { &server.leash, &server.socket }, 2);
    server.there = false;
}

void forkserver_join(int socket)
{
    server.socket = socket;
    server.there = true;
}

/* A forked child that kept the leash would keep the server alive after this process. */
static void forget_in_forked_child(void)
{
    os_close_and_forget((int *[]) { &server.leash }, 1);
}

__attribute__((constructor)) static void watch_forks(void)
{
    os_at_fork_child(forget_in_forked_child);
}

static _Noreturn void be_server(int socket, int leash)
{
    struct child_setup *setup = server_run(socket, leash);
    int err;
    enum start_step step;
    const struct mproc_task *task = child_find_task(setup->record, &err, &step);
    if (!task)
        child_fail(setup->report, err, step);
    _exit(child_finish(child_run(setup, task)));
}

/* The numbers are the same in the server, which hands the socket to ask at down to its children. */
int forkserver_begin(const char *program)
{
    int pair[2], leash[2], on = 1;
    forget_dead_server();
    if (server.there)
        return 0;
    int other = os_has_other_threads();
    if (other != 0)
        return other < 0 ? other : MPROC_E_THREADED_FORK;
    fflush(NULL);
    int err = os_socket_pair(SOCK_SEQPACKET, pair);
    if (err)
        return err;
    err = os_pipe(leash);
    if (err) {
        os_close_all(pair, 2);
        return err;
    }
    setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    server.socket = os_fd_out_of_the_way(pair[1]);
    free(server.program);
    server.program = strdup(program);
    pid_t pid = server.program ? fork_with_hooks(false) : -ENOMEM;
    if (pid == 0) {
        server.there = true;
        server.owner = 0;
        close(leash[1]);
        be_server(pair[0], leash[0]);
    }
    os_close_all((const int[]) { pair[0], leash[0] }, 2);
    if (pid < 0) {
        os_close_all((const int[]) { server.socket, leash[1] }, 2);
        server.socket = -1;
        return pid;
    }
    server.there = true;
    server.owner = member_process_stamp();
    server.pid = pid;
    server.leash = os_fd_out_of_the_way(leash[1]);
    return 0;
}

void forkserver_end(void)
{
    if (!server.there || server.owner != member_process_stamp())
        return;
    server.there = false;
    int result = kill(server.pid, SIGKILL); /* not reaped by anybody else, so the number is its own */
    os_close_and_forget((int *[]) { &server.leash, &server.socket }, 2);
    if (result == 0)
        os_reap(server.pid);
    else
        os_reap_ending(
            server.pid); /* this process has changed its user: the leash has to do, if nobody else holds it */
}

int forkserver_check(struct start *start)
{
    const struct mproc_process_start_arguments *arguments = start->arguments;
    if (spawn_is_pending())
        return report_text(
            arguments->error, MPROC_E_INIT_MISSING,
            "mproc_process_start: '%s': this process was itself started with MPROC_SPAWN, and main has not "
            "called mproc_init first thing, where it would have gone to its function",
            start->task->name);
    if (arguments->method == MPROC_FORK)
        return 0;
    if (!server.there)
        return start_report(start, MPROC_E_INIT_MISSING);
    if (arguments->method == MPROC_SPAWN && getauxval(AT_SECURE))
        return report_text(
            arguments->error, -EPERM,
            "mproc_process_start: '%s': a program with privileges of its file (setuid) cannot be spawned, "
            "as it does not trust its environment: use another .method",
            start->task->name);
    return 0;
}

/* ---- asking */

/* Adds a descriptor to those that are sent; returns its index, -1 for none. */
static int enclose(int *fds, unsigned *count, int fd)
{
    if (fd < 0)
        return -1;
    fds[*count] = fd;
    return (int)(*count)++;
}

static int send_request(struct server_request *request, int letter)
{
    struct child_setup *setup = &request->setup;
    int fds[OS_PLACEMENTS_MOST + 4];
    unsigned count = 0;
    setup->report = enclose(fds, &count, setup->report);
    setup->leash = enclose(fds, &count, setup->leash);
    setup->directory = enclose(fds, &count, setup->directory);
    request->letter = enclose(fds, &count, letter);
    for (unsigned i = 0; i < setup->placements.count; i++)
        setup->placements.source[i] = enclose(fds, &count, setup->placements.source[i]);
    request->descriptors = count;
    int err = os_message_send(server.socket, &(struct os_message) { request, sizeof *request, fds, count, 0 });
    return err == -EPIPE || err == -ECONNRESET ? MPROC_E_FORKSERVER_DIED : err;
}

int forkserver_ask(struct start *start)
{
    const struct mproc_process_start_arguments *arguments = start->arguments;
    struct server_request request = { .method = arguments->method, .setup = start->setup };
    int letter = -1;
    if (arguments->method == MPROC_SPAWN) {
        static const char *const nothing[] = { NULL };
        const char *const *own = environ ? (const char *const *)environ : nothing;
        letter = spawn_write_letter(server.program ? server.program : program_invocation_name,
                                    start->setup.record->name, arguments->environment ? arguments->environment : own);
        if (letter < 0)
            return start_report(start, letter);
    }
    int err = send_request(&request, letter);
    if (letter >= 0)
        close(letter);
    return err ? start_report(start, err) : 0;
}
