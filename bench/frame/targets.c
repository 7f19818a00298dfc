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

/* The figures of a round that the target names: the best and the worst of them. */
struct range {
    double best, worst;
    int count;
};

static void include(struct range *range, double figure, bool more_is_better)
{
    bool is_best = range->count == 0 || (figure > range->best) == more_is_better;
    bool is_worst = range->count == 0 || (figure < range->worst) == more_is_better;
    range->best = is_best ? figure : range->best;
    range->worst = is_worst ? figure : range->worst;
    range->count++;
}

static struct range others_of(const struct measured *measured, const struct bench_target *target, int round)
{
    struct range range = { 0 };
    for (int i = 0; i < BENCH_OTHERS_MAX && target->others[i]; i++) {
        int other = find(measured, target->others[i]);
        if (other >= 0)
            include(&range, measured->figures[other][round], measured->row->more_is_better);
    }
    return range;
}

static double ratio_of(const struct bench_target *target, double figure, struct range others, bool more_is_better)
{
    switch (target->bound) {
    case BENCH_AT_MOST_TIMES:
    case BENCH_AT_LEAST_OF: return figure / others.best;
    case BENCH_TIMES_LESS: return others.best / figure;
    case BENCH_FLAT:
        include(&others, figure, more_is_better);
        return more_is_better ? others.best / others.worst : others.worst / others.best;
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
        [BENCH_FLAT] = "from %s on: flat within %g",
    };
    char *text = verdict->text;
    size_t size = sizeof verdict->text;
    snprintf(text, size, formats[target->bound], target->who, target->factor);
    if (target->bound == BENCH_AT_MOST)
        snprintf(text + strlen(text), size - strlen(text), "%s", measured->row->unit);
    if (target->bound == BENCH_AT_MOST || target->bound == BENCH_FLAT)
        return;
    if (target->others[1])
        snprintf(text + strlen(text), size - strlen(text), "the best of ");
    for (int i = 0; i < BENCH_OTHERS_MAX && target->others[i]; i++)
        snprintf(text + strlen(text), size - strlen(text), "%s'%s'", i ? ", " : "", target->others[i]);
}

struct verdict judge(const struct measured *measured, const struct bench_target *target)
{
    struct verdict verdict = { 0 };
    double ratios[BENCH_ROUNDS_MAX];
    int who = find(measured, target->who);
    describe(measured, target, &verdict);
    for (int round = 0; round < measured->rounds; round++) {
        struct range others = others_of(measured, target, round);
        if (who < 0 || (others.count == 0 && target->bound != BENCH_AT_MOST))
            return verdict;
        ratios[round] = ratio_of(target, measured->figures[who][round], others, measured->row->more_is_better);
    }
    verdict.is_known = true;
    verdict.ratio = median_of(ratios, measured->rounds);
    bool is_least = target->bound == BENCH_AT_LEAST_OF || target->bound == BENCH_TIMES_LESS;
    verdict.is_reached = is_least ? verdict.ratio >= target->factor : verdict.ratio <= target->factor;
    return verdict;
}
