/* What a task says of its failure. SPDX-License-Identifier: MIT */
#include "process/task_context.h"

#include <mproc/task.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

_Thread_local struct task_context *task_context;

int mproc_task_fail(int code, const char *format, ...)
{
    if (task_context && format) {
        va_list values;
        va_start(values, format);
        int length = vsnprintf(task_context->message, sizeof task_context->message, format, values);
        va_end(values);
        if (length >= (int)sizeof task_context->message)
            memcpy(task_context->message + sizeof task_context->message - sizeof "...", "...", sizeof "...");
    }
    return code;
}
