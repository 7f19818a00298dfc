/* Round trips: one asks, one answers. SPDX-License-Identifier: MIT */
#include "trips.h"

#include "../bench.h"
#include "stream.h"

#include <stdlib.h>
#include <time.h>

/* Returns seconds, or -1. */
static double ask(const struct channel *channel, uint64_t question)
{
    uint64_t answer = 0;
    double start = bench_now();
    if (channel->put(&question, sizeof question) != 0 || channel->get(&answer, sizeof answer) != 0)
        return -1;
    double took = bench_now() - start;
    return answer == question + 1 ? took : -1;
}

static int ask_all(const struct channel *channel, const struct load *load, double *seconds)
{
    for (long i = 0; i < load->count; i++) {
        if (load->pause)
            nanosleep(&(struct timespec) { 0, load->pause }, NULL);
        seconds[i] = ask(channel, 2 * (uint64_t)i + 1);
        if (seconds[i] < 0)
            return -1;
    }
    return 0;
}

int trips_ask(const struct channel *channel, struct stream *stream)
{
    int count = (int)stream->load->count;
    double *seconds = malloc((size_t)count * sizeof *seconds);
    if (!seconds)
        return -1;
    int err = ask_all(channel, stream->load, seconds);
    if (err == 0) {
        bench_sort(seconds, count);
        stream->report->median = bench_quantile(seconds, count, 0.5);
        stream->report->percentile_99 = bench_quantile(seconds, count, 0.99);
    }
    free(seconds);
    return err;
}

int trips_answer(const struct channel *channel, struct stream *stream)
{
    for (long i = 0; i < stream->load->count; i++) {
        uint64_t question = 0, answer;
        if (channel->get(&question, sizeof question) != 0 || question != 2 * (uint64_t)i + 1)
            return -1;
        answer = question + 1;
        if (channel->put(&answer, sizeof answer) != 0)
            return -1;
    }
    return 0;
}
