/* MPI_Send and MPI_Recv: a program of its own, for mpirun. SPDX-License-Identifier: MIT
 *
 * The first processes produce, the others consume. MPI has no queue that several take from, so a producer sends to each
 * consumer in turn. Arguments and output: see run.h.
 */
#include "../bench.h"
#include "stream.h"
#include "trips.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int rank_;

static int send(const void *data, size_t size)
{
    return MPI_Send(data, (int)size, MPI_BYTE, 1 - rank_, 0, MPI_COMM_WORLD);
}

static int receive(void *buffer, size_t size)
{
    return MPI_Recv(buffer, (int)size, MPI_BYTE, 1 - rank_, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static int produce(struct stream *stream)
{
    const struct load *load = stream->load;
    for (long i = 0; i < load->count; i++) {
        stream_mark(stream, stream->buffer, i);
        int consumer = load->producers + (int)(i % load->consumers);
        if (MPI_Send(stream->buffer, (int)load->size, MPI_BYTE, consumer, 0, MPI_COMM_WORLD) != MPI_SUCCESS)
            return -1;
    }
    return 0;
}

static int consume(struct stream *stream)
{
    while (!stream_is_over(stream))
        if (MPI_Recv(stream->buffer, (int)stream->load->size, MPI_BYTE, MPI_ANY_SOURCE, 0, MPI_COMM_WORLD,
                     MPI_STATUS_IGNORE) != MPI_SUCCESS ||
            stream_check(stream, stream->buffer) != 0)
            return -1;
    return 0;
}

static int run_stream(struct stream *stream)
{
    const struct load *load = stream->load;
    double start = bench_now(), end, first, last;
    int err = rank_ < load->producers ? produce(stream) : consume(stream);
    end = bench_now();
    long taken = 0;
    uint64_t sum = 0, count = (uint64_t)load->count;
    MPI_Reduce(&start, &first, 1, MPI_DOUBLE, MPI_MIN, 0, MPI_COMM_WORLD);
    MPI_Reduce(&end, &last, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    MPI_Reduce(&stream->report->taken, &taken, 1, MPI_LONG, MPI_SUM, 0, MPI_COMM_WORLD);
    MPI_Reduce(&stream->report->sum, &sum, 1, MPI_UINT64_T, MPI_SUM, 0, MPI_COMM_WORLD);
    if (rank_ != 0)
        return err;
    if (taken != load->count * load->producers || sum != (uint64_t)load->producers * (count * (count - 1) / 2))
        return -1;
    printf("%.9f\n", last - first);
    return err;
}

static int run_trips(struct stream *stream)
{
    const struct channel channel = { .put = send, .get = receive };
    if (rank_ != 0)
        return trips_answer(&channel, stream);
    int err = trips_ask(&channel, stream);
    printf("%.9f %.9f\n", stream->report->median, stream->report->percentile_99);
    return err;
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    if (argc != 8)
        return 2;
    const struct load load = {
        .round_trips = strcmp(argv[1], "trips") == 0,
        .producers = atoi(argv[2]),
        .consumers = atoi(argv[3]),
        .size = strtoul(argv[4], NULL, 10),
        .count = atol(argv[6]),
        .pause = atol(argv[7]),
    };
    static struct report report;
    static const int finished;
    struct stream stream = {
        .load = &load,
        .report = &report,
        .finished = &finished,
        .number = rank_,
        .quota = load.count * load.producers / load.consumers,
        .buffer = aligned_alloc(64, (load.size + 63) / 64 * 64),
    };
    if (!stream.buffer)
        return 1;
    memset(stream.buffer, 'm', load.size);
    MPI_Barrier(MPI_COMM_WORLD);
    int err = load.round_trips ? run_trips(&stream) : run_stream(&stream);
    if (err != 0)
        MPI_Abort(MPI_COMM_WORLD, 1);
    MPI_Finalize();
    free(stream.buffer);
    return 0;
}
