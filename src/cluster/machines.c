/* Which machines there are, and what becomes of the pool without any. SPDX-License-Identifier: MIT */
#include "cluster/cluster.h"
#include "os/clock.h"
#include "pool/board.h"
#include "pool/handle.h"
#include "pool/job.h"
#include "pool/worker.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void cluster_fail(struct cluster *cluster, int err, const char *format, ...)
{
    va_list arguments;
    uint32_t open = POOL_OPEN;
    struct pool_shared *shared = cluster->pool->shared;
    if (atomic_load(&shared->state) != POOL_OPEN)
        return;
    pthread_mutex_lock(&cluster->lock);
    va_start(arguments, format);
    vsnprintf(cluster->message, sizeof cluster->message, format, arguments);
    va_end(arguments);
    pthread_mutex_unlock(&cluster->lock);
    atomic_store(&shared->reason, err);
    atomic_compare_exchange_strong(&shared->state, &open, POOL_CLUSTER_FAILS);
}

unsigned cluster_slot_of(struct cluster *cluster, const char *machine)
{
    pthread_mutex_lock(&cluster->lock);
    unsigned slot = 0;
    while (slot < cluster->names_count && strcmp(cluster->names[slot], machine) != 0)
        slot++;
    if (slot == SLOTS_OF_MACHINES)
        slot--; /* the last one stands for all others */
    if (slot == cluster->names_count) {
        snprintf(cluster->names[slot], MPROC_MACHINE_NAME_SIZE, "%s", machine);
        worker_slot_format(&cluster->pool->shared->slots[slot]);
        worker_slots_raise(cluster->pool->shared, slot + 1);
        cluster->names_count++;
    }
    pthread_mutex_unlock(&cluster->lock);
    return slot;
}

/* Calls that are over, or that nobody has asked for, may still be on the board. */
static bool needs_machines(const struct cluster *cluster)
{
    struct pool *pool = cluster->pool;
    if (cluster->flights_count > 0)
        return true;
    if (!board_has_work(pool->shared))
        return false;
    bool waits = false;
    pthread_mutex_lock(&pool->lock);
    for (unsigned word = 0; word < JOB_WORDS && !waits; word++)
        for (uint64_t active = atomic_load(&pool->shared->active[word]) & pool->taken[word]; active && !waits;
             active &= active - 1)
            waits = !job_is_over(pool->shared->jobs[word * 64 + (unsigned)__builtin_ctzll(active)]);
    pthread_mutex_unlock(&pool->lock);
    return waits;
}

static void fail_without_machines(struct cluster *cluster, int others)
{
    long long seconds = cluster->access.options.patience / 1000000000;
    if (others > 0)
        cluster_fail(cluster, MPROC_E_NO_MACHINES,
                     "%d machine(s) serve '%s', but none of them with this build of the program (their tasks, or the "
                     "sizes of these, differ): start agents of this one",
                     others, cluster->access.shown);
    else
        cluster_fail(cluster, MPROC_E_NO_MACHINES,
                     "for %lld s no machine has served '%s': start agents there, prog --mproc-agent URL", seconds,
                     cluster->access.shown);
}

int cluster_look_at_machines(struct cluster *cluster)
{
    static _Thread_local struct mproc_engine_machine machines[MACHINES_MOST];
    int found = cluster->engine->machines(cluster->connection, machines, MACHINES_MOST);
    if (found < 0)
        return found;
    unsigned known = found < MACHINES_MOST ? (unsigned)found : MACHINES_MOST, workers = 0;
    unsigned cap = atomic_load(&cluster->pool->shared->most);
    uint64_t digest = cluster->digest;
    for (unsigned i = 0; i < known; i++)
        workers += machines[i].digest != digest ? 0 : cap > 0 && machines[i].workers > cap ? cap : machines[i].workers;
    cluster->workers = workers;
    for (unsigned i = 0; i < known; i++)
        if (machines[i].digest == digest)
            cluster_slot_of(cluster, machines[i].name);
    pthread_mutex_lock(&cluster->lock);
    memcpy(cluster->machines, machines, known * sizeof machines[0]);
    cluster->machines_count = known;
    pthread_mutex_unlock(&cluster->lock);
    int64_t now = os_now();
    if (workers > 0 || !needs_machines(cluster))
        cluster->without_machines = 0;
    else if (cluster->without_machines == 0)
        cluster->without_machines = now;
    else if (now - cluster->without_machines > cluster->access.options.patience)
        fail_without_machines(cluster, found);
    return 0;
}

/* ---- for the user */

/* Not made if it is not there: a machine without results has none. */
static int find_slot(const struct cluster *cluster, const char *machine)
{
    for (unsigned slot = 0; slot < cluster->names_count; slot++)
        if (strcmp(cluster->names[slot], machine) == 0)
            return (int)slot;
    return -1;
}

static int copy_machines(struct cluster *cluster, struct mproc_machine_statistics *statistics, size_t most)
{
    uint64_t digest = cluster->digest;
    pthread_mutex_lock(&cluster->lock);
    unsigned count = cluster->machines_count;
    for (unsigned i = 0; i < count && i < most; i++) {
        const struct mproc_engine_machine *machine = &cluster->machines[i];
        statistics[i] = (struct mproc_machine_statistics) {
            .same_build = machine->digest == digest,
            .worker = find_slot(cluster, machine->name),
            .workers = (int)machine->workers,
            .running = (int)machine->running,
            .items = machine->items,
            .unsuccessful = machine->unsuccessful,
            .busy = machine->busy,
        };
        memcpy(statistics[i].name, machine->name, sizeof statistics[i].name);
    }
    pthread_mutex_unlock(&cluster->lock);
    return (int)count;
}

int mproc_pool_machines(mproc_pool *handle, struct mproc_machine_statistics *machines, size_t most)
{
    struct pool *pool;
    if (!handle || (!machines && most > 0))
        return -EINVAL;
    int result = handle_acquire(handle, &pool);
    if (result)
        return result;
    result = pool->cluster ? copy_machines(pool->cluster, machines, most) : -ENOTSUP;
    handle_release(handle);
    return result;
}
