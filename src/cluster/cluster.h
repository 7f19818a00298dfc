/* The caller's side of a pool over several machines. SPDX-License-Identifier: MIT
 *
 * One thread, the dispatcher, does all of it. It is to the pool what workers are: it claims items of the jobs on the
 * board (pool/board.h), but sends them off in batches, and ends them when their results come. A batch that is on its
 * way is a flight. As jobs' memory is only given up when nobody is in it, the dispatcher marks jobs that it has flights
 * of, or looks at, as supervised (pool/shared.h): a cluster's pool has no supervisor.
 */
#ifndef CLUSTER_CLUSTER_H
#define CLUSTER_CLUSTER_H

#include "cluster/engine.h"
#include "pool/pool.h"

#include <pthread.h>

enum {
    FLIGHTS_MOST = 1024, /* also what a pool has when all its machines have 512 workers */
    MACHINES_MOST = 256,
    SLOTS_OF_MACHINES = 256,
};

/* Bytes of inputs on their way, as long as there is more than one flight. */
#define FLIGHT_BYTES_MOST ((size_t)64 << 20)

/* Nanoseconds: what the server did not take is tried again after so long. */
#define FLIGHT_RETRY_AFTER INT64_C(50000000)

/* The dispatcher's own, but for what is said. */
struct flight {
    uint64_t number; /* 0: none */
    struct job *job;
    uint32_t first, count;
    unsigned load; /* its part of cluster.load */
    size_t bytes;
    int64_t not_before; /* when it may be sent */
    bool sent, cancelled;
    bool doubtful; /* not sent; but it was, and may arrive even when the server has forgotten what came before */
};

/* How fast the items of a job are, and how large: it says how many make a batch. */
struct pace {
    const struct job *job;
    int64_t submitted; /* as the job's, so that another one in its memory is not taken for it */
    uint32_t want, least;
    int64_t took; /* its last batch, on its machine; 0: none has come */
    uint32_t flights;
    size_t input_bytes, output_bytes; /* of an item that is bytes, in the last batch */
};

struct cluster {
    struct pool *pool;
    const struct mproc_engine *engine;
    void *connection;
    struct cluster_access access;
    pthread_t thread;
    int event;       /* eventfd: there is something to look at */
    uint64_t digest; /* of the program as it was when the pool opened */

    struct flight flights[FLIGHTS_MOST];
    unsigned flights_used; /* no flight from here on */
    unsigned flights_count;
    unsigned load; /* of all of them */
    size_t flight_bytes;
    uint64_t last_number;
    struct pace paces[POOL_JOBS];  /* by the job's index */
    struct worker_slot *claimer;   /* its claim is not looked at: nobody takes over from a thread that died */
    unsigned workers;              /* of machines of this build */
    int64_t batch_took;            /* the last one, on its machine */
    _Atomic(struct job *) reading; /* whose inputs are being read; see leave_inputs of backend.c */
    int64_t next_tend, next_machines, without_machines; /* since when; 0: there are some */

    _Atomic uint32_t stopping; /* set by whoever stops the pool */
    _Atomic uint32_t gone;     /* set by the dispatcher: it does not touch a job any more */

    pthread_mutex_t lock; /* guards what follows */
    struct mproc_engine_machine machines[MACHINES_MOST];
    unsigned machines_count;
    char names[SLOTS_OF_MACHINES][MPROC_MACHINE_NAME_SIZE]; /* which machine a worker's slot stands for */
    unsigned names_count;
    char message[MPROC_ENGINE_MESSAGE_SIZE + 80]; /* why it broke */
};

/* ---- flights.c */

/* Takes items off the board, and sends them, as long as there is room. */
void cluster_send(struct cluster *cluster);

/* Sends what was not sent, or has to be again. Returns false when it is not the time. */
bool cluster_send_again(struct cluster *cluster);

/* Tells machines of calls that were cancelled. */
void cluster_pass_on_cancels(struct cluster *cluster);

struct flight *cluster_find_flight(struct cluster *cluster, uint64_t number);

/* The items of the flight have ended. */
void cluster_land(struct cluster *cluster, struct flight *flight);

/* Ends those that have not, and lands. */
void cluster_end_flight(struct cluster *cluster, struct flight *flight, enum mproc_outcome_kind kind);

/* With the pool broken or terminated: the items are lost, and the calls return why. */
void cluster_lose_all_flights(struct cluster *cluster);

/* True if the job may be run again after the machine that had it is lost. */
bool cluster_is_repeatable(const struct job *job);

/* ---- results.c */

extern const struct mproc_engine_results cluster_results;

/* ---- machines.c */

/* Asks the engine. Returns 0 or an error that ends the pool. */
int cluster_look_at_machines(struct cluster *cluster);

/* The worker's slot of a machine of that name, made if need be. */
unsigned cluster_slot_of(struct cluster *cluster, const char *machine);

/* Breaks the pool. */
void cluster_fail(struct cluster *cluster, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
