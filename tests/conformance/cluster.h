/* A cluster for the suites of pools: an agent beside the test, which shares its heap, so that tasks see the same board
 * as with any other backend. SPDX-License-Identifier: MIT
 *
 * The server is what $MPROC_TEST_SERVER names (tests/cluster/with_server.sh); each test process has a farm of its own.
 */
#ifndef CONFORMANCE_CLUSTER_H
#define CONFORMANCE_CLUSTER_H

#include "harness.h"

#include <fcntl.h>
#include <mproc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CLUSTER_AGENT_WORKERS = 8, CLUSTER_URL_SIZE = 200 };

#if CLUSTER_SUITE == 2
#include "memory/region.h"

/* Before the heap is looked for: rank 0 makes it, and the other rank joins, as a started program would. */
__attribute__((constructor(101))) static void join_family(void)
{
    const char *path = getenv("MPROC_TEST_MEETING"), *rank = getenv("OMPI_COMM_WORLD_RANK");
    char other[CLUSTER_URL_SIZE], number[24];
    int pid, fd;
    if (!path || !rank)
        return;
    snprintf(other, sizeof other, "%s.new", path);
    if (atoi(rank) == 0) {
        FILE *file = region_get() ? fopen(other, "we") : NULL;
        if (file && fprintf(file, "%d %d", (int)getpid(), region_descriptor()) > 0 && fclose(file) == 0)
            rename(other, path);
        return;
    }
    FILE *file = NULL;
    for (int i = 0; i < HARNESS_PATIENCE && !(file = fopen(path, "re")); i++)
        usleep(1000);
    if (!file || fscanf(file, "%d %d", &pid, &fd) != 2)
        _exit(1);
    fclose(file);
    snprintf(other, sizeof other, "/proc/%d/fd/%d", pid, fd);
    snprintf(number, sizeof number, "%d", open(other, O_RDWR | O_CLOEXEC));
    setenv(REGION_VARIABLE, number, 1);
}

static inline const char *cluster_url(void)
{
    return "mpi:";
}

#else
struct cluster_agent {
    char url[CLUSTER_URL_SIZE];
};

static int serve_cluster(const struct cluster_agent *agent)
{
    struct mproc_error error;
    int err = mproc_agent_run(agent->url, .workers = CLUSTER_AGENT_WORKERS, .name = "beside", .error = &error);
    if (err)
        fprintf(stderr, "agent: %s\n", error.message);
    return err ? 1 : 0;
}
MPROC_PROCESS(serve_cluster);

static mproc_process *cluster_agent_process;

static inline void end_cluster_agent(void)
{
    mproc_process_terminate(cluster_agent_process);
    mproc_process_join(cluster_agent_process, MPROC_FOREVER);
    mproc_process_close(cluster_agent_process);
}

/* The URL of this process's farm, whose agent is started with the first call. */
static inline const char *cluster_url(void)
{
    static struct cluster_agent agent;
    static pid_t started_by;
    const char *server = getenv("MPROC_TEST_SERVER");
    if (started_by == getpid())
        return agent.url;
    if (!server)
        fail_msg("MPROC_TEST_SERVER is not set: run this by ctest");
    snprintf(agent.url, sizeof agent.url, "%s/test-%d", server, (int)getpid());
    cluster_agent_process = NULL;
    int err =
        mproc_process_start(&cluster_agent_process, serve_cluster, &agent, .method = MPROC_FORKSERVER, .daemon = true);
    if (err)
        fail_msg("the agent cannot be started: %s", mproc_strerror(err));
    started_by = getpid();
    harness_at_end(end_cluster_agent);
    return agent.url;
}
#endif

#endif
