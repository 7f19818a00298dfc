/* Messages with descriptors between processes. SPDX-License-Identifier: MIT */
#ifndef OS_MESSAGE_H
#define OS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { OS_MESSAGE_FDS_MOST = 250 };

struct os_message {
    void *data;
    size_t size;        /* bytes; when received: how many there is room for, then how many there were */
    int *fds;           /* received ones are close-on-exec and the receiver's to close */
    unsigned fds_count; /* likewise */
    uid_t user;         /* received: the sender's real user id, if the socket has SO_PASSCRED */
};

/* Sends on a SOCK_SEQPACKET socket, all or nothing; blocks while the other side has too much to read. Returns 0 or
 * -errno: -EPIPE, -ECONNRESET if the other end is closed. */
int os_message_send(int socket, const struct os_message *message);

/* Receives; blocks until there is something. Returns 0; -EPIPE if the other end is closed and nothing is left; -EMFILE
 * with the message and those of its descriptors that there was room for; -EINTR; -errno. */
int os_message_receive(int socket, struct os_message *message);

#endif
