/* What the peers that are programs of their own have in common, in C and in C++. SPDX-License-Identifier: MIT
 *
 * A peer prints its version if its first argument is --version. Otherwise it reads lines and answers each with one:
 * the seconds that the load took, or -1 if it is wrong or its result was.
 *
 *     empty N SCHEDULE            map of N empty tasks
 *     spin N UNIT KIND SCHEDULE   map of N tasks; the shortest takes UNIT iterations (tasks.h); kind: a tasks_kind
 *     small N REPEATS PAUSE       maps of N empty tasks, PAUSE nanoseconds after one another: seconds of one
 *     sum                         the tutorial's job: its seconds in two workers, divided by those without
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include "../tasks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What a peer implements. `schedule` is a word of its own. */
static void peer_add_one(const int *in, int *out, size_t n, const char *schedule);
static void peer_spin(const uint32_t *in, uint64_t *out, size_t n, const char *schedule);
static void peer_sum(int64_t totals[TASKS_WORKERS]);
static void peer_print_version(void);

static tasks_add_one_function *volatile peer_add_one_task = task_add_one;
static tasks_spin_function *volatile peer_spin_task = task_spin;

static double peer_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static double peer_run_empty(size_t n, const char *schedule)
{
    static int *in, *out;
    static size_t room;
    if (n > room) {
        free(in);
        free(out);
        in = (int *)malloc(n * sizeof *in);
        out = (int *)malloc(n * sizeof *out);
        room = n;
        if (!in || !out)
            return -1;
    }
    for (size_t i = 0; i < n; i++) {
        in[i] = (int)i;
        out[i] = 0;
    }
    double start = peer_now();
    peer_add_one(in, out, n, schedule);
    double took = peer_now() - start;
    for (size_t i = 0; i < n; i++)
        if (out[i] != (int)i + 1)
            return -1;
    return took;
}

/* The results of the longest tasks are computed once more, all others compared with those of equal length. */
static double peer_run_spin(size_t n, uint32_t unit, int kind, const char *schedule)
{
    static uint64_t expected[TASKS_LONGEST + 1];
    static uint32_t expected_unit;
    uint32_t *in = (uint32_t *)malloc(n * sizeof *in);
    uint64_t *out = (uint64_t *)calloc(n, sizeof *out);
    double took = -1;
    if (in && out && unit > 0) {
        if (unit != expected_unit)
            memset(expected, 0, sizeof expected);
        expected_unit = unit;
        for (size_t i = 0; i < n; i++)
            in[i] = tasks_length((enum tasks_kind)kind, i, n, unit);
        double start = peer_now();
        peer_spin(in, out, n, schedule);
        took = peer_now() - start;
        for (size_t i = 0; i < n; i++) {
            uint64_t *right = &expected[in[i] / unit];
            if (*right == 0)
                task_spin(&in[i], right);
            if (out[i] != *right)
                took = -1;
        }
    }
    free(in);
    free(out);
    return took;
}

static double peer_run_small(size_t n, int repeats, long pause)
{
    enum { MOST = 16, WARM = 200 };
    int in[MOST], out[MOST];
    double sum = 0;
    if (n > MOST)
        return -1;
    for (int repeat = pause > 0 ? 0 : -WARM; repeat < repeats; repeat++) {
        struct timespec time = { 0, pause };
        if (pause > 0)
            nanosleep(&time, NULL);
        for (size_t i = 0; i < n; i++)
            in[i] = repeat + (int)i;
        double start = peer_now();
        peer_add_one(in, out, n, "static");
        if (repeat >= 0)
            sum += peer_now() - start;
        for (size_t i = 0; i < n; i++)
            if (out[i] != in[i] + 1)
                return -1;
    }
    return sum / repeats;
}

static double peer_run_sum(void)
{
    int64_t totals[2 * TASKS_WORKERS];
    double start = peer_now();
    for (int i = 0; i < TASKS_WORKERS; i++)
        totals[i] = tasks_sum(0, TASKS_NUMBERS);
    double alone = peer_now() - start;
    start = peer_now();
    peer_sum(totals + TASKS_WORKERS);
    double took = peer_now() - start;
    for (int i = 0; i < 2 * TASKS_WORKERS; i++)
        if (totals[i] != (int64_t)TASKS_NUMBERS * (TASKS_NUMBERS - 1) / 2)
            return -1;
    return took / alone;
}

static double peer_answer(char *line)
{
    char *words[5] = { line, line, line, line, line };
    int count = 0;
    for (char *word = strtok(line, " \n"); word && count < 5; word = strtok(NULL, " \n"))
        words[count++] = word;
    if (count == 3 && strcmp(words[0], "empty") == 0)
        return peer_run_empty(strtoul(words[1], NULL, 10), words[2]);
    if (count == 5 && strcmp(words[0], "spin") == 0)
        return peer_run_spin(strtoul(words[1], NULL, 10), (uint32_t)strtoul(words[2], NULL, 10), atoi(words[3]),
                             words[4]);
    if (count == 4 && strcmp(words[0], "small") == 0)
        return peer_run_small(strtoul(words[1], NULL, 10), atoi(words[2]), atol(words[3]));
    if (count == 1 && strcmp(words[0], "sum") == 0)
        return peer_run_sum();
    return -1;
}

int main(int argc, char **argv)
{
    char line[256];
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        peer_print_version();
        return 0;
    }
    while (fgets(line, sizeof line, stdin)) {
        printf("%.9e\n", peer_answer(line));
        fflush(stdout);
    }
    return 0;
}

#endif
