/* Messages between processes: mproc's queue, its peers, and the limits of the machine. SPDX-License-Identifier: MIT
 */
#include "../bench.h"
#include "contestants.h"

#include <stdio.h>

enum { HOT = 4000, COLD = 200, PAUSE = 1000000 };

struct row {
    const char *title;
    struct load load;
    bool is_quick; /* is measured in the short mode, too */
};

static const struct row rows[] = {
    { "8 B, 1 producer, 1 consumer", { .producers = 1, .consumers = 1, .size = 8, .bound = 1024 }, true },
    { "8 B, 2 producers, 2 consumers", { .producers = 2, .consumers = 2, .size = 8, .bound = 1024 }, false },
    { "1 KiB, 1 producer, 1 consumer", { .producers = 1, .consumers = 1, .size = 1024, .bound = 1024 }, false },
    { "1 KiB, 2 producers, 2 consumers", { .producers = 2, .consumers = 2, .size = 1024, .bound = 1024 }, false },
    { "64 KiB, 1 producer, 1 consumer", { .producers = 1, .consumers = 1, .size = 65536, .bound = 16 }, false },
    { "64 KiB, 2 producers, 2 consumers", { .producers = 2, .consumers = 2, .size = 65536, .bound = 16 }, false },
    { "1 MiB, 1 producer, 1 consumer", { .producers = 1, .consumers = 1, .size = 1 << 20, .bound = 16 }, true },
    { "1 MiB, 2 producers, 2 consumers", { .producers = 2, .consumers = 2, .size = 1 << 20, .bound = 16 }, false },
    { "Round trips of 8 B, one right after the other",
      { .round_trips = true, .producers = 1, .consumers = 1, .size = 8, .bound = 1024, .count = HOT },
      true },
    { "Round trips of 8 B, 1 ms after another",
      { .round_trips = true, .producers = 1, .consumers = 1, .size = 8, .bound = 1024, .count = COLD, .pause = PAUSE },
      true },
};

static int run(const struct contestant *contestant, const struct load *load, struct finding *finding)
{
    if (contestant->channel)
        return run_channel(contestant->channel, load, finding);
    return contestant->command ? run_program(contestant->command, load, finding) : contestant->run(load, finding);
}

/* Sets how many messages take the time that a stream should. */
static int calibrate(const struct contestant *contestant, struct load *load, struct finding *finding)
{
    double seconds = bench_quick() ? 0.03 : 0.12;
    load->count = load->size <= 1024 ? 2000 : 100;
    for (;;) {
        int err = run(contestant, load, finding);
        if (err != 0)
            return err;
        double factor = seconds / (finding->first + 1e-6);
        load->count = (long)((double)load->count * (factor < 50 ? factor : 50)) / 2 * 2 + 2;
        if (factor < 5)
            return 0;
    }
}

struct entry {
    const struct contestant *contestant;
    struct load load;
};

/* Seconds of a message, or of a round trip. */
static double run_entry(void *argument)
{
    const struct entry *entry = argument;
    struct finding finding;
    if (run(entry->contestant, &entry->load, &finding) != 0)
        return -1;
    bench_also(finding.second);
    return entry->load.round_trips ? finding.first
                                   : finding.first / ((double)entry->load.count * entry->load.producers);
}

/* Finds who can carry the load here. Returns how many, or -1. */
static int prepare(const struct row *row, struct entry *entries)
{
    int count = 0;
    for (int i = 0; i < contestants_count; i++) {
        const struct contestant *contestant = &contestants[i];
        if (contestant->takes_part && !contestant->takes_part(&row->load))
            continue;
        struct entry entry = { contestant, row->load };
        struct finding finding = { 0 };
        int err = row->load.round_trips ? run(contestant, &entry.load, &finding)
                                        : calibrate(contestant, &entry.load, &finding);
        if (err == RUN_UNAVAILABLE)
            printf("(without %s: %s)\n", contestant->name, finding.reason);
        else if (err != 0) {
            bench_fail(bench_text("%s: %s failed or has a wrong result", row->title, contestant->name));
            return -1;
        } else {
            entries[count++] = entry;
            if (finding.bound)
                printf("(%s has room for %d messages only)\n", contestant->name, finding.bound);
        }
    }
    return count;
}

static void measure(const struct row *row)
{
    static struct entry entries[BENCH_CONTESTANTS_MAX];
    struct bench_row result = { .title = bench_text("queue: %s", row->title), .unit = "us", .scale = 1e-6 };
    if (row->load.round_trips) {
        result.title = bench_text("queue: %s: median", row->title);
        result.also_title = bench_text("queue: %s: 99th percentile", row->title);
    } else {
        result.more_is_better = true;
        result.per = row->load.size <= 1024 ? 1 : (double)row->load.size;
        result.scale = row->load.size <= 1024 ? 1e6 : 1e9;
        result.unit = row->load.size <= 1024 ? "million/s" : "GB/s";
    }
    int count = prepare(row, entries), next = 0;
    for (int kind = BENCH_OURS; kind <= BENCH_LIMIT; kind++)
        for (int i = 0; i < count; i++)
            if (entries[i].contestant->kind == (enum bench_kind)kind)
                result.contestants[next++] = (struct bench_contestant) {
                    .name = entries[i].contestant->name, .kind = kind, .run = run_entry, .argument = &entries[i]
                };
    if (next > 0)
        bench_row(&result);
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv);
    contestants_print_missing();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if ((rows[i].is_quick || !bench_quick()) && bench_is_wanted(bench_text("queue: %s", rows[i].title)))
            measure(&rows[i]);
    return bench_end();
}
