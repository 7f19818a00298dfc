/* What a new process is given. SPDX-License-Identifier: MIT */
#include "base/report.h"
#include "channel/roles.h"
#include "memory/member.h"
#include "os/file.h"
#include "process/queues.h"
#include "process/self.h"
#include "process/start.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ALIGNMENT = 16 };

/* ---- descriptors */

static void place(struct start *start, int source, int target)
{
    struct os_placements *placements = &start->setup.placements;
    placements->source[placements->count] = source;
    placements->target[placements->count++] = target;
}

static int remember(struct start *start, int fd)
{
    if (fd >= 0)
        start->opened[start->opened_count++] = fd;
    return fd;
}

static int open_file(struct start *start, const char *option, const char *path, int flags, int *fd)
{
    int opened = open(path, flags | O_CLOEXEC | O_NOCTTY, 0666);
    int err = opened < 0 ? -errno : 0;
    if (!err && (opened = os_fd_above_standard(opened)) < 0)
        err = opened;
    if (err)
        return report(start->arguments->error, err, "mproc_process_start: '%s': cannot open %.100s for %s",
                      start->task->name, path, option);
    *fd = remember(start, opened);
    return 0;
}

static int open_pipe(struct start *start, int number, int *fd)
{
    int ends[2];
    int err = os_pipe(ends);
    if (err)
        return start_report(start, err);
    bool is_input = number == STDIN_FILENO;
    start->pipes[number] = ends[is_input];
    *fd = remember(start, ends[!is_input]);
    return 0;
}

/* *fd gets what the new process is to have, or -1 for nothing. */
static int open_stream(struct start *start, int number, int *fd)
{
    const struct mproc_stream *stream = start_stream(start, number);
    bool is_input = number == STDIN_FILENO;
    enum mproc_stream_kind kind = stream->kind;
    const char *name = start_stream_name(number);
    if (kind == MPROC_STREAM_DEFAULT)
        kind = is_input ? MPROC_STREAM_NULL : MPROC_STREAM_INHERIT;
    switch (kind) {
    case MPROC_STREAM_NULL: return open_file(start, name, "/dev/null", O_RDWR, fd);
    case MPROC_STREAM_PIPE: return open_pipe(start, number, fd);
    case MPROC_STREAM_FILE:
        return open_file(start, name, stream->path, is_input ? O_RDONLY : O_WRONLY | O_CREAT | O_TRUNC, fd);
    case MPROC_STREAM_APPEND: return open_file(start, name, stream->path, O_WRONLY | O_CREAT | O_APPEND, fd);
    case MPROC_STREAM_DESCRIPTOR: *fd = stream->descriptor; return 0;
    default: *fd = fcntl(number, F_GETFD) >= 0 ? number : -1; return 0;
    }
}

static bool is_placed(const struct start *start, int target)
{
    const struct os_placements *placements = &start->setup.placements;
    for (unsigned i = 0; i < placements->count; i++)
        if (placements->target[i] == target)
            return true;
    return false;
}

/* A server's child begins in the server's directory, not in the caller's. */
static int open_directory(struct start *start)
{
    const char *path = start->arguments->directory;
    if (!path && start->arguments->method == MPROC_FORK)
        return 0;
    return open_file(start, ".directory", path ? path : ".", O_PATH | O_DIRECTORY, &start->setup.directory);
}

int start_prepare_descriptors(struct start *start)
{
    const struct mproc_process_start_arguments *arguments = start->arguments;
    for (int number = 0; number < 3; number++) {
        int fd = -1, err = open_stream(start, number, &fd);
        if (err)
            return err;
        place(start, fd, number);
    }
    for (size_t i = 0; i < arguments->keep_fds_count; i++)
        if (!is_placed(start, arguments->keep_fds[i]))
            place(start, arguments->keep_fds[i], arguments->keep_fds[i]);
    return open_directory(start);
}

/* ---- record */

static void name_it(const struct start *start, struct process_record *record)
{
    static _Atomic unsigned number;
    unsigned mine = atomic_fetch_add(&number, 1) + 1;
    if (start->arguments->name)
        snprintf(record->name, sizeof record->name, "%s", start->arguments->name);
    else
        snprintf(record->name, sizeof record->name, "%.50s-%u", start->task->name, mine);
    snprintf(record->owner_name, sizeof record->owner_name, "%s", self_name());
}

/* A forked child finds the argument where it is. */
int start_make_record(struct start *start)
{
    const struct mproc_process_start_arguments *arguments = start->arguments;
    size_t name_size = strlen(start->task->name) + 1;
    size_t queues = (sizeof(struct process_record) + name_size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    size_t head = queues + (arguments->reads_from_count + arguments->writes_to_count) * sizeof(struct role_reservation);
    bool copied = start->argument_size > 0 && arguments->method != MPROC_FORK;
    size_t tail = copied ? start->argument_size : 0;
    struct member *self = member_self();
    struct process_record *record =
        self && tail < SIZE_MAX - head ? record_allocate(head + tail, arguments->method == MPROC_FORK) : NULL;
    if (!record)
        return start_report(start, -ENOMEM);
    memcpy(record->function, start->task->name, name_size);
    record->owner = start->setup.owner = self->process_id;
    record->owner_pid = getpid();
    if (arguments->argument_size || arguments->argument_type_size != SIZE_MAX)
        record->argument_size = start->argument_size;
    record->queues = (struct role_reservation *)(void *)((char *)record + queues);
    record->argument = (void *)(uintptr_t)arguments->argument;
    if (copied) {
        record->argument = (char *)record + head;
        memcpy(record->argument, arguments->argument, tail);
    }
    name_it(start, record);
    start->setup.record = record;
    start->lodge = record_needs_lodging(record);
    return queues_reserve(start);
}
