/* The log of a call's items, as GNU parallel's --joblog has it. SPDX-License-Identifier: MIT */
#ifndef POOL_JOBLOG_H
#define POOL_JOBLOG_H

#include <mproc/outcome.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct joblog;

/* Opens a log for a task, to add to it; creates it, with its heading, if it is not there or empty. With `resume` it
 * reads which items of that task it lists as done (exit value and signal are 0 in the last line that it has of them). A
 * last line that is cut, because its writer was killed, is dropped from the file. Returns 0; -errno; MPROC_E_JOBLOG if
 * the file has another heading, or lists another task's items. */
int joblog_open(struct joblog **log, const char *path, const char *task, bool resume);

/* True if the log listed the item as done when it was opened. */
bool joblog_has(const struct joblog *log, size_t item);

/* Adds an item that has ended. `start` is when its last attempt began, in nanoseconds of CLOCK_REALTIME, or 0; `sent`
 * and `received` are bytes of input and result. What did not start is not added. An error is kept for joblog_close. */
void joblog_add(struct joblog *log, size_t item, int64_t start, const struct mproc_outcome *outcome, size_t sent,
                size_t received);

/* Writes out what was added. */
void joblog_flush(struct joblog *log);

/* Returns 0, or -errno if something could not be written. NULL is fine. */
int joblog_close(struct joblog *log);

#endif
