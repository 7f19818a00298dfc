/* A line that says how far a call has come. SPDX-License-Identifier: MIT */
#include <mproc/progress.h>

#include "os/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)

enum {
    BARS = 32,           /* calls at a time that are told apart */
    REDRAWS = 10,        /* a second */
    LINE_SECONDS = 10,   /* between plain lines */
    WIDTH_DEFAULT = 80,  /* columns */
    WIDTH_MOST = 1000,   /* columns that are used of a terminal */
    NAME_LEAST = 8,      /* columns that are left to the name, if it has so many */
    NAME_MOST = 200,     /* columns of a name in a plain line */
    BAR_LEAST = 10,      /* columns of the bar, with its brackets; with less room there is none */
    CHARACTER_BYTES = 4, /* of UTF-8 */
};

/* ---- when to draw */

/* What was drawn of a call. The library shows one call in one struct, so that is what calls are told apart by. */
struct bar {
    const struct mproc_progress *progress; /* NULL: not used */
    FILE *stream;
    uint64_t order;  /* by which call came first */
    int64_t seen;    /* when it was last reported, as of os_now() */
    int64_t elapsed; /* in the last report */
    int64_t drawn;   /* the tenth of a second in which it was drawn last, or -1 */
    int64_t line;    /* when it got its last plain line, as of .elapsed */
    unsigned tenths; /* of the work, by then */
};

static struct bar bars[BARS];
static uint64_t bars_begun;

/* The process that looks at the bars, or 0. A fork may catch another thread at it; to the child that is a stranger. */
static _Atomic pid_t bars_owner;

static void lock_bars(void)
{
    pid_t self = getpid();
    for (;;) {
        pid_t owner = atomic_load_explicit(&bars_owner, memory_order_relaxed);
        if (owner != self && atomic_compare_exchange_weak_explicit(&bars_owner, &owner, self, memory_order_acquire,
                                                                   memory_order_relaxed))
            return;
        os_yield();
    }
}

static void unlock_bars(void)
{
    atomic_store_explicit(&bars_owner, 0, memory_order_release);
}

/* A call that did not get to its last report leaves its bar behind; so that of another one at its address, which is
 * younger, is a new one. */
static struct bar *find_bar(const struct mproc_progress *progress, FILE *stream)
{
    struct bar *bar = &bars[0];
    for (struct bar *other = bars; other < bars + BARS; other++) {
        if (other->progress == progress && other->stream == stream) {
            bar = other;
            if (progress->elapsed >= bar->elapsed)
                return bar;
            break;
        }
        if (bar->progress && (!other->progress || other->seen < bar->seen))
            bar = other;
    }
    *bar = (struct bar) { .progress = progress, .stream = stream, .order = ++bars_begun, .drawn = -1 };
    return bar;
}

/* Of calls that go on at a time, the first has the terminal's line. */
static bool has_the_line(const struct bar *bar)
{
    for (const struct bar *other = bars; other < bars + BARS; other++)
        if (other->progress && other->stream == bar->stream && other->order < bar->order &&
            bar->seen - other->seen < SECOND)
            return false;
    return true;
}

/* What is done of `whole`, which it gets to at the end only. */
static unsigned part(const struct mproc_progress *progress, unsigned whole)
{
    if (progress->ended >= progress->n)
        return whole;
    return (unsigned)((double)progress->ended * whole / (double)progress->n);
}

static bool is_time_to_redraw(struct bar *bar)
{
    int64_t now = bar->elapsed / (SECOND / REDRAWS);
    if (now == bar->drawn || !has_the_line(bar))
        return false;
    bar->drawn = now;
    return true;
}

static bool is_time_for_a_line(struct bar *bar, const struct mproc_progress *progress)
{
    unsigned tenths = part(progress, 10);
    if (bar->elapsed - bar->line < LINE_SECONDS * SECOND || (progress->n != SIZE_MAX && tenths == bar->tenths))
        return false;
    bar->line = bar->elapsed;
    bar->tenths = tenths;
    return true;
}

static bool is_time(const struct mproc_progress *progress, FILE *stream, bool is_terminal)
{
    int64_t now = os_now();
    lock_bars();
    struct bar *bar = find_bar(progress, stream);
    bar->seen = now;
    bar->elapsed = progress->elapsed;
    bool draws = progress->over || (is_terminal ? is_time_to_redraw(bar) : is_time_for_a_line(bar, progress));
    if (progress->over)
        bar->progress = NULL;
    unlock_bars();
    return draws;
}

/* ---- what to say */

