/* The tables of docs/performance.md. SPDX-License-Identifier: MIT */
#include "results.h"

#include <stdio.h>
#include <string.h>

static void print_machine(const json_t *results)
{
    const char *name;
    json_t *version;
    const json_t *noise = json_object_get(results, "noise");
    const char *kernel = text_of(results, "kernel"); /* its number without what the distributor adds */
    printf("%s; %g CPUs (%s), %s, Linux %.*s.\n\n", text_of(results, "date"), number_of(results, "cpus"),
           text_of(results, "processor"), text_of(results, "architecture"), (int)strcspn(kernel, "-"), kernel);
    const char *separator = "";
    json_object_foreach(json_object_get(results, "versions"), name, version)
    {
        printf("%s%s %s", separator, name, json_string_value(version));
        separator = ", ";
    }
    printf(".\n\n%g runs; %g repetitions, as others took more than 3 %% of the CPU time, and %g runs kept although "
           "they did\nthe last time, too.\n",
           number_of(noise, "runs"), number_of(noise, "repeated"), number_of(noise, "kept_though_disturbed"));
}

static void print_contestant(const json_t *contestant)
{
    const json_t *quartiles = json_object_get(contestant, "quartiles");
    double cost = number_of(contestant, "cost");
    printf("| %s | %s | %.3g | %.3g to %.3g | ", text_of(contestant, "name"), text_of(contestant, "kind"),
           number_of(contestant, "median"), json_number_value(json_array_get(quartiles, 0)),
           json_number_value(json_array_get(quartiles, 1)));
    if (cost > 0)
        printf("%.3g |\n", cost);
    else
        printf("|\n");
}

static void print_row(const json_t *row)
{
    size_t i;
    const json_t *contestant, *target;
    printf("\n**%s** (median of %g rounds; %s is better)\n\n", text_of(row, "title"), number_of(row, "rounds"),
           text_of(row, "better"));
    printf("| | | %s | quartiles | cost |\n| --- | --- | --- | --- | --- |\n", text_of(row, "unit"));
    json_array_foreach(json_object_get(row, "contestants"), i, contestant) print_contestant(contestant);
    json_array_foreach(json_object_get(row, "targets"), i, target)
    {
        printf("%s- %s: **%.3g**, %s\n", i == 0 ? "\n" : "", text_of(target, "text"), number_of(target, "measured"),
               json_is_true(json_object_get(target, "reached")) ? "reached" : "missed");
    }
}

static void print_targets(const json_t *rows)
{
    size_t i, j;
    const json_t *row, *target;
    printf("\n| row | target | measured | |\n| --- | --- | --- | --- |\n");
    json_array_foreach(rows, i, row)
    {
        json_array_foreach(json_object_get(row, "targets"), j, target)
        {
            printf("| %s | %s | %.3g | %s |\n", j == 0 ? text_of(row, "title") : "", text_of(target, "text"),
                   number_of(target, "measured"),
                   json_is_true(json_object_get(target, "reached")) ? "reached" : "missed");
        }
    }
}

int print_markdown(const json_t *results)
{
    const json_t *rows = json_object_get(results, "rows"), *row;
    const char *group = "";
    size_t i;
    print_machine(results);
    printf("\n### Targets\n");
    print_targets(rows);
    printf("\n### All rows\n");
    json_array_foreach(rows, i, row)
    {
        if (strcmp(group, text_of(row, "group")) != 0) {
            group = text_of(row, "group");
            printf("\n#### %s\n", group);
        }
        print_row(row);
    }
    return 0;
}
