/* Who takes part: limits, peers, mproc. SPDX-License-Identifier: MIT */
#include "contestants.h"

#include "../bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COPY = 1 << 20, AREA = 8 << 20 };

/* Copies of 1 MiB within areas that no cache of a core holds; the figure is as if for messages of load->size. */
static int copy_memory(const struct load *load, struct finding *finding)
{
    static char *from, *to;
    if (!from && (!(from = malloc(AREA)) || !(to = malloc(AREA))))
        return RUN_FAILED;
    memset(from, 'm', AREA);
    memset(to, 0, AREA);
    long copies = load->count * (long)load->size / COPY + 1;
    double start = bench_now();
    for (long i = 0; i < copies; i++) {
        memcpy(to + i * COPY % AREA, from + i * COPY % AREA, COPY);
        __asm__ volatile("" : : "r"(to) : "memory");
    }
    double bytes = (double)load->size * (double)load->count * load->producers;
    *finding = (struct finding) { .first = (bench_now() - start) * bytes / ((double)copies * COPY) };
    return to[AREA - 1] == 'm' || copies < AREA / COPY ? 0 : RUN_FAILED;
}

static bool is_large_stream(const struct load *load)
{
    return !load->round_trips && load->size > sizeof(uint64_t);
}

static bool is_small_stream(const struct load *load)
{
    return !load->round_trips && load->size == sizeof(uint64_t);
}

static bool is_small_stream_of_one(const struct load *load)
{
    return is_small_stream(load) && load->producers == 1;
}

static bool is_hot(const struct load *load)
{
    return load->round_trips && load->pause == 0;
}

static bool is_round_trip(const struct load *load)
{
    return load->round_trips;
}

const struct contestant contestants[] = {
    { .name = "a bare ring of words",
      .kind = BENCH_LIMIT,
      .takes_part = is_small_stream_of_one,
      .channel = &ring_channel },
    { .name = "memcpy, 1 MiB within 8 MiB", .kind = BENCH_LIMIT, .takes_part = is_large_stream, .run = copy_memory },
    { .name = "a bare cache line, spinning",
      .kind = BENCH_LIMIT,
      .takes_part = is_hot,
      .channel = &cache_line_channel },
    { .name = "a bare futex each way", .kind = BENCH_LIMIT, .takes_part = is_round_trip, .channel = &futex_channel },
    { .name = "POSIX mq", .kind = BENCH_PEER, .channel = &posix_mq_channel },
    { .name = "pipe", .kind = BENCH_PEER, .channel = &pipe_channel },
    { .name = "socketpair", .kind = BENCH_PEER, .channel = &socketpair_channel },
#ifdef QUEUE_BOOST
    { .name = "Boost.Interprocess message_queue", .kind = BENCH_PEER, .channel = &boost_channel },
#endif
#ifdef QUEUE_ZEROMQ
    { .name = "ZeroMQ, ipc", .kind = BENCH_PEER, .channel = &zeromq_channel },
#endif
#ifdef QUEUE_NNG
    { .name = "nng, ipc", .kind = BENCH_PEER, .channel = &nng_channel },
#endif
#ifdef QUEUE_MPI
    { .name = "Open MPI (spins when it waits)", .kind = BENCH_PEER, .command = QUEUE_MPI },
#endif
#ifdef QUEUE_PYTHON
    { .name = "Python's Queue", .kind = BENCH_PEER, .command = QUEUE_PYTHON " Queue" },
    { .name = "Python's SimpleQueue", .kind = BENCH_PEER, .command = QUEUE_PYTHON " SimpleQueue" },
#endif
    { .name = "mproc", .kind = BENCH_OURS, .channel = &mproc_channel },
    { .name = "mproc, 64 at a time",
      .kind = BENCH_OURS,
      .takes_part = is_small_stream,
      .channel = &mproc_many_channel },
    { .name = "mproc, in place: first and last word", .kind = BENCH_OURS, .channel = &mproc_in_place_channel },
};
const int contestants_count = sizeof contestants / sizeof *contestants;

void contestants_print_missing(void)
{
    static const char missing[] = ""
#ifndef QUEUE_BOOST
                                  " Boost.Interprocess,"
#endif
#ifndef QUEUE_ZEROMQ
                                  " ZeroMQ,"
#endif
#ifndef QUEUE_NNG
                                  " nng,"
#endif
#ifndef QUEUE_MPI
                                  " Open MPI,"
#endif
#ifndef QUEUE_PYTHON
                                  " Python,"
#endif
        ;
    if (sizeof missing > 1)
        printf("Not there when this was built:%.*s (make bench-deps installs them)\n\n", (int)sizeof missing - 2,
               missing);
}
