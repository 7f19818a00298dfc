/* What the suites of processes share: METHOD, starting, and a place that parent and child see. SPDX-License-Identifier:
 * MIT
 */
#ifndef PROCESS_SHARED_H
#define PROCESS_SHARED_H

#include "harness.h"

#include <fcntl.h>
#include <mproc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the heap. Begins as all zeroes. */
struct shared {
    struct mproc_event go, there;
    int32_t count;
    pid_t pids[8];
    char text[256];
    int numbers[64];
};

#define START(process, function, ...)                                                                                  \
    do {                                                                                                               \
        struct mproc_error start_error;                                                                                \
        int start_err = mproc_process_start(process, function, __VA_ARGS__, .method = METHOD, .error = &start_error);  \
        if (start_err)                                                                                                 \
            fail_msg("%s", start_error.message);                                                                       \
    } while (0)

static inline struct shared *share(void)
{
    struct shared *shared = mproc_calloc(1, sizeof *shared);
    assert_non_null(shared);
    return shared;
}

/* Joins, closes, and tells how it ended. */
static inline struct mproc_outcome finish(mproc_process *process)
{
    struct mproc_outcome outcome;
    assert_int_equal(mproc_process_join(process, MPROC_FOREVER), 0);
    assert_int_equal(mproc_process_outcome(process, &outcome), 0);
    assert_int_equal(mproc_process_close(process), 0);
    return outcome;
}

static inline void finish_well(mproc_process *process)
{
    struct mproc_outcome outcome = finish(process);
    char text[200];
    mproc_outcome_text(&outcome, text, sizeof text);
    if (outcome.kind != MPROC_OK)
        fail_msg("the process %s", text);
}

/* In functions of processes, where cmocka's assertions would not be seen. */
#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            return mproc_task_fail(1, "line %d: " #condition, __LINE__);                                               \
    } while (0)

#endif
