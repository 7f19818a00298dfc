/* Stops another process at a chosen machine instruction, and kills it there. SPDX-License-Identifier: MIT
 *
 * Built on ptrace's single step. The stepping process must be allowed to trace the other one (its ancestor, or root).
 */
#ifndef STEPPER_H
#define STEPPER_H

#include <stdbool.h>
#include <sys/types.h>

/* False where this machine does not let processes trace each other: a test then skips. */
bool stepper_is_possible(void);

/* Stops a process wherever it is; one that sleeps in a system call goes back to sleep when it is stepped. Returns false
 * if it has ended. */
bool stepper_attach(pid_t pid);

/* Executes `count` instructions; a system call counts as one. Returns how many it did: fewer if the process ended, or
 * did not come back from a system call within `patience` milliseconds, and is then still attached and running; or if it
 * raised SIGSTOP, the mark of the end of what is to be stepped. A process that did not come back from a system call
 * goes on with that at the next call. */
long stepper_step(pid_t pid, long count, int patience);

/* Whether the last stepper_step ended because the process slept. It may be awake again. */
bool stepper_slept(void);

/* Kills an attached process where it stands, so that its parent gets to know. */
void stepper_kill(pid_t pid);

/* Lets an attached process go on by itself; stops it first if it is running. */
void stepper_detach(pid_t pid);

/* Waits until a process is in the system call of that number; false after `milliseconds`. */
bool stepper_wait_in_call(pid_t pid, long number, int milliseconds);

/* Every how manyeth instruction to try: 1 with MPROC_CRASH_ALL in the environment, else `sampled`. */
long stepper_stride(long sampled);

#endif
