/* Rows as JSON. SPDX-License-Identifier: MIT */
#include "frame.h"

#include <jansson.h>
#include <stdio.h>

static json_t *rows;

static json_t *pack_contestant(const struct measured *measured, int i)
{
    static const char *const kinds[] = { [BENCH_OURS] = "mproc", [BENCH_PEER] = "peer", [BENCH_LIMIT] = "limit" };
    struct summary figure = summarise(measured->figures[i], measured->rounds), cost = cost_of(measured, i);
    json_t *values = json_array();
    for (int round = 0; round < measured->rounds; round++)
        json_array_append_new(values, json_real(measured->figures[i][round]));
    return json_pack("{ss ss sf s[ff] sf s[ff] so}", "name", measured->row->contestants[i].name, "kind",
                     kinds[measured->row->contestants[i].kind], "median", figure.median, "quartiles", figure.lower,
                     figure.upper, "cost", cost.median, "cost_quartiles", cost.lower, cost.upper, "values", values);
}

static json_t *pack_targets(const struct measured *measured)
{
    json_t *targets = json_array();
    for (int i = 0; i < BENCH_TARGETS_MAX && measured->row->targets[i].who; i++) {
        struct verdict verdict = judge(measured, &measured->row->targets[i]);
        if (verdict.is_known)
            json_array_append_new(targets, json_pack("{ss sf sf sb}", "text", verdict.text, "bound",
                                                     measured->row->targets[i].factor, "measured", verdict.ratio,
                                                     "reached", verdict.is_reached));
    }
    return targets;
}

void json_add(const struct measured *measured, const char *program)
{
    const struct bench_row *row = measured->row;
    json_t *contestants = json_array();
    for (int i = 0; i < measured->contestants; i++)
        json_array_append_new(contestants, pack_contestant(measured, i));
    json_t *noise =
        json_pack("{si si si sf sf}", "runs", measured->runs, "repeated", measured->repeated, "kept_though_disturbed",
                  measured->disturbed, "taken_median", measured->taken_median, "taken_most", measured->taken_most);
    rows = rows ? rows : json_array();
    json_array_append_new(rows,
                          json_pack("{ss ss ss ss ss si so so so}", "program", program, "group",
                                    row->group ? row->group : program, "title", measured->title, "unit", row->unit,
                                    "better", row->more_is_better ? "more" : "less", "rounds", measured->rounds,
                                    "contestants", contestants, "targets", pack_targets(measured), "noise", noise));
}

int json_write(const char *path)
{
    rows = rows ? rows : json_array();
    int result = json_dump_file(rows, path, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    json_decref(rows);
    rows = NULL;
    return result;
}
