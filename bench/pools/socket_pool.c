/* A pool as one writes it by hand: forked workers, each at the other end of a socket. SPDX-License-Identifier: MIT */
#include "socket_pool.h"

#include "../tasks.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int sockets[SOCKET_POOL_WORKERS];
static pid_t pids[SOCKET_POOL_WORKERS];

static void answer(int socket)
{
    int in, out;
    while (recv(socket, &in, sizeof in, 0) == sizeof in)
        if (task_add_one(&in, &out) != 0 || send(socket, &out, sizeof out, MSG_NOSIGNAL) != sizeof out)
            break;
    _exit(0);
}

int socket_pool_open(void)
{
    for (int i = 0; i < SOCKET_POOL_WORKERS; i++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
            return -1;
        pids[i] = fork();
        if (pids[i] == 0) {
            for (int other = 0; other < i; other++)
                close(sockets[other]);
            close(pair[0]);
            answer(pair[1]);
        }
        close(pair[1]);
        sockets[i] = pair[0];
        if (pids[i] < 0)
            return -1;
    }
    return 0;
}

int socket_pool_map(const int *in, int *out, int n)
{
    for (int i = 0; i < n; i++)
        if (send(sockets[i % SOCKET_POOL_WORKERS], &in[i], sizeof in[i], 0) != sizeof in[i])
            return -1;
    for (int i = 0; i < n; i++)
        if (recv(sockets[i % SOCKET_POOL_WORKERS], &out[i], sizeof out[i], 0) != sizeof out[i])
            return -1;
    return 0;
}

void socket_pool_close(void)
{
    for (int i = 0; i < SOCKET_POOL_WORKERS; i++) {
        shutdown(sockets[i], SHUT_RDWR); /* processes that were forked since have the descriptor, too */
        close(sockets[i]);
    }
    for (int i = 0; i < SOCKET_POOL_WORKERS; i++)
        if (pids[i] > 0)
            waitpid(pids[i], NULL, 0);
}
