/* A pair of sockets: of the kind that keeps messages apart, where they are not too large for that, and otherwise a
 * stream with frames. SPDX-License-Identifier: MIT */
#include "framed.h"
#include "stream.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LARGEST_PACKET = 65536, OVERHEAD = 800 }; /* OVERHEAD: what the kernel adds to a small packet, about */

static int ends[2] = { -1, -1 }, here;
static bool in_packets;

static int create(const struct load *load)
{
    in_packets = load->size <= LARGEST_PACKET;
    if (socketpair(AF_UNIX, in_packets ? SOCK_SEQPACKET : SOCK_STREAM, 0, ends) != 0)
        return -errno;
    size_t bytes = (size_t)load->bound * (load->size + OVERHEAD);
    for (int i = 0; i < 2; i++) {
        int half = bytes < 2 << 20 ? (int)bytes / 2 : 1 << 20; /* the kernel doubles it */
        setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &half, sizeof half);
    }
    return framed_create(load, 0);
}

static int open_end(const struct load *load, enum side side, int number)
{
    (void)load, (void)number;
    here = ends[side];
    return 0;
}

static inline int put(const void *data, size_t size)
{
    if (in_packets)
        return send(here, data, size, MSG_NOSIGNAL) == (ssize_t)size ? 0 : -1;
    return framed_put(here, data, size);
}

static inline int get(void *buffer, size_t size)
{
    if (in_packets)
        return recv(here, buffer, size, MSG_TRUNC) == (ssize_t)size ? 0 : -1;
    return framed_get(here, buffer, size);
}

STREAM_LOOPS(put, get)

static void destroy(void)
{
    for (int i = 0; i < 2; i++) {
        if (ends[i] >= 0)
            close(ends[i]);
        ends[i] = -1;
    }
    framed_destroy();
}

const struct channel socketpair_channel = {
    .create = create,
    .open = open_end,
    .produce = produce,
    .consume = consume,
    .put = put,
    .get = get,
    .destroy = destroy,
};
