/* What each contestant of the queue benchmark offers. SPDX-License-Identifier: MIT
 *
 * A channel carries messages between processes that the driver forks. Its functions keep what they need in variables of
 * their file: there is one load at a time, and each process has its own copy of what open found.
 */
#ifndef BENCH_QUEUE_CHANNEL_H
#define BENCH_QUEUE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIDES_MAX = 4 };           /* producers, or consumers */
enum { CHANNEL_NOTHING = 1 };     /* of get: nothing came for a while */
enum side { PRODUCER, CONSUMER }; /* with round trips: who asks, and who answers */

struct load {
    bool round_trips; /* one asks, one answers, each with one message at a time; otherwise a stream of messages */
    int producers, consumers;
    size_t size; /* bytes of a message */
    int bound;   /* messages that the queue may hold */
    long count;  /* messages of each producer, or round trips */
    long pause;  /* nanoseconds before each round trip */
};

struct stream;

struct channel {
    /* Before the processes are forked. Returns how many messages it can hold, if those are fewer than the bound;
     * otherwise 0; or a negative errno: it cannot. */
    int (*create)(const struct load *load);
    int (*open)(const struct load *load, enum side side, int number); /* in each process, consumers first */
    int (*produce)(struct stream *stream);                            /* see stream.h */
    int (*consume)(struct stream *stream);
    int (*put)(const void *data, size_t size); /* for round trips, both ways */
    int (*get)(void *buffer, size_t size);     /* the message has just this size */
    void (*close)(void);                       /* in each process, when everything has arrived; may be NULL */
    void (*destroy)(void);                     /* after the processes; also if create failed */
    bool uneven; /* several consumers do not get equal shares, so that get has to return CHANNEL_NOTHING at the end */
};

#ifdef __cplusplus
extern "C" {
#endif
extern const struct channel boost_channel, cache_line_channel, futex_channel, mproc_channel, mproc_in_place_channel,
    mproc_many_channel, nng_channel, pipe_channel, posix_mq_channel, ring_channel, socketpair_channel, zeromq_channel;
#ifdef __cplusplus
}
#endif

#endif
