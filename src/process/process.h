/* The starting process's side of a process. SPDX-License-Identifier: MIT */
#ifndef PROCESS_PROCESS_H
#define PROCESS_PROCESS_H

#include "process/record.h"

#include <mproc/process.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct process {
    pid_t pid;
    int pidfd;
    int leash;  /* kept open as long as the process is to live; -1 once it has ended */
    int report; /* socket to the server, if it is the server's child: says how it ended; -1 otherwise or afterwards */
    bool of_server;
    bool daemon;
    struct process_record *record;

    _Atomic bool ended; /* it has been seen to have ended */

    /* Guards what follows, and `leash` and `report`. Held across a wait only for what the server says of a process that
     * has ended. */
    pthread_mutex_t mutex;
    bool known; /* how it ended: `outcome` */
    bool released;
    unsigned holds; /* as long as there are any, its number and process group are not given to others */
    struct mproc_outcome outcome;
};

/* Makes a handle for a process. NULL if MPROC_PROCESSES_MAX are in use. */
mproc_process *process_publish(struct process *process);

/* The process of a handle, which stays until process_release. Returns 0; -EINVAL for NULL, -ECHILD for the handles of
 * this process itself and of its parent; MPROC_E_CLOSED, MPROC_E_FORKED. */
int process_acquire(mproc_process *handle, struct process **process);
void process_release(mproc_process *handle);

/* The first process of this one at place `*index` or after it, acquired; *index gets the place behind it. NULL: none.
 */
mproc_process *process_next(unsigned *index, struct process **process);

/* If it has ended, finds out how, and lets its number go unless there are holds. Returns true if it has ended. */
bool process_learn(struct process *process);

/* Keeps its number and process group from being given to others. False if they may have been already. */
bool process_hold(struct process *process);
void process_unhold(struct process *process);

/* Waits until it has ended, and learns. Returns 0, -ETIMEDOUT, -EINTR. */
int process_join(struct process *process, int64_t timeout);

/* Frees what is held of a process that has ended, and that nobody uses any more. */
void process_destroy(struct process *process);

#endif
