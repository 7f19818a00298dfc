/* The loops of producers and consumers, and what they check. SPDX-License-Identifier: MIT
 *
 * The first and the last eight bytes of a message hold its producer and its sequence number. A channel makes loops of
 * its own from these, so that put and get are called directly.
 */
#ifndef BENCH_QUEUE_STREAM_H
#define BENCH_QUEUE_STREAM_H

#include "channel.h"

#include <string.h>

#define STREAM_INLINE static inline __attribute__((always_inline))
#define STREAM_SEQUENCE ((UINT64_C(1) << 48) - 1)

/* What a process reports, in memory that all share. */
struct report {
    _Alignas(128) long taken;
    uint64_t sum; /* of sequence numbers */
    double start, end;
    double median, percentile_99; /* of round trips */
};

struct stream {
    const struct load *load;
    struct report *report;
    const int *finished; /* everything has arrived */
    int number;          /* the how-manyeth producer or consumer */
    long quota;          /* messages to take */
    unsigned char *buffer;
    uint64_t next[SIDES_MAX]; /* the lowest sequence number that may come from each producer */
};

STREAM_INLINE void stream_mark(const struct stream *stream, unsigned char *message, long sequence)
{
    uint64_t word = (uint64_t)stream->number << 48 | (uint64_t)sequence;
    memcpy(message, &word, sizeof word);
    if (stream->load->size > sizeof word)
        memcpy(message + stream->load->size - sizeof word, &word, sizeof word);
}

STREAM_INLINE int stream_check(struct stream *stream, const unsigned char *message)
{
    uint64_t word, last;
    memcpy(&word, message, sizeof word);
    memcpy(&last, message + stream->load->size - sizeof last, sizeof last);
    uint64_t producer = word >> 48, sequence = word & STREAM_SEQUENCE;
    if (last != word || producer >= (uint64_t)stream->load->producers || sequence < stream->next[producer])
        return -1;
    stream->next[producer] = sequence + 1;
    stream->report->sum += sequence;
    __atomic_store_n(&stream->report->taken, stream->report->taken + 1, __ATOMIC_RELAXED);
    return 0;
}

STREAM_INLINE bool stream_is_over(const struct stream *stream)
{
    return stream->report->taken >= stream->quota || __atomic_load_n(stream->finished, __ATOMIC_RELAXED);
}

STREAM_INLINE int stream_produce(struct stream *stream, int (*put)(const void *data, size_t size))
{
    for (long i = 0; i < stream->load->count; i++) {
        stream_mark(stream, stream->buffer, i);
        if (put(stream->buffer, stream->load->size) != 0)
            return -1;
    }
    return 0;
}

STREAM_INLINE int stream_consume(struct stream *stream, int (*get)(void *buffer, size_t size))
{
    while (!stream_is_over(stream)) {
        int err = get(stream->buffer, stream->load->size);
        if (err == CHANNEL_NOTHING)
            continue;
        if (err != 0 || stream_check(stream, stream->buffer) != 0)
            return -1;
    }
    return 0;
}

#define STREAM_LOOPS(put, get)                                                                                         \
    static int produce(struct stream *stream)                                                                          \
    {                                                                                                                  \
        return stream_produce(stream, put);                                                                            \
    }                                                                                                                  \
    static int consume(struct stream *stream)                                                                          \
    {                                                                                                                  \
        return stream_consume(stream, get);                                                                            \
    }

#endif
