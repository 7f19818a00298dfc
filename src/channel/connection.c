/* Connections: opening, closing, handles. SPDX-License-Identifier: MIT */
#include "channel/connection.h"

#include "os/clock.h"
#include "os/file.h"
#include "os/fork.h"
#include "sync/handles.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct handle_place places[MPROC_CONNECTIONS_MAX];
static struct handles handles = { .places = places, .count = MPROC_CONNECTIONS_MAX, .inherited = true };

/* In a forked child: a message that another thread was in the midst of is cut off here. */
static void begin_in_child(void *object)
{
    struct connection *connection = object;
    if (lock_word_holder(&connection->receiving) != 0)
        connection->in.over = MPROC_E_STREAM_BROKEN;
    if (lock_word_holder(&connection->sending) != 0)
        connection->send_over = MPROC_E_STREAM_BROKEN;
    atomic_store(&connection->receiving, 0);
    atomic_store(&connection->sending, 0);
}

static void begin_all_in_child(void)
{
    handles_adopt(&handles, begin_in_child);
}

static __attribute__((constructor)) void begin(void)
{
    os_at_fork_child(begin_all_in_child);
}

static int make(mproc_connection **handle, int fd)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (!connection)
        return -ENOMEM;
    int err = stream_begin(&connection->stream, fd, &connection->reads, &connection->writes);
    atomic_store(&connection->limit, SIZE_MAX);
    void *made = err == 0 ? handles_create(&handles, connection) : NULL;
    if (!made) {
        free(connection);
        return err ? err : -EMFILE;
    }
    *handle = made;
    return 0;
}

int mproc_connection_open(mproc_connection **connection, int fd)
{
    return connection ? make(connection, fd) : -EINVAL;
}

int mproc_pipe(mproc_connection **first, mproc_connection **second)
{
    int fds[2];
    mproc_connection *one = NULL, *other = NULL;
    if (!first || !second)
        return -EINVAL;
    int err = os_socket_pair(SOCK_STREAM, fds);
    if (err < 0)
        return err;
    err = make(&one, fds[0]);
    if (err < 0) {
        os_close_all(fds, 2);
        return err;
    }
    err = make(&other, fds[1]);
    if (err < 0) {
        mproc_connection_close(one);
        close(fds[1]);
        return err;
    }
    *first = one;
    *second = other;
    return 0;
}

/* What is not to be done fails by the kernel's word, too, in other processes that get the descriptor. */
static void restrict_to(mproc_connection *handle, bool reads)
{
    struct connection *connection;
    if (connection_acquire(handle, &connection) != 0)
        return;
    connection->reads = reads;
    connection->writes = !reads;
    shutdown(connection->stream.fd, reads ? SHUT_WR : SHUT_RD);
    connection_release(handle);
}

int mproc_pipe_one_way(mproc_connection **reader, mproc_connection **writer)
{
    int err = mproc_pipe(reader, writer);
    if (err < 0)
        return err;
    restrict_to(*reader, true);
    restrict_to(*writer, false);
    return 0;
}

int connection_acquire(mproc_connection *handle, struct connection **connection)
{
    void *object = NULL;
    int err = handle ? handles_acquire(&handles, handle, &object) : -EINVAL;
    *connection = object;
    return err;
}

void connection_release(mproc_connection *handle)
{
    handles_release(&handles, handle);
}

static void say_closing(void *connection)
{
    atomic_store(&((struct connection *)connection)->closing, true);
}

static void destroy(struct connection *connection)
{
    free(connection->in.body);
    free(connection);
}

int mproc_connection_close(mproc_connection *handle)
{
    void *object;
    int err = handle ? handles_close(&handles, handle, &object, say_closing) : 0;
    if (!handle || err < 0)
        return err;
    struct connection *connection = object;
    close(connection->stream.fd);
    stream_close_fds(&connection->in.fds);
    stream_close_fds(&connection->in.came);
    destroy(connection);
    return 0;
}

void connections_drop(void)
{
    unsigned index = 0;
    void *object;
    for (void *handle; (handle = handles_next(&handles, &index, &object));) {
        handles_release(&handles, handle);
        if (handles_close(&handles, handle, &object, NULL) == 0)
            destroy(object);
    }
}

/* In slices, as the connection may be closed while another thread waits in it. */
static int take_direction(struct connection *connection, bool to_receive, member_id self, int64_t deadline)
{
    lock_word *lock = to_receive ? &connection->receiving : &connection->sending;
    int result = lock_word_try(lock, self) ? 0 : -ETIMEDOUT;
    for (int64_t slice = 0; result == -ETIMEDOUT && (slice == 0 || deadline > slice);) {
        slice = os_deadline(CLOSING_SLICE);
        result = lock_word_acquire_slowly(lock, self, deadline < slice ? deadline : slice);
        if (result < 0 && atomic_load(&connection->closing))
            return MPROC_E_CLOSED;
    }
    if (result == MPROC_E_OWNER_DIED) { /* a thread that was ended in the midst of a message */
        lock_word_mark_consistent(lock, self);
        *(to_receive ? &connection->in.over : &connection->send_over) = MPROC_E_STREAM_BROKEN;
        result = 0;
    }
    return result;
}

int connection_enter(mproc_connection *handle, bool to_receive, int64_t deadline, struct connection **connection)
{
    struct member *self = member_self();
    struct connection *it;
    int err = connection_acquire(handle, &it);
    if (err < 0)
        return err;
    if (!(to_receive ? it->reads : it->writes))
        err = -EBADF;
    else
        err = self ? take_direction(it, to_receive, self->id, deadline) : -ENOMEM;
    if (err < 0) {
        connection_release(handle);
        return err;
    }
    *connection = it;
    return 0;
}

void connection_leave(mproc_connection *handle, struct connection *connection, bool to_receive)
{
    lock_word_release(to_receive ? &connection->receiving : &connection->sending, member_current_id());
    connection_release(handle);
}

int mproc_connection_set_limit(mproc_connection *handle, size_t bytes)
{
    struct connection *connection;
    int err = connection_acquire(handle, &connection);
    if (err < 0)
        return err;
    atomic_store(&connection->limit, bytes);
    connection_release(handle);
    return 0;
}

int mproc_connection_fd(mproc_connection *handle)
{
    struct connection *connection;
    int err = connection_acquire(handle, &connection);
    if (err < 0)
        return err;
    int fd = connection->stream.fd;
    connection_release(handle);
    return fd;
}
