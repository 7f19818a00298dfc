/* The pools that an agent serves. SPDX-License-Identifier: MIT */
#include "cluster/agent.h"
#include "os/thread.h"
#include "process/registry.h"

#include <errno.h>
#include <mproc/error.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
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
static void open_local(struct session *session, const struct description *description)
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
    if (err) {
        session->failure = err;
        snprintf(session->reason, sizeof session->reason, "%s", error.message);
    }
    free(inputs[0]);
    free(inputs[1]);
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
    open_local(session, &description); /* if it fails, the pool is told with its first batch */
    session->next = agent->sessions;
    agent->sessions = session;
    return true;
}

/* ---- ending */

/* A local pool whose workers end, in a thread of its own: finalizers may take long, and leases do not wait. */
struct closing {
    struct closing *next;
    pthread_t thread;
    mproc_pool *local;
    struct agent_batch *batches; /* that nobody needs any more. The pool calls back for them until it is closed */
    _Atomic bool is_done;
};

static void free_batches(struct agent_batch *batches)
{
    while (batches) {
        struct agent_batch *batch = batches;
        batches = batch->next;
        agent_free_batch(batch);
    }
}

static void close_local(struct closing *closing)
{
    if (closing->batches)
        mproc_pool_terminate(closing->local);
    else
        mproc_pool_close(closing->local);
    free_batches(closing->batches);
    atomic_store(&closing->is_done, true);
}

static void *close_in_thread(void *closing)
{
    close_local(closing);
    return NULL;
}

static void reap_closings(struct agent *agent, bool all)
{
    for (struct closing **link = &agent->closings; *link;) {
        struct closing *closing = *link;
        if (!all && !atomic_load(&closing->is_done)) {
            link = &closing->next;
            continue;
        }
        pthread_join(closing->thread, NULL);
        *link = closing->next;
        free(closing);
    }
}

void agent_wait_for_closings(struct agent *agent)
{
    reap_closings(agent, true);
}

static void begin_closing(struct agent *agent, mproc_pool *local, struct agent_batch *batches)
{
    struct closing *closing = calloc(1, sizeof *closing), here = { .local = local, .batches = batches };
    if (closing) {
        *closing = here;
        if (os_thread_start(&closing->thread, close_in_thread, closing) == 0) {
            closing->next = agent->closings;
            agent->closings = closing;
            return;
        }
        free(closing);
    }
    close_local(&here);
}

void agent_end_session(struct agent *agent, struct session *session)
{
    struct session **link = &agent->sessions;
    while (*link != session)
        link = &(*link)->next;
    *link = session->next;
    reap_closings(agent, false);
    for (const struct agent_batch *batch = session->batches; batch; batch = batch->next)
        agent->batches--;
    if (session->local)
        begin_closing(agent, session->local, session->batches);
    else
        free_batches(session->batches);
    free(session);
}

static void closed(void *context, uint64_t pool)
{
    struct session *session = agent_find_session(context, pool);
    if (session)
        agent_end_session(context, session);
}

static bool batch(void *context, uint64_t pool, uint64_t number, const void *data, size_t size)
{
    struct session *session = agent_find_session(context, pool);
    return session && agent_begin_batch(session, number, data, size);
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
