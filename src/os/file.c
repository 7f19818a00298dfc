/* File descriptors and small files. SPDX-License-Identifier: MIT */
#include "os/file.h"

#include "os/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

int os_read_file(const char *path, char *text, size_t size)
{
    int fd = os_fd_above_standard(open(path, O_RDONLY | O_CLOEXEC));
    if (fd < 0)
        return -errno;
    size_t length = 0;
    ssize_t count = 0;
    while (length < size - 1) {
        count = read(fd, text + length, size - 1 - length);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            break;
        length += (size_t)count;
    }
    int err = count < 0 ? errno : 0;
    close(fd);
    text[length] = '\0';
    return err ? -err : (int)length;
}

int os_fd_above_standard(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int err = errno;
    close(fd);
    errno = err;
    return higher >= 0 ? higher : -err;
}

size_t os_file_size_limit(size_t most)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > most)
        return most;
    return limit.rlim_cur;
}

int os_socket_pair(int fds[2])
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return -errno;
    pair[0] = os_fd_above_standard(pair[0]);
    pair[1] = os_fd_above_standard(pair[1]);
    if (pair[0] >= 0 && pair[1] >= 0) {
        fds[0] = pair[0];
        fds[1] = pair[1];
        return 0;
    }
    int err = pair[0] < 0 ? pair[0] : pair[1];
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0)
            close(pair[i]);
    return err;
}

int os_wait_hang_up(int fd, long long timeout)
{
    int64_t deadline = os_now() + timeout;
    for (;;) {
        int64_t left = deadline - os_now();
        struct pollfd entry = { .fd = fd, .events = POLLIN | POLLRDHUP };
        int ready = poll(&entry, 1, left > 0 ? (int)(left / 1000000) + 1 : 0);
        if (ready > 0 && (entry.revents & (POLLHUP | POLLNVAL | POLLERR)))
            return 0;
        char byte;
        if (ready > 0 && recv(fd, &byte, 1, MSG_DONTWAIT) == 0)
            return 0;
        if (left <= 0)
            return -ETIMEDOUT;
    }
}
