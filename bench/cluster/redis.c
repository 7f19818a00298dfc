/* Contestants on Redis: a server, an agent with two workers, and the bare farm. SPDX-License-Identifier: MIT */
#include "redis.h"

#include "../bench.h"
#include "../pools/redis_farm.h"
#include "../pools/redis_server.h"
#include "map.h"
#include "pool.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { URL_SIZE = 64 };

static struct {
    char url[URL_SIZE];
    pid_t server, agent;
    mproc_pool *pool;
    struct redis_farm *farm;
} redis;

/* A pool, and an agent with a worker for each CPU. Returns 0 or a negative error. */
static int open_pool(int port)
{
    static char program[] = "bench_cluster", agent[] = "--mproc-agent", option[] = "--mproc-workers", workers[] = "2";
    char *const arguments[] = { program, agent, redis.url, option, workers, NULL };
    struct mproc_error error;
    snprintf(redis.url, sizeof redis.url, "redis://127.0.0.1:%d/bench", port);
    int err = mproc_pool_open(&redis.pool, .cluster = redis.url, .error = &error);
    if (err && err != MPROC_E_ENGINE_MISSING)
        bench_fail(error.message);
    if (err)
        return err;
    redis.agent = helper_start("/proc/self/exe", arguments);
    return redis.agent > 0 ? pool_wait_for_workers(redis.pool) : -1;
}

static bool start(int port)
{
    redis.farm = redis_farm_open(port);
    int err = redis.farm ? open_pool(port) : -1;
    if (err == MPROC_E_ENGINE_MISSING)
        printf("Clusters on Redis are not measured, as there is no engine for it (make bench-deps installs what it "
               "needs).\n\n");
    else if (err)
        bench_fail("the farm or the cluster on Redis does not come up");
    return !err;
}

static double map_mproc(void *unused)
{
    (void)unused;
    double took = pool_run_map(redis.pool);
    bench_also(took);
    return took;
}

static double map_farm(void *shape)
{
    double start = bench_now();
    int result = map.is_large ? redis_farm_map(redis.farm, map_do_large_at, map.large, sizeof *map.large, map.out,
                                               sizeof *map.out, map.n, shape)
                              : redis_farm_map(redis.farm, map_do_small_at, map.small, sizeof *map.small, map.out,
                                               sizeof *map.out, map.n, shape);
    double took = bench_now() - start;
    bench_also(took);
    return result == 0 && map_check() ? took : -1;
}

static double trips_mproc(void *count)
{
    return pool_run_trips(redis.pool, *(const unsigned *)count);
}

static double trips_farm(void *count)
{
    static const struct redis_farm_shape one = { 1, 1, 1 };
    double start = bench_now();
    for (uint32_t i = 0; i < *(const unsigned *)count; i++) {
        struct small in = { 0, i };
        uint64_t out = 0;
        if (redis_farm_map(redis.farm, map_do_small_at, &in, sizeof in, &out, sizeof out, 1, &one) != 0 || out != 1 + i)
            return -1;
    }
    return bench_now() - start;
}

const struct redis_contestants *redis_start(void)
{
    static const struct redis_contestants contestants = { map_mproc, map_farm, trips_mproc, trips_farm };
    int port;
    redis.server = redis_server_start(&port);
    if (redis.server == 0)
        printf("Clusters on Redis are not measured, as redis-server is not there (make bench-deps installs it).\n\n");
    else if (redis.server < 0)
        bench_fail("redis-server does not start");
    if (redis.server > 0 && start(port))
        return &contestants;
    redis_end();
    return NULL;
}

void redis_end(void)
{
    if (redis.pool)
        mproc_pool_close(redis.pool);
    helper_end(redis.agent);
    redis_farm_close(redis.farm);
    helper_end(redis.server);
    redis.pool = NULL;
    redis.farm = NULL;
    redis.agent = redis.server = 0;
}
