/* The record of a pool's run, in the Trace Event format. SPDX-License-Identifier: MIT */
#ifndef POOL_TRACE_H
#define POOL_TRACE_H

#include <mproc/outcome.h>
#include <stddef.h>
#include <stdint.h>

struct trace;

/* Creates the file, or empties it. `pool` is the pool's name. Returns 0 or -errno. */
int trace_open(struct trace **trace, const char *path, const char *pool);

/* Adds an item that has ended; `start` is when its last attempt began, as of os_now(); items that no worker has started
 * (outcome->worker is -1) are left out. An error is kept for trace_close. Several threads may call. */
void trace_item(struct trace *trace, const char *task, size_t item, int64_t start, const struct mproc_outcome *outcome);

/* Writes what is buffered, so that whoever reads the file now has all that was added. */
void trace_flush(struct trace *trace);

/* Returns 0, or -errno if something could not be written. NULL is fine. */
int trace_close(struct trace *trace);

#endif
