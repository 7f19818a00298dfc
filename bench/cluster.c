/* Pools over several machines, of which this one plays all: a server, and an agent with two workers. What is left of
 * two CPUs in maps of tasks of 0 to 10 ms, with small and with large inputs; and the round trip of one task.
 * SPDX-License-Identifier: MIT */
#include "bench.h"

#include "pools/redis_farm.h"
#include "pools/redis_server.h"
#include "tasks.h"

#include <errno.h>
#include <mproc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGE = 64 << 10, SMALL_MOST = 200000, LARGE_MOST = 2000, TRIPS = 500, URL_SIZE = 64, MACHINES_PATIENCE = 10 };

/* An item's number is in its result, so that one in another's place is noticed. */
struct small {
    uint32_t iterations, number;
};

/* It is looked at at both ends: what is measured is how it gets there. */
struct large {
    struct small head;
    char filler[LARGE - sizeof(struct small) - sizeof(uint64_t)];
    uint64_t last;
};

static int spin_small(const struct small *in, uint64_t *out)
{
    task_spin(&in->iterations, out);
    *out += in->number;
    return 0;
}
MPROC_TASK(spin_small);

static int spin_large(const struct large *in, uint64_t *out)
{
    spin_small(&in->head, out);
    *out += in->last;
    return 0;
}
MPROC_TASK(spin_large);

static void farm_spin_small(const void *in, void *out)
{
    struct small item;
    uint64_t result;
    memcpy(&item, in, sizeof item);
    spin_small(&item, &result);
    memcpy(out, &result, sizeof result);
}

static void farm_spin_large(const void *in, void *out)
{
    uint64_t last, result;
    farm_spin_small(in, &result);
    memcpy(&last, (const char *)in + offsetof(struct large, last), sizeof last);
    result += last;
    memcpy(out, &result, sizeof result);
}

/* ---- contestants */

/* A farm of mproc's: what there is an engine for. */
struct cluster {
    char url[URL_SIZE];
    pid_t agent;
    mproc_pool *pool;
};

static struct cluster redis;
static struct redis_farm *farm;
static double seconds_an_iteration;

/* The map that is measured at the time. */
static struct {
    size_t n;
    bool is_large;
    struct redis_farm_shape shape;
    struct small *small;
    struct large *large;
    uint64_t *out, expected; /* that is item 0's */
} map;

static double check(double start)
{
    double took = bench_now() - start;
    bench_also(took);
    for (size_t i = 0; i < map.n; i++) {
        if (map.out[i] != map.expected + i * (map.is_large ? 2 : 1))
            return -1;
        map.out[i] = 0;
    }
    return took;
}

static double run_cluster(void *argument)
{
    struct cluster *cluster = argument;
    double start = bench_now();
    int result = map.is_large ? mproc_map(cluster->pool, spin_large, map.large, map.out, map.n)
                              : mproc_map(cluster->pool, spin_small, map.small, map.out, map.n);
    return result == 0 ? check(start) : -1;
}

static double run_farm(void *argument)
{
    const struct redis_farm_shape *shape = argument;
    double start = bench_now();
    int result = map.is_large ? redis_farm_map(farm, farm_spin_large, map.large, sizeof *map.large, map.out,
                                               sizeof *map.out, map.n, shape)
                              : redis_farm_map(farm, farm_spin_small, map.small, sizeof *map.small, map.out,
                                               sizeof *map.out, map.n, shape);
    return result == 0 ? check(start) : -1;
}

static double trip_cluster(void *argument)
{
    struct cluster *cluster = argument;
    double start = bench_now();
    for (uint32_t i = 0; i < TRIPS; i++) {
        struct small in = { 0, i };
        uint64_t out = 0;
        if (mproc_apply(cluster->pool, spin_small, &in, &out) != 0 || out != 1 + i)
            return -1;
    }
    return bench_now() - start;
}

