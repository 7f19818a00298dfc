/* Pictures: for each group of rows one, in it a panel for each row, in it a line for each contestant, with a mark where
 * its cost is on an axis on which the first one of mproc's is 1. SPDX-License-Identifier: MIT */
#include "results.h"

#include <stdio.h>
#include <string.h>

enum { LINE = 22, PANEL = 92, HEAD = 54, WIDTH = 1120, LEFT = 370, RIGHT = 190 };

struct style {
    const char *kind, *title, *colour;
    int shape;
};

static const struct style styles[] = {
    { "mproc", "mproc", "#0b5fa5", 7 },
    { "peer", "peer: another library, or what one writes by hand", "#c2541b", 5 },
    { "limit", "limit: the least that it takes on this machine", "#2e7d32", 9 },
};
enum { STYLES = sizeof styles / sizeof *styles };

static void print_quoted(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
    putchar('"');
}

static double cost_of(const json_t *contestant)
{
    return number_of(contestant, "cost");
}

static size_t count_contestants(const json_t *row)
{
    return json_array_size(json_object_get(row, "contestants"));
}

/* One contestant alone, or mproc at no cost at all, has no ratio to be drawn. */
static bool is_drawn(const json_t *row, const char *group)
{
    const json_t *first = json_array_get(json_object_get(row, "contestants"), 0);
    return strcmp(text_of(row, "group"), group) == 0 && count_contestants(row) > 1 && cost_of(first) > 0;
}

static bool is_marked(const json_t *contestant, const struct style *style)
{
    return strcmp(text_of(contestant, "kind"), style->kind) == 0 && cost_of(contestant) > 0;
}

static double quartile_of(const json_t *contestant, size_t which)
{
    return json_number_value(json_array_get(json_object_get(contestant, "cost_quartiles"), which));
}

static size_t count_marks(const json_t *contestants, const struct style *style)
{
    size_t i, count = 0;
    const json_t *contestant;
    json_array_foreach(contestants, i, contestant)
    {
        count += is_marked(contestant, style);
    }
    return count;
}

static void print_marks(const json_t *contestants)
{
    size_t i;
    const json_t *contestant;
    for (size_t style = 0; style < STYLES; style++) {
        printf("$marks%zu << END\n", style);
        json_array_foreach(contestants, i, contestant)
        {
            if (is_marked(contestant, &styles[style]))
                printf("%g %zu %g %g\n", cost_of(contestant), i + 1, quartile_of(contestant, 0),
                       quartile_of(contestant, 1));
        }
        printf("END\n");
    }
}

/* Names on the left, figures on the right. */
static void print_names(const json_t *contestants, const char *unit)
{
    size_t i;
    const json_t *contestant;
    printf("set ytics (");
    json_array_foreach(contestants, i, contestant)
    {
        printf("%s", i ? ", " : "");
        print_quoted(text_of(contestant, "name"));
        printf(" %zu", i + 1);
    }
    printf(")\nset yrange [%zu.6:0.4]\n", json_array_size(contestants));
    json_array_foreach(contestants, i, contestant)
    {
        printf("set label %zu '%.3g %s' at graph 1.02, first %zu left\n", i + 1, number_of(contestant, "median"), unit,
               i + 1);
    }
}

static void print_axis(const json_t *contestants)
{
    double least = 0.6, most = 1.7;
    size_t i;
    const json_t *contestant;
    json_array_foreach(contestants, i, contestant)
    {
        if (cost_of(contestant) <= 0)
            continue;
        double lower = quartile_of(contestant, 0), upper = quartile_of(contestant, 1);
        least = lower > 0 && lower < least ? lower : least;
        most = upper > most ? upper : most;
    }
    printf("set xrange [%g:%g]\n", least / 1.2, most * 1.2);
    /* Where there are few powers of ten, others are labelled, too. */
    printf(most / least < 100
               ? "set xtics (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)\n"
               : "set xtics ('1/100,000' 1e-5, '1/10,000' 1e-4, '1/1,000' 1e-3, '1/100' 0.01, '1/10' 0.1, 1, 10, 100, "
                 "'1,000' 1000, '10,000' 1e4, '100,000' 1e5)\n");
}

