/* The map that is measured at the time. SPDX-License-Identifier: MIT */
#include "map.h"

#include "../tasks.h"

#include <stdlib.h>
#include <string.h>

struct map map;

int map_do_small(const struct small *in, uint64_t *out)
{
    task_spin(&in->iterations, out);
    *out += in->number;
    return 0;
}

int map_do_large(const struct large *in, uint64_t *out)
{
    map_do_small(&in->head, out);
    *out += in->last;
    return 0;
}

void map_do_small_at(const void *in, void *out)
{
    struct small item;
    uint64_t result;
    memcpy(&item, in, sizeof item);
    map_do_small(&item, &result);
    memcpy(out, &result, sizeof result);
}

void map_do_large_at(const void *in, void *out)
{
    uint64_t last, result;
    map_do_small_at(in, &result);
    memcpy(&last, (const char *)in + offsetof(struct large, last), sizeof last);
    result += last;
    memcpy(out, &result, sizeof result);
}

bool map_allocate(void)
{
    map.small = calloc(MAP_SMALL_MOST, sizeof *map.small);
    map.large = calloc(MAP_LARGE_MOST, sizeof *map.large);
    map.out = calloc(MAP_SMALL_MOST, sizeof *map.out);
    return map.small && map.large && map.out;
}

void map_free(void)
{
    free(map.small);
    free(map.large);
    free(map.out);
}

void map_prepare(bool is_large, size_t n, uint32_t iterations)
{
    map.n = n;
    map.is_large = is_large;
    for (size_t i = 0; i < n; i++) {
        struct small item = { iterations, (uint32_t)i };
        if (is_large) {
            map.large[i].head = item;
            map.large[i].last = i;
        } else
            map.small[i] = item;
        map.out[i] = 0;
    }
    task_spin(&iterations, &map.expected);
}

bool map_check(void)
{
    for (size_t i = 0; i < map.n; i++) {
        if (map.out[i] != map.expected + i * (map.is_large ? 2 : 1))
            return false;
        map.out[i] = 0;
    }
    return true;
}
