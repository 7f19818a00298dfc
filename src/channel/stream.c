/* Bytes over a socket or a pipe. SPDX-License-Identifier: MIT */
#include "channel/stream.h"

#include "os/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mproc/error.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int stream_begin(struct stream *stream, int fd, bool *reads, bool *writes)
{
    struct stat status;
    int type, domain = AF_UNSPEC, flags = fcntl(fd, F_GETFL);
    socklen_t size = sizeof type, domain_size = sizeof domain;
    if (flags < 0 || fstat(fd, &status) != 0)
        return -EBADF;
    stream->fd = fd;
    stream->is_socket = S_ISSOCK(status.st_mode);
    if (!stream->is_socket && !S_ISFIFO(status.st_mode))
        return -EINVAL;
    if (stream->is_socket && (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM))
        return -EINVAL;
    if (stream->is_socket)
        getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_size);
    stream->carries_fds = domain == AF_UNIX;
    *reads = (flags & O_ACCMODE) != O_WRONLY;
    *writes = (flags & O_ACCMODE) != O_RDONLY;
    return 0;
}

void stream_close_fds(struct stream_fds *fds)
{
    for (int i = 0; i < fds->count; i++)
        close(fds->fds[i]);
    fds->count = 0;
    fds->lost = false;
}

static void collect(struct msghdr *message, struct stream_fds *fds)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        int count = (int)((part->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (int i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + (size_t)i * sizeof fd, sizeof fd);
            if (fds->count < STREAM_FDS_MOST)
                fds->fds[fds->count++] = fd;
            else {
                close(fd);
                fds->lost = true;
            }
        }
    }
    if (message->msg_flags & MSG_CTRUNC)
        fds->lost = true;
}

static ssize_t read_socket(int fd, void *buffer, size_t size, struct stream_fds *fds)
{
    union {
        char bytes[CMSG_SPACE(STREAM_FDS_MOST * sizeof(int))];
        struct cmsghdr aligned;
    } control;
    struct iovec part = { buffer, size };
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes
    };
    ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0)
        return -errno;
    collect(&message, fds);
    return got;
}

static bool is_ready(int fd, short events)
{
    struct pollfd what = { .fd = fd, .events = events };
    return poll(&what, 1, 0) > 0;
}

static ssize_t read_pipe(int fd, void *buffer, size_t size)
{
    if (!is_ready(fd, POLLIN))
        return -EAGAIN;
    ssize_t got = read(fd, buffer, size);
    return got < 0 ? -errno : got;
}

ssize_t stream_read(const struct stream *stream, void *buffer, size_t size, struct stream_fds *fds)
{
    ssize_t got;
    do
        got = stream->is_socket ? read_socket(stream->fd, buffer, size, fds) : read_pipe(stream->fd, buffer, size);
    while (got == -EINTR);
    return got == -ECONNRESET ? 0 : got;
}

static ssize_t write_socket(int fd, const struct iovec *parts, int count, const int *fds, int fd_count)
{
    union {
        char bytes[CMSG_SPACE(STREAM_FDS_MOST * sizeof(int))];
        struct cmsghdr aligned;
    } control;
    struct msghdr message = { .msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count };
    if (fd_count > 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE((size_t)fd_count * sizeof(int));
        struct cmsghdr *part = CMSG_FIRSTHDR(&message);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN((size_t)fd_count * sizeof(int));
        memcpy(CMSG_DATA(part), fds, (size_t)fd_count * sizeof(int));
    }
    ssize_t sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

/* Where nobody reads, writing to a pipe raises SIGPIPE in this thread: it is held back and taken away, unless one was
 * pending before. */
static ssize_t write_without_signal(int fd, const struct iovec *parts, int count)
{
    sigset_t pipe_signal, before, pending;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    ssize_t sent = writev(fd, parts, count);
    int err = errno;
    if (sent < 0 && err == EPIPE && !sigismember(&pending, SIGPIPE)) {
        static const struct timespec at_once = { 0, 0 };
        while (sigtimedwait(&pipe_signal, NULL, &at_once) < 0 && errno == EINTR) {
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return sent < 0 ? -err : sent;
}

/* A pipe that has room has it for PIPE_BUF bytes; more might block. */
static ssize_t write_pipe(int fd, const struct iovec *parts, int count)
{
    struct iovec some[2];
    size_t room = PIPE_BUF;
    int used = 0;
    if (!is_ready(fd, POLLOUT))
        return -EAGAIN;
    for (int i = 0; i < count && i < 2 && room > 0; i++) {
        some[used] = parts[i];
        if (some[used].iov_len > room)
            some[used].iov_len = room;
        room -= some[used++].iov_len;
    }
    return write_without_signal(fd, some, used);
}

ssize_t stream_write(const struct stream *stream, const struct iovec *parts, int count, const int *fds, int fd_count)
{
    ssize_t sent;
    do
        sent = stream->is_socket ? write_socket(stream->fd, parts, count, fds, fd_count)
                                 : write_pipe(stream->fd, parts, count);
    while (sent == -EINTR);
    return sent == -ECONNRESET ? -EPIPE : sent;
}

int stream_wait(const struct stream *stream, short events, int64_t deadline, _Atomic bool *closing)
{
    for (;;) {
        struct pollfd what = { .fd = stream->fd, .events = events };
        int64_t left = os_left(deadline);
        bool last = left >= 0 && left <= CLOSING_SLICE;
        int64_t slice = last ? left : CLOSING_SLICE;
        struct timespec timeout = { .tv_nsec = (long)slice };
        if (atomic_load(closing))
            return MPROC_E_CLOSED;
        int ready = ppoll(&what, 1, &timeout, NULL);
        if (ready != 0)
            return ready > 0 ? 0 : -errno;
        if (last)
            return -ETIMEDOUT;
    }
}
