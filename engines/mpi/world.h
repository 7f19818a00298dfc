/* The engine on MPI: what rank 0, where the pools are, and the other ranks, which are agents, send each other.
 * SPDX-License-Identifier: MIT
 *
 * All calls of MPI are made under one lock (MPI_THREAD_SERIALIZED), and none of them waits: receiving is probing, and
 * what is sent stays in a list until it is gone. A rank is never replaced: if one is not heard of for its lease, all
 * pools break, as MPI itself would have it.
 */
#ifndef MPI_WORLD_H
#define MPI_WORLD_H

#include <mproc/engine.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Messages to agents, and from them. */
enum tag { TAG_OPEN = 1, TAG_BATCH, TAG_CANCEL, TAG_CLOSE, TAG_QUIT, TAG_MACHINE, TAG_RESULT };

/* In front of each message. The number of TAG_QUIT: whether the world has failed. */
struct head {
    uint64_t pool, number;
};

struct message {
    int rank;
    enum tag tag;
    struct head head;
    char *data; /* malloc's, with the head in front of it: to be freed by world_drop */
    size_t size;
};

struct world {
    pthread_mutex_t lock;
    int rank, size;
    bool is_ready, is_over;
    bool has_failed;                         /* some ranks may not come to the end */
    char message[MPROC_ENGINE_MESSAGE_SIZE]; /* why it is over */
};

extern struct world world;

/* Nanoseconds. */
int64_t world_now(void);

/* Begins, once in a process; waits for all ranks. Under the lock. Returns 0 or an error, with the message set. */
int world_begin(void);

/* Ends, when all ranks do. Under the lock. */
void world_end(void);

/* Tells all other ranks to end, even if it is over already. Under the lock. */
void world_quit(void);

/* What is sent, and may be kept meanwhile: whoever has it drops it. Under the lock. */
struct parcel {
    struct parcel *next; /* of those on their way */
    void *request;
    unsigned owners;
    size_t size; /* of the data */
    struct head head;
    char data[];
};

/* NULL: there is no memory. */
struct parcel *world_make_parcel(struct head head, size_t size);
void world_drop_parcel(struct parcel *parcel);

/* Returns 0 or an error. The parcel stays the caller's, too, and may not change. Under the lock. */
int world_send_parcel(int rank, enum tag tag, struct parcel *parcel);

/* The same with a copy. */
int world_send(int rank, enum tag tag, struct head head, const void *data, size_t size);

/* Gives the next message. Returns 1, 0 if there is none, or an error. Under the lock. */
int world_receive(struct message *message);
void world_drop(struct message *message);

/* Says why the world is over. Returns MPROC_E_SERVER_GONE. Under the lock. */
int world_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- pools.c: rank 0 */

struct mpi_pool;

int pools_open(struct mpi_pool **pool, const struct mproc_engine_options *options);
void pools_close(struct mpi_pool *pool);
int pools_begin(struct mpi_pool *pool, const void *description, size_t size);
int pools_submit(struct mpi_pool *pool, const struct mproc_engine_batch *batch);
int pools_results(struct mpi_pool *pool, const struct mproc_engine_results *results, void *context);
int pools_cancel(struct mpi_pool *pool, uint64_t number);
int pools_machines(struct mproc_engine_machine *machines, int most);
int pools_tend(struct mpi_pool *pool);

#endif
