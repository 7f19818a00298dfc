/* Receiving messages over a connection. SPDX-License-Identifier: MIT */
#include "channel/connection.h"
#include "os/clock.h"

#include <errno.h>
#include <mproc/error.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BODY_LEAST = 65536 };

static uint64_t big_endian(const unsigned char *bytes, unsigned count)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < count; i++)
        number = number << 8 | bytes[i];
    return number;
}

static bool has_begun(const struct incoming *in)
{
    return in->header_got > 0;
}

/* Reads what there is, and waits if there is nothing. Returns the number of bytes, or why there are none. No byte of
 * the next message is read: the descriptor may go to somebody else with it. */
static ssize_t read_some(struct connection *connection, void *buffer, size_t size, int64_t deadline)
{
    struct incoming *in = &connection->in;
    for (;;) {
        ssize_t got = stream_read(&connection->stream, buffer, size, &in->fds);
        if (got > 0)
            return got;
        if (got == -EAGAIN) {
            int err = stream_wait(&connection->stream, POLLIN, deadline, &connection->closing);
            if (err < 0)
                return err;
            continue;
        }
        in->over = got < 0 ? (int)got : has_begun(in) ? MPROC_E_STREAM_BROKEN : MPROC_E_END_OF_STREAM;
        return in->over;
    }
}

/* The length, as Python's multiprocessing.connection has it. */
static int receive_header(struct connection *connection, int64_t deadline)
{
    struct incoming *in = &connection->in;
    while (!in->has_length) {
        uint32_t first = in->header_got >= 4 ? (uint32_t)big_endian(in->header, 4) : 0;
        unsigned whole = first == UINT32_MAX ? FRAME_HEADER_MOST : 4;
        if (in->header_got == whole) {
            in->length = whole == 4 ? first : big_endian(in->header + 4, 8);
            in->has_length = true;
            if ((whole == 4 && first > INT32_MAX) || in->length > PTRDIFF_MAX ||
                in->length > atomic_load(&connection->limit))
                return in->over = -EOVERFLOW;
            break;
        }
        ssize_t got = read_some(connection, in->header + in->header_got, whole - in->header_got, deadline);
        if (got < 0)
            return (int)got;
        in->header_got += (unsigned)got;
    }
    return 0;
}

static void next_message(struct incoming *in)
{
    stream_close_fds(&in->came);
    in->came = in->fds;
    in->fds.count = 0;
    in->fds.lost = false;
    in->header_got = 0;
    in->has_length = false;
    in->got = 0;
}

/* Memory for more of the message: twice of what has come, whatever length it says it has. */
static int grow_body(struct incoming *in)
{
    size_t capacity = in->got > BODY_LEAST / 2 ? in->got * 2 : BODY_LEAST;
    if (capacity > in->length)
        capacity = in->length ? (size_t)in->length : 1;
    if (in->body && in->capacity >= capacity)
        return 0;
    unsigned char *body = realloc(in->body, capacity);
    if (!body)
        return -ENOMEM;
    in->body = body;
    in->capacity = capacity;
    return 0;
}

/* Into memory of the connection. */
static int receive_body(struct connection *connection, int64_t deadline)
{
    struct incoming *in = &connection->in;
    do {
        if (!in->body || in->got == in->capacity || (in->got == 0 && in->capacity < BODY_LEAST)) {
            int err = grow_body(in);
            if (err < 0)
                return err;
        }
        size_t room = in->capacity < in->length ? in->capacity : (size_t)in->length;
        if (in->got == in->length)
            break;
        ssize_t got = read_some(connection, in->body + in->got, room - in->got, deadline);
        if (got < 0)
            return (int)got;
        in->got += (size_t)got;
    } while (in->got < in->length);
    return 0;
}

/* Keeps what has come of a message in a caller's buffer that the call does not fill. */
static int keep(struct incoming *in, const unsigned char *buffer, size_t got, int err)
{
    while (in->got < got) {
        size_t room = in->capacity > in->got ? in->capacity - in->got : 0;
        if ((!in->body || room == 0) && grow_body(in) < 0)
            return in->over = MPROC_E_STREAM_BROKEN;
        room = in->capacity - in->got;
        size_t some = got - in->got < room ? got - in->got : room;
        memcpy(in->body + in->got, buffer + in->got, some);
        in->got += some;
    }
    return err;
}

