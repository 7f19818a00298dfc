/* A pipe, as large as the queue may be and the kernel lets it. SPDX-License-Identifier: MIT */
#include "framed.h"
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

enum { SMALLEST = 65536, LARGEST = 1 << 20 };

static int ends[2][2] = { { -1, -1 }, { -1, -1 } }, out, in;

static int create(const struct load *load)
{
    size_t bytes = (size_t)load->bound * (load->size + sizeof(uint32_t));
    int directions = load->round_trips ? 2 : 1;
    for (int i = 0; i < directions; i++) {
        if (pipe(ends[i]) != 0)
            return -errno;
        if (bytes > SMALLEST)
            fcntl(ends[i][1], F_SETPIPE_SZ, bytes < LARGEST ? (int)bytes : LARGEST);
    }
    return framed_create(load, PIPE_BUF);
}

static int open_end(const struct load *load, enum side side, int number)
{
    (void)number;
    out = ends[load->round_trips && side == CONSUMER][1];
    in = ends[load->round_trips && side == PRODUCER][0];
    return 0;
}

static inline int put(const void *data, size_t size)
{
    return framed_put(out, data, size);
}

static inline int get(void *buffer, size_t size)
{
    return framed_get(in, buffer, size);
}

STREAM_LOOPS(put, get)

static void destroy(void)
{
    for (int i = 0; i < 4; i++) {
        int *end = &ends[i / 2][i % 2];
        if (*end >= 0)
            close(*end);
        *end = -1;
    }
    framed_destroy();
}

const struct channel pipe_channel = {
    .create = create,
    .open = open_end,
    .produce = produce,
    .consume = consume,
    .put = put,
    .get = get,
    .destroy = destroy,
};
