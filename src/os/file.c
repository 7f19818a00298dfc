/* File descriptors and small files. SPDX-License-Identifier: MIT */
#include "os/file.h"

#include "os/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
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

void os_close_all(const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

void os_close_and_forget(int *const *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        int fd = *fds[i];
        *fds[i] = -1;
        if (fd >= 0)
            close(fd);
    }
}

static int above_standard(int pair[2], int fds[2])
{
    int both[2] = { os_fd_above_standard(pair[0]), os_fd_above_standard(pair[1]) };
    if (both[0] >= 0 && both[1] >= 0) {
        fds[0] = both[0];
        fds[1] = both[1];
        return 0;
    }
    os_close_all(both, 2);
    return both[0] < 0 ? both[0] : both[1];
}

int os_socket_pair(int kind, int fds[2])
{
    int pair[2];
    return socketpair(AF_UNIX, kind | SOCK_CLOEXEC, 0, pair) == 0 ? above_standard(pair, fds) : -errno;
}

int os_pipe(int fds[2])
{
    int pair[2];
    return pipe2(pair, O_CLOEXEC) == 0 ? above_standard(pair, fds) : -errno;
}

int os_fd_out_of_the_way(int fd)
{
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 500);
    if (high < 0)
        return fd;
    close(fd);
    return high;
}

int os_poll_readable(int fd, int64_t timeout)
{
    /* ppoll, whose limit is as fine as ours; it has no say in signals here. */
    struct pollfd entry = { .fd = fd, .events = POLLIN };
    struct timespec limit = { .tv_sec = (time_t)(timeout / 1000000000), .tv_nsec = (long)(timeout % 1000000000) };
    static const struct timespec none;
    int ready = ppoll(&entry, 1, timeout < 0 ? NULL : timeout == 0 ? &none : &limit, NULL);
    return ready > 0 ? 0 : ready == 0 ? -ETIMEDOUT : -errno;
}

bool os_has_hung_up(int fd)
{
    struct pollfd entry = { .fd = fd };
    return poll(&entry, 1, 0) > 0 && (entry.revents & (POLLHUP | POLLERR)) != 0;
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
