/* What mproc-timeline draws. SPDX-License-Identifier: MIT */
#ifndef TIMELINE_H
#define TIMELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* How an item ended. Those from FAILED on get a mark. */
enum kind { PLAIN, OK, FAILED, CRASHED, TIMED_OUT, OVER_MEMORY, CANCELLED, LOST, OTHER, KINDS };

extern const char *const kind_names[KINDS];

/* Times are microseconds. */
struct item {
    double start, end;
    int64_t number; /* of the item in its call, or -1 */
    char *note;     /* what a failure said, or NULL */
    const char *task;
    uint32_t row;
    int32_t process, attempts; /* 0: not said */
    uint8_t kind;              /* enum kind */
};

struct process {
    char *key, *name; /* the name may be NULL */
};

struct row {
    char *key, *name;  /* of the thread; the name may be NULL */
    size_t process;    /* index */
    double sort_index; /* NAN: none */
    size_t order;      /* by which it came up */
    size_t first, count, counts[KINDS];
    double busy;
};

struct timeline {
    struct item *items;
    size_t item_count, item_room;
    struct row *rows;
    size_t row_count, row_room;
    struct process *processes;
    size_t process_count, process_room;
    size_t counts[KINDS];
    double start, end, busy;
    bool is_unfinished; /* the end of the file is missing */
    struct index *index;
};

struct problem {
    size_t line; /* 0: none in particular */
    char text[300];
};

/* Memory, which the program ends without. */
void *allocate(void *old, size_t count, size_t size);
char *copy_text(const char *text);

/* Fills a zeroed timeline, items sorted by row and start. Returns false with the problem filled. It is to be freed in
 * either case. */
bool timeline_read(struct timeline *timeline, const char *text, size_t size, struct problem *problem);

void timeline_free(struct timeline *timeline);

/* Draws it, `width` pixels wide. */
void timeline_draw(const struct timeline *timeline, FILE *out, int width);

#endif
