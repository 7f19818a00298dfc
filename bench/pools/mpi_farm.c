/* A farm on MPI as one writes it by hand, as fast as one can be. SPDX-License-Identifier: MIT
 *
 * Inputs are sent from where they are, and results received where they belong: a message's tag says which batch it is,
 * and of which task.
 */
#include "mpi_farm.h"

#include <mpi.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

/* From TAG_BATCH on: batches, and their results. */
enum tag { TAG_WAKE, TAG_READY, TAG_REST, TAG_QUIT, TAG_BATCH };

/* LOOKS: before a rest; two, as MPI_Iprobe looks before it fetches what has come. */
enum { LONG_REST = 10000, RESULTS = 4, LOOKS = 2, LOOKS_SPINNING = 40 };

static struct {
    const struct mpi_farm_task *tasks;
    int workers, awake;
} farm;

static void rest(int microseconds)
{
    if (microseconds <= 0)
        sched_yield();
    else
        nanosleep(&(struct timespec) { 0, microseconds * 1000L }, NULL);
}

static MPI_Status wait_for_message(int source, int microseconds)
{
    MPI_Status status;
    int is_there = 0, looks = microseconds == MPI_FARM_SPIN ? LOOKS_SPINNING : LOOKS;
    for (;;) {
        for (int i = 0; i < looks && !is_there; i++)
            MPI_Iprobe(source, MPI_ANY_TAG, MPI_COMM_WORLD, &is_there, &status);
        if (is_there)
            return status;
        rest(microseconds);
    }
}

/* What has begun is over soon: no sleep is as short. */
static void wait_for(MPI_Request *request)
{
    int is_over = 0;
    for (;;) {
        MPI_Test(request, &is_over, MPI_STATUS_IGNORE);
        if (is_over)
            return;
        rest(MPI_FARM_YIELD);
    }
}

static void receive(void *data, int size, const MPI_Status *message)
{
    MPI_Request request;
    MPI_Irecv(data, size, MPI_BYTE, message->MPI_SOURCE, message->MPI_TAG, MPI_COMM_WORLD, &request);
    wait_for(&request);
}

static void say(int rank, enum tag tag, int word)
{
    MPI_Send(&word, 1, MPI_INT, rank, tag, MPI_COMM_WORLD);
}

