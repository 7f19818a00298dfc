/* Forks producers and consumers, and adds up what they report. SPDX-License-Identifier: MIT */
#include "run.h"

#include "../bench.h"
#include "stream.h"
#include "trips.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE = 120 }; /* seconds after which a process is taken to hang */

static struct session {
    pthread_barrier_t consumers_are_open, all_are_open, all_is_done;
    int finished;
    struct report producers[SIDES_MAX], consumers[SIDES_MAX];
} * session;

static int make_session(const struct load *load)
{
    session = mmap(NULL, sizeof *session, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (session == MAP_FAILED)
        return -1;
    unsigned processes = (unsigned)(load->producers + load->consumers);
    pthread_barrierattr_t attributes;
    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&session->consumers_are_open, &attributes, processes);
    pthread_barrier_init(&session->all_are_open, &attributes, processes);
    pthread_barrier_init(&session->all_is_done, &attributes, processes);
    pthread_barrierattr_destroy(&attributes);
    return 0;
}

static int work(const struct channel *channel, struct stream *stream, enum side side)
{
    if (stream->load->round_trips)
        return side == PRODUCER ? trips_ask(channel, stream) : trips_answer(channel, stream);
    return side == PRODUCER ? channel->produce(stream) : channel->consume(stream);
}

/* What a forked process does. */
static int take_part(const struct channel *channel, const struct load *load, enum side side, int number)
{
    long share = load->count * load->producers / load->consumers;
    struct stream stream = {
        .load = load,
        .report = side == PRODUCER ? &session->producers[number] : &session->consumers[number],
        .finished = &session->finished,
        .number = number,
        .quota = channel->uneven && load->consumers > 1 ? LONG_MAX : share,
        .buffer = aligned_alloc(64, (load->size + 63) / 64 * 64),
    };
    if (!stream.buffer)
        return 1;
    memset(stream.buffer, 'm', load->size);
    if (side == CONSUMER && channel->open(load, side, number) != 0)
        return 1;
    pthread_barrier_wait(&session->consumers_are_open);
    if (side == PRODUCER && channel->open(load, side, number) != 0)
        return 1;
    pthread_barrier_wait(&session->all_are_open);
    stream.report->start = bench_now();
    if (work(channel, &stream, side) != 0)
        return 1;
    stream.report->end = bench_now();
    pthread_barrier_wait(&session->all_is_done);
    if (channel->close)
        channel->close();
    free(stream.buffer);
    return 0;
}

static pid_t start(const struct channel *channel, const struct load *load, enum side side, int number)
{
    pid_t pid = fork();
    if (pid == 0) {
        alarm(PATIENCE);
        _exit(take_part(channel, load, side, number));
    }
    return pid;
}

/* Where consumers do not know which message is their last, somebody has to count. Returns when that was. */
static double wait_for_all(const struct load *load)
{
    long taken = 0;
    double begin = bench_now();
    while (taken < load->count * load->producers && bench_now() < begin + PATIENCE) {
        nanosleep(&(struct timespec) { 0, 500000 }, NULL);
        taken = 0;
        for (int i = 0; i < load->consumers; i++)
            taken += __atomic_load_n(&session->consumers[i].taken, __ATOMIC_RELAXED);
    }
    double end = bench_now();
    __atomic_store_n(&session->finished, 1, __ATOMIC_RELAXED);
    return end;
}

/* A process that failed is one for which the others would wait. */
static int reap(pid_t *processes, int count)
{
    int result = 0;
    for (int left = count; left > 0; left--) {
        int status;
        pid_t pid = wait(&status);
        bool failed = pid < 0 || status != 0;
        for (int i = 0; i < count; i++) {
            if (processes[i] == pid)
                processes[i] = 0;
            else if (failed && processes[i] > 0)
                kill(processes[i], SIGKILL);
        }
        if (failed)
            result = -1;
    }
    return result;
}

static int add_up(const struct load *load, double counted_end, struct finding *finding)
{
    const struct report *asker = &session->producers[0];
    if (load->round_trips) {
        finding->first = asker->median;
        finding->second = asker->percentile_99;
        return 0;
    }
    double begin = asker->start, end = 0;
    long taken = 0;
    uint64_t sum = 0, count = (uint64_t)load->count;
    for (int i = 0; i < load->producers; i++)
        begin = session->producers[i].start < begin ? session->producers[i].start : begin;
    for (int i = 0; i < load->consumers; i++) {
        const struct report *report = &session->consumers[i];
        begin = report->start < begin ? report->start : begin;
        end = report->end > end ? report->end : end;
        taken += report->taken;
        sum += report->sum;
    }
    if (counted_end > 0)
        end = counted_end;
    finding->first = end - begin;
    bool right = taken == load->count * load->producers && sum == (uint64_t)load->producers * (count * (count - 1) / 2);
    return right ? 0 : RUN_FAILED;
}

static int run_processes(const struct channel *channel, const struct load *load, struct finding *finding)
{
    pid_t processes[2 * SIDES_MAX];
    int count = 0, result = 0;
    double counted_end = 0;
    for (int i = 0; i < load->consumers; i++)
        processes[count++] = start(channel, load, CONSUMER, i);
    for (int i = 0; i < load->producers; i++)
        processes[count++] = start(channel, load, PRODUCER, i);
    if (channel->uneven && load->consumers > 1)
        counted_end = wait_for_all(load);
    if (reap(processes, count) != 0)
        result = RUN_FAILED;
    return result == 0 ? add_up(load, counted_end, finding) : result;
}

int run_channel(const struct channel *channel, const struct load *load, struct finding *finding)
{
    if (make_session(load) != 0)
        return RUN_FAILED;
    *finding = (struct finding) { 0 };
    int bound = channel->create(load), result = RUN_UNAVAILABLE;
    if (bound >= 0)
        result = run_processes(channel, load, finding);
    else
        finding->reason = strerror(-bound);
    finding->bound = bound > 0 && bound < load->bound ? bound : 0;
    channel->destroy();
    munmap(session, sizeof *session);
    return result;
}
