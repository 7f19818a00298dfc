/* Items as shapes. SPDX-License-Identifier: MIT
 *
 * What lies too close to be told apart is drawn together, so that a million items make a picture of a megabyte or two.
 * Failures are drawn together with failures of their kind only, over everything else, and each such group has a mark:
 * one failure among a million is seen.
 */
#include "timeline_svg.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define CELL_LEAST 1.0    /* pixels */
#define MARK_CELL 4.0     /* pixels within which failures of a kind and row have one mark */
#define FAILURE_WIDTH 2.0 /* pixels, at least */
#define WIDTH_LEAST 0.5   /* of others */
#define GAP 0.6           /* between rectangles that are wide enough for it */
#define WIDE 4.0          /* is wide enough for gaps and patterns */
#define MARK_WIDTH 9.0
#define SHADE 0.12 /* shares of work that differ by less look the same */

enum {
    SHAPES_MOST = 16000, /* if there are more, cells are wider */
    LISTED_MOST = 12,    /* items of a group that are listed */
};

struct shape {
    double start, end; /* pixels */
    double busy;       /* pixels in between in which there was work */
    size_t first;      /* of its items; those of other kinds may lie between them */
    size_t count;
};

struct mark {
    double x;
    enum kind kind;
    struct shape shape;
};

typedef void visitor(struct drawing *drawing, enum kind kind, const struct shape *shape);

static struct shape shape_of(const struct drawing *drawing, size_t index)
{
    const struct item *item = &drawing->timeline->items[index];
    double start = (item->start - drawing->timeline->start) * drawing->scale;
    double end = (item->end - drawing->timeline->start) * drawing->scale;
    return (struct shape) { start, end, end - start, index, 1 };
}

static double share_of(const struct shape *shape)
{
    return shape->end > shape->start ? fmin(1, shape->busy / (shape->end - shape->start)) : 1;
}

double group_opacity(double share)
{
    return 0.25 + 0.75 * share;
}

static void join(struct shape *shape, const struct shape *next)
{
    shape->end = fmax(shape->end, next->end);
    shape->busy += next->busy;
    shape->count += next->count;
}

/* Groups that follow each other and look the same are one shape. */
static bool continues(const struct drawing *drawing, const struct shape *shape, const struct shape *next)
{
    return shape->count > 1 && next->count > 1 && next->start - shape->end < drawing->cell &&
           fabs(share_of(shape) - share_of(next)) < SHADE;
}

static void end_group(struct drawing *drawing, enum kind kind, struct shape *shape, const struct shape *group,
                      visitor *visit)
{
    if (shape->count > 0 && group->count > 0 && !is_failure(kind) && continues(drawing, shape, group)) {
        join(shape, group);
        return;
    }
    if (shape->count > 0)
        visit(drawing, kind, shape);
    *shape = *group;
}

static void visit_shapes(struct drawing *drawing, const struct row *row, enum kind kind, visitor *visit)
{
    static const struct shape none;
    struct shape shape = none, group = none;
    double cell = is_failure(kind) ? fmax(drawing->cell / 8, MARK_CELL) : drawing->cell;
    size_t end = row->counts[kind] > 0 ? row->first + row->count : row->first;
    for (size_t i = row->first; i < end; i++) {
        if (drawing->timeline->items[i].kind != kind)
            continue;
        struct shape next = shape_of(drawing, i);
        if (group.count > 0 && fmax(group.end, next.end) - group.start <= cell) {
            join(&group, &next);
            continue;
        }
        end_group(drawing, kind, &shape, &group, visit);
        group = next;
    }
    end_group(drawing, kind, &shape, &group, visit);
    end_group(drawing, kind, &shape, &none, visit);
}

static void count_shape(struct drawing *drawing, enum kind kind, const struct shape *shape)
{
    drawing->shapes++;
    drawing->has_groups |= shape->count > 1 && !is_failure(kind);
}

static void count_shapes(struct drawing *drawing)
{
    drawing->shapes = 0;
    drawing->has_groups = false;
    for (size_t i = 0; i < drawing->timeline->row_count; i++)
        for (int kind = 0; kind < KINDS; kind++)
            visit_shapes(drawing, &drawing->timeline->rows[i], (enum kind)kind, count_shape);
}

