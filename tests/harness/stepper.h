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

/* Steps a process to the end of what is to be stepped, and remembers the way. Returns how many instructions it did. */
long stepper_record(pid_t pid, int patience);

/* As stepper_step, for one that goes the way that was recorded: most of it at full speed, to a breakpoint. Since a
 * process may go another way, where it waits for others, it may be stopped at a neighbouring instruction; or it never
 * comes past the breakpoint: STEPPER_LOST. Then it is still attached and running, and is to be tried with
 * stepper_step. (On x86-64; elsewhere all of it is stepped.) */
enum { STEPPER_LOST = -1 };
long stepper_jump(pid_t pid, long count, int patience);

/* Whether the last call ended because the process slept. It may be awake again. */
bool stepper_slept(void);

/* A function of the program that counts as one instruction from now on, in all that is stepped, as nobody else sees
 * what it does. (On x86-64; elsewhere all of it is stepped.) */
void stepper_pass_over(void (*function)(void));

/* Kills an attached process where it stands, so that its parent gets to know. */
void stepper_kill(pid_t pid);

/* Lets an attached process go on by itself; stops it first if it is running. */
void stepper_detach(pid_t pid);

/* Waits until a process is in the system call of that number; false after `milliseconds`. */
bool stepper_wait_in_call(pid_t pid, long number, int milliseconds);

/* Every how manyeth instruction to try: 1 with MPROC_CRASH_ALL in the environment, else `sampled`. */
long stepper_stride(long sampled);

#endif
