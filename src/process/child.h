/* From the first instruction of a new process to its function. SPDX-License-Identifier: MIT */
#ifndef PROCESS_CHILD_H
#define PROCESS_CHILD_H

#include "os/descriptors.h"
#include "process/record.h"

#include <mproc/task.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

/* What of a start failed, for messages. */
enum start_step {
    STEP_NONE,
    STEP_LEASH,
    STEP_DESCRIPTORS,
    STEP_DIRECTORY,
    STEP_NICE,
    STEP_CPUS,
    STEP_MEMORY_LIMIT,
    STEP_CPU_TIME_LIMIT,
    STEP_OPEN_FILES_LIMIT,
    STEP_FORK,
    STEP_EXECUTE,
    STEP_USER,
    STEP_FAMILY,
    STEP_FUNCTION,
    STEP_ARGUMENT,
};

/* What the caller asked for has to be; what is only to be as with the caller need not. */
enum child_set { LEAVE, SET_IF_POSSIBLE, SET };

/* 0 where nothing is to be done; descriptors -1. */
struct child_setup {
    struct process_record *record;
    member_id owner;
    int leash, report, directory;
    enum child_set set_cpus, set_nice, set_open_files;
    cpu_set_t cpus;
    int nice;
    uint64_t memory_limit, cpu_seconds, open_files, open_files_hard;
    struct os_placements placements;
};

/* What is said on the report socket: by the new process that it is about to run its function, or what failed; by the
 * server what failed, and how the process ended. */
enum report_kind { REPORT_READY = 1, REPORT_FAILED, REPORT_ENDED };

struct process_report {
    enum report_kind kind;
    int err; /* failed: -errno or an MPROC_E_ code */
    enum start_step step;
    int status; /* ended: as of waitpid */
    pid_t pid;  /* ready; a pidfd comes with it */
};

/* Carries a set-up out in the calling process, whose signals are blocked and stay so. With `lodge`, makes sure that the
 * record is kept before it is looked at. Without it, async-signal-safe. Returns 0, or -errno with *step. */
int child_set_up(struct child_setup *setup, bool lodge, enum start_step *step);

/* Says what failed, and ends. */
_Noreturn void child_fail(int report, int err, enum start_step step);

/* Makes the calling process the one that the record is about, says so on the report socket (-1: to nobody), calls the
 * function and takes its result down. Returns what it returned. Signals are unblocked. */
int child_run(const struct child_setup *setup, const struct mproc_task *task);

/* All that is to be done when the function has returned: its own processes end first. Returns the exit status. */
int child_finish(int value);

/* The task of the record's function, whose argument has the right size; NULL with *err and *step if there is none. */
const struct mproc_task *child_find_task(const struct process_record *record, int *err, enum start_step *step);

#endif