static const char *print_time(char *text, size_t size, int64_t nanoseconds, const char *before, const char *behind)
{
    int64_t seconds = nanoseconds / SECOND + (nanoseconds % SECOND >= SECOND / 2);
    int minute = (int)(seconds / 60 % 60), second = (int)(seconds % 60);
    if (seconds >= 3600)
        snprintf(text, size, "%s%lld:%02d:%02d%s", before, (long long)(seconds / 3600), minute, second, behind);
    else
        snprintf(text, size, "%s%d:%02d%s", before, minute, second, behind);
    return text;
}

/* In two or three digits. Without printf's decimals, which look different in other languages. */
static const char *print_rate(char *text, size_t size, double rate)
{
    static const char *const units[] = { "/h", "/min", "/s", "k/s", "M/s", "G/s" };
    static const double factors[] = { 3600, 60, 1, 1e-3, 1e-6, 1e-9 };
    enum { SECONDS = 2, LAST = 5 };
    int unit = SECONDS;
    while (unit > 0 && rate * factors[unit] < 0.095)
        unit--;
    while (unit >= SECONDS && unit < LAST && rate * factors[unit] >= 999.5)
        unit++;
    double value = rate * factors[unit];
    unsigned tenths = (unsigned)(10 * value + 0.5);
    if (tenths < 100)
        snprintf(text, size, "%u.%u%s", tenths / 10, tenths % 10, units[unit]);
    else
        snprintf(text, size, "%u%s", (unsigned)(value + 0.5), units[unit]);
    return text;
}

enum field { COUNTS, FAILED, RATE, TIME, FIELDS };

struct report {
    char name[CHARACTER_BYTES * WIDTH_MOST + 1]; /* without control characters */
    unsigned name_columns;
    char percent[8];         /* "" if it is not known */
    char fields[FIELDS][48]; /* "": left out */
};

static unsigned count_columns(const char *text)
{
    unsigned columns = 0;
    for (; *text; text++)
        columns += ((unsigned char)*text & 0xc0) != 0x80;
    return columns;
}

static void write_name(struct report *report, const char *name)
{
    size_t length = 0;
    for (; name && name[length] && length < sizeof report->name - 1; length++) {
        unsigned char byte = (unsigned char)name[length];
        report->name[length] = (char)(byte < ' ' || byte == 0x7f ? '?' : byte);
    }
    report->name[length] = '\0';
    report->name_columns = count_columns(report->name);
}

static void write_report(struct report *report, const struct mproc_progress *progress)
{
    char(*fields)[sizeof report->fields[0]] = report->fields;
    bool is_known = progress->n != SIZE_MAX;
    memset(fields, 0, sizeof report->fields);
    report->percent[0] = '\0';
    write_name(report, progress->name);
    if (is_known) {
        snprintf(report->percent, sizeof report->percent, "%3u%%", part(progress, 100));
        snprintf(fields[COUNTS], sizeof fields[COUNTS], "%zu/%zu", progress->ended, progress->n);
    } else
        snprintf(fields[COUNTS], sizeof fields[COUNTS], "%zu", progress->ended);
    if (progress->unsuccessful > 0)
        snprintf(fields[FAILED], sizeof fields[FAILED], "%zu failed", progress->unsuccessful);
    if (progress->rate > 0 && progress->rate < 1e18)
        print_rate(fields[RATE], sizeof fields[RATE], progress->rate);
    if (progress->over)
        print_time(fields[TIME], sizeof fields[TIME], progress->elapsed, "in ", "");
    else if (is_known && progress->left >= 0)
        print_time(fields[TIME], sizeof fields[TIME], progress->left, "", " left");
    else if (!is_known)
        print_time(fields[TIME], sizeof fields[TIME], progress->elapsed, "", " so far");
}

/* ---- the line */

struct line {
    bool has_colour;
    size_t used;
    char text[sizeof(struct report) + WIDTH_MOST + 100];
};

static void add(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct line *line, const char *format, ...)
{
    size_t room = sizeof line->text - line->used;
    va_list values;
    va_start(values, format);
    int length = vsnprintf(line->text + line->used, room, format, values);
    va_end(values);
    if (length > 0)
        line->used += (size_t)length < room ? (size_t)length : room - 1;
}

static void add_many(struct line *line, char what, unsigned count)
{
    for (; count > 0 && line->used < sizeof line->text - 1; count--)
        line->text[line->used++] = what;
}

static void add_colour(struct line *line, const char *colour)
{
    if (line->has_colour)
        add(line, "\033[%sm", colour);
}

