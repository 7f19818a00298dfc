/* What the suites of connections share: contents of messages, and bare ends of streams. SPDX-License-Identifier: MIT */
#ifndef CONNECTION_USE_H
#define CONNECTION_USE_H

#include "harness.h"

#include <errno.h>
#include <mproc.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* What is not there by then hangs. */
#define PATIENCE MPROC_MS(HARNESS_PATIENCE)

enum { PERIOD = 65521 };

static inline unsigned char content_at(size_t i, unsigned number)
{
    return (unsigned char)((i % PERIOD * 2654435761U >> 13) + number);
}

/* Every message has bytes of its own, in which no piece is like another. */
static inline void fill(void *data, size_t size, unsigned number)
{
    unsigned char *bytes = data;
    for (size_t i = 0; i < size && i < PERIOD; i++)
        bytes[i] = content_at(i, number);
    for (size_t done = PERIOD; done < size; done += PERIOD)
        memcpy(bytes + done, bytes, size - done < PERIOD ? size - done : PERIOD);
}

static inline bool is_filled(const void *data, size_t size, unsigned number)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size && i < PERIOD; i++)
        if (bytes[i] != content_at(i, number))
            return false;
    return size <= PERIOD || memcmp(bytes + PERIOD, bytes, size - PERIOD) == 0;
}

/* Sends a message with bytes of its own. */
static inline int send_filled(mproc_connection *connection, size_t size, unsigned number, int64_t timeout)
{
    void *data = malloc(size + 1);
    if (!data)
        return -ENOMEM;
    fill(data, size, number);
    int err = mproc_connection_send(connection, data, size, timeout);
    free(data);
    return err;
}

/* The calls that receive. */
enum way { INTO_BUFFER, BORROWED, NEW, WAYS };

/* Receives by one of them; *copy is to be freed. Into a buffer, the message has room of `capacity` bytes. */
static inline int receive_by(enum way way, mproc_connection *connection, size_t capacity, char **copy, size_t *size,
                             int64_t timeout)
{
    void *data = NULL;
    const void *borrowed = NULL;
    int err;
    if (way == NEW)
        err = mproc_connection_receive_new(connection, &data, size, timeout);
    else if (way == BORROWED) {
        err = mproc_connection_receive_borrowed(connection, &borrowed, size, timeout);
        if (err == 0)
            data = memcpy(malloc(*size + 1), borrowed, *size);
    } else {
        data = malloc(capacity + 1);
        err = mproc_connection_receive(connection, data, capacity, size, timeout);
    }
    if (err == 0)
        *copy = data;
    else
        free(way == INTO_BUFFER ? data : NULL);
    return err;
}

/* True if that message comes next, and nothing else. */
static inline bool comes(mproc_connection *connection, enum way way, size_t size, unsigned number)
{
    char *copy;
    size_t got = 0;
    if (receive_by(way, connection, size, &copy, &got, PATIENCE) != 0)
        return false;
    bool right = got == size && is_filled(copy, size, number);
    free(copy);
    return right;
}

struct pair {
    mproc_connection *here, *there;
};

static inline struct pair open_pair(void)
{
    struct pair pair = { NULL, NULL };
    assert_int_equal(mproc_pipe(&pair.here, &pair.there), 0);
    return pair;
}

static inline void close_pair(struct pair pair)
{
    assert_int_equal(mproc_connection_close(pair.here), 0);
    assert_int_equal(mproc_connection_close(pair.there), 0);
}

/* A connection whose other end is a bare descriptor. */
struct half {
    mproc_connection *connection;
    int fd;
};

static inline struct half open_half(void)
{
    struct half half = { NULL, -1 };
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(mproc_connection_open(&half.connection, fds[0]), 0);
    half.fd = fds[1];
    return half;
}

static inline void close_half(struct half half)
{
    assert_int_equal(mproc_connection_close(half.connection), 0);
    if (half.fd >= 0)
        close(half.fd);
}

/* Returns its size. */
static inline size_t put_header(unsigned char header[12], uint64_t length)
{
    size_t size = length <= INT32_MAX ? 4 : 12;
    memset(header, 0xff, 4);
    for (size_t i = 0; i < (size == 4 ? 4 : 8); i++)
        header[size - 1 - i] = (unsigned char)(length >> 8 * i);
    return size;
}

/* Bytes as they are, all of them. */
static inline void write_bytes(int fd, const void *data, size_t size)
{
    const char *bytes = data;
    for (ssize_t some; size > 0; bytes += some, size -= (size_t)some)
        assert_true((some = write(fd, bytes, size)) > 0);
}

/* The exit status of a child, or minus the signal that ended it. */
static inline int end_of(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* In children and threads, where cmocka's assertions would not be seen. */
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            dprintf(STDERR_FILENO, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                             \
            return 1;                                                                                                  \
        }                                                                                                              \
    } while (0)

#endif
