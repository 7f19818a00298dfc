/* A Redis server of one's own, and programs beside it. SPDX-License-Identifier: MIT */
#include "redis_server.h"

#include "../bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOT_FOUND = 127, TRIES = 5, PATIENCE = 10 };

pid_t helper_start(const char *program, char *const arguments[])
{
    pid_t parent = getpid(), pid = fork();
    if (pid != 0)
        return pid;
    int nothing = open("/dev/null", O_RDWR);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent || nothing < 0)
        _exit(1);
    dup2(nothing, STDIN_FILENO);
    dup2(nothing, STDOUT_FILENO);
    close(nothing);
    execvp(program, arguments);
    _exit(errno == ENOENT ? NOT_FOUND : 1);
}

void helper_end(pid_t pid)
{
    if (pid <= 0)
        return;
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

/* Nobody else has it now; somebody else may have it soon. Returns 0 if there is none. */
static int free_port(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int file = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port = 0;
    if (file < 0)
        return 0;
    if (bind(file, (struct sockaddr *)&address, size) == 0 &&
        getsockname(file, (struct sockaddr *)&address, &size) == 0)
        port = ntohs(address.sin_port);
    close(file);
    return port;
}

static bool answers(int port)
{
    redisContext *connection = redisConnectWithTimeout("127.0.0.1", port, (struct timeval) { .tv_sec = 1 });
    redisReply *reply = connection && !connection->err ? redisCommand(connection, "PING") : NULL;
    bool is_there = reply && reply->type == REDIS_REPLY_STATUS;
    if (reply)
        freeReplyObject(reply);
    if (connection)
        redisFree(connection);
    return is_there;
}

/* Returns as redis_server_start. */
static pid_t wait_for(pid_t pid, int port)
{
    for (double end = bench_now() + PATIENCE; bench_now() < end; bench_pause(5000000)) {
        int status;
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFEXITED(status) && WEXITSTATUS(status) == NOT_FOUND ? 0 : -1;
        if (answers(port))
            return pid;
    }
    helper_end(pid);
    return -1;
}

pid_t redis_server_start(int *port)
{
    static char program[] = "redis-server", port_option[] = "--port", bind_option[] = "--bind", host[] = "127.0.0.1",
                save_option[] = "--save", nothing[] = "", log_option[] = "--appendonly", no[] = "no";
    pid_t pid = -1;
    for (int i = 0; i < TRIES && pid < 0; i++) {
        char number[16];
        *port = free_port();
        snprintf(number, sizeof number, "%d", *port);
        char *const arguments[] = { program,     port_option, number,     bind_option, host,
                                    save_option, nothing,     log_option, no,          NULL };
        pid = helper_start(program, arguments);
        if (pid > 0)
            pid = wait_for(pid, *port);
    }
    return pid;
}
