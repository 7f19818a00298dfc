/* mproc's queue: with copies, many messages at a time, and in place. SPDX-License-Identifier: MIT */
#include <mproc.h>

#include "stream.h"

enum { BATCH = 64 };

static mproc_queue *queues[2], *out, *in;

static int create(const struct load *load)
{
    int directions = load->round_trips ? 2 : 1, err = 0;
    for (int i = 0; i < directions && err == 0; i++)
        err = mproc_queue_create(&queues[i], .messages = (size_t)load->bound);
    return err;
}

static int open_end(const struct load *load, enum side side, int number)
{
    (void)number;
    out = queues[load->round_trips && side == CONSUMER];
    in = queues[load->round_trips && side == PRODUCER];
    return 0;
}

static void destroy(void)
{
    for (int i = 0; i < 2; i++) {
        mproc_queue_free(queues[i]);
        queues[i] = NULL;
    }
}

/* ---- with copies */

static inline int put(const void *data, size_t size)
{
    return mproc_queue_put(out, data, size, MPROC_FOREVER);
}

static inline int get(void *buffer, size_t size)
{
    size_t got = 0;
    int err = mproc_queue_get(in, buffer, size, &got, MPROC_FOREVER);
    return err == 0 && got == size ? 0 : -1;
}

STREAM_LOOPS(put, get)

const struct channel mproc_channel = {
    .create = create,
    .open = open_end,
    .produce = produce,
    .consume = consume,
    .put = put,
    .get = get,
    .destroy = destroy,
};

/* ---- in place: only the first and the last word of a message are touched */

static int produce_in_place(struct stream *stream)
{
    for (long i = 0; i < stream->load->count; i++) {
        struct mproc_message message;
        if (mproc_queue_reserve(out, stream->load->size, &message) != 0)
            return -1;
        stream_mark(stream, message.data, i);
        if (mproc_queue_commit(out, &message, MPROC_FOREVER) != 0)
            return -1;
    }
    return 0;
}

static int consume_in_place(struct stream *stream)
{
    while (!stream_is_over(stream)) {
        struct mproc_message message;
        if (mproc_queue_borrow(in, &message, MPROC_FOREVER) != 0)
            return -1;
        int err = message.size == stream->load->size ? stream_check(stream, message.data) : -1;
        if (mproc_queue_release(in, &message) != 0 || err != 0)
            return -1;
    }
    return 0;
}

static int put_in_place(const void *data, size_t size)
{
    struct mproc_message message;
    if (mproc_queue_reserve(out, size, &message) != 0)
        return -1;
    memcpy(message.data, data, size);
    return mproc_queue_commit(out, &message, MPROC_FOREVER);
}

static int get_in_place(void *buffer, size_t size)
{
    struct mproc_message message;
    if (mproc_queue_borrow(in, &message, MPROC_FOREVER) != 0 || message.size != size)
        return -1;
    memcpy(buffer, message.data, size);
    return mproc_queue_release(in, &message);
}

const struct channel mproc_in_place_channel = {
    .create = create,
    .open = open_end,
    .produce = produce_in_place,
    .consume = consume_in_place,
    .put = put_in_place,
    .get = get_in_place,
    .destroy = destroy,
};

/* ---- small messages, many at a time */

struct batch {
    uint64_t words[BATCH];
    struct iovec parts[BATCH];
};

static void make_batch(struct batch *batch)
{
    for (int i = 0; i < BATCH; i++)
        batch->parts[i] = (struct iovec) { &batch->words[i], sizeof batch->words[i] };
}

static int produce_many(struct stream *stream)
{
    struct batch batch;
    make_batch(&batch);
    for (long done = 0; done < stream->load->count;) {
        long left = stream->load->count - done;
        int count = left < BATCH ? (int)left : BATCH;
        for (int i = 0; i < count; i++)
            stream_mark(stream, (unsigned char *)&batch.words[i], done + i);
        for (int i = 0; i < count;) {
            int put = mproc_queue_put_many(out, batch.parts + i, count - i, MPROC_FOREVER);
            if (put <= 0)
                return -1;
            i += put;
        }
        done += count;
    }
    return 0;
}

static int consume_many(struct stream *stream)
{
    struct batch batch;
    make_batch(&batch);
    while (!stream_is_over(stream)) {
        long left = stream->quota - stream->report->taken;
        int got = mproc_queue_get_many(in, batch.parts, left < BATCH ? (int)left : BATCH, MPROC_FOREVER);
        if (got <= 0)
            return -1;
        for (int i = 0; i < got; i++)
            if (batch.parts[i].iov_len != sizeof *batch.words ||
                stream_check(stream, (unsigned char *)&batch.words[i]) != 0)
                return -1;
    }
    return 0;
}

const struct channel mproc_many_channel = {
    .create = create,
    .open = open_end,
    .produce = produce_many,
    .consume = consume_many,
    .destroy = destroy,
};