void shapes_measure(struct drawing *drawing)
{
    drawing->cell = CELL_LEAST;
    count_shapes(drawing);
    while (drawing->shapes > SHAPES_MOST && drawing->cell < 8 * drawing->width) {
        drawing->cell *= 1.5;
        count_shapes(drawing);
    }
}

/* ---- tooltips */

static void put_span(const struct drawing *drawing, double start, double end)
{
    char length[NUMBER_SIZE], from[NUMBER_SIZE], to[NUMBER_SIZE];
    double origin = drawing->timeline->start;
    fprintf(drawing->out, "\n%s, from %s to %s", print_time(length, end - start), print_time(from, start - origin),
            print_time(to, end - origin));
}

static void put_item_title(const struct drawing *drawing, const struct item *item)
{
    FILE *out = drawing->out;
    put_cut_text(out, item->task, 200);
    if (item->number >= 0)
        fprintf(out, "%sitem %" PRId64, item->task[0] ? ", " : "", item->number);
    if (item->kind != PLAIN)
        fprintf(out, ": %s", kind_names[item->kind]);
    if (item->note) {
        fputs(item->note[0] == ':' ? "" : ", ", out);
        put_cut_text(out, item->note, 500);
    }
    put_span(drawing, item->start, item->end);
    if (item->process > 0)
        fprintf(out, "\nprocess %d", (int)item->process);
    if (item->attempts > 1)
        fprintf(out, "\nattempt %d", (int)item->attempts);
}

/* Numbers of a group's items, the first of them. */
static void put_numbers(const struct drawing *drawing, enum kind kind, const struct shape *shape)
{
    const struct item *item = &drawing->timeline->items[shape->first];
    size_t listed = 0, seen = 0;
    for (; seen < shape->count && listed < LISTED_MOST; item++) {
        if (item->kind != kind)
            continue;
        seen++;
        if (item->number >= 0)
            fprintf(drawing->out, "%s%" PRId64, listed++ > 0 ? ", " : "\nitems ", item->number);
    }
    if (seen < shape->count && listed > 0)
        fputs(" ...", drawing->out);
}

static void put_group_title(const struct drawing *drawing, enum kind kind, const struct shape *shape)
{
    char count[NUMBER_SIZE], share[NUMBER_SIZE];
    double start = drawing->timeline->start;
    fprintf(drawing->out, "%s items: %s", print_count(count, shape->count), kind_names[kind]);
    if (is_failure(kind))
        put_numbers(drawing, kind, shape);
    put_span(drawing, start + shape->start / drawing->scale, start + shape->end / drawing->scale);
    if (!is_failure(kind))
        fprintf(drawing->out, "\nbusy for %s of it", print_share(share, share_of(shape)));
}

static void put_title(const struct drawing *drawing, enum kind kind, const struct shape *shape)
{
    fputs("<title>", drawing->out);
    if (shape->count == 1)
        put_item_title(drawing, &drawing->timeline->items[shape->first]);
    else
        put_group_title(drawing, kind, shape);
    fputs("</title>", drawing->out);
}

/* ---- shapes */

/* The item's number in its rectangle, if there is room. */
static void put_number(const struct drawing *drawing, const struct shape *shape)
{
    char text[NUMBER_SIZE];
    const struct item *item = &drawing->timeline->items[shape->first];
    if (drawing->number_size <= 0 || shape->count > 1 || item->number < 0)
        return;
    snprintf(text, sizeof text, "%" PRId64, item->number);
    if (text_width(text, drawing->number_size) + 4 > shape->end - shape->start)
        return;
    fputs("<text class=\"n\" x=\"", drawing->out);
    put_pixels(drawing->out, (shape->start + shape->end) / 2);
    fputs("\" y=\"", drawing->out);
    put_pixels(drawing->out, drawing->bar_top + drawing->bar_height / 2 + 0.36 * drawing->number_size);
    fprintf(drawing->out, "\">%s</text>\n", text);
}

