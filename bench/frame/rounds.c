/* Options, rounds, repetitions. SPDX-License-Identifier: MIT */
#include "frame.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS_LEAST = 3, TRIES = 4, QUICK_TRIES = 2 };

#define TAKEN_MOST 0.03 /* share of the CPU time that others may take */
#define FULL_SECONDS 10 /* for a row */
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

/* The row that runs call bench_also for. It has no targets, and otherwise all of the first one's but the figures. */
static struct bench_row also_row(const struct bench_row *first)
{
    struct bench_row row = *first;
    row.title = first->also_title;
    row.unit = first->also_unit ? first->also_unit : first->unit;
    row.per = first->also_per != 0 ? first->also_per : first->per;
    memset(row.targets, 0, sizeof row.targets);
    return row;
}

static double to_figure(const struct bench_row *row, const struct bench_contestant *contestant, double value)
{
    double per = contestant->per != 0 ? contestant->per : row->per != 0 ? row->per : 1;
    double scale = row->scale != 0 ? row->scale : 1;
    return row->more_is_better ? per / value / scale : value / per / scale;
}

struct rounds {
    struct measured first;
    struct measured second; /* of bench_also: figures alone */
    struct bench_row second_row;
    double taken[BENCH_CONTESTANTS_MAX * BENCH_ROUNDS_MAX];
};

/* Runs a contestant. Says so if it fails. */
static double run(const struct measured *measured, int i)
{
    const struct bench_contestant *contestant = &measured->row->contestants[i];
    double value = contestant->program ? program_run(contestant->program, contestant->load)
                                       : contestant->run(contestant->argument);
    if (contestant->program)
        also = value;
    if (value < 0)
        bench_fail(bench_text("%s: %s failed or has a wrong result", measured->title, contestant->name));
    return value;
}

/* Runs one contestant in one round, again while it is disturbed and there is time. Returns whether it succeeded. */
static bool take_turn(struct rounds *rounds, int i, int round, double end)
{
    struct measured *first = &rounds->first;
    const struct bench_contestant *contestant = &first->row->contestants[i];
    double best_taken = 0;
    int tries = options.is_quick ? QUICK_TRIES : TRIES;
    for (int try = 0; try < tries; try++) {
        noise_begin();
        double value = run(first, i), taken = noise_end();
        if (value < 0)
            return false;
        first->repeated += try > 0;
        if (try == 0 || taken < best_taken) {
            best_taken = taken;
            first->figures[i][round] = to_figure(first->row, contestant, value);
            rounds->second.figures[i][round] = to_figure(&rounds->second_row, contestant, also);
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
    for (int i = 0; i < first->contestants; i++) /* warms up */
        if (run(first, i) < 0)
            return false;
    double begin = bench_now(), end = begin + (options.is_quick ? QUICK_SECONDS : FULL_SECONDS);
    while (first->rounds < most) {
        for (int i = 0; i < first->contestants; i++)
            if (!take_turn(rounds, i, first->rounds, end))
                return false;
        first->rounds++;
        double now = bench_now();
        if (first->rounds >= ROUNDS_LEAST && now + (now - begin) / first->rounds > end)
            break;
    }
    bench_sort(rounds->taken, first->runs);
    first->taken_median = bench_quantile(rounds->taken, first->runs, 0.5);
    first->taken_most = bench_quantile(rounds->taken, first->runs, 1);
    return true;
}

static void report(const struct measured *measured)
{
    print_measured(measured);
    json_add(measured, options.program);
}

static void report_also(const struct rounds *rounds)
{
    struct measured second = rounds->first;
    memcpy(second.figures, rounds->second.figures, sizeof second.figures);
    second.row = &rounds->second_row;
    second.title = rounds->second_row.title;
    report(&second);
}

/* The row without those that are not there. */
static struct bench_row present(const struct bench_row *row)
{
    struct bench_row result = *row;
    int count = 0;
    for (int i = 0; i < BENCH_CONTESTANTS_MAX && row->contestants[i].name; i++) {
        const struct bench_contestant *contestant = &row->contestants[i];
        if (!contestant->program || bench_program_is_there(contestant->program))
            result.contestants[count++] = *contestant;
    }
    if (count < BENCH_CONTESTANTS_MAX)
        result.contestants[count].name = NULL;
    return result;
}

void bench_row(const struct bench_row *all)
{
    if (!bench_is_wanted(all->title))
        return;
    struct bench_row row = present(all);
    struct rounds *rounds = calloc(1, sizeof *rounds);
    if (!rounds)
        abort();
    rounds->first = (struct measured) { .row = &row, .title = row.title };
    rounds->second_row = also_row(&row);
    while (rounds->first.contestants < BENCH_CONTESTANTS_MAX && row.contestants[rounds->first.contestants].name)
        rounds->first.contestants++;
    if (run_rounds(rounds)) {
        report(&rounds->first);
        if (row.also_title)
            report_also(rounds);
    }
    programs_end();
    free(rounds);
}
