/* What is made of the rows of all programs. SPDX-License-Identifier: MIT */
#ifndef BENCH_RESULTS_H
#define BENCH_RESULTS_H

#include <jansson.h>
#include <stdbool.h>

/* Each returns main's result, and writes to the standard output. */
int merge_rows(const char *directory);
int print_markdown(const json_t *results);
int print_gnuplot(const json_t *results, const char *directory);

static inline const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static inline double number_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

#endif
