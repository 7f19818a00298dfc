/* ZeroMQ over ipc://: PUSH and PULL, and PAIR for round trips. SPDX-License-Identifier: MIT
 *
 * Consumers bind, each an endpoint of its own, and producers connect to all of them. A message can wait on either side,
 * so each has half of the bound as its high-water mark.
 */
#include "endpoint.h"
#include "stream.h"

#include <errno.h>
#include <time.h>
#include <zmq.h>

enum { IDLE_MS = 20 };

static void *context, *socket_;

static int create(const struct load *load)
{
    (void)load;
    return endpoint_create();
}

static int attach(const struct load *load, enum side side, int number)
{
    char name[ENDPOINT_SIZE];
    if (side == CONSUMER) {
        endpoint_name(name, number);
        return zmq_bind(socket_, name);
    }
    for (int i = 0; i < load->consumers; i++) {
        endpoint_name(name, i);
        if (zmq_connect(socket_, name) != 0)
            return -1;
    }
    /* connecting goes on in the background */
    nanosleep(&(struct timespec) { 0, IDLE_MS * 1000000L }, NULL);
    return 0;
}

static int open_end(const struct load *load, enum side side, int number)
{
    int kind = load->round_trips ? ZMQ_PAIR : side == PRODUCER ? ZMQ_PUSH : ZMQ_PULL;
    int mark = load->bound / 2, patience = load->consumers > 1 ? IDLE_MS : -1;
    context = zmq_ctx_new();
    socket_ = zmq_socket(context, kind);
    if (!socket_ || zmq_setsockopt(socket_, ZMQ_SNDHWM, &mark, sizeof mark) != 0 ||
        zmq_setsockopt(socket_, ZMQ_RCVHWM, &mark, sizeof mark) != 0 ||
        zmq_setsockopt(socket_, ZMQ_RCVTIMEO, &patience, sizeof patience) != 0)
        return -1;
    return attach(load, side, number);
}

static inline int put(const void *data, size_t size)
{
    return zmq_send(socket_, data, size, 0) == (int)size ? 0 : -1;
}

static inline int get(void *buffer, size_t size)
{
    int got = zmq_recv(socket_, buffer, size, 0);
    if (got < 0 && errno == EAGAIN)
        return CHANNEL_NOTHING;
    return got == (int)size ? 0 : -1;
}

STREAM_LOOPS(put, get)

static void close_end(void)
{
    zmq_close(socket_);
    zmq_ctx_term(context);
}

const struct channel zeromq_channel = {
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
