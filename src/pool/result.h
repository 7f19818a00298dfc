/* From a job that has ended to what the caller gets. SPDX-License-Identifier: MIT */
#ifndef POOL_RESULT_H
#define POOL_RESULT_H

#include "pool/shared.h"

#include <stdbool.h>

struct result {
    const struct mproc_map_arguments *map;
    const struct job *job;
    const char *name;         /* the task's */
    bool copy_output;         /* the job's output is not the caller's array */
    struct range not_started; /* with an error: items that surely did not start, if they did not end */
    int reason;               /* with MPROC_E_NO_WORKERS: -errno */
};

/* Copies results, fills outcomes and error. err: 0, or why the map broke off. Returns what mproc_map does. */
int result_deliver(const struct result *result, int err);

/* Fills the outcomes of the items from `first` on, which were never submitted. */
void result_cancel_rest(const struct mproc_map_arguments *map, size_t first);

#endif
