/* Whether a target is reached. SPDX-License-Identifier: MIT */
#include "frame.h"

#include <stdio.h>
#include <string.h>

static int find(const struct measured *measured, const char *name)
{
    for (int i = 0; name && i < measured->contestants; i++)
        if (strcmp(measured->row->contestants[i].name, name) == 0)
            return i;
    return -1;
}

/* The best of the figures of a round that the target names; 0 if there are none. */
static double best_of(const struct measured *measured, const struct bench_target *target, int round)
{
    double best = 0;
    for (int i = 0; i < BENCH_OTHERS_MAX && target->others[i]; i++) {
        int other = find(measured, target->others[i]);
        if (other < 0)
            continue;
        double figure = measured->figures[other][round];
        if (best == 0 || (figure > best) == measured->row->more_is_better)
            best = figure;
    }
    return best;
}

static bool is_absolute(const struct bench_target *target)
{
    return target->bound == BENCH_AT_MOST || target->bound == BENCH_AT_LEAST;
}

static double ratio_of(const struct bench_target *target, double figure, double best)
{
    switch (target->bound) {
    case BENCH_AT_MOST_TIMES:
    case BENCH_AT_LEAST_OF: return figure / best;
    case BENCH_TIMES_LESS: return best / figure;
    default: return figure;
    }
}

static void describe(const struct measured *measured, const struct bench_target *target, struct verdict *verdict)
{
    static const char *const formats[] = {
        [BENCH_AT_MOST_TIMES] = "%s: at most %g times ",
        [BENCH_AT_LEAST_OF] = "%s: at least %g of ",
        [BENCH_TIMES_LESS] = "%s: at least %g times less than ",
        [BENCH_AT_MOST] = "%s: at most %g ",
        [BENCH_AT_LEAST] = "%s: at least %g ",
        [BENCH_FLAT] = "from %s on: flat within %g",
    };
    char *text = verdict->text;
    size_t size = sizeof verdict->text;
    snprintf(text, size, formats[target->bound], target->who, target->factor);
    if (is_absolute(target))
        snprintf(text + strlen(text), size - strlen(text), "%s", measured->row->unit);
    if (is_absolute(target) || target->bound == BENCH_FLAT)
        return;
    if (target->others[1])
        snprintf(text + strlen(text), size - strlen(text), "the best of ");
    for (int i = 0; i < BENCH_OTHERS_MAX && target->others[i]; i++)
        snprintf(text + strlen(text), size - strlen(text), "%s'%s'", i ? ", " : "", target->others[i]);
}

/* The largest of the contestants' median ratios to the first one by the smallest, which is 1 or less. */
static struct verdict judge_flatness(const struct measured *measured, const struct bench_target *target,
                                     struct verdict verdict)
{
    double ratios[BENCH_ROUNDS_MAX], most = 1, least = 1;
    int first = find(measured, target->who);
    for (int i = 0; i < BENCH_OTHERS_MAX && target->others[i]; i++) {
        int other = find(measured, target->others[i]);
        if (first < 0 || other < 0)
            return verdict;
        for (int round = 0; round < measured->rounds; round++)
            ratios[round] = measured->figures[other][round] / measured->figures[first][round];
        double ratio = median_of(ratios, measured->rounds);
        most = ratio > most ? ratio : most;
        least = ratio < least ? ratio : least;
    }
    verdict.is_known = true;
    verdict.ratio = most / least;
    verdict.is_reached = verdict.ratio <= target->factor;
    return verdict;
}

struct verdict judge(const struct measured *measured, const struct bench_target *target)
{
    struct verdict verdict = { 0 };
    double ratios[BENCH_ROUNDS_MAX];
    int who = find(measured, target->who);
    describe(measured, target, &verdict);
    if (target->bound == BENCH_FLAT)
        return judge_flatness(measured, target, verdict);
    for (int round = 0; round < measured->rounds; round++) {
        double best = best_of(measured, target, round);
        if (who < 0 || (best == 0 && !is_absolute(target)))
            return verdict;
        ratios[round] = ratio_of(target, measured->figures[who][round], best);
    }
    verdict.is_known = true;
    verdict.ratio = median_of(ratios, measured->rounds);
    bool is_least =
        target->bound == BENCH_AT_LEAST_OF || target->bound == BENCH_TIMES_LESS || target->bound == BENCH_AT_LEAST;
    verdict.is_reached = is_least ? verdict.ratio >= target->factor : verdict.ratio <= target->factor;
    return verdict;
}
