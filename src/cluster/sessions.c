/* The pools that an agent serves. SPDX-License-Identifier: MIT */
#include "cluster/agent.h"
#include "process/registry.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct session *agent_find_session(struct agent *agent, uint64_t pool)
{
    struct session *session = agent->sessions;
    while (session && session->pool != pool)
        session = session->next;
    return session;
}

static struct mproc_worker_task worker_task(const struct worker_task_message *message, char **input)
{
    struct mproc_worker_task task = { .name = NULL };
    if (message->name[0] == '\0')
        return task;
    *input = malloc(message->input_size + 1); /* aligned, unlike what came */
    if (!*input)
        return task;
    memcpy(*input, message->input, message->input_size);
    return (struct mproc_worker_task) {
        .name = message->name,
        .input = *input,
        .input_size = message->input_size,
        .state_size = message->state_size,
    };
}

/* By fork, which is the cheapest; through the fork server where the program, or the engine, has threads. */
static int open_local(struct session *session, const struct description *description)
{
    char *inputs[2] = { NULL, NULL };
    struct mproc_error error = { .message = "" };
    unsigned workers = session->agent->self.workers;
    if (description->workers_most > 0 && description->workers_most < workers)
        workers = description->workers_most;
    struct mproc_pool_open_arguments arguments = {
        .size = sizeof arguments,
        .pool = &session->local,
        .workers = (int)workers,
        .workers_least = (int)(description->workers_least < workers ? description->workers_least : workers),
        .idle_timeout = description->idle_timeout,
        .name = description->name,
        .initializer = worker_task(&description->initializer, &inputs[0]),
        .finalizer = worker_task(&description->finalizer, &inputs[1]),
        .items_per_worker = description->items_per_worker,
        .memory_limit = description->memory_limit,
        .memory_kill = description->memory_kill,
        .pin = description->pin,
        .nice = description->nice,
        .start_failures = description->start_failures,
        .ask_grace = description->ask_grace,
        .terminate_grace = description->terminate_grace,
        .error = &error,
    };
    bool may_fork = !(session->agent->engine->capabilities & MPROC_ENGINE_IS_STARTED_WITH_ALL);
    int err = may_fork ? mproc_pool_open_with(&arguments) : MPROC_E_THREADED_FORK;
    if (err == MPROC_E_THREADED_FORK) {
        arguments.method = MPROC_FORKSERVER;
        err = mproc_pool_open_with(&arguments);
    }
    if (err)
        fprintf(stderr, "mproc agent: a pool of '%s' is not served: %s\n", description->program, error.message);
    free(inputs[0]);
    free(inputs[1]);
    return err;
}

static bool opened(void *context, uint64_t pool, const void *data, size_t size)
{
    static struct description description;
    struct agent *agent = context;
    if (agent_find_session(agent, pool))
        return true;
    if (agent->leaving || !description_read(&description, data, size) || description.digest != agent->digest)
        return false;
    struct session *session = calloc(1, sizeof *session);
    if (!session)
        return false;
    session->agent = agent;
    session->pool = pool;
    session->family = description.family;
    if (open_local(session, &description) != 0) {
        free(session);
        return false;
    }
    session->next = agent->sessions;
    agent->sessions = session;
    return true;
}

void agent_end_session(struct agent *agent, struct session *session)
{
    struct session **link = &agent->sessions;
    while (*link != session)
        link = &(*link)->next;
    *link = session->next;
    if (session->batches)
        mproc_pool_terminate(session->local);
    else
        mproc_pool_close(session->local);
    while (session->batches) {
        struct agent_batch *batch = session->batches;
        session->batches = batch->next;
        agent->batches--;
        agent_free_batch(batch);
    }
    free(session);
}

static void closed(void *context, uint64_t pool)
{
    struct session *session = agent_find_session(context, pool);
    if (session)
        agent_end_session(context, session);
}

static void batch(void *context, uint64_t pool, uint64_t number, const void *data, size_t size)
{
    struct session *session = agent_find_session(context, pool);
    if (session)
        agent_begin_batch(session, number, data, size);
}

static void cancelled(void *context, uint64_t pool, uint64_t number)
{
    struct session *session = agent_find_session(context, pool);
    if (session)
        agent_cancel_batch(session, number);
}

const struct mproc_engine_tasks agent_tasks = {
    .opened = opened,
    .batch = batch,
    .cancelled = cancelled,
    .closed = closed,
};
