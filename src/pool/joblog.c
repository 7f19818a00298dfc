/* The log of a call's items, as GNU parallel's --joblog has it. SPDX-License-Identifier: MIT */
#include "pool/joblog.h"

#include "pool/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <mproc/error.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char heading[] = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";

enum {
    TASK_MOST = 1000,             /* bytes of a task's name; the rest is cut off */
    LINE_MOST = TASK_MOST + 300,  /* bytes of a line of ours */
    EXIT_KILLED = -1,             /* GNU parallel's exit value of jobs that it has killed itself */
    EXIT_OTHER = 255,             /* stands for what an exit value cannot be */
    DONE_LEAST = 64 * 1024,       /* bytes of the first map of what is done */
    FIELDS_BEFORE_EXIT_VALUE = 5, /* behind the first */
};

struct joblog {
    size_t task_length;
    char task[TASK_MOST + 1];
    uint64_t *done; /* bits of items, or NULL; constant once the log is open. Its pages cost nothing until they are
                       used, however high the numbers are */
    size_t done_size;
    struct log_file file;
};

/* ---- reading */

struct reader {
    const char *at, *end;
};

static bool read_text(struct reader *reader, const char *text, size_t length)
{
    if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, text, length) != 0)
        return false;
    reader->at += length;
    return true;
}

static bool read_number(struct reader *reader, size_t *number)
{
    const char *start = reader->at;
    *number = 0;
    for (; reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9'; reader->at++) {
        size_t digit = (size_t)(*reader->at - '0');
        if (__builtin_mul_overflow(*number, 10, number) || __builtin_add_overflow(*number, digit, number))
            return false;
    }
    return reader->at > start;
}

static bool skip_field(struct reader *reader)
{
    const char *tab = memchr(reader->at, '\t', (size_t)(reader->end - reader->at));
    if (!tab || tab == reader->at)
        return false;
    reader->at = tab + 1;
    return true;
}

/* Reads a line of ours, without its newline. */
static bool read_line(const struct joblog *log, struct reader *reader, size_t *item, bool *done)
{
    size_t number, value, signal;
    bool is_line = read_number(reader, &number) && number > 0 && read_text(reader, "\t", 1);
    for (int i = 0; is_line && i < FIELDS_BEFORE_EXIT_VALUE; i++)
        is_line = skip_field(reader);
    bool negative = is_line && read_text(reader, "-", 1);
    is_line = is_line && read_number(reader, &value) && read_text(reader, "\t", 1) && read_number(reader, &signal) &&
              read_text(reader, "\t", 1) && read_text(reader, log->task, log->task_length) &&
              read_text(reader, " ", 1) && read_number(reader, item) && reader->at == reader->end &&
              *item == number - 1;
    if (is_line)
        *done = !negative && value == 0 && signal == 0;
    return is_line;
}

