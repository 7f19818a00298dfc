/* nng over ipc://: push and pull, and pair for round trips. SPDX-License-Identifier: MIT
 *
 * As with ZeroMQ, consumers listen and producers dial, and each side holds half of the bound.
 */
#include "endpoint.h"
#include "stream.h"

#include <nng/nng.h>
#include <nng/protocol/pair1/pair.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>

enum { IDLE_MS = 20 };

static nng_socket socket_;

static int create(const struct load *load)
{
    (void)load;
    return endpoint_create();
}

/* Not every kind of socket has both buffers. */
static int set_buffers(const struct load *load)
{
    int send = nng_socket_set_int(socket_, NNG_OPT_SENDBUF, load->bound / 2);
    int receive = nng_socket_set_int(socket_, NNG_OPT_RECVBUF, load->bound / 2);
    return (send == 0 || send == NNG_ENOTSUP) && (receive == 0 || receive == NNG_ENOTSUP) ? 0 : -1;
}

static int attach(const struct load *load, enum side side, int number)
{
    char name[ENDPOINT_SIZE];
    if (side == CONSUMER) {
        endpoint_name(name, number);
        return nng_listen(socket_, name, NULL, 0);
    }
    for (int i = 0; i < load->consumers; i++) {
        endpoint_name(name, i);
        if (nng_dial(socket_, name, NULL, 0) != 0)
            return -1;
    }
    return 0;
}

static int open_end(const struct load *load, enum side side, int number)
{
    int err = load->round_trips  ? nng_pair1_open(&socket_)
              : side == PRODUCER ? nng_push0_open(&socket_)
                                 : nng_pull0_open(&socket_);
    if (err != 0 || set_buffers(load) != 0 || nng_socket_set_size(socket_, NNG_OPT_RECVMAXSZ, 0) != 0)
        return -1;
    if (load->consumers > 1 && nng_socket_set_ms(socket_, NNG_OPT_RECVTIMEO, IDLE_MS) != 0)
        return -1;
    return attach(load, side, number);
}

static inline int put(const void *data, size_t size)
{
    return nng_send(socket_, (void *)data, size, 0);
}

static inline int get(void *buffer, size_t size)
{
    size_t got = size;
    int err = nng_recv(socket_, buffer, &got, 0);
    if (err == NNG_ETIMEDOUT)
        return CHANNEL_NOTHING;
    return err == 0 && got == size ? 0 : -1;
}

STREAM_LOOPS(put, get)

static void close_end(void)
{
    nng_close(socket_);
}

const struct channel nng_channel = {
    .create = create,
    .open = open_end,
    .produce = produce,
    .consume = consume,
    .put = put,
    .get = get,
    .close = close_end,
    .destroy = endpoint_destroy,
    .uneven = true,
};
