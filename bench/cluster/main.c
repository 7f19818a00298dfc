/* Pools over several machines, of which this one plays all, through each of mproc's engines. What is left of two CPUs
 * in maps of tasks of 0 to 10 ms, with small and with large inputs; and the round trip of one task.
 * SPDX-License-Identifier: MIT */
#include "../bench.h"
#include "../iteration.h"
#include "../pools/mpi_farm.h"
#include "../pools/redis_farm.h"
#include "../tasks.h"
#include "map.h"
#include "redis.h"
#include "told.h"

#include <mproc.h>
#include <stdlib.h>

#define REDIS_MPROC "mproc on Redis"
#define REDIS_FARM "bare farm on Redis"
#define MPI_MPROC "mproc on Open MPI"
#define MPI_FARM "bare farm on Open MPI"

static const unsigned trips = 500;
static const struct redis_contestants *redis;
static bool has_mpi;
static double seconds_an_iteration;

/* The shapes are the bare farms', and the fastest of those that were tried. On Redis: entries of 1 to 4,096 tasks, 1 to
 * 8 entries at a time, 2 to 64 on their way. On Open MPI: messages of 1 to 16,384 tasks, 2 to 16 on their way to a
 * worker, and ranks that spin, yield, block in MPI_Probe, or sleep for 1 us to 1 ms at a time. Between the next ones
 * there is no difference that lasts. */
struct length {
    const char *name;
    double seconds;
    struct redis_farm_shape small, large;
    struct mpi_farm_shape mpi_small, mpi_large;
};

static const struct length lengths[] = {
    { "nothing",
      0,
      { 4096, 4, 16 },
      { 2, 2, 32 },
      { 16384, 4, MPI_FARM_YIELD, MPI_FARM_YIELD },
      { 8, 8, MPI_FARM_YIELD, MPI_FARM_YIELD } },
    { "100 us", 100e-6, { 64, 2, 8 }, { 2, 2, 16 }, { 32, 4, 1000, 100 }, { 8, 8, 1000, MPI_FARM_YIELD } },
    { "1 ms", 1e-3, { 8, 1, 8 }, { 2, 2, 8 }, { 2, 4, 1000, 100 }, { 2, 4, 500, 100 } },
    { "10 ms", 10e-3, { 1, 1, 4 }, { 1, 1, 3 }, { 1, 3, 1000, MPI_FARM_YIELD }, { 1, 3, 1000, MPI_FARM_YIELD } },
};

static const struct mpi_farm_shape trip_shape = { 1, 1, MPI_FARM_SPIN, MPI_FARM_SPIN };

/* Whoever does not know that tasks are empty does not put thousands in an entry. */
static const struct redis_farm_shape cautious = { 16, 4, 64 };

static size_t count_tasks(const struct length *length, bool is_large)
{
    size_t most = (is_large ? MAP_LARGE_MOST : MAP_SMALL_MOST) / (bench_quick() ? 10 : 1);
    double whole = bench_quick() ? 0.1 : 0.4, wanted = length->seconds > 0 ? whole / length->seconds : MAP_SMALL_MOST;
    size_t n = (size_t)(wanted + 0.5) * TASKS_WORKERS;
    return n < most ? n : most;
}

/* ---- rows */

static void add_run(struct bench_row *row, const char *name, enum bench_kind kind, double (*run)(void *),
                    const void *argument)
{
    int count = 0;
    while (row->contestants[count].name)
        count++;
    row->contestants[count] =
        (struct bench_contestant) { .name = name, .kind = kind, .run = run, .argument = (void *)(uintptr_t)argument };
}

/* Both are told the same. */
static void add_mpi(struct bench_row *row, const char *load)
{
    int count = 0;
    if (!has_mpi)
        return;
    while (row->contestants[count].name)
        count++;
    row->contestants[count++] =
        (struct bench_contestant) { MPI_MPROC, BENCH_OURS, .program = &bench_mpi_mproc, .load = load };
    row->contestants[count] =
        (struct bench_contestant) { MPI_FARM, BENCH_LIMIT, .program = &bench_mpi_farm, .load = load };
}

