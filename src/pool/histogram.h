/* Counting durations, for quantiles. SPDX-License-Identifier: MIT
 *
 * Buckets grow with the duration: eight for each doubling, so that a quantile is right within an eighth.
 */
#ifndef POOL_HISTOGRAM_H
#define POOL_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum { HISTOGRAM_STEPS = 3, HISTOGRAM_BUCKETS = 44 << HISTOGRAM_STEPS }; /* up to some five hours */

struct histogram {
    _Atomic uint32_t counts[HISTOGRAM_BUCKETS];
    _Atomic int64_t longest;
};

/* One writer at a time. */
void histogram_add(struct histogram *histogram, int64_t nanoseconds, uint32_t count);

/* A sum of several. */
struct histogram_sum {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    int64_t longest;
};

void histogram_sum_add(struct histogram_sum *sum, const struct histogram *histogram);

/* The duration that a share of all, 0 to 1, does not exceed; 0 if there are none. */
int64_t histogram_quantile(const struct histogram_sum *sum, double share);

#endif
