/* Sending messages over a connection. SPDX-License-Identifier: MIT */
#include "channel/connection.h"
#include "os/clock.h"

#include <errno.h>
#include <mproc/error.h>
#include <poll.h>
#include <stdint.h>

/* How long, at least, one waits with half a message sent for the other side to take more of it. */
#define PATIENCE INT64_C(10000000000)

static void put_big_endian(unsigned char *to, uint64_t number, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        to[i] = (unsigned char)(number >> 8 * (bytes - 1 - i));
}

/* As Python's multiprocessing.connection has it. */
static unsigned make_header(unsigned char header[FRAME_HEADER_MOST], size_t size)
{
    if (size <= INT32_MAX) {
        put_big_endian(header, size, 4);
        return 4;
    }
    put_big_endian(header, UINT32_MAX, 4);
    put_big_endian(header + 4, size, 8);
    return FRAME_HEADER_MOST;
}

static void skip(struct iovec parts[2], size_t sent)
{
    for (int i = 0; i < 2; i++) {
        size_t here = sent < parts[i].iov_len ? sent : parts[i].iov_len;
        if (here > 0)
            parts[i].iov_base = (char *)parts[i].iov_base + here;
        parts[i].iov_len -= here;
        sent -= here;
    }
}

/* Waits for room; before the first byte until the deadline, afterwards as long as it takes. */
static int wait_for_room(struct connection *connection, bool begun, int64_t deadline, int64_t timeout)
{
    if (!begun)
        return stream_wait(&connection->stream, POLLOUT, deadline, &connection->closing);
    int64_t until = timeout < 0 ? INT64_MAX : os_deadline(timeout > PATIENCE ? timeout : PATIENCE);
    int err;
    do
        err = stream_wait(&connection->stream, POLLOUT, until, &connection->closing);
    while (err == -EINTR);
    return err < 0 ? MPROC_E_STREAM_BROKEN : 0;
}

static int send_parts(struct connection *connection, struct iovec parts[2], const int *fds, int count, int64_t deadline,
                      int64_t timeout)
{
    bool begun = false;
    while (parts[0].iov_len + parts[1].iov_len > 0) {
        bool header = parts[0].iov_len > 0;
        ssize_t sent =
            stream_write(&connection->stream, header ? parts : parts + 1, header ? 2 : 1, fds, begun ? 0 : count);
        if (sent > 0) {
            begun = true;
            skip(parts, (size_t)sent);
            continue;
        }
        int err = sent == -EAGAIN ? wait_for_room(connection, begun, deadline, timeout) : (int)sent;
        if (err < 0) {
            if (begun || err == -EPIPE)
                connection->send_over = err == -EPIPE ? err : MPROC_E_STREAM_BROKEN;
            return begun && err != -EPIPE ? MPROC_E_STREAM_BROKEN : err;
        }
    }
    return 0;
}

int mproc_connection_send_fds(mproc_connection *handle, const void *data, size_t size, const int *fds, int count,
                              int64_t timeout)
{
    struct connection *connection;
    int64_t deadline = os_deadline(timeout);
    if ((!data && size > 0) || count < 0 || count > MPROC_CONNECTION_FDS_MAX || (!fds && count > 0))
        return -EINVAL;
    int err = connection_enter(handle, false, deadline, &connection);
    if (err < 0)
        return err;
    unsigned char header[FRAME_HEADER_MOST];
    struct iovec parts[2] = { { header, make_header(header, size) }, { (void *)(uintptr_t)data, size } };
    if (connection->send_over)
        err = connection->send_over;
    else if (count > 0 && !connection->stream.carries_fds)
        err = -ENOTSOCK;
    else
        err = send_parts(connection, parts, fds, count, deadline, timeout);
    connection_leave(handle, connection, false);
    return err;
}

int mproc_connection_send(mproc_connection *handle, const void *data, size_t size, int64_t timeout)
{
    return mproc_connection_send_fds(handle, data, size, NULL, 0, timeout);
}
