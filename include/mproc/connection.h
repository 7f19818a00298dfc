/* Connections: messages between two processes, over a descriptor. SPDX-License-Identifier: MIT
 *
 *     mproc_connection *here = NULL, *there = NULL;
 *     mproc_pipe(&here, &there);
 *     int fd = mproc_connection_fd(there);
 *     mproc_process_start(&process, work, &fd, .keep_fds = &fd, .keep_fds_count = 1);   // work(const int *fd)
 *     mproc_connection_close(there);
 *     mproc_connection_send(here, "hello", 6, MPROC_FOREVER);
 *
 * and in the new process, whichever way it was started:
 *
 *     mproc_connection *connection = NULL;
 *     mproc_connection_open(&connection, *fd);
 *     mproc_connection_receive(connection, text, sizeof text, &size, MPROC_FOREVER);
 *
 * A connection sends and receives messages of any size over a stream: a socket, or a pipe. What goes over the stream is
 * what Python's multiprocessing.connection sends, so the other side may be a Python program: in front of each message
 * its length, as 4 bytes, the highest first; from 2 GiB on, 4 bytes of -1 and then the length as 8 bytes.
 *
 * A handle belongs to a process. A child that the program forks by itself has copies of its parent's handles and
 * descriptors, and closes its own. One that is started by mproc_process_start has none, whatever the start method: it
 * opens the descriptors that are kept for it. Both ends of a connection are to be used by one thread of one process at
 * a time, each direction for itself: two that send over one end at the same time would mix their messages. (Threads of
 * one process are kept apart by a lock. For several processes, use a queue.)
 *
 * TIME. `timeout` is in nanoseconds from now on, 0 polls, MPROC_FOREVER waits without limit. A call that returns
 * -ETIMEDOUT or -EINTR has received nothing, or sent nothing; what has come of a message is kept for the next call.
 * Once a part of a message is on its way, sending goes on to its end, past the timeout, if only the other side reads:
 * half a message would spoil the stream. If the other side does not read for `timeout`, or for ten seconds if that is
 * longer, the call fails with MPROC_E_STREAM_BROKEN, and so do all after it.
 *
 * COMMON TO ALL CALLS. They may be called from any thread and in a forked child; not in a signal handler. No call
 * raises SIGPIPE. All return
 * - `-EINVAL`: an argument is NULL that may not be, or out of range
 * - `MPROC_E_CLOSED`: the handle is closed, or never was one
 * and those that have a timeout
 * - `-ETIMEDOUT`: the time is up
 * - `-EINTR`: a signal handler ran while the caller waited
 * On failure output parameters are untouched, unless it says otherwise.
 */
#ifndef MPROC_CONNECTION_H
#define MPROC_CONNECTION_H

#include <mproc/export.h>
#include <mproc/time.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** One end of a connection; a handle of this process. */
typedef struct mproc_connection mproc_connection;

enum {
    MPROC_CONNECTIONS_MAX = 4096,  /**< handles that a process can have open at a time */
    MPROC_CONNECTION_FDS_MAX = 64, /**< descriptors that can be sent with one message */
};

MPROC_BEGIN_DECLARATIONS

/** Makes a connection with both its ends in this process; both send and receive.
 *
 * - `first`, `second`: where the handles go. The caller ends each with mproc_connection_close.
 *
 * The descriptors are close-on-exec. Does not block. Returns 0, or
 * - `-EMFILE`, `-ENFILE`: no descriptor left, or MPROC_CONNECTIONS_MAX handles are open
 * - `-ENOMEM`
 *
 * Since 0.1. */
MPROC_API int mproc_pipe(mproc_connection **first, mproc_connection **second);

/** The same in one direction: the reader only receives, the writer only sends. Since 0.1. */
MPROC_API int mproc_pipe_one_way(mproc_connection **reader, mproc_connection **writer);

/** Makes a connection of a descriptor that is open: one that was inherited, or received, or a socket that was
 * connected.
 *
 * - `fd`: a stream socket, a pipe or a FIFO. It is the connection's when the call returns 0, and closed with it; it
 * stays as it is: blocking or not, close-on-exec or not.
 *
 * Returns 0, or
 * - `-EBADF`: it is not open
 * - `-EINVAL`: it is something else; a socket that keeps messages apart by itself, say
 * - `-EMFILE`: MPROC_CONNECTIONS_MAX handles are open; `-ENOMEM`
 *
 * Since 0.1. */
MPROC_API int mproc_connection_open(mproc_connection **connection, int fd);