static void print_panel(const json_t *row, double top, double bottom, double title)
{
    const json_t *contestants = json_object_get(row, "contestants");
    const char *separator = "plot ";
    printf("unset label\nset tmargin at screen %f\nset bmargin at screen %f\n", top, bottom);
    print_marks(contestants);
    print_names(contestants, text_of(row, "unit"));
    print_axis(contestants);
    printf("set label ");
    print_quoted(text_of(row, "title"));
    printf(" at screen %f, screen %f left font ',15'\n", 13.0 / WIDTH, title);
    printf("set arrow 1 from 1, graph 0 to 1, graph 1 nohead lc '#777777' dt 2\n");
    for (size_t style = 0; style < STYLES; style++) {
        if (count_marks(contestants, &styles[style]) == 0)
            continue;
        printf("%s$marks%zu using 1:2:3:4 with xerrorbars pt %d ps 1.1 lc '%s' notitle", separator, style,
               styles[style].shape, styles[style].colour);
        separator = ", ";
    }
    printf("\n");
}

/* A plot with nothing in it but labels. */
static void print_key(double height)
{
    static const int places[STYLES] = { 20, 110, 500 };
    printf("unset label\nunset arrow\n");
    for (size_t style = 0; style < STYLES; style++)
        printf("set label %zu '%s' at screen %f, screen %f left offset 1.5,0 point pt %d ps 1.2 lc '%s' front\n",
               style + 1, styles[style].title, (double)places[style] / WIDTH, 1 - 16 / height, styles[style].shape,
               styles[style].colour);
    printf("set label %d 'mark: cost, the median of the ratios to the first line, which is 1: right of it is slower; "
           "bar: quartiles; on the right the figures' at screen %f, screen %f left font ',12' tc '#333333'\n",
           STYLES + 1, 13.0 / WIDTH, 1 - 40 / height);
    printf("unset border\nunset tics\nplot [1:2] [0:1] -1 notitle\nset border 1 lc '#666666'\n"
           "set xtics nomirror out\nset ytics scale 0 nomirror\nset grid xtics lc '#dddddd' lt 1\n");
}

static void print_group(const json_t *rows, const char *group, const char *directory)
{
    size_t i;
    const json_t *row;
    double height = HEAD, y = HEAD;
    json_array_foreach(rows, i, row)
    {
        if (is_drawn(row, group))
            height += PANEL + LINE * (double)count_contestants(row);
    }
    if (height == HEAD)
        return;
    printf("set output '%s/%s.svg'\n", directory, group);
    printf("set terminal svg noenhanced size %d,%g font 'DejaVu Sans,13' background '#ffffff'\n", WIDTH, height);
    printf("set lmargin at screen %f\nset rmargin at screen %f\n", (double)LEFT / WIDTH, 1 - (double)RIGHT / WIDTH);
    printf("set multiplot\n");
    print_key(height);
    json_array_foreach(rows, i, row)
    {
        if (!is_drawn(row, group))
            continue;
        double lines = LINE * (double)count_contestants(row);
        print_panel(row, 1 - (y + 40) / height, 1 - (y + 40 + lines) / height, 1 - (y + 24) / height);
        y += PANEL + lines;
    }
    printf("unset multiplot\nunset arrow\n");
}

int print_gnuplot(const json_t *results, const char *directory)
{
    const json_t *rows = json_object_get(results, "rows"), *row, *earlier;
    size_t i, j;
    printf("set logscale x\nunset key\n");
    json_array_foreach(rows, i, row)
    {
        const char *group = text_of(row, "group");
        bool is_new = true;
        json_array_foreach(rows, j, earlier)
        {
            if (j < i && strcmp(text_of(earlier, "group"), group) == 0)
                is_new = false;
        }
        if (is_new)
            print_group(rows, group, directory);
    }
    return 0;
}
