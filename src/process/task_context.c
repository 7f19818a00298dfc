/* What a task says of its failure, and what it can ask. SPDX-License-Identifier: MIT */
#include "process/task_context.h"

#include <mproc/task.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

_Thread_local struct task_context *task_context;

/* A path that is too long loses its first folders. */
static const char *end_of_path(const char *file, size_t most)
{
    size_t length = strlen(file);
    if (length <= most)
        return file;
    const char *end = file + length - most, *folder = strchr(end, '/');
    return folder ? folder + 1 : end;
}

static void set_place(const char *file, int line)
{
    file = file ? end_of_path(file, sizeof task_context->file - 1) : NULL;
    size_t length = file ? strlen(file) : 0;
    if (length > 0)
        memcpy(task_context->file, file, length);
    task_context->file[length] = '\0';
    task_context->line = file ? line : 0;
}

int mproc_task_fail_at(const char *file, int line, int code, const char *format, ...)
{
    if (task_context && format) {
        va_list values;
        va_start(values, format);
        int length = vsnprintf(task_context->message, sizeof task_context->message, format, values);
        va_end(values);
        if (length >= (int)sizeof task_context->message)
            memcpy(task_context->message + sizeof task_context->message - sizeof "...", "...", sizeof "...");
        set_place(file, line);
    }
    return code;
}

int mproc_worker_index(void)
{
    return task_context_is_pools() ? task_context->worker : -1;
}

void *mproc_worker_state(void)
{
    return task_context_is_pools() ? task_context->state : NULL;
}

int mproc_task_attempt(void)
{
    return task_context_is_pools() ? task_context->attempt : 0;
}