static int hear(int rank, int tag)
{
    int word = 0;
    MPI_Recv(&word, 1, MPI_INT, rank, tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    return word;
}

/* ---- a worker */

struct buffer {
    char *data;
    size_t room;
};

static char *make_room(struct buffer *buffer, size_t size)
{
    if (size > buffer->room) {
        free(buffer->data);
        buffer->data = malloc(size);
        buffer->room = size;
    }
    if (!buffer->data)
        MPI_Abort(MPI_COMM_WORLD, 1);
    return buffer->data;
}

static void do_batch(const MPI_Status *message)
{
    static struct buffer inputs, results[RESULTS];
    static MPI_Request sent[RESULTS];
    static unsigned batches;
    const struct mpi_farm_task *task = &farm.tasks[(message->MPI_TAG - TAG_BATCH) % MPI_FARM_TASKS];
    unsigned turn = batches % RESULTS;
    int size;
    MPI_Get_count(message, MPI_BYTE, &size);
    size_t count = (size_t)size / task->in_size;
    char *in = make_room(&inputs, (size_t)size);
    receive(in, size, message);
    if (batches++ >= RESULTS)
        wait_for(&sent[turn]);
    char *out = make_room(&results[turn], count * task->out_size);
    for (size_t i = 0; i < count; i++)
        task->run(in + i * task->in_size, out + i * task->out_size);
    MPI_Isend(out, (int)(count * task->out_size), MPI_BYTE, 0, message->MPI_TAG, MPI_COMM_WORLD, &sent[turn]);
}

static void work(void)
{
    int microseconds = LONG_REST;
    for (;;) {
        MPI_Status message = wait_for_message(0, microseconds);
        if (message.MPI_TAG >= TAG_BATCH) {
            do_batch(&message);
            continue;
        }
        microseconds = hear(0, message.MPI_TAG);
        if (message.MPI_TAG == TAG_QUIT)
            return;
        if (message.MPI_TAG == TAG_WAKE)
            say(0, TAG_READY, 0);
    }
}

/* ---- the caller */

void mpi_farm_begin(const struct mpi_farm_task tasks[MPI_FARM_TASKS])
{
    int rank, size;
    MPI_Init(NULL, NULL);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    prctl(PR_SET_TIMERSLACK, 1); /* otherwise the shortest rest takes more than 50 us */
    farm.tasks = tasks;
    farm.workers = size - 1 < MPI_FARM_WORKERS_MOST ? size - 1 : MPI_FARM_WORKERS_MOST;
    if (rank == 0)
        return;
    work();
    MPI_Finalize();
    exit(0);
}

void mpi_farm_end(void)
{
    for (int i = 1; i <= farm.workers; i++)
        say(i, TAG_QUIT, 0);
    MPI_Finalize();
}

void mpi_farm_wake(size_t n, const struct mpi_farm_shape *shape)
{
    size_t batches = (n + shape->batch - 1) / shape->batch;
    farm.awake = batches < (size_t)farm.workers ? (int)batches : farm.workers;
    for (int i = 1; i <= farm.awake; i++)
        say(i, TAG_WAKE, shape->worker_rest);
    for (int i = 1; i <= farm.awake; i++) {
        wait_for_message(i, LONG_REST / 100);
        hear(i, TAG_READY);
    }
}

void mpi_farm_rest(void)
{
    for (int i = 1; i <= farm.awake; i++)
        say(i, TAG_REST, LONG_REST);
    farm.awake = 0;
}

struct call {
    unsigned task;
    const char *in;
    char *out;
    size_t n, batch; /* batch: tasks in one */
    size_t batches, sent;
};

static size_t tasks_of(const struct call *call, size_t batch)
{
    size_t first = batch * call->batch;
    return call->n - first < call->batch ? call->n - first : call->batch;
}

/* That it is gone is known when its result comes. */
static void send_batch(struct call *call, int rank)
{
    size_t batch = call->sent++, in_size = farm.tasks[call->task].in_size;
    MPI_Request request;
    MPI_Isend(call->in + batch * call->batch * in_size, (int)(tasks_of(call, batch) * in_size), MPI_BYTE, rank,
              TAG_BATCH + (int)(batch * MPI_FARM_TASKS + call->task), MPI_COMM_WORLD, &request);
    MPI_Request_free(&request);
}

/* Returns the worker that has done it, or -1. */
static int take_result(struct call *call, int microseconds)
{
    MPI_Status message = wait_for_message(MPI_ANY_SOURCE, microseconds);
    size_t number = (size_t)(message.MPI_TAG - TAG_BATCH), batch = number / MPI_FARM_TASKS;
    size_t out_size = farm.tasks[call->task].out_size;
    int size;
    MPI_Get_count(&message, MPI_BYTE, &size);
    if (message.MPI_TAG < TAG_BATCH || number % MPI_FARM_TASKS != call->task || batch >= call->sent ||
        (size_t)size != tasks_of(call, batch) * out_size)
        return -1;
    receive(call->out + batch * call->batch * out_size, size, &message);
    return message.MPI_SOURCE;
}

int mpi_farm_map(unsigned task, const void *in, void *out, size_t n, const struct mpi_farm_shape *shape)
{
    struct call call = { .task = task, .in = in, .out = out, .n = n, .batch = shape->batch };
    call.batches = (n + call.batch - 1) / call.batch;
    for (unsigned i = 0; i < shape->window; i++)
        for (int rank = 1; rank <= farm.awake && call.sent < call.batches; rank++)
            send_batch(&call, rank);
    for (size_t i = 0; i < call.batches; i++) {
        int rank = take_result(&call, shape->caller_rest);
        if (rank < 0)
            return -1;
        if (call.sent < call.batches)
            send_batch(&call, rank);
    }
    return 0;
}
