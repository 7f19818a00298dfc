/* What a thread knows of the task that it is running. SPDX-License-Identifier: MIT */
#ifndef PROCESS_TASK_CONTEXT_H
#define PROCESS_TASK_CONTEXT_H

#include <mproc/outcome.h>
#include <stdbool.h>

/* Contexts nest: a task may run another one in line. */
struct task_context {
    const void *pool;   /* whose task it is; NULL: not a pool's, but a process's function */
    const void *handle; /* of that pool */
    struct task_context *outer;
    bool (*is_stopped)(const struct task_context *context); /* NULL: see self.c */
    int worker, attempt;
    void *state; /* the worker's, by its initializer */
    int line;    /* 0: no place */
    char file[MPROC_LOCATION_SIZE];
    char message[MPROC_MESSAGE_SIZE]; /* message[0] is NUL until the task says something */
};

/* The innermost context of this thread, or NULL outside tasks. Used in line, by the worker that sets it and by
 * mproc_task_fail. */
extern _Thread_local struct task_context *task_context;

/* True while the calling thread runs a pool's task. */
static inline bool task_context_is_pools(void)
{
    return task_context && task_context->pool;
}

#endif
