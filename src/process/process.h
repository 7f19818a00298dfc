/* The starting process's side of a process. SPDX-License-Identifier: MIT */
#ifndef PROCESS_PROCESS_H
#define PROCESS_PROCESS_H

#include "process/record.h"

#include <mproc/process.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* How long a server that says nothing is waited for: it was stopped, or the machine is very busy. */
#define SERVER_PATIENCE INT64_C(10000000000)

struct process {
    pid_t pid;
    int pidfd;
    /* A pipe: the end for writing is kept open as long as the process is to live; the other one, to take what it leaves
     * behind off the leash when it has ended by itself. -1 afterwards. */
    int leash, leash_end;
    int report; /* socket to the server, if it is the server's child: says how it ended; -1 otherwise or afterwards */
    bool of_server;
    bool daemon;
    bool hidden; /* the library's own */
    struct process_record *record;

    _Atomic bool over; /* known and released: nothing changes any more */

    /* Guards what follows, and `leash` and `report`. Never held across anything that waits. */
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

/* Takes it out of mproc_active_children. */
void process_hide(mproc_process *handle);

bool process_has_ended(const struct process *process);

/* Waits until it has ended, at most `timeout` nanoseconds; finds out how, and lets its number go unless there are
 * holds. A server that does not say how is waited for as long again, but no longer than SERVER_PATIENCE. Returns 0,
 * -ETIMEDOUT, -EINTR. */
int process_learn(struct process *process, int64_t timeout);

/* True if it has ended, and it is known how; waits for the server. */
bool process_is_known(struct process *process);

/* Keeps its number and process group from being given to others, if they have not been already. */
void process_hold(struct process *process);
void process_unhold(struct process *process);

/* Its number, while it is held; 0 if it may have been given to others. */
pid_t process_number(const struct process *process);

#endif
