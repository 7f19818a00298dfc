/* Messages between ranks. SPDX-License-Identifier: MIT */
#include "world.h"

#include <errno.h>
#include <limits.h>
#include <mpi.h>
#include <mproc/error.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct world world = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Those on their way. */
static struct parcel *sendings;

int64_t world_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

int world_fail(const char *format, ...)
{
    va_list arguments;
    if (world.is_over)
        return MPROC_E_SERVER_GONE;
    world.is_over = world.has_failed = true;
    va_start(arguments, format);
    vsnprintf(world.message, sizeof world.message, format, arguments);
    va_end(arguments);
    return MPROC_E_SERVER_GONE;
}

static int check(int result, const char *what)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    if (result == MPI_SUCCESS)
        return 0;
    MPI_Error_string(result, text, &length);
    return world_fail("MPI: %s: %.180s", what, text);
}

int world_begin(void)
{
    int provided, initialised, finalised;
    MPI_Initialized(&initialised);
    MPI_Finalized(&finalised);
    if (finalised)
        return world_fail("MPI has been finalised already");
    if (!initialised && MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS)
        return world_fail("MPI cannot be initialised: start the program with mpirun");
    MPI_Query_thread(&provided);
    if (provided < MPI_THREAD_SERIALIZED)
        return world_fail("this MPI cannot be used by more than one thread (MPI_THREAD_SERIALIZED)");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &world.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &world.size);
    world.is_ready = true;
    if (world.size < 2)
        return world_fail(
            "there is one rank only, and rank 0 runs no tasks: start the program with mpirun -n 2 or more");
    return 0;
}

/* ---- parcels */

_Static_assert(sizeof(MPI_Request) <= sizeof(void *), "it is kept in a pointer");
_Static_assert(offsetof(struct parcel, data) == offsetof(struct parcel, head) + sizeof(struct head), "both are sent");

static MPI_Request *request_of(struct parcel *parcel)
{
    return (MPI_Request *)(void *)&parcel->request;
}

struct parcel *world_make_parcel(struct head head, size_t size)
{
    struct parcel *parcel = malloc(sizeof *parcel + size);
    if (parcel)
        *parcel = (struct parcel) { .owners = 1, .size = size, .head = head };
    return parcel;
}

void world_drop_parcel(struct parcel *parcel)
{
    if (--parcel->owners == 0)
        free(parcel);
}

/* Drops what has been sent. */
static int look_after_sendings(void)
{
    for (struct parcel **link = &sendings; *link;) {
        struct parcel *parcel = *link;
        int is_gone;
        int err = check(MPI_Test(request_of(parcel), &is_gone, MPI_STATUS_IGNORE), "sending");
        if (err)
            return err;
        if (is_gone) {
            *link = parcel->next;
            world_drop_parcel(parcel);
        } else {
            link = &parcel->next;
        }
    }
    return 0;
}

void world_end(void)
{
    int finalised;
    MPI_Finalized(&finalised);
    for (int64_t until = world_now() + INT64_C(2000000000); sendings && world_now() < until;)
        if (look_after_sendings() != 0)
            break;
    world.is_over = true;
    if (world.is_ready && !finalised && world.has_failed && world.size > 1)
        MPI_Abort(MPI_COMM_WORLD, 1); /* MPI_Finalize would wait for ranks that are gone, or serve on */
    else if (world.is_ready && !finalised)
        MPI_Finalize();
}

static int post_parcel(int rank, enum tag tag, struct parcel *parcel)
{
    size_t size = sizeof parcel->head + parcel->size;
    if (parcel->size > INT_MAX - sizeof parcel->head)
        return world_fail("%zu bytes are more than a message can have: have tasks take less at once", parcel->size);
    int err =
        check(MPI_Isend(&parcel->head, (int)size, MPI_BYTE, rank, tag, MPI_COMM_WORLD, request_of(parcel)), "sending");
    if (err) /* otherwise look_after_sendings tests for its end */
        return err;
    parcel->owners++;
    parcel->next = sendings;
    sendings = parcel;
    return 0;
}

static int post(int rank, enum tag tag, struct head head, const void *data, size_t size)
{
    struct parcel *parcel = world_make_parcel(head, size);
    if (!parcel)
        return -EAGAIN;
    if (size > 0)
        memcpy(parcel->data, data, size);
    int err = post_parcel(rank, tag, parcel);
    world_drop_parcel(parcel);
    return err;
}

int world_send_parcel(int rank, enum tag tag, struct parcel *parcel)
{
    return world.is_over ? MPROC_E_SERVER_GONE : post_parcel(rank, tag, parcel);
}

int world_send(int rank, enum tag tag, struct head head, const void *data, size_t size)
{
    return world.is_over ? MPROC_E_SERVER_GONE : post(rank, tag, head, data, size);
}

/* MPI_Abort alone does not end the others where mpirun was told to go on without a rank. */
void world_quit(void)
{
    for (int i = 1; i < world.size; i++)
        post(i, TAG_QUIT, (struct head) { 0, world.has_failed }, NULL, 0);
}

int world_receive(struct message *message)
{
    int is_there, size;
    MPI_Status status;
    int err = world.is_over ? MPROC_E_SERVER_GONE : look_after_sendings();
    if (!err)
        err = check(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &is_there, &status), "receiving");
    if (err || !is_there)
        return err;
    MPI_Get_count(&status, MPI_BYTE, &size);
    if (size < (int)sizeof message->head)
        return world_fail("rank %d has sent what is not understood", status.MPI_SOURCE);
    *message = (struct message) { .rank = status.MPI_SOURCE, .tag = (enum tag)status.MPI_TAG };
    message->data = malloc((size_t)size);
    if (!message->data)
        return -EAGAIN;
    err = check(
        MPI_Recv(message->data, size, MPI_BYTE, status.MPI_SOURCE, status.MPI_TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE),
        "receiving");
    if (err) {
        free(message->data);
        return err;
    }
    memcpy(&message->head, message->data, sizeof message->head);
    message->size = (size_t)size - sizeof message->head;
    return 1;
}

void world_drop(struct message *message)
{
    free(message->data);
    message->data = NULL;
}
