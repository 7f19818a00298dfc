/* Drawing a timeline as SVG. SPDX-License-Identifier: MIT */
#include "timeline_svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MARGIN = 16,
    TITLE_TOP = 32,          /* baseline of the title */
    SUBTITLE_TOP = 52,       /* of the line below */
    LEGEND_TOP = 76,         /* middle of the first line of the legend */
    LEGEND_LINE = 20,        /* pixels */
    AXIS_HEIGHT = 24,        /* of the line with times */
    HEADING_HEIGHT = 24,     /* of a process's name, where there are several */
    ROWS_WITH_ONE_AXIS = 20, /* more have another one below */
    NAME_MOST = 28,          /* characters of a row's name */
    TITLE_MOST = 80,         /* of a process's */
    TICK_ROOM = 90,          /* pixels from one tick to the next, at least */
    SHARE_END = 62,          /* where the figures right of the rows end */
    COUNT_END = 122,
};

const struct look looks[KINDS] = {
    [PLAIN] = { "#4f9a94", NULL, NULL },
    [OK] = { "#4a86b8", NULL, NULL },
    [FAILED] = { "#e08214", "M-1,1l2,-2M0,6l6,-6M5,7l2,-2", "M-4,-4h8l-4,8z" },
    [CRASHED] = { "#c4161c", "M0,0l6,6M0,6l6,-6",
                  "M-4,-2.2L-2.2,-4L0,-1.8L2.2,-4L4,-2.2L1.8,0L4,2.2L2.2,4L0,1.8L-2.2,4L-4,2.2L-1.8,0z" },
    [TIMED_OUT] = { "#7b3294", "M0,3h6", "M-4,-4h8l-3.2,4l3.2,4h-8l3.2,-4z" },
    [OVER_MEMORY] = { "#a6006f", "M1,2h2M4,5h2", "M0,-4.6l4.6,4.6l-4.6,4.6l-4.6,-4.6z" },
    [CANCELLED] = { "#656d76", "M-1,5l2,2M0,0l6,6M5,-1l2,2",
                    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0zM-2,0a2,2 0 1,1 4,0a2,2 0 1,1 -4,0z" },
    [LOST] = { "#3d444d", "M3,0v6", "M-4,-4v8h8v-8zM-2,-2h4v4h-4z" },
    [OTHER] = { "#8c510a", "M3,1v4M1,3h4", "M-1.4,-4h2.8v2.6h2.6v2.8h-2.6v2.6h-2.8v-2.6h-2.6v-2.8h2.6z" },
};

static void put_style(FILE *out)
{
    fputs("<style>\n"
          "text{font:12px system-ui,'Segoe UI','Helvetica Neue','DejaVu Sans',sans-serif;fill:#24292f}\n"
          ".h{font-size:18px;font-weight:600}.b{font-weight:600}.s{fill:#57606a}\n"
          ".t{text-anchor:middle;fill:#57606a;font-size:11px}.n{text-anchor:middle;fill:#fff;font-size:10px}\n"
          ".m{font-size:10px}.e{text-anchor:end}.g{stroke:#d0d7de}.r{fill:#f3f5f7}\n",
          out);
    for (int kind = 0; kind < KINDS; kind++) {
        fprintf(out, ".k%d{fill:%s}", kind, looks[kind].colour);
        if (looks[kind].pattern)
            fprintf(out, ".p%d{fill:url(#p%d)}", kind, kind);
    }
    fputs("\n</style>\n<defs>\n", out);
    for (int kind = FAILED; kind < KINDS; kind++)
        fprintf(out,
                "<pattern id=\"p%d\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\">"
                "<rect width=\"6\" height=\"6\" fill=\"%s\"/><path d=\"%s\" stroke=\"#fff\" stroke-width=\"1.1\"/>"
                "</pattern>\n<path id=\"m%d\" d=\"%s\" fill=\"%s\" stroke=\"#fff\" stroke-width=\"0.6\"/>\n",
                kind, looks[kind].colour, looks[kind].pattern, kind, looks[kind].mark, looks[kind].colour);
    fputs("</defs>\n", out);
}

/* ---- what stands above the rows */

static size_t count_failures(const struct timeline *timeline)
{
    size_t count = 0;
    for (int kind = FAILED; kind < KINDS; kind++)
        count += timeline->counts[kind];
    return count;
}

static void put_process_name(FILE *out, const struct process *process)
{
    bool has_name = process->name && process->name[0];
    if (!has_name)
        fputs("process ", out);
    put_cut_text(out, has_name ? process->name : process->key, TITLE_MOST);
}

/* How many processes have rows; `first` is the index of the first. */
static size_t count_processes(const struct timeline *timeline, size_t *first)
{
    size_t count = 0;
    for (size_t i = 0; i < timeline->row_count; i++)
        count += i == 0 || timeline->rows[i].process != timeline->rows[i - 1].process;
    *first = timeline->rows[0].process;
    return count;
}

static void put_headline(const struct drawing *drawing)
{
    const struct timeline *timeline = drawing->timeline;
    FILE *out = drawing->out;
    char number[NUMBER_SIZE];
    size_t first, failures = count_failures(timeline), processes = count_processes(timeline, &first);
    double span = timeline->end - timeline->start;
    fprintf(out, "<text class=\"h\" x=\"%d\" y=\"%d\">", MARGIN, TITLE_TOP);
    if (processes == 1)
        put_process_name(out, &timeline->processes[first]);
    else
        fprintf(out, "%zu processes", processes);
    fprintf(out, "</text>\n<text class=\"s\" x=\"%d\" y=\"%d\">%s %s on ", MARGIN, SUBTITLE_TOP,
            print_count(number, timeline->item_count), timeline->item_count == 1 ? "item" : "items");
    bool is_ours = timeline->counts[PLAIN] < timeline->item_count;
    fprintf(out, "%s %s%s in ", print_count(number, timeline->row_count), is_ours ? "worker" : "thread",
            timeline->row_count == 1 ? "" : "s");
    fputs(print_time(number, span), out);
    if (span > 0)
        fprintf(out, ", busy for %s of it", print_share(number, timeline->busy / span / (double)timeline->row_count));
    if (failures > 0)
        fprintf(out, "; %s without success", print_count(number, failures));
    if (timeline->is_unfinished)
        fputs("; the record is not finished", out);
    fputs("</text>\n", out);
}

/* Where the next entry of the legend goes. */
struct legend {
    double x, y, right;
    bool is_drawn; /* or only measured */
};

static void begin_entry(struct legend *legend, double width)
{
    if (legend->x > MARGIN && legend->x + width > legend->right) {
        legend->x = MARGIN;
        legend->y += LEGEND_LINE;
    }
}

static void put_kind(const struct drawing *drawing, struct legend *legend, enum kind kind)
{
    char text[2 * NUMBER_SIZE], number[NUMBER_SIZE];
    double mark = is_failure(kind) ? 14 : 0;
    snprintf(text, sizeof text, "%s %s", kind_names[kind], print_count(number, drawing->timeline->counts[kind]));
    double width = 22 + mark + text_width(text, 12) + 14;
    begin_entry(legend, width);
    if (legend->is_drawn) {
        FILE *out = drawing->out;
        fprintf(out, "<rect class=\"%c%d\" x=\"%g\" y=\"%g\" width=\"18\" height=\"12\"/>\n", mark > 0 ? 'p' : 'k',
                (int)kind, legend->x, legend->y - 6);
        if (mark > 0)
            fprintf(out, "<use xlink:href=\"#m%d\" x=\"%g\" y=\"%g\"/>\n", (int)kind, legend->x + 27, legend->y);
        fprintf(out, "<text x=\"%g\" y=\"%g\">%s</text>\n", legend->x + 23 + mark, legend->y + 4, text);
    }
    legend->x += width;
}

static void put_shades(const struct drawing *drawing, struct legend *legend)
{
    static const char text[] = "short items together, paler where idle in between";
    enum kind kind = drawing->timeline->counts[OK] > 0 ? OK : PLAIN;
    double width = 40 + text_width(text, 12);
    begin_entry(legend, width);
    for (int i = 0; legend->is_drawn && i < 3; i++)
        fprintf(drawing->out,
                "<rect class=\"k%d\" x=\"%g\" y=\"%g\" width=\"12\" height=\"12\" fill-opacity=\"%.2g\"/>\n", (int)kind,
                legend->x + 12 * i, legend->y - 6, group_opacity((1 + i) / 3.0));
    if (legend->is_drawn)
        fprintf(drawing->out, "<text class=\"s\" x=\"%g\" y=\"%g\">%s</text>\n", legend->x + 41, legend->y + 4, text);
    legend->x += width;
}

/* Returns where it ends. */
static double put_legend(const struct drawing *drawing, double right, bool is_drawn)
{
    struct legend legend = { MARGIN, LEGEND_TOP, right, is_drawn };
    for (int kind = 0; kind < KINDS; kind++)
        if (drawing->timeline->counts[kind] > 0)
            put_kind(drawing, &legend, (enum kind)kind);
    if (drawing->has_groups)
        put_shades(drawing, &legend);
    return legend.y + LEGEND_LINE / 2.0;
}

/* ---- the axis */

/* A round time that is at least so long. */
static double round_step(double least)
{
    static const double clock[] = { 10e6,   15e6,   30e6,   60e6,    120e6,   300e6,   600e6,  900e6,
                                    1800e6, 3600e6, 7200e6, 10800e6, 21600e6, 43200e6, 86400e6 };
    static const double round[] = { 1, 2, 5, 10 };
    if (least > 5e6 && least <= 86400e6)
        for (size_t i = 0; i < sizeof clock / sizeof *clock; i++)
            if (clock[i] >= least)
                return clock[i];
    double power = pow(10, floor(log10(least)));
    for (size_t i = 0; i < sizeof round / sizeof *round; i++)
        if (round[i] * power >= least)
            return round[i] * power;
    return 10 * power;
}

static void put_tick_text(const struct drawing *drawing, double x, double y, double time, double step)
{
    char text[NUMBER_SIZE];
    fputs("<text class=\"t\" x=\"", drawing->out);
    put_pixels(drawing->out, x);
    fprintf(drawing->out, "\" y=\"%g\">%s</text>\n", y, print_tick(text, time, step, drawing->width / drawing->scale));
}

static void put_axis(const struct drawing *drawing, double top, double bottom)
{
    double span = drawing->width / drawing->scale, step = round_step(TICK_ROOM / drawing->scale);
    for (int i = 0; i * step <= span * (1 + 1e-9); i++) {
        double x = drawing->left + i * step * drawing->scale;
        fputs("<path class=\"g\" d=\"M", drawing->out);
        put_pixels(drawing->out, x);
        fprintf(drawing->out, ",%gV%g\"/>\n", top - 4, bottom + 4);
        put_tick_text(drawing, x, top - 8, i * step, step);
        if (drawing->timeline->row_count > ROWS_WITH_ONE_AXIS)
            put_tick_text(drawing, x, bottom + 17, i * step, step);
    }
    double right = drawing->left + drawing->width;
    fprintf(drawing->out, "<text class=\"t e\" x=\"%g\" y=\"%g\">busy</text>\n", right + SHARE_END, top - 8);
    fprintf(drawing->out, "<text class=\"t e\" x=\"%g\" y=\"%g\">items</text>\n", right + COUNT_END, top - 8);
}

/* ---- rows */

static void put_figures(const struct drawing *drawing, const struct row *row, double y)
{
    char number[NUMBER_SIZE];
    double span = drawing->timeline->end - drawing->timeline->start, right = drawing->left + drawing->width;
    double share = span > 0 ? row->busy / span : 1;
    fprintf(drawing->out, "<text class=\"e\" x=\"%g\" y=\"%g\">%s</text>\n", right + SHARE_END, y,
            print_share(number, share));
    fprintf(drawing->out, "<text class=\"e s\" x=\"%g\" y=\"%g\">%s</text>\n", right + COUNT_END, y,
            print_count(number, row->count));
}

static bool has_name(const struct row *row)
{
    return row->name && row->name[0];
}

static void put_row_name(FILE *out, const struct row *row)
{
    if (!has_name(row))
        fputs("thread ", out);
    put_cut_text(out, has_name(row) ? row->name : row->key, NAME_MOST);
}

static double row_name_width(const struct row *row)
{
    double most = NAME_MOST * text_width("x", 12);
    return has_name(row) ? fmin(most, text_width(row->name, 12))
                         : text_width("thread ", 12) + fmin(most, text_width(row->key, 12));
}

static void put_row(struct drawing *drawing, const struct row *row, double y)
{
    FILE *out = drawing->out;
    double text_y = y + drawing->bar_top + drawing->bar_height / 2 + 4;
    fprintf(out, "<text class=\"e\" x=\"%g\" y=\"%g\">", drawing->left - 8, text_y);
    put_row_name(out, row);
    fputs("</text>\n", out);
    put_figures(drawing, row, text_y);
    fprintf(out, "<g transform=\"translate(%g,%g)\">\n", drawing->left, y);
    shapes_draw(drawing, row);
    fputs("</g>\n", out);
}

static bool begins_process(const struct timeline *timeline, size_t row)
{
    return row == 0 || timeline->rows[row].process != timeline->rows[row - 1].process;
}

/* With a heading for each process, where there are several. Returns where they end. */
static double put_rows(struct drawing *drawing, double y, bool is_drawn)
{
    const struct timeline *timeline = drawing->timeline;
    size_t first, processes = count_processes(timeline, &first);
    for (size_t i = 0; i < timeline->row_count; i++) {
        const struct row *row = &timeline->rows[i];
        if (processes > 1 && begins_process(timeline, i)) {
            if (is_drawn) {
                fprintf(drawing->out, "<text class=\"b\" x=\"%d\" y=\"%g\">", MARGIN, y + 17);
                put_process_name(drawing->out, &timeline->processes[row->process]);
                fputs("</text>\n", drawing->out);
            }
            y += HEADING_HEIGHT;
        }
        if (is_drawn)
            put_row(drawing, row, y);
        y += drawing->pitch;
    }
    return y;
}

static void put_row_grounds(const struct drawing *drawing, double y)
{
    const struct timeline *timeline = drawing->timeline;
    size_t first, processes = count_processes(timeline, &first);
    for (size_t i = 0; i < timeline->row_count; i++) {
        y += processes > 1 && begins_process(timeline, i) ? HEADING_HEIGHT : 0;
        fprintf(drawing->out, "<rect class=\"r\" x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\"/>\n", drawing->left,
                y + drawing->bar_top, drawing->width, drawing->bar_height);
        y += drawing->pitch;
    }
}

/* ---- all */

static void set_heights(struct drawing *drawing)
{
    const struct timeline *timeline = drawing->timeline;
    bool is_tall = timeline->row_count <= 24;
    drawing->bar_top = count_failures(timeline) > 0 ? 11 : 2;
    drawing->bar_height = is_tall ? 16 : timeline->row_count <= 100 ? 11 : 8;
    drawing->pitch = drawing->bar_top + drawing->bar_height + (is_tall ? 4 : 2);
    drawing->number_size = is_tall ? 10 : 0;
}

static void set_widths(struct drawing *drawing, int width)
{
    const struct timeline *timeline = drawing->timeline;
    double widest = 0, span = timeline->end - timeline->start;
    for (size_t i = 0; i < timeline->row_count; i++)
        widest = fmax(widest, row_name_width(&timeline->rows[i]));
    drawing->left = floor(MARGIN + widest + 8);
    drawing->width = fmax(100, width - drawing->left - COUNT_END - MARGIN);
    drawing->scale = drawing->width / (span > 0 ? span : 1);
}

void timeline_draw(const struct timeline *timeline, FILE *out, int width)
{
    struct drawing drawing = { .timeline = timeline, .out = out };
    set_heights(&drawing);
    set_widths(&drawing, width);
    shapes_measure(&drawing);
    double axis_bottom = put_legend(&drawing, width - MARGIN, false) + AXIS_HEIGHT;
    double rows_bottom = put_rows(&drawing, axis_bottom, false);
    double height = rows_bottom + (timeline->row_count > ROWS_WITH_ONE_AXIS ? AXIS_HEIGHT : 0) + MARGIN;
    fprintf(out,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
            "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" width=\"%d\" "
            "height=\"%g\" viewBox=\"0 0 %d %g\">\n",
            width, height, width, height);
    put_style(out);
    fputs("<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n", out);
    put_headline(&drawing);
    put_legend(&drawing, width - MARGIN, true);
    put_row_grounds(&drawing, axis_bottom);
    put_axis(&drawing, axis_bottom, rows_bottom);
    put_rows(&drawing, axis_bottom, true);
    fputs("</svg>\n", out);
    free(drawing.marks);
}
