/* What carries a cluster's work: the interface of engines. SPDX-License-Identifier: MIT
 *
 * Programs do not need this header; who writes an engine does. An engine is a library of its own, libmproc-NAME.so,
 * that is loaded for URLs of the scheme NAME. It exports one struct mproc_engine, named mproc_engine, and brings
 * *batches* (some items of a call, as bytes) from a pool to machines, and what became of them back. It knows nothing of
 * tasks.
 *
 * A pool and an agent each have one connection, which one thread uses. Between the two:
 * - a batch is fetched by one agent at a time, which holds it by a *lease*: if it is not heard of for .lease, the batch
 *   is fetched again by another one, as often as it may be begun, or else reported as lost;
 * - of all that say that they have completed a batch, the first one counts, and the others are dropped.
 *
 * Functions return 0 (or what is said), or a negative error, with the connection's message set. Errors that end a
 * connection's use are MPROC_E_SERVER_GONE, MPROC_E_SERVER_REFUSES and MPROC_E_WIRE; -EAGAIN means: not now, later.
 */
#ifndef MPROC_ENGINE_H
#define MPROC_ENGINE_H

#include <mproc/export.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MPROC_ENGINE_VERSION = 1,
    MPROC_MACHINE_NAME_SIZE = 64,     /**< bytes, with the terminating NUL */
    MPROC_ENGINE_MESSAGE_SIZE = 240,  /**< bytes, with the terminating NUL */
    MPROC_ENGINE_LEASES = 1,          /**< capability: machines and their loss are noticed, and their batches freed */
    MPROC_ENGINE_REPLACES_SERVER = 2, /**< capability: the server may go and come back */
    MPROC_ENGINE_IS_STARTED_WITH_ALL = 4, /**< all processes begin and end together, and may not fork afterwards */
};

/** How to connect. */
struct mproc_engine_options {
    size_t size;      /**< sizeof(struct mproc_engine_options) */
    const char *url;  /**< as the user gave it */
    const char *user; /**< the following: NULL if they were not given */
    const char *password;
    const char *ca_file;
    const char *certificate_file;
    const char *key_file;
    const char *name; /**< of an agent; NULL: a pool's connection */
    int64_t lease;    /**< nanoseconds after which a machine that is not heard of is taken for dead */
    int64_t patience; /**< nanoseconds that the server may be away, or full */
    char *message;    /**< MPROC_ENGINE_MESSAGE_SIZE bytes, for open alone: why it failed */
};

/** Items of a call. */
struct mproc_engine_batch {
    uint64_t number;  /**< of the pool's, above all before it, but for one that is submitted again */
    unsigned times;   /**< how often it may be begun, if machines are lost: 1 or more */
    const void *head; /**< the batch is these bytes ... */
    size_t head_size;
    const void *data; /**< ... and these */
    size_t size;
};

/** What an agent says of its machine. */
struct mproc_engine_machine {
    char name[MPROC_MACHINE_NAME_SIZE];
    uint64_t digest;  /**< of its program's tasks */
    uint32_t workers; /**< that it has */
    uint32_t running; /**< batches */
    uint64_t items, unsuccessful;
    int64_t busy; /**< nanoseconds that its workers have worked */
};

/** Why a batch that was submitted is not on its way. */
enum mproc_engine_rejection {
    MPROC_ENGINE_NOT_TAKEN, /**< nobody has it or had it: it may be submitted under a new number */
    MPROC_ENGINE_DOUBTFUL,  /**< maybe it is on its way: it has to be submitted under the same number, in order */
    MPROC_ENGINE_GONE,      /**< it is not any more, and may have been begun */
};

/** What comes to a pool. */
struct mproc_engine_results {
    /** A batch was completed by a machine. */
    void (*completed)(void *context, uint64_t number, const void *data, size_t size);
    /** A batch was on a machine that is lost, and may not be begun once more. */
    void (*lost)(void *context, uint64_t number);
    /** A batch is not where it was submitted to, or may not be. */
    void (*rejected)(void *context, uint64_t number, enum mproc_engine_rejection why);
    /** The server has forgotten everything: nothing that was submitted is there any more. */
    void (*forgotten)(void *context);
};

/** What comes to an agent. */
struct mproc_engine_tasks {
    /** A pool has opened. Returns whether the agent serves it. */
    bool (*opened)(void *context, uint64_t pool, const void *description, size_t size);
    /** Returns false if there is no memory for it: then it is not the agent's. */
    bool (*batch)(void *context, uint64_t pool, uint64_t number, const void *data, size_t size);
    /** The pool does not need the batch any more. May come more than once. */
    void (*cancelled)(void *context, uint64_t pool, uint64_t number);
    void (*closed)(void *context, uint64_t pool);
};

struct mproc_engine {
    uint32_t version; /**< MPROC_ENGINE_VERSION */
    uint32_t capabilities;

    /** Connects, within .patience. */
    int (*open)(void **connection, const struct mproc_engine_options *options);
    /** Of a pool: takes along what it has on the server. */
    void (*close)(void *connection);
    /** Why the last call failed. Lasts until the next call. */
    const char *(*message)(const void *connection);
    /** To poll for input: fills up to `most` descriptors, returns how many. 0: there are none, look now and then. */
    int (*descriptors)(const void *connection, int *descriptors, int most);
    /** To be called at least four times in .lease: shows that this side lives, renews leases, connects again. */
    int (*tend)(void *connection);

    /** A pool begins. `description`: for agents. */
    int (*begin)(void *connection, const void *description, size_t size);
    /** -EAGAIN: not connected, or too much on its way. */
    int (*submit)(void *connection, const struct mproc_engine_batch *batch);
    /** Delivers what has come. Does not wait. */
    int (*results)(void *connection, const struct mproc_engine_results *results, void *context);
    /** The batch is of no use any more. */
    int (*cancel)(void *connection, uint64_t number);
    /** The machines that live. Returns how many there are; fills at most `most`. */
    int (*machines)(void *connection, struct mproc_engine_machine *machines, int most);

    /** Says how the agent's machine is. */
    int (*announce)(void *connection, const struct mproc_engine_machine *self);
    /** Takes up to about `most` batches (0: only news of pools). Does not wait. MPROC_E_CLOSED: the other side has
     * ended, and so may the agent. */
    int (*fetch)(void *connection, unsigned most, const struct mproc_engine_tasks *tasks, void *context);
    /** A batch is done. Returns 0, also if somebody else's result was first; or -EAGAIN: say it again later. */
    int (*complete)(void *connection, uint64_t pool, uint64_t number, const void *data, size_t size);
};

#endif
