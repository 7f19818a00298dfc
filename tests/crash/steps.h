/* Kills a process at each machine instruction of an operation, and has the others show that all is well.
 * SPDX-License-Identifier: MIT
 *
 * For every k, a victim is forked from the test, gets ready, executes k instructions of the operation, and is killed.
 * Then the test looks at what is left. Beside it, if wanted, a survivor does something of its own: it runs freely, or
 * stands still after j instructions while the victim is killed, for every j and k.
 */
#ifndef STEPS_H
#define STEPS_H

#include "harness.h"
#include "stepper.h"

enum {
    STEPS_PATIENCE = 40,            /* milliseconds; less than a sleeper sleeps without looking */
    STEPS_LIMIT = HARNESS_PATIENCE, /* milliseconds in which a survivor has to end */
};

struct steps {
    const char *name;
    void (*prepare)(void);     /* in the test, before each point; may be NULL */
    void (*ready)(void);       /* in the victim, before the first step; may be NULL */
    void (*operation)(void);   /* in the victim, stepped */
    void (*nudge)(void);       /* in the test, when the victim first sleeps; NULL: it is killed there */
    int (*survive)(void);      /* in the survivor; returns 0 if all went well. NULL: there is none */
    void (*check)(bool whole); /* in the test, with the victim dead; whole: it had got to the end */
};

/* Tries every stride-th instruction. Prints how many points that were, and returns it. */
long steps_run(const struct steps *steps, long stride);

/* The same with the survivor standing still after each stride-th instruction of its own. */
long steps_run_beside(const struct steps *steps, long stride);

/* The victim gets to the end, and is killed there, while the survivor stands still after each stride-th instruction:
 * what the survivor had seen of it is not so any more. `ready`: in the survivor, before its first step. */
long steps_run_to_the_end_beside(const struct steps *steps, void (*ready)(void), long stride);

#endif
