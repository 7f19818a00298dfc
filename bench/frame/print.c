/* A row as text. SPDX-License-Identifier: MIT */
#include "frame.h"

#include <stdio.h>

static const char *const kinds[] = { [BENCH_OURS] = "", [BENCH_PEER] = "peer", [BENCH_LIMIT] = "limit" };

static void print_targets(const struct measured *measured)
{
    for (int i = 0; i < BENCH_TARGETS_MAX && measured->row->targets[i].who; i++) {
        struct verdict verdict = judge(measured, &measured->row->targets[i]);
        if (!verdict.is_known)
            printf("  target   %s: nobody to compare with\n", verdict.text);
        else
            printf("  target   %s: %.3g, %s\n", verdict.text, verdict.ratio, verdict.is_reached ? "reached" : "MISSED");
    }
}

void print_measured(const struct measured *measured)
{
    const struct bench_row *row = measured->row;
    printf("%s; median of %d rounds, %s is better\n", measured->title, measured->rounds,
           row->more_is_better ? "more" : "less");
    printf("  %-5s %-42s %12s %23s %10s\n", "", "", row->unit, "quartiles", "cost");
    for (int i = 0; i < measured->contestants; i++) {
        struct summary figure = summarise(measured->figures[i], measured->rounds);
        printf("  %-5s %-42s %12.4g %11.4g %11.4g %10.3g\n", kinds[row->contestants[i].kind], row->contestants[i].name,
               figure.median, figure.lower, figure.upper, cost_of(measured, i).median);
    }
    print_targets(measured);
    printf("  noise    %d runs; %d repeated, %d kept though disturbed; others took %.1f %% of the CPUs (most: %.1f "
           "%%)\n\n",
           measured->runs, measured->repeated, measured->disturbed, measured->taken_median * 100,
           measured->taken_most * 100);
    fflush(stdout);
}
