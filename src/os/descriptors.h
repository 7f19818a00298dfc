/* Which descriptors a new process has. SPDX-License-Identifier: MIT */
#ifndef OS_DESCRIPTORS_H
#define OS_DESCRIPTORS_H

enum { OS_PLACEMENTS_MOST = 210 };

/* Descriptors and the numbers that they are to have. A number that is to be closed has the source -1. */
struct os_placements {
    unsigned count;
    int source[OS_PLACEMENTS_MOST];
    int target[OS_PLACEMENTS_MOST];
};

/* Puts each source where it belongs, without close-on-exec. Sources and targets may overlap in any way; no target is
 * there twice. `*others[i]`, which stay open, are moved out of the targets' way, and get their new numbers; negative
 * ones are left alone. Returns 0, or -errno with descriptors in disorder. Async-signal-safe. */
int os_place_descriptors(const struct os_placements *placements, int *const *others, unsigned others_count);

/* Closes all descriptors above the standard ones but those of the placements and the others. Async-signal-safe. */
void os_close_others(const struct os_placements *placements, int *const *others, unsigned others_count);

#endif