static double trip_farm(void *unused)
{
    (void)unused;
    static const struct redis_farm_shape one = { 1, 1, 1 };
    double start = bench_now();
    for (uint32_t i = 0; i < TRIPS; i++) {
        struct small in = { 0, i };
        uint64_t out = 0;
        if (redis_farm_map(farm, farm_spin_small, &in, sizeof in, &out, sizeof out, 1, &one) != 0 || out != 1 + i)
            return -1;
    }
    return bench_now() - start;
}

/* ---- rows */

/* The least of many, as whatever disturbs makes it longer. */
static double time_an_iteration(void)
{
    const uint32_t iterations = 1000000;
    double least = 1;
    uint64_t result;
    for (int i = 0; i < 20; i++) {
        double start = bench_now();
        task_spin(&iterations, &result);
        double took = bench_now() - start;
        least = took < least ? took : least;
    }
    return least / iterations;
}

/* The shapes are the bare farm's, and the fastest of those that were tried: entries of 1 to 4,096 tasks, 1 to 8 entries
 * at a time, 2 to 64 on their way. Between the next ones there is no difference that lasts. */
struct length {
    const char *name;
    double seconds;
    struct redis_farm_shape small, large;
};

static const struct length lengths[] = {
    { "nothing", 0, { 4096, 4, 16 }, { 2, 2, 32 } },
    { "100 us", 100e-6, { 64, 2, 8 }, { 2, 2, 16 } },
    { "1 ms", 1e-3, { 8, 1, 8 }, { 2, 2, 8 } },
    { "10 ms", 10e-3, { 1, 1, 4 }, { 1, 1, 3 } },
};

/* Whoever does not know that tasks are empty does not put thousands in an entry. */
static const struct redis_farm_shape cautious = { 16, 4, 64 };

static size_t count_tasks(const struct length *length, bool is_large)
{
    size_t most = (is_large ? LARGE_MOST : SMALL_MOST) / (bench_quick() ? 10 : 1);
    double whole = bench_quick() ? 0.1 : 0.4, wanted = length->seconds > 0 ? whole / length->seconds : SMALL_MOST;
    size_t n = (size_t)(wanted + 0.5) * TASKS_WORKERS;
    return n < most ? n : most;
}

/* Returns the seconds that two CPUs need at least. */
static double prepare(const struct length *length, bool is_large)
{
    uint32_t iterations = (uint32_t)(length->seconds / seconds_an_iteration);
    map.n = count_tasks(length, is_large);
    map.is_large = is_large;
    map.shape = is_large ? length->large : length->small;
    for (size_t i = 0; i < map.n; i++) {
        struct small item = { iterations, (uint32_t)i };
        if (is_large) {
            map.large[i].head = item;
            map.large[i].last = i;
        } else
            map.small[i] = item;
        map.out[i] = 0;
    }
    task_spin(&iterations, &map.expected);
    return (double)iterations * (double)map.n * seconds_an_iteration / TASKS_WORKERS;
}

static void measure_map(const struct length *length, bool is_large)
{
    double least = prepare(length, is_large), n = (double)map.n;
    const char *size = is_large ? "64 KiB" : "8 B";
    const char *title = bench_text("cluster: map of %zu tasks of %s with inputs of %s", map.n, length->name, size);
    bool has_work = length->seconds > 0;
    bench_row(&(struct bench_row) {
        .title = has_work ? bench_text("%s: share of two CPUs' time that is work", title) : title,
        .unit = has_work ? "efficiency" : "tasks/s",
        .per = has_work ? least : n,
        .also_title = has_work ? title : NULL,
        .also_unit = "tasks/s",
        .also_per = n,
        .more_is_better = true,
        .rounds = bench_quick() ? 5 : 0,
        .contestants = { { "mproc on Redis", BENCH_OURS, run_cluster, .argument = &redis },
                         { "bare farm on Redis", BENCH_LIMIT, run_farm, .argument = &map.shape },
                         { has_work || is_large ? NULL : "bare farm on Redis, 16 tasks an entry", BENCH_LIMIT, run_farm,
                           .argument = (void *)(uintptr_t)&cautious } },
        .targets = { { "mproc on Redis", BENCH_AT_LEAST_OF, 0.77, { "bare farm on Redis" } },
                     { length->seconds == 1e-3 && !is_large ? "mproc on Redis" : NULL,
                       BENCH_AT_LEAST,
                       0.9,
                       { NULL } } },
    });
}

