/* Options, rounds, repetitions. SPDX-License-Identifier: MIT */
#include "frame.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS_LEAST = 3, TRIES = 4 };

#define TAKEN_MOST 0.03 /* share of the CPU time that others may take */
#define FULL_SECONDS 12 /* for a row */
#define QUICK_SECONDS 1.5

static struct {
    const char *program, *json, *part;
    bool is_quick, has_failed;
} options;

static double also;

double bench_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

void bench_pause(long nanoseconds)
{
    nanosleep(&(struct timespec) { nanoseconds / 1000000000, nanoseconds % 1000000000 }, NULL);
}

const char *bench_text(const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0)
        abort();
    return text;
}

void bench_begin(int argc, char **argv)
{
    const char *name = strrchr(argv[0], '/');
    name = name ? name + 1 : argv[0];
    options.program = strncmp(name, "bench_", 6) == 0 ? name + 6 : name;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            options.is_quick = true;
        else if (strcmp(argv[i], "--json") == 0 && i + 1 < argc)
            options.json = argv[++i];
        else if (argv[i][0] != '-' && !options.part)
            options.part = argv[i];
        else {
            fprintf(stderr, "usage: %s [--quick] [--json FILE] [part of a row's title]\n", argv[0]);
            exit(2);
        }
    }
    signal(SIGPIPE, SIG_IGN);
}

bool bench_quick(void)
{
    return options.is_quick;
}

bool bench_is_wanted(const char *title)
{
    return !options.part || strstr(title, options.part);
}

void bench_also(double value)
{
    also = value;
}

void bench_fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", options.program, what);
    options.has_failed = true;
}

int bench_end(void)
{
    if (options.json && json_write(options.json) != 0)
        bench_fail(bench_text("cannot write %s", options.json));
    return options.has_failed;
}

static double run(const struct bench_contestant *contestant)
{
    return contestant->program ? program_run(contestant->program, contestant->load)
                               : contestant->run(contestant->argument);
}

static double to_figure(const struct bench_row *row, const struct bench_contestant *contestant, double value)
{
    double per = contestant->per != 0 ? contestant->per : row->per != 0 ? row->per : 1;
    double scale = row->scale != 0 ? row->scale : 1;
    return row->more_is_better ? per / value / scale : value / per / scale;
}

struct rounds {
    struct measured first, second; /* second: of bench_also */
    double taken[BENCH_CONTESTANTS_MAX * BENCH_ROUNDS_MAX];
    double most_seconds; /* of a run */
};

/* Runs one contestant in one round, again while it is disturbed. Returns whether it succeeded. */
static bool take_turn(struct rounds *rounds, int i, int round, double end)
{
    struct measured *first = &rounds->first;
    const struct bench_contestant *contestant = &first->row->contestants[i];
    double best_taken = 0;
    for (int try = 0; try < TRIES; try++) {
        noise_begin();
        double value = run(contestant), taken = noise_end();
        if (value < 0) {
            bench_fail(bench_text("%s: %s failed or has a wrong result", first->title, contestant->name));
            return false;
        }
        first->repeated += try > 0;
        if (try == 0 || taken < best_taken) {
            best_taken = taken;
            first->figures[i][round] = to_figure(first->row, contestant, value);
            rounds->second.figures[i][round] = to_figure(first->row, contestant, also);
        }
        if (best_taken <= TAKEN_MOST || bench_now() > end)
            break;
    }
    rounds->taken[first->runs++] = best_taken;
    first->disturbed += best_taken > TAKEN_MOST;
    return true;
}

static bool run_rounds(struct rounds *rounds)
{
    struct measured *first = &rounds->first;
    int most = first->row->rounds ? first->row->rounds : BENCH_ROUNDS_MAX;
    double begin = 0, end = 0, limit = options.is_quick ? QUICK_SECONDS : FULL_SECONDS;
    for (int round = -1; round < most; round++) {
        if (round == 0) {
            begin = bench_now();
            end = begin + limit;
        }
        for (int i = 0; i < first->contestants; i++)
            if (round < 0 ? run(&first->row->contestants[i]) < 0 /* warms up */ : !take_turn(rounds, i, round, end)) {
                bench_fail(bench_text("%s: %s failed", first->title, first->row->contestants[i].name));
                return false;
            }
        first->rounds = round + 1;
        double now = bench_now();
        if (first->rounds >= ROUNDS_LEAST && now + (now - begin) / first->rounds > end)
            break;
    }
    double sorted[BENCH_CONTESTANTS_MAX * BENCH_ROUNDS_MAX];
    memcpy(sorted, rounds->taken, (size_t)first->runs * sizeof *sorted);
    bench_sort(sorted, first->runs);
    first->taken_median = bench_quantile(sorted, first->runs, 0.5);
    first->taken_most = bench_quantile(sorted, first->runs, 1);
    return true;
}

static void report(const struct measured *measured)
{
    print_measured(measured);
    json_add(measured, options.program);
}

/* The row without those that are not there. */
static struct bench_row present(const struct bench_row *row)
{
    struct bench_row result = *row;
    int count = 0;
    for (int i = 0; i < BENCH_CONTESTANTS_MAX && row->contestants[i].name; i++) {
        const struct bench_contestant *contestant = &row->contestants[i];
        if (!contestant->program || program_is_there(contestant->program))
            result.contestants[count++] = *contestant;
        else
            printf("(without %s: it was not there when this was built; make bench-deps installs it)\n",
                   contestant->name);
    }
    if (count < BENCH_CONTESTANTS_MAX)
        result.contestants[count].name = NULL;
    return result;
}

void bench_row(const struct bench_row *all)
{
    if (!bench_is_wanted(all->title))
        return;
    struct bench_row row = present(all), also_row = row;
    struct rounds *rounds = calloc(1, sizeof *rounds);
    if (!rounds)
        abort();
    rounds->first = (struct measured) { .row = &row, .title = row.title };
    while (rounds->first.contestants < BENCH_CONTESTANTS_MAX && row.contestants[rounds->first.contestants].name)
        rounds->first.contestants++;
    if (run_rounds(rounds)) {
        report(&rounds->first);
        if (row.also_title) {
            struct measured *second = &rounds->second;
            memset(also_row.targets, 0, sizeof also_row.targets);
            second->row = &also_row;
            second->title = row.also_title;
            second->contestants = rounds->first.contestants;
            second->rounds = rounds->first.rounds;
            second->runs = rounds->first.runs;
            second->repeated = rounds->first.repeated;
            second->disturbed = rounds->first.disturbed;
            second->taken_median = rounds->first.taken_median;
            second->taken_most = rounds->first.taken_most;
            report(second);
        }
    }
    programs_end();
    free(rounds);
}
