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

/* What is left of a message, and how long to wait for the other side. */
struct sending {
    struct iovec parts[2];
    const int *fds;
    int count;
    bool begun;       /* a part is on its way: there is no way back */
    int64_t deadline; /* before that */
    int64_t patience; /* afterwards, each time */
    int64_t until;    /* of the patience */
};

/* Waits for room. A socket says that it has some only when it has much, so in mid-message it is tried now and then. */
static int wait_for_room(struct connection *connection, const struct sending *sending)
{
    if (!sending->begun)
        return stream_wait(&connection->stream, POLLOUT, sending->deadline, &connection->closing);
    if (os_left(sending->until) == 0)
        return MPROC_E_STREAM_BROKEN;
    int64_t slice = os_deadline(CLOSING_SLICE);
    int err = stream_wait(&connection->stream, POLLOUT, slice < sending->until ? slice : sending->until,
                          &connection->closing);
    return err == -ETIMEDOUT || err == -EINTR ? 0 : err;
}

static int send_parts(struct connection *connection, struct sending *sending)
{
    struct iovec *parts = sending->parts;
    while (parts[0].iov_len + parts[1].iov_len > 0) {
        int first = parts[0].iov_len > 0 ? 0 : 1;
        ssize_t sent = stream_write(&connection->stream, parts + first, 2 - first, sending->fds,
                                    sending->begun ? 0 : sending->count);
        if (sent > 0) {
            sending->begun = true;
            sending->until = os_deadline(sending->patience);
            skip(parts, (size_t)sent);
            continue;
        }
        int err = sent == -EAGAIN ? wait_for_room(connection, sending) : (int)sent;
        if (err == 0)
            continue;
        if (sending->begun || err == -EPIPE)
            connection->send_over = err == -EPIPE ? err : MPROC_E_STREAM_BROKEN;
        return sending->begun && err != -EPIPE && err != MPROC_E_CLOSED ? MPROC_E_STREAM_BROKEN : err;
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
    struct sending sending = {
        .parts = { { header, make_header(header, size) }, { (void *)(uintptr_t)data, size } },
        .fds = fds,
        .count = count,
        .deadline = deadline,
        .patience = timeout < 0 || timeout > PATIENCE ? timeout : PATIENCE,
    };
    if (connection->send_over)
        err = connection->send_over;
    else if (count > 0 && !connection->stream.carries_fds)
        err = -ENOTSOCK;
    else
        err = send_parts(connection, &sending);
    connection_leave(handle, connection, false);
    return err;
}

int mproc_connection_send(mproc_connection *handle, const void *data, size_t size, int64_t timeout)
{
    return mproc_connection_send_fds(handle, data, size, NULL, 0, timeout);
}