static void measure_trips(void)
{
    bench_row(&(struct bench_row) {
        .title = "cluster: round trip of one empty task",
        .unit = "us",
        .scale = 1e-6,
        .per = TRIPS,
        .rounds = bench_quick() ? 5 : 0,
        .contestants = { { "mproc on Redis", BENCH_OURS, trip_cluster, .argument = &redis },
                         { "bare farm on Redis", BENCH_LIMIT, trip_farm, .argument = NULL } },
        .targets = { { "mproc on Redis", BENCH_AT_MOST_TIMES, 1.3, { "bare farm on Redis" } } },
    });
}

/* ---- machines */

/* A pool, and an agent with a worker for each CPU, which the pool has seen. Returns 0 or a negative error. */
static int cluster_open(struct cluster *cluster)
{
    static char program[] = "bench_cluster", agent[] = "--mproc-agent", option[] = "--mproc-workers", workers[] = "2";
    char *const arguments[] = { program, agent, cluster->url, option, workers, NULL };
    struct mproc_error error;
    struct mproc_machine_statistics machine = { .workers = 0 };
    int err = mproc_pool_open(&cluster->pool, .cluster = cluster->url, .error = &error);
    if (err && err != MPROC_E_ENGINE_MISSING)
        bench_fail(error.message);
    if (err)
        return err;
    cluster->agent = helper_start("/proc/self/exe", arguments);
    for (double end = bench_now() + MACHINES_PATIENCE; machine.workers < TASKS_WORKERS; bench_pause(10000000))
        if (cluster->agent < 0 || mproc_pool_machines(cluster->pool, &machine, 1) < 0 || bench_now() > end)
            return -ETIMEDOUT;
    return 0;
}

static void cluster_close(struct cluster *cluster)
{
    if (cluster->pool)
        mproc_pool_close(cluster->pool);
    helper_end(cluster->agent);
}

static bool allocate(void)
{
    map.small = calloc(SMALL_MOST, sizeof *map.small);
    map.large = calloc(LARGE_MOST, sizeof *map.large);
    map.out = calloc(SMALL_MOST, sizeof *map.out);
    return map.small && map.large && map.out;
}

static void measure(int port)
{
    snprintf(redis.url, sizeof redis.url, "redis://127.0.0.1:%d/bench", port);
    farm = redis_farm_open(port);
    int err = farm && allocate() ? cluster_open(&redis) : -ENOMEM;
    if (err == MPROC_E_ENGINE_MISSING)
        printf(
            "Clusters are not measured, as there is no engine for Redis (make bench-deps installs what it needs).\n\n");
    else if (err)
        bench_fail("the farm or the cluster does not come up");
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0] && !err; i++) {
        measure_map(&lengths[i], false);
        measure_map(&lengths[i], true);
    }
    if (!err)
        measure_trips();
    cluster_close(&redis);
    redis_farm_close(farm);
    free(map.small);
    free(map.large);
    free(map.out);
}

int main(int argc, char **argv)
{
    int port;
    setenv("MPROC_ENGINE_PATH", BENCH_ENGINES, 0);
    if (mproc_init(&argc, &argv) != 0)
        return 1;
    bench_begin(argc, argv);
    pid_t server = redis_server_start(&port);
    if (server == 0)
        printf("Clusters are not measured, as redis-server is not there (make bench-deps installs it).\n\n");
    else if (server < 0)
        bench_fail("redis-server does not start");
    if (server > 0) {
        seconds_an_iteration = time_an_iteration();
        measure(port);
        helper_end(server);
    }
    return bench_end();
}
