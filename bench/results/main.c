/* bench_results merge DIRECTORY: one file of the rows of all programs, DIRECTORY/rows/[...].json, with the machine and
 *                                DIRECTORY/versions
 * bench_results markdown FILE: tables
 * bench_results gnuplot FILE DIRECTORY: a program for gnuplot that draws them as SVG
 *
 * SPDX-License-Identifier: MIT */
#include "results.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "merge") == 0)
        return merge_rows(argv[2]);
    bool is_markdown = argc == 3 && strcmp(argv[1], "markdown") == 0;
    if (!is_markdown && !(argc == 4 && strcmp(argv[1], "gnuplot") == 0)) {
        fprintf(stderr, "usage: %s merge DIRECTORY | markdown FILE | gnuplot FILE DIRECTORY\n", argv[0]);
        return 2;
    }
    json_error_t error;
    json_t *results = json_load_file(argv[2], 0, &error);
    if (!results) {
        fprintf(stderr, "%s: line %d: %s\n", argv[2], error.line, error.text);
        return 1;
    }
    int result = is_markdown ? print_markdown(results) : print_gnuplot(results, argv[3]);
    json_decref(results);
    return result;
}
