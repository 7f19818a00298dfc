/* Holds tasks up until the test lets them go on. SPDX-License-Identifier: MIT
 *
 * So a test does something in the middle of a map without guessing when that is. A gate is in memory that is shared
 * with whatever is forked after it was made, so it is made before the pool is opened.
 */
#ifndef GATE_H
#define GATE_H

struct gate {
    _Atomic int arrived; /* how many have come to it, those included that have passed */
    _Atomic int passes;  /* how many may pass */
};

/* A closed one. It is there until the process ends. */
struct gate *gate_make(void);

/* In the task: returns when it may pass, in the order of arrival. */
void gate_pass(struct gate *gate);

/* Waits until so many have arrived. */
void gate_wait_arrived(struct gate *gate, int count);

/* Lets so many more pass. */
void gate_let(struct gate *gate, int count);

/* Lets all pass from now on. */
void gate_open(struct gate *gate);

#endif