/* Into the caller's buffer, which has room for it. */
static int receive_directly(struct connection *connection, unsigned char *buffer, int64_t deadline)
{
    struct incoming *in = &connection->in;
    size_t length = (size_t)in->length, done = 0;
    if (in->got > 0) { /* the rest of one that has come in part before */
        int err = receive_body(connection, deadline);
        if (err == 0)
            memcpy(buffer, in->body, length);
        return err;
    }
    while (done < length) {
        ssize_t got = read_some(connection, buffer + done, length - done, deadline);
        if (got < 0)
            return in->over ? in->over : keep(in, buffer, done, (int)got);
        done += (size_t)got;
    }
    return 0;
}

/* Enters, and receives up to the length. */
static int begin_receiving(mproc_connection *handle, int64_t deadline, struct connection **connection)
{
    int err = connection_enter(handle, true, deadline, connection);
    if (err < 0)
        return err;
    err = (*connection)->in.over;
    if (!err)
        err = receive_header(*connection, deadline);
    if (err < 0)
        connection_leave(handle, *connection, true);
    return err;
}

int mproc_connection_receive(mproc_connection *handle, void *buffer, size_t capacity, size_t *size, int64_t timeout)
{
    struct connection *connection;
    int64_t deadline = os_deadline(timeout);
    if (!buffer && capacity > 0)
        return -EINVAL;
    int err = begin_receiving(handle, deadline, &connection);
    if (err < 0)
        return err;
    uint64_t length = connection->in.length;
    if (length > capacity)
        err = -EMSGSIZE;
    else
        err = receive_directly(connection, buffer, deadline);
    if (err == 0)
        next_message(&connection->in);
    connection_leave(handle, connection, true);
    if (size && (err == 0 || err == -EMSGSIZE))
        *size = (size_t)length;
    return err;
}

/* Enters, with a whole message in the connection's memory. */
static int begin_with_body(mproc_connection *handle, int64_t timeout, struct connection **connection)
{
    int64_t deadline = os_deadline(timeout);
    int err = begin_receiving(handle, deadline, connection);
    if (err < 0)
        return err;
    err = receive_body(*connection, deadline);
    if (err < 0)
        connection_leave(handle, *connection, true);
    return err;
}

int mproc_connection_receive_borrowed(mproc_connection *handle, const void **data, size_t *size, int64_t timeout)
{
    struct connection *connection;
    if (!data || !size)
        return -EINVAL;
    int err = begin_with_body(handle, timeout, &connection);
    if (err < 0)
        return err;
    *data = connection->in.body;
    *size = (size_t)connection->in.length;
    next_message(&connection->in);
    connection_leave(handle, connection, true);
    return 0;
}

int mproc_connection_receive_new(mproc_connection *handle, void **data, size_t *size, int64_t timeout)
{
    struct connection *connection;
    if (!data || !size)
        return -EINVAL;
    int err = begin_with_body(handle, timeout, &connection);
    if (err < 0)
        return err;
    struct incoming *in = &connection->in;
    *data = in->body;
    *size = (size_t)in->length;
    in->body = NULL;
    in->capacity = 0;
    next_message(in);
    connection_leave(handle, connection, true);
    return 0;
}

int mproc_connection_take_fds(mproc_connection *handle, int *fds, int most)
{
    struct connection *connection;
    if (most < 0 || (!fds && most > 0))
        return -EINVAL;
    int err = connection_enter(handle, true, INT64_MAX, &connection);
    if (err < 0)
        return err;
    struct stream_fds *came = &connection->in.came;
    int taken = came->count < most ? came->count : most;
    if (came->lost)
        taken = -EMFILE;
    for (int i = 0; i < taken; i++)
        fds[i] = came->fds[i];
    if (taken > 0) {
        memmove(came->fds, came->fds + taken, (size_t)(came->count - taken) * sizeof *came->fds);
        came->count -= taken;
    }
    connection_leave(handle, connection, true);
    return taken;
}

int mproc_connection_poll(mproc_connection *handle, int64_t timeout)
{
    struct connection *connection;
    int64_t deadline = os_deadline(timeout);
    int err = connection_enter(handle, true, deadline, &connection);
    if (err < 0)
        return err;
    if (!has_begun(&connection->in) && !connection->in.over)
        err = stream_wait(&connection->stream, POLLIN, deadline, &connection->closing);
    connection_leave(handle, connection, true);
    return err;
}

int connection_has_kept(mproc_connection *handle)
{
    struct connection *connection;
    int err = connection_enter(handle, true, 0, &connection);
    if (err < 0)
        return err == -ETIMEDOUT ? 0 : err; /* another thread is receiving */
    bool kept = connection->in.over != 0 || (connection->in.has_length && connection->in.got == connection->in.length);
    connection_leave(handle, connection, true);
    return kept;
}
