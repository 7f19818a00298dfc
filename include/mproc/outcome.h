/* How a task ended. SPDX-License-Identifier: MIT */
#ifndef MPROC_OUTCOME_H
#define MPROC_OUTCOME_H

#include <mproc/export.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** Every item of a call ends in exactly one of these ways. */
enum mproc_outcome_kind {
    MPROC_OK = 0,      /**< the task returned 0; its result is there */
    MPROC_FAILED,      /**< the task returned something else */
    MPROC_CRASHED,     /**< the worker's process ended while it ran the task: a signal, or exit(); a process of
                          mproc_process_start: a signal */
    MPROC_TIMED_OUT,   /**< it ran longer than the call's .timeout, and was stopped */
    MPROC_OVER_MEMORY, /**< its worker was far above the pool's .memory_limit, and was killed */
    MPROC_CANCELLED,   /**< it did not start; or it was running, and was stopped because the call was cancelled */
    MPROC_LOST,        /**< the supervisor was killed, or the call was broken off: the task may have run, or in part */
    MPROC_SKIPPED      /**< the job log lists it as done: it did not run again, and its result is left alone */
};

enum {
    MPROC_MESSAGE_SIZE = 104 /**< bytes, with the terminating NUL; a longer message is cut */
};
enum {
    MPROC_LOCATION_SIZE = 40 /**< bytes, with the terminating NUL; a longer path loses its first folders */
};

/** How one item ended. Fields that do not belong to the kind are 0. */
struct mproc_outcome {
    enum mproc_outcome_kind kind;
    int code;           /**< MPROC_FAILED: what the task returned */
    int signal;         /**< MPROC_CRASHED: the signal that ended the worker, or 0 if it called exit */
    int exit_status;    /**< MPROC_CRASHED with signal 0: the status that it exited with */
    pid_t pid;          /**< the process that ran the task; 0 if none did, or it is not known */
    int worker;         /**< number of the worker that ran it, on a cluster of the machine; -1 if none did */
    int attempts;       /**< how often the task was started */
    bool out_of_memory; /**< MPROC_CRASHED: the kernel killed the worker because its control group was out of memory */
    int line;           /**< MPROC_FAILED: where mproc_task_fail was called ... */
    char file[MPROC_LOCATION_SIZE];   /**< ... or 0 and "" if it was not */
    char message[MPROC_MESSAGE_SIZE]; /**< MPROC_FAILED: what the task said with mproc_task_fail, or "" */
    int64_t waited;                   /**< nanoseconds from the call to the start of the last attempt */
    int64_t ran;                      /**< nanoseconds that the last attempt took */
    int64_t cpu_time;    /**< with .usage: nanoseconds of CPU time that the last attempt used, of the calling thread; 0
                            if its worker ended */
    int64_t peak_memory; /**< with .usage: most bytes of memory that the worker's process ever had at a time */
};

enum {
    MPROC_ERROR_MESSAGE_SIZE = 360 /**< bytes, with the terminating NUL */
};

/** Detail on a call that did not wholly succeed. The caller owns it; a call that is given one fills it entirely when it
 * returns something other than 0, and leaves it alone when it returns 0. */
struct mproc_error {
    int code;                     /**< what the call returned: negative, or the number of items that did not succeed */
    size_t item;                  /**< lowest index of an item that did not succeed, or SIZE_MAX if there is none */
    struct mproc_outcome outcome; /**< how that item ended; zeroed if there is none */
    char message[MPROC_ERROR_MESSAGE_SIZE]; /**< a sentence that names what was wrong, and what to do */
};

MPROC_BEGIN_DECLARATIONS

/** A word or two for an outcome: "ok", "failed", "crashed", "timed out", "over memory", "cancelled", "lost" or
 * "skipped"; "unknown" for any other value.
 *
 * The text is constant. Does not block; may be called anywhere. Never fails. Since 0.1. */
MPROC_API const char *mproc_outcome_name(enum mproc_outcome_kind kind);

/** Writes an outcome as a phrase, such as "crashed: Segmentation fault (signal 11) in process 4711".
 *
 * - `outcome`: what to describe; NULL is -EINVAL.
 * - `text`, `size`: buffer of the caller and its size in bytes; the phrase is cut to fit and always ends in a NUL.
 *
 * Returns the phrase's whole length in bytes without the NUL (as snprintf does), or -EINVAL if outcome is NULL or size
 * is not 0 while text is NULL. Does not block; may be called from any thread and in a forked child, not in a signal
 * handler. Since 0.1. */
MPROC_API int mproc_outcome_text(const struct mproc_outcome *outcome, char *text, size_t size);

MPROC_END_DECLARATIONS

#endif