static int grow(struct joblog *log, size_t size)
{
    size_t new_size = log->done_size > 0 ? log->done_size : DONE_LEAST;
    while (new_size < size && new_size <= SIZE_MAX / 4)
        new_size *= 2;
    void *done = log->done
                     ? mremap(log->done, log->done_size, new_size, MREMAP_MAYMOVE)
                     : mmap(NULL, new_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (done == MAP_FAILED)
        return -ENOMEM;
    log->done = done;
    log->done_size = new_size;
    return 0;
}

/* An item's last line counts. */
static int mark(struct joblog *log, size_t item, bool done)
{
    bool is_there = item / 8 < log->done_size;
    if (!is_there && !done)
        return 0;
    int err = is_there ? 0 : grow(log, item / 8 + 1);
    if (err)
        return err;
    uint64_t bit = UINT64_C(1) << item % 64;
    if (done)
        log->done[item / 64] |= bit;
    else
        log->done[item / 64] &= ~bit;
    return 0;
}

static int take_line(struct joblog *log, const char *line, size_t length, bool is_first, bool resume)
{
    size_t item;
    bool done;
    struct reader reader = { line, line + length };
    if (is_first)
        return length == sizeof heading - 2 && memcmp(line, heading, length) == 0 ? 0 : MPROC_E_JOBLOG;
    if (!read_line(log, &reader, &item, &done))
        return MPROC_E_JOBLOG;
    return resume ? mark(log, item, done) : 0;
}

/* What was read of the file. */
struct content {
    off_t whole; /* bytes of whole lines */
    size_t used; /* bytes of text: of a line whose end is yet to come */
    char text[64 * 1024];
};

static int take_lines(struct joblog *log, struct content *content, bool resume)
{
    char *at = content->text, *end = at + content->used;
    for (char *newline; (newline = memchr(at, '\n', (size_t)(end - at))); at = newline + 1) {
        int err = take_line(log, at, (size_t)(newline - at), content->whole == 0, resume);
        if (err)
            return err;
        content->whole += newline + 1 - at;
    }
    content->used = (size_t)(end - at);
    memmove(content->text, at, content->used);
    return content->used == sizeof content->text ? MPROC_E_JOBLOG : 0;
}

static int read_all(struct joblog *log, int fd, struct content *content, bool resume)
{
    for (;;) {
        ssize_t count = read(fd, content->text + content->used, sizeof content->text - content->used);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return count < 0 ? -errno : 0;
        content->used += (size_t)count;
        int err = take_lines(log, content, resume);
        if (err)
            return err;
    }
}

/* Fills `is_empty` too: whether the heading is yet to be written. */
static int read_file(struct joblog *log, int fd, bool resume, bool *is_empty)
{
    struct stat status;
    *is_empty = true;
    if (fstat(fd, &status) != 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return 0;
    struct content *content = malloc(sizeof *content);
    if (!content)
        return -ENOMEM;
    content->whole = 0;
    content->used = 0;
    int err = read_all(log, fd, content, resume);
    *is_empty = content->whole == 0;
    if (!err && *is_empty && (content->used >= sizeof heading || memcmp(content->text, heading, content->used) != 0))
        err = MPROC_E_JOBLOG;
    if (!err && content->used > 0 && ftruncate(fd, content->whole) != 0)
        err = -errno;
    free(content);
    return err;
}

/* ---- the log */

static void release(struct joblog *log)
{
    if (log->done)
        munmap(log->done, log->done_size);
    free(log);
}

/* A name that keeps a line in its columns. */
static void set_task(struct joblog *log, const char *task)
{
    log->task_length = strnlen(task, TASK_MOST);
    for (size_t i = 0; i < log->task_length; i++)
        log->task[i] = (char)((unsigned char)task[i] < ' ' ? '?' : task[i]);
    log->task[log->task_length] = '\0';
}

int joblog_open(struct joblog **result, const char *path, const char *task, bool resume)
{
    bool is_empty;
    struct joblog *log = malloc(sizeof *log);
    if (!log)
        return -ENOMEM;
    log->done = NULL;
    log->done_size = 0;
    set_task(log, task);
    int fd = log_file_open(path, O_RDWR);
    int err = fd < 0 ? fd : read_file(log, fd, resume, &is_empty);
    if (err) {
        if (fd >= 0)
            close(fd);
        release(log);
        return err;
    }
    log_file_begin(&log->file, fd);
    if (is_empty)
        log_file_add(&log->file, "%s", heading);
    log_file_write_out(&log->file);
    if (log->file.err)
        return joblog_close(log);
    *result = log;
    return 0;
}

bool joblog_has(const struct joblog *log, size_t item)
{
    return item / 8 < log->done_size && (log->done[item / 64] >> item % 64 & 1) != 0;
}

static int possible_exit_value(int value)
{
    return value > 0 && value < EXIT_OTHER ? value : EXIT_OTHER;
}

/* As GNU parallel has it for jobs that end in such a way. Only those that succeeded have 0 and 0. */
static void put_end(const struct mproc_outcome *outcome, int *exit_value, int *signal)
{
    *exit_value = 0;
    *signal = 0;
    switch (outcome->kind) {
    case MPROC_OK: return;
    case MPROC_FAILED: *exit_value = possible_exit_value(outcome->code); return;
    case MPROC_OVER_MEMORY: *signal = SIGKILL; return;
    case MPROC_CRASHED:
        *signal = outcome->signal;
        if (outcome->signal == 0)
            *exit_value = possible_exit_value(outcome->exit_status);
        return;
    default: *exit_value = EXIT_KILLED; *signal = SIGTERM;
    }
}

void joblog_add(struct joblog *log, size_t item, int64_t start, const struct mproc_outcome *outcome, size_t sent,
                size_t received)
{
    int exit_value, signal;
    if (outcome->attempts == 0 || outcome->kind == MPROC_SKIPPED)
        return;
    put_end(outcome, &exit_value, &signal);
    int64_t begun = start / 1000000, ran = (outcome->ran + 500000) / 1000000;
    log_file_lock(&log->file);
    log_file_begin_line(&log->file, LINE_MOST);
    log_file_add(&log->file, "%zu\t:\t%" PRId64 ".%03d\t%6" PRId64 ".%03d\t%zu\t%zu\t%d\t%d\t%s %zu\n", item + 1,
                 begun / 1000, (int)(begun % 1000), ran / 1000, (int)(ran % 1000), sent, received, exit_value, signal,
                 log->task, item);
    log_file_unlock(&log->file);
}

void joblog_flush(struct joblog *log)
{
    log_file_lock(&log->file);
    log_file_write_out(&log->file);
    log_file_unlock(&log->file);
}

int joblog_close(struct joblog *log)
{
    if (!log)
        return 0;
    int err = log_file_end(&log->file);
    release(log);
    return err;
}
