/* Reading the Trace Event format. SPDX-License-Identifier: MIT
 *
 * The file is an array of events, or an object that has one as "traceEvents". It is read event by event, so that a long
 * one takes no more memory than what is drawn of it. As the format has it, the end of an array may be missing.
 */
#include "timeline.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *const kind_names[KINDS] = {
    [PLAIN] = "no outcome",      [OK] = "ok",
    [FAILED] = "failed",         [CRASHED] = "crashed",
    [TIMED_OUT] = "timed out",   [OVER_MEMORY] = "over memory",
    [CANCELLED] = "cancelled",   [LOST] = "lost",
    [OTHER] = "another outcome",
};

#define TIME_MOST 1e17 /* microseconds; three thousand years */

enum { RECENT = 256 };

/* Names that came up before. */
struct index {
    json_t *processes, *rows, *tasks; /* objects: to indexes; tasks to themselves */
    struct recent {
        double process, thread; /* ids */
        size_t row;
    } recent[RECENT];
};

struct reader {
    struct timeline *timeline;
    const char *text;
    size_t size, at;
    struct problem *problem;
};

void *allocate(void *old, size_t count, size_t size)
{
    void *memory = reallocarray(old, count, size);
    if (!memory) {
        fputs("mproc-timeline: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

char *copy_text(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(allocate(NULL, size, 1), text, size);
}

/* The array with room for one element more, which is zeroed. */
static void *make_room(void *array, size_t count, size_t *room, size_t size)
{
    if (count == *room) {
        *room = *room > 0 ? 2 * *room : 16;
        array = allocate(array, *room, size);
    }
    memset((char *)array + count * size, 0, size);
    return array;
}

/* The index of a new element. */
#define ADD(array, count, room) ((array) = make_room((array), (count), &(room), sizeof *(array)), (count)++)

/* ---- events */

/* Ids are numbers mostly, but may be texts. */
static const char *print_id(const json_t *id, char *text, size_t size)
{
    if (json_is_string(id))
        return json_string_value(id);
    if (!json_is_number(id))
        return "";
    snprintf(text, size, "%.17g", json_number_value(id));
    return text;
}

static size_t find_process(struct timeline *timeline, const json_t *event)
{
    char text[40];
    const char *key = print_id(json_object_get(event, "pid"), text, sizeof text);
    const json_t *known = json_object_get(timeline->index->processes, key);
    if (known)
        return (size_t)json_integer_value(known);
    size_t process = ADD(timeline->processes, timeline->process_count, timeline->process_room);
    timeline->processes[process].key = copy_text(key);
    json_object_set_new(timeline->index->processes, key, json_integer((json_int_t)process));
    return process;
}

static size_t find_row_by_name(struct timeline *timeline, const json_t *event)
{
    char text[40], key[300];
    size_t process = find_process(timeline, event);
    const char *thread = print_id(json_object_get(event, "tid"), text, sizeof text);
    snprintf(key, sizeof key, "%zu %s", process, thread);
    const json_t *known = json_object_get(timeline->index->rows, key);
    if (known)
        return (size_t)json_integer_value(known);
    size_t row = ADD(timeline->rows, timeline->row_count, timeline->row_room);
    timeline->rows[row].key = copy_text(thread);
    timeline->rows[row].process = process;
    timeline->rows[row].sort_index = NAN;
    timeline->rows[row].order = row;
    json_object_set_new(timeline->index->rows, key, json_integer((json_int_t)row));
    return row;
}

/* Looks first among those that were found lately, which is faster. */
static size_t find_row(struct timeline *timeline, const json_t *event)
{
    const json_t *process = json_object_get(event, "pid"), *thread = json_object_get(event, "tid");
    if (!json_is_number(process) || !json_is_number(thread))
        return find_row_by_name(timeline, event);
    double process_id = json_number_value(process), thread_id = json_number_value(thread);
    bool is_common = thread_id >= 0 && thread_id < UINT32_MAX;
    struct recent *recent = &timeline->index->recent[is_common ? (uint32_t)thread_id % RECENT : 0];
    if (recent->process != process_id || recent->thread != thread_id)
        *recent = (struct recent) { process_id, thread_id, find_row_by_name(timeline, event) };
    return recent->row;
}

static void set_name(char **name, const json_t *args)
{
    const char *text = json_string_value(json_object_get(args, "name"));
    if (!text)
        return;
    free(*name);
    *name = copy_text(text);
}

static void take_name(struct timeline *timeline, const json_t *event, const char *what)
{
    const json_t *args = json_object_get(event, "args"), *sort_index = json_object_get(args, "sort_index");
    if (strcmp(what, "process_name") == 0) {
        size_t process = find_process(timeline, event);
        set_name(&timeline->processes[process].name, args);
        return;
    }
    size_t row = find_row(timeline, event);
    if (strcmp(what, "thread_name") == 0)
        set_name(&timeline->rows[row].name, args);
    else if (strcmp(what, "thread_sort_index") == 0 && json_is_number(sort_index))
        timeline->rows[row].sort_index = json_number_value(sort_index);
}

static enum kind find_kind(const char *outcome)
{
    if (!outcome)
        return PLAIN;
    for (int kind = OK; kind < OTHER; kind++)
        if (strcmp(outcome, kind_names[kind]) == 0)
            return (enum kind)kind;
    return OTHER;
}

/* What a failure says of itself, in words. */
static char *make_note(enum kind kind, const json_t *args)
{
    char *note = NULL;
    size_t size;
    FILE *out = open_memstream(&note, &size);
    if (!out)
        return NULL;
    const char *message = json_string_value(json_object_get(args, "message"));
    const char *where = json_string_value(json_object_get(args, "where"));
    const json_t *code = json_object_get(args, "code"), *signal = json_object_get(args, "signal"),
                 *status = json_object_get(args, "exit_status");
    if (kind == OTHER)
        fprintf(out, "%s", json_string_value(json_object_get(args, "outcome")));
    if (json_is_number(code))
        fprintf(out, "code %.17g", json_number_value(code));
    if (json_is_number(signal) && json_number_value(signal) > 0 && json_number_value(signal) < 1000)
        fprintf(out, "signal %d, %s", (int)json_number_value(signal), strsignal((int)json_number_value(signal)));
    if (json_is_number(status))
        fprintf(out, "exit status %.17g", json_number_value(status));
    if (json_is_true(json_object_get(args, "out_of_memory")))
        fputs(", out of memory", out);
    if (message)
        fprintf(out, ": %s", message);
    if (where)
        fprintf(out, " (%s)", where);
    fclose(out);
    if (size > 0)
        return note;
    free(note);
    return NULL;
}

static const char *find_task(struct timeline *timeline, const char *name)
{
    json_t *tasks = timeline->index->tasks;
    if (!name)
        name = "";
    const char *known = json_string_value(json_object_get(tasks, name));
    if (known)
        return known;
    json_object_set_new(tasks, name, json_string(name));
    return json_string_value(json_object_get(tasks, name));
}

static double get_number(const json_t *args, const char *key, double otherwise)
{
    const json_t *number = json_object_get(args, key);
    return json_is_number(number) ? json_number_value(number) : otherwise;
}

static int32_t get_small_number(const json_t *args, const char *key)
{
    double number = get_number(args, key, 0);
    return number > 0 && number < INT32_MAX ? (int32_t)number : 0;
}

static void take_item(struct timeline *timeline, const json_t *event)
{
    const json_t *args = json_object_get(event, "args");
    double start = get_number(event, "ts", NAN), length = get_number(event, "dur", 0);
    if (isnan(start) || fabs(start) > TIME_MOST || length > TIME_MOST)
        return;
    enum kind kind = find_kind(json_string_value(json_object_get(args, "outcome")));
    double number = get_number(args, "item", -1);
    struct item item = {
        .start = start,
        .end = start + (length > 0 ? length : 0),
        .number = number >= 0 && number < 9e18 ? (int64_t)number : -1,
        .note = kind >= FAILED ? make_note(kind, args) : NULL,
        .task = find_task(timeline, json_string_value(json_object_get(event, "name"))),
        .row = (uint32_t)find_row(timeline, event),
        .process = get_small_number(args, "process"),
        .attempts = get_small_number(args, "attempts"),
        .kind = (uint8_t)kind,
    };
    size_t place = ADD(timeline->items, timeline->item_count, timeline->item_room);
    timeline->items[place] = item;
    timeline->rows[item.row].count++;
    timeline->rows[item.row].counts[kind]++;
    timeline->counts[kind]++;
}

static void take_event(struct timeline *timeline, const json_t *event)
{
    const char *phase = json_string_value(json_object_get(event, "ph"));
    const char *name = json_string_value(json_object_get(event, "name"));
    if (phase && strcmp(phase, "X") == 0)
        take_item(timeline, event);
    else if (phase && strcmp(phase, "M") == 0 && name)
        take_name(timeline, event, name);
}

/* ---- JSON */

static bool fail(struct reader *reader, size_t line, const char *format, ...) __attribute__((format(printf, 3, 4)));
static bool fail(struct reader *reader, size_t line, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vsnprintf(reader->problem->text, sizeof reader->problem->text, format, values);
    va_end(values);
    reader->problem->line = line;
    return false;
}

static size_t line_of(const struct reader *reader)
{
    size_t line = 1;
    for (size_t i = 0; i < reader->at; i++)
        line += reader->text[i] == '\n';
    return line;
}

static void skip_space(struct reader *reader)
{
    while (reader->at < reader->size && reader->text[reader->at] && strchr(" \t\r\n", reader->text[reader->at]))
        reader->at++;
}

/* True if that comes next, which is skipped. */
static bool comes(struct reader *reader, char what)
{
    skip_space(reader);
    if (reader->at >= reader->size || reader->text[reader->at] != what)
        return false;
    reader->at++;
    return true;
}

static bool is_at_end(struct reader *reader)
{
    skip_space(reader);
    return reader->at >= reader->size;
}

/* Whether only the rest of the file is missing: of a word or an escape, the parser says that it is wrong at the end; of
 * a character, that it is wrong at its beginning. */
static bool is_end_missing(const json_error_t *error, size_t left)
{
    enum json_error_code code = json_error_code(error);
    size_t position = (size_t)error->position, character = code == json_error_invalid_utf8 ? 3 : 0;
    return code == json_error_premature_end_of_input || position + character >= left;
}

/* Any value. `is_cut`, unless it is NULL, says whether only the rest of the file is missing. */
static json_t *read_value(struct reader *reader, bool *is_cut)
{
    json_error_t error;
    size_t left = reader->size - reader->at;
    size_t flags = JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL;
    json_t *value = json_loadb(reader->text + reader->at, left, flags, &error);
    if (!value && json_error_code(&error) == json_error_numeric_overflow)
        value = json_loadb(reader->text + reader->at, left, flags | JSON_DECODE_INT_AS_REAL, &error);
    if (value) {
        reader->at += (size_t)error.position;
        return value;
    }
    if (is_cut)
        *is_cut = is_end_missing(&error, left);
    fail(reader, line_of(reader) + (error.line > 0 ? (size_t)error.line - 1 : 0), "not JSON: %s", error.text);
    return NULL;
}

/* Behind its bracket. */
static bool read_events(struct reader *reader)
{
    while (!comes(reader, ']')) {
        bool is_cut = is_at_end(reader);
        json_t *event = is_cut ? NULL : read_value(reader, &is_cut);
        if (event) {
            take_event(reader->timeline, event);
            json_decref(event);
            bool is_separated = comes(reader, ',');
            if (is_separated || is_at_end(reader) || reader->text[reader->at] == ']')
                continue;
            return fail(reader, line_of(reader), "not JSON: a comma or ] has to stand between events");
        }
        if (!is_cut)
            return false;
        reader->timeline->is_unfinished = true;
        reader->at = reader->size;
        return true;
    }
    return true;
}

/* Behind its bracket. */
static bool read_object(struct reader *reader)
{
    bool has_events = false;
    while (!reader->timeline->is_unfinished && !comes(reader, '}')) {
        json_t *key = read_value(reader, NULL);
        if (!key)
            return false;
        bool is_events = json_is_string(key) && strcmp(json_string_value(key), "traceEvents") == 0;
        bool is_key = json_is_string(key);
        json_decref(key);
        if (!is_key || !comes(reader, ':'))
            return fail(reader, line_of(reader), "not JSON: a key and : have to stand before a value");
        if (is_events && comes(reader, '[')) {
            has_events = true;
            if (!read_events(reader))
                return false;
        } else {
            skip_space(reader);
            json_t *value = read_value(reader, NULL);
            if (!value)
                return false;
            json_decref(value);
        }
        bool is_last = !comes(reader, ',') && !reader->timeline->is_unfinished;
        if (is_last && (is_at_end(reader) || reader->text[reader->at] != '}'))
            return fail(reader, line_of(reader), "not JSON: a comma or } has to stand behind a value");
    }
    return has_events || fail(reader, 0, "not a trace: it has no traceEvents");
}

static bool read_all(struct reader *reader)
{
    if (reader->size >= 3 && memcmp(reader->text, "\xef\xbb\xbf", 3) == 0)
        reader->at = 3;
    if (is_at_end(reader))
        return fail(reader, 0, "it is empty");
    bool is_read = comes(reader, '[')   ? read_events(reader)
                   : comes(reader, '{') ? read_object(reader)
                                        : fail(reader, line_of(reader), "not JSON: a trace begins with [ or {");
    if (is_read && !is_at_end(reader))
        return fail(reader, line_of(reader), "not JSON: there is more behind the end of the trace");
    if (is_read && reader->timeline->item_count == 0)
        return fail(reader, 0, "there are no events in it that have a length (\"ph\": \"X\")");
    return is_read;
}

/* ---- order */

static int compare_numbers(double a, double b)
{
    return (a > b) - (a < b);
}

/* Of processes as they came up; of threads as they want, or by number, or as they came up. */
static int compare_rows(const void *left, const void *right)
{
    const struct row *a = left, *b = right;
    if (a->process != b->process)
        return a->process < b->process ? -1 : 1;
    double number_a = isnan(a->sort_index) ? strtod(a->key, NULL) : a->sort_index;
    double number_b = isnan(b->sort_index) ? strtod(b->key, NULL) : b->sort_index;
    int order = compare_numbers(number_a, number_b);
    return order != 0 ? order : compare_numbers((double)a->order, (double)b->order);
}

static int compare_items(const void *left, const void *right)
{
    const struct item *a = left, *b = right;
    if (a->row != b->row)
        return a->row < b->row ? -1 : 1;
    return compare_numbers(a->start, b->start);
}

/* Rows in the order of the picture, without those that have no items. */
static void sort_rows(struct timeline *timeline)
{
    size_t all = timeline->row_count, kept = 0;
    uint32_t *places = allocate(NULL, all + 1, sizeof *places);
    qsort(timeline->rows, all, sizeof *timeline->rows, compare_rows);
    for (size_t i = 0; i < all; i++) {
        struct row row = timeline->rows[i];
        places[row.order] = (uint32_t)kept;
        if (row.count > 0)
            timeline->rows[kept++] = row;
        else {
            free(row.key);
            free(row.name);
        }
    }
    timeline->row_count = kept;
    for (size_t i = 0; i < timeline->item_count; i++)
        timeline->items[i].row = places[timeline->items[i].row];
    free(places);
}

/* Time in which at least one of a row's items ran. */
static double busy_time(const struct item *items, size_t count)
{
    double busy = 0, until = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        if (items[i].end > until)
            busy += items[i].end - (items[i].start > until ? items[i].start : until);
        until = items[i].end > until ? items[i].end : until;
    }
    return busy;
}

static void sort(struct timeline *timeline)
{
    size_t first = 0;
    sort_rows(timeline);
    qsort(timeline->items, timeline->item_count, sizeof *timeline->items, compare_items);
    timeline->start = INFINITY;
    timeline->end = -INFINITY;
    for (size_t i = 0; i < timeline->item_count; i++) {
        timeline->start = fmin(timeline->start, timeline->items[i].start);
        timeline->end = fmax(timeline->end, timeline->items[i].end);
    }
    for (size_t i = 0; i < timeline->row_count; first += timeline->rows[i++].count) {
        timeline->rows[i].first = first;
        timeline->rows[i].busy = busy_time(timeline->items + first, timeline->rows[i].count);
        timeline->busy += timeline->rows[i].busy;
    }
}

bool timeline_read(struct timeline *timeline, const char *text, size_t size, struct problem *problem)
{
    struct reader reader = { .timeline = timeline, .text = text, .size = size, .problem = problem };
    timeline->index = allocate(NULL, 1, sizeof *timeline->index);
    *timeline->index = (struct index) { .processes = json_object(), .rows = json_object(), .tasks = json_object() };
    for (int i = 0; i < RECENT; i++)
        timeline->index->recent[i].process = NAN;
    if (!read_all(&reader))
        return false;
    sort(timeline);
    return true;
}

void timeline_free(struct timeline *timeline)
{
    for (size_t i = 0; i < timeline->item_count; i++)
        free(timeline->items[i].note);
    for (size_t i = 0; i < timeline->row_count; i++) {
        free(timeline->rows[i].key);
        free(timeline->rows[i].name);
    }
    for (size_t i = 0; i < timeline->process_count; i++) {
        free(timeline->processes[i].key);
        free(timeline->processes[i].name);
    }
    free(timeline->items);
    free(timeline->rows);
    free(timeline->processes);
    if (!timeline->index)
        return;
    json_decref(timeline->index->processes);
    json_decref(timeline->index->rows);
    json_decref(timeline->index->tasks);
    free(timeline->index);
}
