/* An agent: serves pools of other machines with the workers of this one. SPDX-License-Identifier: MIT */
#ifndef CLUSTER_AGENT_H
#define CLUSTER_AGENT_H

#include "cluster/engine.h"
#include "cluster/messages.h"

#include <mproc/cluster.h>
#include <mproc/future.h>
#include <mproc/pool.h>

struct closing;
struct session;

/* A batch that this machine has. */
struct agent_batch {
    struct agent_batch *next;
    struct session *session;
    uint64_t number;
    int64_t arrived;
    struct batch_message message; /* but for its inputs */
    const struct mproc_task *task;
    mproc_future *future;
    int failure;      /* why its items cannot be run */
    int pool_failure; /* why nothing of its pool can be run here */
    bool is_done;
    struct writer result; /* once it is done */
};

/* A pool that is served. */
struct session {
    struct session *next;
    struct agent *agent;
    uint64_t pool;
    uint64_t family;
    mproc_pool *local; /* NULL: it could not be opened */
    int failure;       /* why not */
    char reason[MPROC_ERROR_MESSAGE_SIZE];
    struct agent_batch *batches;
};

struct agent {
    const struct mproc_engine *engine;
    void *connection;
    struct cluster_access access;
    struct mproc_engine_machine self;
    uint64_t digest, family;
    struct session *sessions;
    struct closing *closings; /* local pools that are being closed */
    unsigned batches;         /* in hand */
    int64_t batch_took;       /* the last one */
    struct asking asking;
    bool leaving;
};

/* ---- agent.c */

/* False if the text is no number of workers. */
bool agent_read_workers(const char *text, int *workers);

/* Is an agent, and nothing else, to the end of the process. */
_Noreturn void agent_serve(const char *program, struct mproc_agent_arguments *arguments);

/* ---- sessions.c */

extern const struct mproc_engine_tasks agent_tasks;

struct session *agent_find_session(struct agent *agent, uint64_t pool);

/* Ends it, with what it has in hand. Its workers end meanwhile: those of others must not wait for their finalizers. */
void agent_end_session(struct agent *agent, struct session *session);

/* Waits until all workers have ended. */
void agent_wait_for_closings(struct agent *agent);

/* ---- batches.c */

/* Begins what came. */
/* False: there is no memory. */
bool agent_begin_batch(struct session *session, uint64_t number, const void *data, size_t size);
void agent_cancel_batch(struct session *session, uint64_t number);

/* Calls back for what has ended, and sends results. Returns 0, or an error of the connection. */
int agent_send_results(struct agent *agent);

void agent_free_batch(struct agent_batch *batch);

#endif
