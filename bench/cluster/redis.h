/* Contestants on Redis, on a server of their own. SPDX-License-Identifier: MIT */
#ifndef BENCH_CLUSTER_REDIS_H
#define BENCH_CLUSTER_REDIS_H

/* What bench_contestant.run is to be. Maps are of `map`, which is prepared; trips are so many tasks of nothing, one
 * after another. */
struct redis_contestants {
    double (*map_mproc)(void *unused);
    double (*map_farm)(void *shape); /* a struct redis_farm_shape */
    double (*trips_mproc)(void *count);
    double (*trips_farm)(void *count); /* an unsigned */
};

/* Starts them. NULL: they are not there, and it is said why. */
const struct redis_contestants *redis_start(void);
void redis_end(void);

#endif
