/* Counting durations, for quantiles. SPDX-License-Identifier: MIT */
#include "pool/histogram.h"

static unsigned bucket_of(int64_t nanoseconds)
{
    uint64_t value = nanoseconds > 0 ? (uint64_t)nanoseconds : 0;
    if (value < 1 << HISTOGRAM_STEPS)
        return (unsigned)value;
    unsigned exponent = 63 - (unsigned)__builtin_clzll(value);
    unsigned step = (unsigned)(value >> (exponent - HISTOGRAM_STEPS)) & ((1 << HISTOGRAM_STEPS) - 1);
    unsigned bucket = ((exponent - HISTOGRAM_STEPS + 1) << HISTOGRAM_STEPS) + step;
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

/* The longest duration of a bucket. */
static int64_t end_of(unsigned bucket)
{
    if (bucket < 1 << HISTOGRAM_STEPS)
        return bucket;
    unsigned exponent = (bucket >> HISTOGRAM_STEPS) - 1;
    int64_t step = (bucket & ((1 << HISTOGRAM_STEPS) - 1)) + (1 << HISTOGRAM_STEPS);
    return ((step + 1) << exponent) - 1;
}

void histogram_add(struct histogram *histogram, int64_t nanoseconds, uint32_t count)
{
    _Atomic uint32_t *place = &histogram->counts[bucket_of(nanoseconds)];
    atomic_store_explicit(place, atomic_load_explicit(place, memory_order_relaxed) + count, memory_order_relaxed);
    if (nanoseconds > atomic_load_explicit(&histogram->longest, memory_order_relaxed))
        atomic_store_explicit(&histogram->longest, nanoseconds, memory_order_relaxed);
}

void histogram_sum_add(struct histogram_sum *sum, const struct histogram *histogram)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint32_t count = atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
        sum->counts[i] += count;
        sum->total += count;
    }
    int64_t longest = atomic_load_explicit(&histogram->longest, memory_order_relaxed);
    if (longest > sum->longest)
        sum->longest = longest;
}

int64_t histogram_quantile(const struct histogram_sum *sum, double share)
{
    double rank = share * (double)sum->total;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS && sum->total > 0; i++) {
        seen += sum->counts[i];
        if ((double)seen >= rank && seen > 0)
            return end_of(i) < sum->longest ? end_of(i) : sum->longest;
    }
    return 0;
}
