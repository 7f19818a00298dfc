/* A start under way. SPDX-License-Identifier: MIT */
#ifndef PROCESS_START_H
#define PROCESS_START_H

#include "process/child.h"

#include <mproc/process.h>
#include <mproc/task.h>

enum { START_PIPES = 3 };

struct start {
    const struct mproc_process_start_arguments *arguments; /* of full size */
    const struct mproc_task *task;
    struct child_setup setup;
    size_t argument_size;
    bool lodge; /* a forked process has to, for its record to be kept */
    int leash;  /* this process's ends */
    int report; /* -1 if nothing can go wrong in the new process */
    pid_t pid;
    int pidfd;

    /* What is open only for the start, and this process's ends of pipes to standard streams. */
    struct start *next; /* process/ties.h */
    int opened[START_PIPES + 1];
    unsigned opened_count;
    int pipes[START_PIPES];
};

/* Looks at the arguments, and finds the task. Returns 0, or the error of mproc_process_start, reported. */
int start_check(struct start *start);

/* Opens what the new process gets, and plans where it goes. Returns likewise. */
int start_prepare_descriptors(struct start *start);

/* Makes the record. Returns likewise. */
int start_make_record(struct start *start);

/* What is asked for descriptor 0, 1 or 2, and the option's name. */
const struct mproc_stream *start_stream(const struct start *start, int number);
const char *start_stream_name(int number);

/* Reports what a step of the new process failed with; returns err. */
int start_report_step(const struct start *start, int err, enum start_step step);

/* Reports an error, with the function's name in front. Returns err. */
int start_report(const struct start *start, int err);

#endif
