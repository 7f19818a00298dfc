/* Pools over several machines. SPDX-License-Identifier: MIT
 *
 *     mproc_pool_open(&pool, .cluster = "redis://farm.example/render");
 *
 * opens a pool whose workers are on all machines on which an agent of the same program serves that URL:
 *
 *     ./prog --mproc-agent redis://farm.example/render
 *
 * which mproc_init, called first thing in main, turns into an agent. All calls of pools stay. What differs is that
 * machines do not see this one's memory, not even the shared heap, so that inputs and results travel as bytes, and
 * that a machine may be lost while it runs a task: see "What differs on a cluster" in the manual.
 */
#ifndef MPROC_CLUSTER_H
#define MPROC_CLUSTER_H

#include <mproc/export.h>
#include <mproc/outcome.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** How to reach a cluster. Zero means the default; NULL means what the environment says, if it does. */
struct mproc_cluster_options {
    const char *user;             /**< of the server's access list; default: the URL's, or $MPROC_CLUSTER_USER */
    const char *password;         /**< default: the URL's, or $MPROC_CLUSTER_PASSWORD, or what is in the file
                                     $MPROC_CLUSTER_PASSWORD_FILE */
    const char *ca_file;          /**< certificates in PEM that the server's is checked against; default:
                                     $MPROC_CLUSTER_CA, or the system's */
    const char *certificate_file; /**< the client's, in PEM; default: $MPROC_CLUSTER_CERTIFICATE, or none */
    const char *key_file;         /**< its key; default: $MPROC_CLUSTER_KEY */
    int64_t lease;    /**< nanoseconds after which a machine that is not heard of is taken for lost; default 5 s */
    int64_t patience; /**< nanoseconds that the server may be away, or no machine be there, until the pool breaks;
                         default 30 s */
};

/** Arguments of mproc_agent_run. Zero means the default. */
struct mproc_agent_arguments {
    size_t size;      /**< sizeof(struct mproc_agent_arguments); the macro fills it */
    const char *url;  /**< what the pool's .cluster says */
    int workers;      /**< on this machine; default mproc_cpu_count() */
    const char *name; /**< no other agent of the URL may have it; default: the host's name and the process's id */
    struct mproc_cluster_options cluster_options; /**< as the pool's */
    struct mproc_error *error;                    /**< filled when the call fails; may be NULL */
};

/** Of a machine that serves a pool. */
struct mproc_machine_statistics {
    char name[64];         /**< the agent's */
    bool same_build;       /**< it has the same tasks as this program; if not, it is given none */
    int worker;            /**< what outcomes of its items say; -1: this pool has none yet */
    int workers;           /**< that it has */
    int running;           /**< batches of items that it has in hand, of all pools */
    uint64_t items;        /**< that it has ended, of all pools */
    uint64_t unsuccessful; /**< of these */
    int64_t busy;          /**< nanoseconds that its workers have worked on them, together */
};

struct mproc_pool;

MPROC_BEGIN_DECLARATIONS

/** mproc_agent_run("redis://host/farm", .workers = 4, ...) makes this process an agent, which runs tasks for pools of
 * that URL, until it gets SIGTERM or SIGINT: then it takes nothing more, finishes what it has, and returns 0. That is
 * what mproc_init does for --mproc-agent, and on MPI for all ranks but 0; call it yourself for options of your own. For
 * each pool it has a local pool with that pool's options, so that a task that crashes costs an item and not the
 * machine. If the process has other threads, the local pools' processes come from the server that mproc_init had
 * forked.
 *
 * Blocks. Not to be called by two threads of one process at a time, nor in a signal handler.
 *
 * Returns 0, or
 * - `-EINVAL`: no URL, or one that cannot be read; the message says what is wrong
 * - `-EEXIST`: an agent of that name serves the URL already
 * - `MPROC_E_ENGINE_MISSING`: the engine's library cannot be loaded
 * - `MPROC_E_SERVER_GONE`: the server could not be reached for .patience
 * - `MPROC_E_SERVER_REFUSES`: wrong password, no permission, a certificate that is not trusted
 * - `MPROC_E_WIRE`: what came is not of this version of mproc
 * - `MPROC_E_INIT_MISSING`, `MPROC_E_STRUCT_SIZE`, `-ENOMEM`, ...
 *
 * Since 0.1. */
#ifndef __cplusplus
#define mproc_agent_run(...)                                                                                           \
    mproc_agent_run_with(                                                                                              \
        &(const struct mproc_agent_arguments) { .size = sizeof(struct mproc_agent_arguments), .url = __VA_ARGS__ })
#endif

/** The plain function under mproc_agent_run. Since 0.1. */
MPROC_API int mproc_agent_run_with(const struct mproc_agent_arguments *arguments);

/** The machines that serve a pool, as they last told of themselves, which they do about once a second.
 *
 * - `machines`: room for `most` of them; may be NULL if `most` is 0.
 *
 * Does not block; may be called from any thread, not in a signal handler. Returns how many there are, which may be more
 * than `most`; -EINVAL; -ENOTSUP: the pool is not one of a cluster; MPROC_E_CLOSED, MPROC_E_FORKED. Since 0.1. */
MPROC_API int mproc_pool_machines(struct mproc_pool *pool, struct mproc_machine_statistics *machines, size_t most);

MPROC_END_DECLARATIONS

#endif