/** Closes a connection and frees the handle. NULL does nothing. The other side receives what was sent before, and then
 * the end. Does not block. Returns 0, or MPROC_E_CLOSED: it was closed before. Since 0.1. */
MPROC_API int mproc_connection_close(mproc_connection *connection);

/** Sets the size that a message may have to be received. A longer one is refused with -EOVERFLOW, and the connection
 * with it.
 *
 * - `bytes`: default SIZE_MAX, which is no limit.
 *
 * Memory is allocated as bytes arrive, not as a length is named, so a limit is needed only to bound what a peer that is
 * not trusted may send. Returns 0 or an error. Since 0.1. */
MPROC_API int mproc_connection_set_limit(mproc_connection *connection, size_t bytes);

/** Sends a message of `size` bytes, which may be 0.
 *
 * Waits as long as the stream is full. Returns 0, or
 * - `-EPIPE`: the other side has closed its end, or is gone
 * - `MPROC_E_STREAM_BROKEN`: a message before was sent in part only
 * - `-EBADF`: this end only receives
 *
 * Since 0.1. */
MPROC_API int mproc_connection_send(mproc_connection *connection, const void *data, size_t size, int64_t timeout);

/** The same, with descriptors: the receiver gets descriptors of its own of the same open files.
 *
 * - `fds`: `count` descriptors, at most MPROC_CONNECTION_FDS_MAX. They stay the caller's.
 *
 * Returns as mproc_connection_send, or
 * - `-ENOTSOCK`: the connection is over a pipe or to another machine, which cannot carry descriptors
 * - `-EBADF`: also if one of them is not open. Nothing was sent
 *
 * Since 0.1. */
MPROC_API int mproc_connection_send_fds(mproc_connection *connection, const void *data, size_t size, const int *fds,
                                        int count, int64_t timeout);

/** Receives a message into a buffer.
 *
 * - `buffer`: memory of `capacity` bytes; may be NULL if capacity is 0.
 * - `size`: gets the message's size in bytes; may be NULL.
 *
 * Waits until all of it has come. Returns 0, or
 * - `MPROC_E_END_OF_STREAM`: the other side has closed its end, or is gone, after its last whole message
 * - `-EMSGSIZE`: the message has more than `capacity` bytes. *size gets how many, and the message can still be received
 * - `-EOVERFLOW`: the message is longer than the limit (mproc_connection_set_limit), or its length makes no sense.
 * Nothing can be received after it
 * - `MPROC_E_STREAM_BROKEN`: the other side ended in the midst of a message; or the time was up in its midst, and there
 * was no memory to keep what had come
 * - `-ENOMEM`: no memory for a message that comes in pieces; it can still be received
 * - `-EBADF`: this end only sends
 *
 * Since 0.1. */
MPROC_API int mproc_connection_receive(mproc_connection *connection, void *buffer, size_t capacity, size_t *size,
                                       int64_t timeout);

/** Receives a message into memory of the connection's, without a further copy.
 *
 * - `data`: gets its address, never NULL; good until the next call that receives, or closes, this connection.
 * - `size`: gets the message's size in bytes.
 *
 * Returns as mproc_connection_receive, without -EMSGSIZE. Since 0.1. */
MPROC_API int mproc_connection_receive_borrowed(mproc_connection *connection, const void **data, size_t *size,
                                                int64_t timeout);

/** Receives a message into memory from malloc, which the caller frees.
 *
 * Arguments and returns as mproc_connection_receive_borrowed. Since 0.1. */
MPROC_API int mproc_connection_receive_new(mproc_connection *connection, void **data, size_t *size, int64_t timeout);

/** Takes the descriptors that came with the message that was received last.
 *
 * - `fds`: filled with at most `most` descriptors, close-on-exec, which are the caller's. Those that are not taken
 * before the next message is received are closed.
 *
 * Returns how many were filled in, or -EMFILE: some could not be received, as this process may not have more; or
 * another error. Since 0.1. */
MPROC_API int mproc_connection_take_fds(mproc_connection *connection, int *fds, int most);

/** Waits until something can be received: a message has begun to come, or the stream has ended.
 *
 * Returns 0, or -ETIMEDOUT, -EINTR. Since 0.1. */
MPROC_API int mproc_connection_poll(mproc_connection *connection, int64_t timeout);

/** The descriptor, for poll, epoll and event loops, and to be passed to another process. It stays the connection's. A
 * message that has come in part is kept in the connection; so where it polls readable, receive with a timeout of 0
 * until the answer is -ETIMEDOUT. Returns it, or an error. Since 0.1. */
MPROC_API int mproc_connection_fd(mproc_connection *connection);

MPROC_END_DECLARATIONS

#endif
