/* Messages with descriptors between processes. SPDX-License-Identifier: MIT */
#include "os/message.h"

#include "os/file.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * OS_MESSAGE_FDS_MOST) + CMSG_SPACE(sizeof(struct ucred))];
};

int os_message_send(int socket, const struct os_message *message)
{
    union control control;
    struct iovec data = { message->data, message->size };
    struct msghdr header = { .msg_iov = &data, .msg_iovlen = 1 };
    if (message->fds_count > 0) {
        size_t bytes = sizeof(int) * message->fds_count;
        memset(&control, 0, CMSG_SPACE(bytes));
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(bytes);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(rights), message->fds, bytes);
    }
    ssize_t sent;
    do
        sent = sendmsg(socket, &header, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

/* Those that do not fit are closed; none is kept among the standard descriptors. */
static void take_fds(struct os_message *message, const struct cmsghdr *rights, unsigned room)
{
    unsigned count = (unsigned)((rights->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    for (unsigned i = 0; i < count; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(rights) + i * sizeof fd, sizeof fd);
        if (message->fds_count < room)
            message->fds[message->fds_count++] = os_fd_above_standard(fd);
        else
            close(fd);
    }
}

int os_message_receive(int socket, struct os_message *message)
{
    union control control;
    struct iovec data = { message->data, message->size };
    struct msghdr header = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes
    };
    unsigned room = message->fds_count;
    message->fds_count = 0;
    message->user = (uid_t)-1;
    ssize_t count = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    if (count <= 0)
        return count == 0 || errno == ECONNRESET ? -EPIPE : -errno;
    message->size = (size_t)count;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(&header); part; part = CMSG_NXTHDR(&header, part)) {
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS)
            take_fds(message, part, room);
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_CREDENTIALS) {
            struct ucred sender;
            memcpy(&sender, CMSG_DATA(part), sizeof sender);
            message->user = sender.uid;
        }
    }
    return header.msg_flags & MSG_CTRUNC && room > 0 ? -EMFILE : 0;
}
