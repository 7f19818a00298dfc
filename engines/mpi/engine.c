/* The engine on MPI: its interface, and the side of the agents. SPDX-License-Identifier: MIT */
#include "world.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct connection {
    struct mpi_pool *pool; /* NULL: an agent's */
    bool quit;
    uint64_t *served; /* an agent's pools */
    size_t served_count;
};

static void lock(void)
{
    pthread_mutex_lock(&world.lock);
}

static int unlock(int result)
{
    pthread_mutex_unlock(&world.lock);
    return result;
}

/* ---- both */

/* Rank 0 ends with its program, so that pools may come and go; threads may be in calls for ever. */
static void end_with_program(void)
{
    lock();
    world_quit();
    world_end();
    unlock(0);
}

static int begin_once(void)
{
    if (world.is_over)
        return MPROC_E_SERVER_GONE;
    if (world.is_ready)
        return 0;
    int err = world_begin();
    if (world.is_ready && world.rank == 0)
        atexit(end_with_program);
    return err;
}

static int check_role(bool is_agent)
{
    if (is_agent == (world.rank > 0))
        return 0;
    snprintf(world.message, sizeof world.message,
             is_agent ? "rank 0 is the one that has the pools, and no agent" : "only rank 0 can open a pool on MPI");
    return -EINVAL;
}

static int open_connection(void **opened, const struct mproc_engine_options *options)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (!connection)
        return -ENOMEM;
    lock();
    int err = begin_once();
    if (!err)
        err = check_role(options->name != NULL);
    if (!err && world.rank == 0)
        err = pools_open(&connection->pool, options);
    if (err) {
        snprintf(options->message, MPROC_ENGINE_MESSAGE_SIZE, "%s", world.message);
        free(connection);
    } else {
        *opened = connection;
    }
    return unlock(err);
}

static void close_connection(void *opened)
{
    struct connection *connection = opened;
    lock();
    if (connection->pool)
        pools_close(connection->pool);
    else
        world_end();
    unlock(0);
    free(connection->served);
    free(connection);
}

static const char *message(const void *connection)
{
    (void)connection;
    return world.message[0] ? world.message : "MPI has ended";
}

static int descriptors(const void *connection, int *descriptors, int most)
{
    (void)connection;
    (void)descriptors;
    (void)most;
    return 0;
}

/* ---- pools */

static int begin(void *connection, const void *description, size_t size)
{
    lock();
    return unlock(pools_begin(((struct connection *)connection)->pool, description, size));
}

static int submit(void *connection, const struct mproc_engine_batch *batch)
{
    lock();
    return unlock(pools_submit(((struct connection *)connection)->pool, batch));
}

static int results(void *connection, const struct mproc_engine_results *calls, void *context)
{
    lock();
    return unlock(pools_results(((struct connection *)connection)->pool, calls, context));
}

static int cancel(void *connection, uint64_t number)
{
    lock();
    return unlock(pools_cancel(((struct connection *)connection)->pool, number));
}

static int machines(void *connection, struct mproc_engine_machine *found, int most)
{
    (void)connection;
    lock();
    return unlock(pools_machines(found, most));
}

/* ---- agents */

static int announce(void *connection, const struct mproc_engine_machine *self)
{
    (void)connection;
    lock();
    return unlock(world_send(0, TAG_MACHINE, (struct head) { 0, 0 }, self, sizeof *self));
}

static bool is_served(const struct connection *connection, uint64_t pool)
{
    for (size_t i = 0; i < connection->served_count; i++)
        if (connection->served[i] == pool)
            return true;
    return false;
}

static void add_served(struct connection *connection, uint64_t pool)
{
    uint64_t *larger = realloc(connection->served, (connection->served_count + 1) * sizeof *larger);
    if (!larger)
        return;
    connection->served = larger;
    larger[connection->served_count++] = pool;
}

static void drop_served(struct connection *connection, uint64_t pool)
{
    for (size_t i = 0; i < connection->served_count; i++)
        if (connection->served[i] == pool)
            connection->served[i] = connection->served[--connection->served_count];
}

static void refuse(uint64_t pool, uint64_t number)
{
    lock();
    unlock(world_send(0, TAG_RESULT, (struct head) { pool, number }, NULL, 0));
}

static void hand_over(struct connection *connection, const struct message *message,
                      const struct mproc_engine_tasks *tasks, void *context)
{
    const char *data = message->data + sizeof message->head;
    uint64_t pool = message->head.pool;
    switch (message->tag) {
    case TAG_OPEN:
        if (tasks->opened(context, pool, data, message->size))
            add_served(connection, pool);
        break;
    case TAG_BATCH:
        if (!is_served(connection, pool) || !tasks->batch(context, pool, message->head.number, data, message->size))
            refuse(pool, message->head.number);
        break;
    case TAG_CANCEL: tasks->cancelled(context, pool, message->head.number); break;
    case TAG_CLOSE:
        drop_served(connection, pool);
        tasks->closed(context, pool);
        break;
    case TAG_QUIT:
        connection->quit = true;
        lock();
        world.has_failed |= message->head.number != 0;
        unlock(0);
        break;
    default: break;
    }
}

/* Rank 0 sends no more than there is room for. */
static int fetch(void *opened, unsigned most, const struct mproc_engine_tasks *tasks, void *context)
{
    struct connection *connection = opened;
    (void)most;
    for (;;) {
        struct message message;
        lock();
        int result = unlock(world_receive(&message));
        if (result != 1)
            return result ? result : connection->quit ? MPROC_E_CLOSED : 0;
        hand_over(connection, &message, tasks, context);
        world_drop(&message);
    }
}

static int complete(void *connection, uint64_t pool, uint64_t number, const void *data, size_t size)
{
    (void)connection;
    lock();
    return unlock(world_send(0, TAG_RESULT, (struct head) { pool, number }, data, size));
}

static int tend(void *opened)
{
    struct connection *connection = opened;
    if (!connection->pool)
        return 0; /* it announces itself */
    lock();
    return unlock(pools_tend(connection->pool));
}

__attribute__((visibility("default"))) extern const struct mproc_engine mproc_engine;

const struct mproc_engine mproc_engine = {
    .version = MPROC_ENGINE_VERSION,
    .capabilities = MPROC_ENGINE_IS_STARTED_WITH_ALL,
    .open = open_connection,
    .close = close_connection,
    .message = message,
    .descriptors = descriptors,
    .tend = tend,
    .begin = begin,
    .submit = submit,
    .results = results,
    .cancel = cancel,
    .machines = machines,
    .announce = announce,
    .fetch = fetch,
    .complete = complete,
};
