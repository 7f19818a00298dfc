/* Messages between processes: mproc's queue, its peers, and the limits of the machine. SPDX-License-Identifier: MIT
 *
 * bench_queue [rounds [part of a row's title [part of a contestant's name]]]
 */
#include "contestants.h"
#include "table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 5, CONTESTANTS_MAX = 24, HOT = 4000, COLD = 200, PAUSE = 1000000 };
#define SECONDS 0.12 /* that a stream should take */

struct row {
    const char *title;
    struct load load;
};

static const struct row rows[] = {
    { "8 B, 1 producer, 1 consumer", { .producers = 1, .consumers = 1, .size = 8, .bound = 1024 } },
    { "8 B, 2 producers, 2 consumers", { .producers = 2, .consumers = 2, .size = 8, .bound = 1024 } },
    { "1 KiB, 1 producer, 1 consumer", { .producers = 1, .consumers = 1, .size = 1024, .bound = 1024 } },
    { "1 KiB, 2 producers, 2 consumers", { .producers = 2, .consumers = 2, .size = 1024, .bound = 1024 } },
    { "64 KiB, 1 producer, 1 consumer", { .producers = 1, .consumers = 1, .size = 65536, .bound = 16 } },
    { "64 KiB, 2 producers, 2 consumers", { .producers = 2, .consumers = 2, .size = 65536, .bound = 16 } },
    { "1 MiB, 1 producer, 1 consumer", { .producers = 1, .consumers = 1, .size = 1 << 20, .bound = 16 } },
    { "1 MiB, 2 producers, 2 consumers", { .producers = 2, .consumers = 2, .size = 1 << 20, .bound = 16 } },
    { "Round trips of 8 B, one right after the other",
      { .round_trips = true, .producers = 1, .consumers = 1, .size = 8, .bound = 1024, .count = HOT } },
    { "Round trips of 8 B, 1 ms after another",
      { .round_trips = true,
        .producers = 1,
        .consumers = 1,
        .size = 8,
        .bound = 1024,
        .count = COLD,
        .pause = PAUSE } },
};

static int run(const struct contestant *contestant, const struct load *load, struct finding *finding)
{
    if (contestant->channel)
        return run_channel(contestant->channel, load, finding);
    return contestant->command ? run_program(contestant->command, load, finding) : contestant->run(load, finding);
}

/* Sets how many messages take about SECONDS. */
static int calibrate(const struct contestant *contestant, struct load *load, struct finding *finding)
{
    load->count = load->size <= 1024 ? 2000 : 100;
    for (;;) {
        int err = run(contestant, load, finding);
        if (err != 0)
            return err;
        double factor = SECONDS / (finding->first + 1e-6);
        load->count = (long)((double)load->count * (factor < 50 ? factor : 50)) / 2 * 2 + 2;
        if (factor < 5)
            return 0;
    }
}

/* What is to be said below the table. */
static struct {
    char text[1024];
    size_t length;
} notes;

__attribute__((format(printf, 1, 2))) static void add_note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(notes.text + notes.length, sizeof notes.text - notes.length, format, arguments);
    va_end(arguments);
    if (length > 0 && notes.length + (size_t)length < sizeof notes.text)
        notes.length += (size_t)length;
}

struct entry {
    const struct contestant *contestant;
    struct load load;
};

/* Finds who can carry the load here. This round also warms up. Returns how many, or -1. */
static int prepare(const struct row *row, const char *name, struct entry *entries)
{
    int count = 0;
    for (int i = 0; i < contestants_count; i++) {
        const struct contestant *contestant = &contestants[i];
        if ((contestant->takes_part && !contestant->takes_part(&row->load)) || !strstr(contestant->name, name))
            continue;
        struct entry entry = { contestant, row->load };
        struct finding finding = { 0 };
        int err = row->load.round_trips ? run(contestant, &entry.load, &finding)
                                        : calibrate(contestant, &entry.load, &finding);
        if (err == RUN_UNAVAILABLE)
            add_note("  without %s: %s\n", contestant->name, finding.reason);
        else if (err != 0) {
            fprintf(stderr, "%s: %s failed or has a wrong result\n", row->title, contestant->name);
            return -1;
        } else {
            entries[count++] = entry;
            if (finding.bound)
                add_note("  %s has room for %d messages only\n", contestant->name, finding.bound);
        }
    }
    return count;
}

static void print(const struct row *row, const struct series *first, const struct series *second, int count, int rounds)
{
    char title[128];
    if (!row->load.round_trips) {
        double gigabytes = (double)row->load.size * 1e-9;
        struct heading heading = { row->title, "GB/s", gigabytes, NULL, 0, true };
        if (row->load.size <= 1024)
            heading = (struct heading) { row->title, "million/s", 1e-6, "GB/s", gigabytes, true };
        table_print(&heading, first, count, rounds);
        return;
    }
    snprintf(title, sizeof title, "%s: median", row->title);
    table_print(&(struct heading) { title, "us", 1e6, NULL, 0, false }, first, count, rounds);
    printf("\n");
    snprintf(title, sizeof title, "%s: 99th percentile", row->title);
    table_print(&(struct heading) { title, "us", 1e6, NULL, 0, false }, second, count, rounds);
}

static int run_row(const struct row *row, int rounds, const char *name)
{
    static struct series first[CONTESTANTS_MAX], second[CONTESTANTS_MAX];
    struct entry entries[CONTESTANTS_MAX];
    int count = prepare(row, name, entries);
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < count; i++) {
            const struct load *load = &entries[i].load;
            struct finding finding;
            if (run(entries[i].contestant, load, &finding) != 0) {
                fprintf(stderr, "%s: %s failed or has a wrong result\n", row->title, entries[i].contestant->name);
                return 1;
            }
            first[i].name = second[i].name = entries[i].contestant->name;
            first[i].kind = second[i].kind = entries[i].contestant->kind;
            first[i].values[round] =
                load->round_trips ? finding.first : (double)load->count * load->producers / finding.first;
            second[i].values[round] = finding.second;
        }
    }
    if (count > 0)
        print(row, first, second, count, rounds);
    printf("%.*s\n", (int)notes.length, notes.text);
    fflush(stdout);
    notes.length = 0;
    return count < 0;
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : ROUNDS, failed = 0;
    if (rounds < 1 || rounds > BENCH_ROUNDS_MAX || contestants_count > CONTESTANTS_MAX)
        return 2;
    printf("Messages between processes. Ratios are to the best peer, within a round.\n");
    contestants_print_missing();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (argc < 3 || strstr(rows[i].title, argv[2]))
            failed |= run_row(&rows[i], rounds, argc > 3 ? argv[3] : "");
    return failed;
}
