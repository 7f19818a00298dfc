/* Parts of the picture. SPDX-License-Identifier: MIT */
#ifndef TIMELINE_SVG_H
#define TIMELINE_SVG_H

#include "timeline.h"

struct look {
    const char *colour;
    const char *pattern; /* drawn over the colour; NULL: nothing */
    const char *mark;    /* a shape around 0, 0 that is 8 high and wide; NULL: none */
};

extern const struct look looks[KINDS];

struct drawing {
    const struct timeline *timeline;
    FILE *out;
    double left, width, scale;         /* of the rows, in pixels; pixels a microsecond */
    double cell;                       /* pixels within which items are drawn together */
    double pitch, bar_top, bar_height; /* of a row */
    double number_size;                /* of numbers in bars and beside marks; 0: there is no room for them */
    size_t shapes;                     /* how many were counted or drawn */
    bool has_groups;
    struct mark *marks; /* of the row that is being drawn */
    size_t mark_count, mark_room;
};

static inline bool is_failure(enum kind kind)
{
    return kind >= FAILED;
}

/* Opacity of items drawn together, by how much of the time was work. */
double group_opacity(double share);

/* Looks how much is to be drawn together, so that the picture is not too large. */
void shapes_measure(struct drawing *drawing);

/* Draws a row's items; 0, 0 is where the row begins. */
void shapes_draw(struct drawing *drawing, const struct row *row);

/* ---- text */

/* Text as XML has it. */
void put_text(FILE *out, const char *text);

/* The same, with no more than so many characters. */
void put_cut_text(FILE *out, const char *text, size_t most);

/* A length in pixels, with two decimals at most. */
void put_pixels(FILE *out, double pixels);

/* Pixels that a text takes, about: fonts differ. */
double text_width(const char *text, double size);

enum { NUMBER_SIZE = 40 };

/* 1234567 as 1,234,567. Return `text`. */
const char *print_count(char text[NUMBER_SIZE], size_t count);
/* Microseconds in about three digits, with their unit; or as 1:02:03. */
const char *print_time(char text[NUMBER_SIZE], double time);
/* What is between two ticks of an axis: as precise as the step asks for, and in its unit for all of `most`. */
const char *print_tick(char text[NUMBER_SIZE], double time, double step, double most);
/* A share of 1 in percent. */
const char *print_share(char text[NUMBER_SIZE], double share);

#endif
