/* Bytes over a socket or a pipe. SPDX-License-Identifier: MIT */
#ifndef CHANNEL_STREAM_H
#define CHANNEL_STREAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum { STREAM_FDS_MOST = 64 };

/* How long one who waits may not see that the connection is being closed by another thread. */
#define CLOSING_SLICE INT64_C(100000000)

/* Descriptors that came with bytes. */
struct stream_fds {
    int fds[STREAM_FDS_MOST];
    int count;
    bool lost; /* some could not be received */
};

struct stream {
    int fd;
    bool is_socket, carries_fds;
};

/* Finds out what kind of descriptor it is, and in which directions it goes. Returns 0, -EBADF, or -EINVAL if it is no
 * stream. */
int stream_begin(struct stream *stream, int fd, bool *reads, bool *writes);

/* Reads what is there, at most `size` bytes, and adds the descriptors that come along. Returns the number of bytes, 0
 * at the end, -EAGAIN if nothing is there, or -errno. */
ssize_t stream_read(const struct stream *stream, void *buffer, size_t size, struct stream_fds *fds);

/* Writes as much as there is room for, with descriptors, which go with the first byte. Returns the number of bytes,
 * above 0; -EAGAIN if there is no room; -EPIPE if nobody reads; or -errno. */
ssize_t stream_write(const struct stream *stream, const struct iovec *parts, int count, const int *fds, int fd_count);

/* Waits for POLLIN or POLLOUT. Returns 0, -ETIMEDOUT, -EINTR, or MPROC_E_CLOSED once *closing. */
int stream_wait(const struct stream *stream, short events, int64_t deadline, _Atomic bool *closing);

void stream_close_fds(struct stream_fds *fds);

#endif
