/* The inside of the server. SPDX-License-Identifier: MIT */
#include "process/server.h"

#include "memory/region.h"
#include "os/file.h"
#include "os/fork.h"
#include "os/leash.h"
#include "os/message.h"
#include "os/process.h"
#include "process/fork_hooks.h"
#include "process/forkserver.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WATCHED_FIRST = 2 };

/* A process that was started here, and the socket to the one that asked for it. Reaped when it has ended and the socket
 * is closed at the other end, so that until then nobody else gets its number. */
struct served {
    pid_t pid;
    int report;
    bool ended;
};

static struct {
    int socket, child_fd;
    struct served *list;
    struct pollfd *watched; /* the socket, the signals, and each one's report */
    unsigned count, room;
} server;

static bool make_room(void)
{
    if (server.count < server.room)
        return true;
    unsigned room = server.room ? server.room * 2 : 64;
    void *list = realloc(server.list, room * sizeof *server.list);
    if (list)
        server.list = list;
    void *watched = realloc(server.watched, (room + WATCHED_FIRST) * sizeof *server.watched);
    if (watched)
        server.watched = watched;
    if (!list || !watched)
        return false;
    server.room = room;
    return true;
}

static void tell(int report, const struct process_report *text)
{
    os_message_send(report, &(struct os_message) { .data = (void *)(uintptr_t)text, .size = sizeof *text });
}

/* ---- starting */

static int take(const int *fds, unsigned count, int index)
{
    return index >= 0 && (unsigned)index < count ? fds[index] : -1;
}

static void take_descriptors(struct server_request *request, const int *fds, unsigned count)
{
    struct child_setup *setup = &request->setup;
    setup->report = take(fds, count, setup->report);
    setup->leash = take(fds, count, setup->leash);
    setup->directory = take(fds, count, setup->directory);
    request->letter = take(fds, count, request->letter);
    for (unsigned i = 0; i < setup->placements.count; i++)
        setup->placements.source[i] = take(fds, count, setup->placements.source[i]);
}

/* Returns 0 in the new process, which is set up. */
static pid_t fork_one(struct child_setup *setup)
{
    pid_t pid = fork_with_hooks(true);
    if (pid != 0)
        return pid;
    enum start_step step;
    int err = child_set_up(setup, true, &step);
    if (err)
        child_fail(setup->report, err, step);
    return 0;
}

static pid_t start(struct server_request *request, uid_t user, enum start_step *step)
{
    *step = STEP_USER;
    if (user != getuid())
        return -EPERM;
    *step = STEP_FORK;
    if (!make_room())
        return -ENOMEM;
    return request->method == MPROC_SPAWN ? spawn_program(&request->setup, request->letter, step)
                                          : fork_one(&request->setup);
}

static bool is_complete(const struct server_request *request, const struct os_message *message)
{
    return message->size == sizeof *request && request->setup.placements.count <= OS_PLACEMENTS_MOST &&
           message->fds_count == request->descriptors && request->setup.report == 0;
}

/* Returns true in a new process. The report socket is the first that comes, and is kept with the process. */
static bool serve(struct server_request *request)
{
    int fds[OS_MESSAGE_FDS_MOST];
    struct os_message message = { request, sizeof *request, fds, OS_MESSAGE_FDS_MOST, 0 };
    int err = os_message_receive(server.socket, &message);
    enum start_step step = STEP_DESCRIPTORS;
    pid_t pid = -EMFILE;
    if (err == 0 && is_complete(request, &message)) {
        take_descriptors(request, fds, message.fds_count);
        pid = start(request, message.user, &step);
    }
    if (pid == 0)
        return true;
    if (pid > 0) {
        server.list[server.count++] = (struct served) { .pid = pid, .report = fds[0] };
        fds[0] = -1;
    } else if (message.fds_count > 0) {
        tell(fds[0], &(struct process_report) { .kind = REPORT_FAILED, .err = (int)pid, .step = step });
    }
    os_close_all(fds, message.fds_count);
    return false;
}

/* ---- ending */

/* Says how a process has ended, once; the number stays its own. */
static void look_at(struct served *served)
{
    siginfo_t info = { .si_pid = 0 };
    if (served->ended || waitid(P_PID, (id_t)served->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
        return;
    served->ended = true;
    int status = info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status;
    tell(served->report, &(struct process_report) { .kind = REPORT_ENDED, .status = status, .pid = served->pid });
}

static void reap_released(void)
{
    for (unsigned i = 0; i < server.count;) {
        struct served *served = &server.list[i];
        if (!served->ended || !os_has_hung_up(served->report)) {
            i++;
            continue;
        }
        os_reap(served->pid);
        close(served->report);
        *served = server.list[--server.count];
    }
}

static void look_at_all(void)
{
    struct signalfd_siginfo ignored[8];
    while (read(server.child_fd, ignored, sizeof ignored) > 0) {
    }
    for (unsigned i = 0; i < server.count; i++)
        look_at(&server.list[i]);
    reap_released();
}

/* A socket is watched for its end only when its process has ended: before, that says nothing. */
static void wait_for_events(void)
{
    server.watched[0] = (struct pollfd) { .fd = server.socket, .events = POLLIN };
    server.watched[1] = (struct pollfd) { .fd = server.child_fd, .events = POLLIN };
    for (unsigned i = 0; i < server.count; i++)
        server.watched[WATCHED_FIRST + i] =
            (struct pollfd) { .fd = server.list[i].ended ? server.list[i].report : -1, .events = 0 };
    int result = poll(server.watched, server.count + WATCHED_FIRST, -1);
    if (result < 0 && errno != EINTR) { /* more than the limit on open files: look at the processes now and then */
        server.watched[0].revents = 0;
        poll(server.watched, WATCHED_FIRST, 100);
    }
}

/* ---- beginning */

/* It uses no stream of the program's, so that who reads from one sees its end. */
static void leave_descriptors(int socket, int leash)
{
    int null = os_fd_above_standard(open("/dev/null", O_RDWR | O_CLOEXEC)), heap = region_descriptor();
    struct os_placements placements = { .count = 3, .source = { null, null, null }, .target = { 0, 1, 2 } };
    int *const others[] = { &socket, &leash, &heap, forkserver_socket() };
    os_place_descriptors(&placements, others, 4);
    os_close_others(&placements, others, 4);
}

/* It has a descriptor for each process that it has started. */
static void raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

struct child_setup *server_run(int socket, int leash)
{
    static struct server_request request;
    sigset_t child;
    os_signals_reset();
    os_set_name("mproc:server");
    setpgid(0, 0);
    leave_descriptors(socket, leash);
    raise_limit();
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    server.socket = socket;
    server.child_fd = os_fd_above_standard(signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC));
    if (server.child_fd < 0 || !make_room() || os_leash_take(leash) != 0)
        _exit(0);
    for (;;) {
        wait_for_events();
        look_at_all();
        if (!(server.watched[0].revents & POLLIN))
            continue;
        if (serve(&request))
            return &request.setup;
    }
}