static void add_target(struct bench_row *row, bool is_there, struct bench_target target)
{
    int count = 0;
    while (row->targets[count].who)
        count++;
    if (is_there)
        row->targets[count] = target;
}

static void measure_map(const struct length *length, bool is_large)
{
    uint32_t iterations = (uint32_t)(length->seconds / seconds_an_iteration);
    size_t n = count_tasks(length, is_large);
    double least = (double)iterations * (double)n * seconds_an_iteration / TASKS_WORKERS;
    const char *title =
        bench_text("cluster: map of %zu tasks of %s with inputs of %s", n, length->name, is_large ? "64 KiB" : "8 B");
    bool has_work = length->seconds > 0, is_judged = length->seconds == 1e-3 && !is_large;
    struct bench_row row = {
        .title = has_work ? bench_text("%s: share of two CPUs' time that is work", title) : title,
        .unit = has_work ? "efficiency" : "tasks/s",
        .per = has_work ? least : (double)n,
        .also_title = has_work ? title : NULL,
        .also_unit = "tasks/s",
        .also_per = (double)n,
        .more_is_better = true,
        .rounds = bench_quick() ? 5 : 0,
    };
    map_prepare(is_large, n, iterations);
    if (redis) {
        add_run(&row, REDIS_MPROC, BENCH_OURS, redis->map_mproc, NULL);
        add_run(&row, REDIS_FARM, BENCH_LIMIT, redis->map_farm, is_large ? &length->large : &length->small);
    }
    add_mpi(&row,
            told_line(is_large ? "large" : "small", n, iterations, is_large ? &length->mpi_large : &length->mpi_small));
    if (redis && !has_work && !is_large)
        add_run(&row, REDIS_FARM ", 16 tasks an entry", BENCH_LIMIT, redis->map_farm, &cautious);
    add_target(&row, redis, (struct bench_target) { REDIS_MPROC, BENCH_AT_LEAST_OF, 0.77, { REDIS_FARM } });
    add_target(&row, has_mpi, (struct bench_target) { MPI_MPROC, BENCH_AT_LEAST_OF, 0.77, { MPI_FARM } });
    add_target(&row, redis && is_judged, (struct bench_target) { REDIS_MPROC, BENCH_AT_LEAST, 0.9, { NULL } });
    add_target(&row, has_mpi && is_judged, (struct bench_target) { MPI_MPROC, BENCH_AT_LEAST, 0.9, { NULL } });
    bench_row(&row);
}

static void measure_trips(void)
{
    struct bench_row row = {
        .title = "cluster: round trip of one empty task",
        .unit = "us",
        .scale = 1e-6,
        .per = trips,
        .rounds = bench_quick() ? 5 : 0,
    };
    if (redis) {
        add_run(&row, REDIS_MPROC, BENCH_OURS, redis->trips_mproc, &trips);
        add_run(&row, REDIS_FARM, BENCH_LIMIT, redis->trips_farm, &trips);
    }
    add_mpi(&row, told_line("trips", trips, 0, &trip_shape));
    add_target(&row, redis, (struct bench_target) { REDIS_MPROC, BENCH_AT_MOST_TIMES, 1.3, { REDIS_FARM } });
    add_target(&row, has_mpi, (struct bench_target) { MPI_MPROC, BENCH_AT_MOST_TIMES, 1.3, { MPI_FARM } });
    bench_row(&row);
}

static void measure(void)
{
    seconds_an_iteration = time_an_iteration();
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        measure_map(&lengths[i], false);
        measure_map(&lengths[i], true);
    }
    measure_trips();
}

int main(int argc, char **argv)
{
    setenv("MPROC_ENGINE_PATH", BENCH_ENGINES, 0);
    if (mproc_init(&argc, &argv) != 0)
        return 1;
    bench_begin(argc, argv);
    redis = redis_start();
    has_mpi = bench_program_is_there(&bench_mpi_mproc) && bench_program_is_there(&bench_mpi_farm);
    if (!map_allocate())
        bench_fail("no memory is left");
    else if (redis || has_mpi)
        measure();
    map_free();
    redis_end();
    return bench_end();
}