static void remember_mark(struct drawing *drawing, enum kind kind, double x, const struct shape *shape)
{
    if (drawing->mark_count == drawing->mark_room) {
        drawing->mark_room = drawing->mark_room > 0 ? 2 * drawing->mark_room : 16;
        drawing->marks = allocate(drawing->marks, drawing->mark_room, sizeof *drawing->marks);
    }
    drawing->marks[drawing->mark_count++] = (struct mark) { x, kind, *shape };
}

static void put_shape(struct drawing *drawing, enum kind kind, const struct shape *shape)
{
    FILE *out = drawing->out;
    double width = shape->end - shape->start, least = is_failure(kind) ? FAILURE_WIDTH : WIDTH_LEAST;
    double drawn = width > WIDE ? width - GAP : fmax(width, least);
    double start = fmax(0, fmin(shape->start, drawing->width - drawn));
    fprintf(out, "<rect class=\"%c%d\" x=\"", is_failure(kind) && width > WIDE ? 'p' : 'k', (int)kind);
    put_pixels(out, start);
    fputs("\" width=\"", out);
    put_pixels(out, drawn);
    fprintf(out, "\" y=\"%g\" height=\"%g\"", drawing->bar_top, drawing->bar_height);
    if (shape->count > 1 && !is_failure(kind))
        fprintf(out, " fill-opacity=\"%.2g\"", group_opacity(share_of(shape)));
    putc('>', out);
    put_title(drawing, kind, shape);
    fputs("</rect>\n", out);
    if (is_failure(kind))
        remember_mark(drawing, kind, start + drawn / 2, shape);
    else
        put_number(drawing, shape);
}

static int compare_marks(const void *left, const void *right)
{
    double a = ((const struct mark *)left)->x, b = ((const struct mark *)right)->x;
    return (a > b) - (a < b);
}

/* Beside its mark, if there is room up to where the next one begins; of the last one on its left too. */
static void put_mark_number(const struct drawing *drawing, const struct mark *mark, const struct mark *before,
                            const struct mark *next)
{
    char text[NUMBER_SIZE];
    int64_t number = drawing->timeline->items[mark->shape.first].number;
    if (drawing->number_size <= 0 || number < 0)
        return;
    snprintf(text, sizeof text, "%" PRId64 "%s", number, mark->shape.count > 1 ? " ..." : "");
    double right = mark->x + MARK_WIDTH / 2 + 1.5, left = mark->x - MARK_WIDTH / 2 - 1.5;
    double width = text_width(text, drawing->number_size) + 3;
    bool is_right = right + width < (next ? next->x - MARK_WIDTH / 2 : drawing->width + 3);
    bool is_left = !is_right && !next && left - width > (before ? before->x + MARK_WIDTH / 2 : 0);
    if (!is_right && !is_left)
        return;
    fprintf(drawing->out, "<text class=\"%s\" x=\"", is_right ? "m" : "m e");
    put_pixels(drawing->out, is_right ? right : left);
    fputs("\" y=\"", drawing->out);
    put_pixels(drawing->out, drawing->bar_top - 2.5);
    fprintf(drawing->out, "\">%s</text>\n", text);
}

static void put_marks(struct drawing *drawing)
{
    FILE *out = drawing->out;
    if (drawing->mark_count == 0)
        return;
    qsort(drawing->marks, drawing->mark_count, sizeof *drawing->marks, compare_marks);
    const struct mark *end = drawing->marks + drawing->mark_count;
    for (const struct mark *mark = drawing->marks; mark < end; mark++) {
        fprintf(out, "<use xlink:href=\"#m%d\" x=\"", (int)mark->kind);
        put_pixels(out, mark->x);
        fputs("\" y=\"", out);
        put_pixels(out, drawing->bar_top - 5.5);
        fputs("\">", out);
        put_title(drawing, mark->kind, &mark->shape);
        fputs("</use>\n", out);
        put_mark_number(drawing, mark, mark > drawing->marks ? mark - 1 : NULL, mark + 1 < end ? mark + 1 : NULL);
    }
    drawing->mark_count = 0;
}

void shapes_draw(struct drawing *drawing, const struct row *row)
{
    for (int kind = 0; kind < KINDS; kind++)
        visit_shapes(drawing, row, (enum kind)kind, put_shape);
    put_marks(drawing);
}
