/* The map that is measured at the time: its items, and what their results have to be. SPDX-License-Identifier: MIT */
#ifndef BENCH_CLUSTER_MAP_H
#define BENCH_CLUSTER_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAP_LARGE = 64 << 10, MAP_SMALL_MOST = 200000, MAP_LARGE_MOST = 2000 };

/* An item's number is in its result, so that one in another's place is noticed. */
struct small {
    uint32_t iterations, number;
};

/* It is looked at at both ends: what is measured is how it gets there. */
struct large {
    struct small head;
    char filler[MAP_LARGE - sizeof(struct small) - sizeof(uint64_t)];
    uint64_t last;
};

extern struct map {
    size_t n;
    bool is_large;
    struct small *small;
    struct large *large;
    uint64_t *out, expected; /* that is item 0's */
} map;

bool map_allocate(void);
void map_free(void);

/* At most MAP_SMALL_MOST or MAP_LARGE_MOST tasks. */
void map_prepare(bool is_large, size_t n, uint32_t iterations);

/* Whether the results are right. Clears them. */
bool map_check(void);

/* The tasks. */
int map_do_small(const struct small *in, uint64_t *out);
int map_do_large(const struct large *in, uint64_t *out);

/* The same for what may be at any address. */
void map_do_small_at(const void *in, void *out);
void map_do_large_at(const void *in, void *out);

#endif
