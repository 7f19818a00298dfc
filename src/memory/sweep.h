/* What dead threads and processes left in the heap. SPDX-License-Identifier: MIT */
#ifndef MEMORY_SWEEP_H
#define MEMORY_SWEEP_H

#include <stdint.h>

struct region;
struct member;

/* Frees what ended processes own and had not published, and what ended threads were claiming or freeing; lets others
 * allocate in the spans of ended threads; and gives their places in the table of members free. Does nothing if no one
 * has ended, or if another thread is sweeping. */
void sweep_dead(struct region *region, struct member *self);

/* Settles what a thread of that id, which has ended, was publishing: a block whose address it had stored belongs to the
 * family. */
void sweep_publishing(struct region *region, uint64_t ended);

#endif
