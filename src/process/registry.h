/* The tasks of this program, by function and by name. SPDX-License-Identifier: MIT */
#ifndef PROCESS_REGISTRY_H
#define PROCESS_REGISTRY_H

#include <mproc/outcome.h>
#include <mproc/task.h>

/* The task of this function or, if function is NULL, of this name; NULL if there is none. */
const struct mproc_task *registry_find(mproc_function *function, const char *name);

/* A task that has the same name as another one, which goes to *other; NULL if there is none. */
const struct mproc_task *registry_find_duplicate(const struct mproc_task **other);

/* Another task of the same name as this one, or NULL. */
const struct mproc_task *registry_find_namesake(const struct mproc_task *task);

/* Fills *error (NULL is fine) with where the two are registered. Returns MPROC_E_DUPLICATE_TASK. */
int registry_report_duplicate(struct mproc_error *error, const struct mproc_task *task, const struct mproc_task *other);

/* Calls back for each task. */
void registry_each(void (*call)(const struct mproc_task *task, void *context), void *context);

/* The order of the newest registration: tasks with a greater one came later. */
unsigned long registry_order(void);

#endif