/* Cut to so many columns; whole characters only. */
static void add_name(struct line *line, const struct report *report, unsigned columns)
{
    static const char mark[] = "..";
    bool is_cut = columns < report->name_columns, is_marked = is_cut && columns > 2 * (sizeof mark - 1);
    unsigned kept = is_marked ? columns - (unsigned)(sizeof mark - 1) : columns, seen = 0;
    size_t length = 0;
    for (; report->name[length]; length++)
        if (((unsigned char)report->name[length] & 0xc0) != 0x80 && seen++ == kept)
            break;
    add(line, "%.*s%s", (int)length, report->name, is_marked ? mark : "");
}

static unsigned field_columns(const struct report *report, enum field field)
{
    size_t length = strlen(report->fields[field]);
    return length > 0 ? 2 + (unsigned)length : 0;
}

static unsigned columns_without_name(const struct report *report)
{
    unsigned columns = report->percent[0] ? 1 + (unsigned)strlen(report->percent) : 0;
    for (int i = 0; i < FIELDS; i++)
        columns += field_columns(report, i);
    return columns;
}

/* Leaves out what there is no room for beside the name, beginning with what is missed least. */
static void drop_fields(struct report *report, unsigned width)
{
    static const enum field order[] = { RATE, TIME, COUNTS, FAILED };
    unsigned name = report->name_columns < NAME_LEAST ? report->name_columns : NAME_LEAST;
    for (int i = 0; i < FIELDS && name + columns_without_name(report) > width; i++)
        report->fields[order[i]][0] = '\0';
    if (columns_without_name(report) > width)
        report->percent[0] = '\0';
}

static void add_fields(struct line *line, const struct report *report)
{
    for (int i = 0; i < FIELDS; i++) {
        if (!report->fields[i][0])
            continue;
        add(line, "  ");
        if (i == FAILED)
            add_colour(line, "31");
        add(line, "%s", report->fields[i]);
        if (i == FAILED)
            add_colour(line, "0");
    }
}

static void add_bar(struct line *line, const struct mproc_progress *progress, unsigned columns)
{
    unsigned inside = columns - 2, filled = part(progress, inside);
    add(line, " [");
    add_colour(line, "32");
    add_many(line, '#', filled);
    add_colour(line, "2");
    add_many(line, '-', inside - filled);
    add_colour(line, "0");
    add(line, "]");
}

/* Exactly so many columns, so that nothing is left of the line before. */
static void draw_bar(struct line *line, struct report *report, const struct mproc_progress *progress, unsigned width)
{
    drop_fields(report, width);
    unsigned others = columns_without_name(report), room = width - others;
    unsigned bar = report->percent[0] ? 1 + BAR_LEAST : 0, name = report->name_columns;
    if (name + bar > room)
        name = room >= NAME_LEAST + bar ? room - bar : room < name ? room : name;
    unsigned left = room - name;
    add_name(line, report, name);
    if (report->percent[0])
        add(line, " %s", report->percent);
    if (bar > 0 && left >= bar)
        add_bar(line, progress, left - 1);
    add_fields(line, report);
    if (bar == 0 || left < bar)
        add_many(line, ' ', left);
}

static void draw_line(struct line *line, const struct report *report)
{
    add_name(line, report, NAME_MOST);
    if (report->percent[0])
        add(line, " %s", report->percent);
    add_fields(line, report);
}

/* Without the last column, in which a terminal may wrap the line. */
static unsigned usable_width(int fd)
{
    struct winsize size;
    const char *variable = getenv("COLUMNS");
    long columns = ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
    if (columns <= 0)
        columns = variable ? strtol(variable, NULL, 10) : 0;
    if (columns <= 0)
        columns = WIDTH_DEFAULT;
    return (unsigned)(columns < WIDTH_MOST ? columns : WIDTH_MOST) - 1;
}

static bool wants_colour(void)
{
    const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return !(no_colour && no_colour[0]) && !(terminal && strcmp(terminal, "dumb") == 0);
}

static void draw(const struct mproc_progress *progress, FILE *stream, bool is_terminal)
{
    struct report report;
    struct line line = { .has_colour = is_terminal && wants_colour() };
    write_report(&report, progress);
    if (is_terminal) {
        add(&line, "\r");
        draw_bar(&line, &report, progress, usable_width(fileno(stream)));
    } else
        draw_line(&line, &report);
    if (progress->over || !is_terminal)
        add(&line, "\n");
    fwrite(line.text, 1, line.used, stream);
    fflush(stream);
}

void mproc_progress_bar(const struct mproc_progress *progress, void *context)
{
    if (!progress)
        return;
    int err = errno;
    FILE *stream = context ? context : stderr;
    bool is_terminal = isatty(fileno(stream));
    if (is_time(progress, stream, is_terminal))
        draw(progress, stream, is_terminal);
    errno = err;
}
