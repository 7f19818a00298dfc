/* What a connection handle stands for. SPDX-License-Identifier: MIT */
#ifndef CHANNEL_CONNECTION_H
#define CHANNEL_CONNECTION_H

#include "channel/stream.h"
#include "memory/member.h"
#include "sync/lock_word.h"

#include <mproc/connection.h>

enum { FRAME_HEADER_MOST = 12 };

/* A message on its way in. What has come of it stays here from one call to the next. */
struct incoming {
    unsigned char header[FRAME_HEADER_MOST];
    unsigned header_got;
    bool has_length;
    uint64_t length;
    unsigned char *body;
    size_t got, capacity;
    struct stream_fds fds;  /* that came with it so far */
    struct stream_fds came; /* with the message before it, and were not taken */
    int over;               /* not 0: nothing can be received any more, and why */
};

/* Private to the process. `receiving` guards `in`, `sending` the other direction. */
struct connection {
    struct stream stream;
    bool reads, writes;
    _Atomic bool closing;
    _Atomic size_t limit;
    lock_word receiving, sending;
    struct incoming in;
    int send_over; /* not 0: nothing can be sent any more, and why */
};

/* Finds the connection and keeps it from being freed until connection_release. Returns 0; -EINVAL or MPROC_E_CLOSED,
 * with *connection NULL. */
int connection_acquire(mproc_connection *handle, struct connection **connection);
void connection_release(mproc_connection *handle);

/* The same, with one direction to itself. Returns also -ENOMEM, -ETIMEDOUT, -EINTR. */
int connection_enter(mproc_connection *handle, bool to_receive, int64_t deadline, struct connection **connection);
void connection_leave(mproc_connection *handle, struct connection *connection, bool to_receive);

/* In a process whose descriptors were closed: its copies of another one's handles are closed, and their descriptors,
 * which may be other ones by now, left alone. */
void connections_drop(void);

/* 1 if something can be received without waiting for the descriptor, 0 if not, or the error that receiving would
 * return. */
int connection_has_kept(mproc_connection *handle);

#endif
