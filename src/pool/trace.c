/* The record of a pool's run, in the Trace Event format. SPDX-License-Identifier: MIT
 *
 * The file is a JSON array, which its readers take without the last bracket too. So each event brings the comma that
 * separates it from the one before: whatever has been written needs only the bracket to be whole.
 */
#include "pool/trace.h"

#include "os/clock.h"
#include "pool/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    NAME_MOST = 1000,              /* bytes of a task's or pool's name, escaped; the rest is cut off */
    EVENT_MOST = NAME_MOST + 2000, /* bytes of an event */
};

struct trace {
    int64_t opened;
    int pid;
    uint64_t *seen; /* bits: workers whose names were written; guarded by the file's lock */
    size_t seen_words;
    struct log_file file;
};

static bool is_between(unsigned char byte, unsigned char least, unsigned char most)
{
    return byte >= least && byte <= most;
}

/* Length of the character that begins there, or 0 if it is not UTF-8. */
static size_t character_length(const char *text)
{
    const unsigned char *byte = (const unsigned char *)text;
    unsigned char least = byte[0] == 0xe0 ? 0xa0 : byte[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char most = byte[0] == 0xed ? 0x9f : byte[0] == 0xf4 ? 0x8f : 0xbf;
    size_t length = byte[0] < 0x80                    ? 1
                    : is_between(byte[0], 0xc2, 0xdf) ? 2
                    : is_between(byte[0], 0xe0, 0xef) ? 3
                    : is_between(byte[0], 0xf0, 0xf4) ? 4
                                                      : 0;
    if (length > 1 && !is_between(byte[1], least, most))
        return 0;
    for (size_t i = 2; i < length; i++)
        if (!is_between(byte[i], 0x80, 0xbf))
            return 0;
    return length;
}

/* Text as it stands between quotes in JSON; what does not fit is cut off. */
static const char *escape(char *to, size_t size, const char *text)
{
    size_t used = 0, length;
    for (; *text && used + sizeof "\\u0000" <= size; text += length > 0 ? length : 1) {
        length = character_length(text);
        unsigned char byte = (unsigned char)*text;
        if (length == 0)
            used += (size_t)snprintf(to + used, size - used, "\\ufffd");
        else if (byte < ' ' || byte == '"' || byte == '\\')
            used += (size_t)snprintf(to + used, size - used, "\\u%04x", byte);
        else {
            memcpy(to + used, text, length);
            used += length;
        }
    }
    to[used] = '\0';
    return to;
}

/* Nanoseconds as what the format wants: microseconds, with decimals. */
static void add_time(struct log_file *file, const char *key, int64_t time)
{
    uint64_t size = time < 0 ? -(uint64_t)time : (uint64_t)time;
    log_file_add(file, ",\"%s\":%s%" PRIu64 ".%03u", key, time < 0 ? "-" : "", size / 1000, (unsigned)(size % 1000));
}

static void add_name_event(struct trace *trace, const char *what, int worker)
{
    log_file_add(&trace->file, ",\n{\"name\":\"thread_%s\",\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"args\":{", what,
                 trace->pid, worker);
}

/* The first event of a worker comes with its name. */
static void introduce(struct trace *trace, int worker)
{
    size_t word = (size_t)worker / 64;
    uint64_t bit = UINT64_C(1) << worker % 64;
    if (word >= trace->seen_words) {
        size_t words = word < 2 * trace->seen_words ? 2 * trace->seen_words : word + 1;
        uint64_t *seen = realloc(trace->seen, words * sizeof *seen);
        if (!seen) {
            log_file_fail(&trace->file, -ENOMEM);
            return;
        }
        memset(seen + trace->seen_words, 0, (words - trace->seen_words) * sizeof *seen);
        trace->seen = seen;
        trace->seen_words = words;
    }
    if (trace->seen[word] & bit)
        return;
    trace->seen[word] |= bit;
    add_name_event(trace, "name", worker);
    log_file_add(&trace->file, "\"name\":\"worker %d\"}}", worker);
    add_name_event(trace, "sort_index", worker);
    log_file_add(&trace->file, "\"sort_index\":%d}}", worker);
}

static void add_failure(struct log_file *file, const struct mproc_outcome *outcome)
{
    char text[6 * MPROC_MESSAGE_SIZE], path[6 * MPROC_LOCATION_SIZE];
    log_file_add(file, ",\"code\":%d", outcome->code);
    if (outcome->message[0])
        log_file_add(file, ",\"message\":\"%s\"", escape(text, sizeof text, outcome->message));
    if (outcome->line > 0)
        log_file_add(file, ",\"where\":\"%s:%d\"", escape(path, sizeof path, outcome->file), outcome->line);
}

static void add_details(struct log_file *file, const struct mproc_outcome *outcome)
{
    if (outcome->pid > 0)
        log_file_add(file, ",\"process\":%d", (int)outcome->pid);
    log_file_add(file, ",\"attempts\":%d", outcome->attempts);
    if (outcome->kind == MPROC_FAILED)
        add_failure(file, outcome);
    else if (outcome->kind == MPROC_CRASHED && outcome->signal == 0)
        log_file_add(file, ",\"exit_status\":%d", outcome->exit_status);
    else if (outcome->kind == MPROC_CRASHED)
        log_file_add(file, ",\"signal\":%d", outcome->signal);
    if (outcome->out_of_memory)
        log_file_add(file, ",\"out_of_memory\":true");
    if (outcome->cpu_time > 0)
        add_time(file, "cpu_us", outcome->cpu_time);
    if (outcome->peak_memory > 0)
        log_file_add(file, ",\"peak_memory\":%" PRId64, outcome->peak_memory);
}

static const char *colour(enum mproc_outcome_kind kind)
{
    return kind == MPROC_OK ? "" : kind == MPROC_CRASHED ? ",\"cname\":\"terrible\"" : ",\"cname\":\"bad\"";
}

void trace_item(struct trace *trace, const char *task, size_t item, int64_t start, const struct mproc_outcome *outcome)
{
    struct log_file *file = &trace->file;
    char name[NAME_MOST];
    if (outcome->worker < 0)
        return;
    escape(name, sizeof name, task);
    log_file_lock(file);
    log_file_begin_line(file, EVENT_MOST);
    introduce(trace, outcome->worker);
    log_file_add(file, ",\n{\"name\":\"%s\",\"cat\":\"item\",\"ph\":\"X\"", name);
    add_time(file, "ts", start - trace->opened);
    add_time(file, "dur", outcome->ran > 0 ? outcome->ran : 0);
    log_file_add(file, ",\"pid\":%d,\"tid\":%d%s,\"args\":{\"item\":%zu,\"outcome\":\"%s\"", trace->pid,
                 outcome->worker, colour(outcome->kind), item, mproc_outcome_name(outcome->kind));
    add_details(file, outcome);
    log_file_add(file, "}}");
    log_file_unlock(file);
}

void trace_flush(struct trace *trace)
{
    log_file_lock(&trace->file);
    log_file_write_out(&trace->file);
    log_file_unlock(&trace->file);
}

int trace_close(struct trace *trace)
{
    if (!trace)
        return 0;
    log_file_begin_line(&trace->file, sizeof "\n]\n");
    log_file_add(&trace->file, "\n]\n");
    int err = log_file_end(&trace->file);
    free(trace->seen);
    free(trace);
    return err;
}

int trace_open(struct trace **result, const char *path, const char *pool)
{
    char name[NAME_MOST];
    struct trace *trace = malloc(sizeof *trace);
    if (!trace)
        return -ENOMEM;
    int fd = log_file_open(path, O_WRONLY | O_TRUNC);
    if (fd < 0) {
        free(trace);
        return fd;
    }
    *trace = (struct trace) { .opened = os_now(), .pid = (int)getpid() };
    log_file_begin(&trace->file, fd);
    log_file_add(&trace->file, "[\n{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%d,\"args\":{\"name\":\"%s\"}}",
                 trace->pid, escape(name, sizeof name, pool));
    log_file_write_out(&trace->file);
    if (trace->file.err)
        return trace_close(trace);
    *result = trace;
    return 0;
}
