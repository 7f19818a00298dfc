/* Freeing a block that others would free too if this process were killed. SPDX-License-Identifier: MIT
 *
 * Who frees a block for good takes three steps, each recorded where its survivors look: that the block is to go, that
 * it is condemned, and (after memory_free_condemned) that it is gone. A survivor goes on from the step that it finds:
 * until the second is recorded the block was surely not freed, and after it freeing is a compare-and-swap from
 * condemned to free, which can be tried again: it leaves alone what was allocated anew in the meantime. (Should that be
 * condemned as well, it is freed a moment early, when nobody uses it any more.)
 */
#ifndef MEMORY_CONDEMN_H
#define MEMORY_CONDEMN_H

/* Takes the address of a block as the program knows it. Can be repeated. */
void memory_condemn(void *address);

/* Frees a block if it is condemned; does nothing otherwise. */
void memory_free_condemned(void *address);

#endif
