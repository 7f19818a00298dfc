/* The heap's debug mode: guards around blocks, and poison in freed ones. SPDX-License-Identifier: MIT
 *
 * A block of the heap then holds a head, the program's part, and a guard behind it that reaches to the block's end.
 */
#ifndef MEMORY_DEBUG_H
#define MEMORY_DEBUG_H

#include "memory/block.h"

/* Bytes in front of the program's part for that alignment, and bytes needed behind it. */
size_t debug_front(size_t alignment);
enum { DEBUG_GUARD = 16 };

/* Turns a block of the heap into the program's part, of `size` bytes. */
void *debug_dress(void *block, size_t block_size, size_t front, size_t size);

/* The block that a program's part lies in; false if there is none or it is freed. */
bool debug_finds(struct region *region, const void *address, struct block *block);

/* The same; false after a report, if there is none or it is freed. `caller` names the
 * call in the report. */
bool debug_undress(struct region *region, const void *address, struct block *block, const char *caller);

/* The block of the heap that a program's part lies in. */
const void *debug_block(const void *address);

/* Size that the program asked for. */
size_t debug_size(const void *address);

/* Looks at the guards; reports what is damaged. Returns the number of damages. */
int debug_check(const void *address);

/* Poisons a block that is about to be freed. */
void debug_bury(void *address);

/* Checks every block of the heap. */
int debug_check_all(struct region *region);

#endif
