/* Programs that mpirun has started: rank 0 goes on, the others serve it. SPDX-License-Identifier: MIT */
#include "cluster/agent.h"
#include "process/init.h"

#include <dlfcn.h>
#include <mproc/cluster.h>
#include <mproc/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char url[] = "mpi:";

/* What mpirun and its kin tell the processes that they start: Open MPI; MPICH, Intel MPI and others that have PMI. */
static bool read_rank(long *rank)
{
    static const char *const names[][2] = { { "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE" },
                                            { "PMI_RANK", "PMI_SIZE" },
                                            { "MPI_LOCALRANKID", "MPI_LOCALNRANKS" } };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *number = getenv(names[i][0]), *size = getenv(names[i][1]);
        if (!number || !size)
            continue;
        *rank = strtol(number, NULL, 10);
        return strtol(size, NULL, 10) > 1;
    }
    return false;
}

/* A program that uses MPI itself has ranks of its own to think of. */
static bool is_ours(long *rank)
{
    const char *wanted = getenv("MPROC_MPI");
    return read_rank(rank) && !(wanted && strcmp(wanted, "0") == 0) && !dlsym(RTLD_DEFAULT, "MPI_Init");
}

/* ---- the environment */

struct hidden_environment {
    size_t count;
    char *entries[];
};

static bool is_of_mpi(const char *entry)
{
    static const char *const prefixes[] = { "OMPI_", "PMIX_", "PMI_", "PRTE_", "ORTE_", "HYDRA_", "MPI_", "MPIR_" };
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (strncmp(entry, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

/* What tasks start must not take itself for a rank. */
struct hidden_environment *init_hide_environment(void)
{
    long rank;
    size_t count = 0;
    if (!is_ours(&rank))
        return NULL;
    for (char **entry = environ; *entry; entry++)
        count += is_of_mpi(*entry);
    struct hidden_environment *hidden = malloc(sizeof *hidden + count * sizeof hidden->entries[0]);
    if (!hidden)
        return NULL;
    hidden->count = 0;
    for (char **entry = environ; *entry && hidden->count < count; entry++)
        if (is_of_mpi(*entry) && (hidden->entries[hidden->count] = strdup(*entry)))
            hidden->count++;
    for (size_t i = 0; i < hidden->count; i++) {
        char *equals = strchr(hidden->entries[i], '=');
        *equals = '\0';
        unsetenv(hidden->entries[i]);
        *equals = '=';
    }
    return hidden;
}

void init_show_environment(struct hidden_environment *hidden)
{
    for (size_t i = 0; hidden && i < hidden->count; i++)
        putenv(hidden->entries[i]); /* which keeps the string */
    free(hidden);
}

/* ---- ranks */

/* All ranks begin together, so that rank 0 does so even if it opens a pool much later, or never. */
static void begin_as_first(const struct mproc_engine *engine)
{
    struct cluster_access access;
    struct mproc_cluster_options options = { .user = NULL };
    void *connection = NULL;
    if (cluster_access_make(&access, "mproc_init", url, &options, NULL) != 0)
        return;
    if (cluster_connect(engine, &connection, &access, "mproc_init", NULL) == 0)
        engine->close(connection);
    cluster_access_free(&access);
}

static _Noreturn void serve(const char *program)
{
    struct mproc_agent_arguments arguments = { .size = sizeof arguments, .url = url };
    const char *workers = getenv("MPROC_AGENT_WORKERS");
    if (workers && !agent_read_workers(workers, &arguments.workers)) {
        fprintf(stderr, "%s: MPROC_AGENT_WORKERS is '%s', and needs a number from 1 to %d\n", program, workers,
                MPROC_WORKERS_MAX);
        exit(2);
    }
    agent_serve(program, &arguments);
}

void init_serve_if_not_first(const char *program)
{
    long rank;
    const struct mproc_engine *engine;
    if (!is_ours(&rank) || cluster_find_engine(&engine, "mproc_init", url, NULL) != 0)
        return;
    if (rank == 0)
        begin_as_first(engine);
    else
        serve(program);
}
