/* What a process has started. SPDX-License-Identifier: MIT */
#ifndef OS_SUBTREE_H
#define OS_SUBTREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct os_subtree_process;

/* Begin with all zeroes. */
struct os_subtree {
    struct os_subtree_process *processes;
    unsigned count, room;
};

/* Adds the processes that descend from `root` or from those found before, and those in the process group of that
 * number. The root itself is not among them. The number must not be out of use; 0 stands for one that is.
 * Returns how many are new, or -errno. */
int os_subtree_look(struct os_subtree *subtree, pid_t root);

/* Sends a signal to the root's process group and to those found that are not in it. `root_fd` is the root's pidfd.
 * `root` is its number, or 0 if that may be out of use: then only the root and those found are reached. */
void os_subtree_signal(const struct os_subtree *subtree, pid_t root, int root_fd, int signal);

/* Sends a signal to those alone that were found from number `first` on. */
void os_subtree_signal_from(const struct os_subtree *subtree, unsigned first, int signal);

/* Waits until all that were found, and the root, have ended, at most `timeout` nanoseconds. Returns 0, -ETIMEDOUT or
 * -EINTR. */
int os_subtree_wait(const struct os_subtree *subtree, int root_fd, int64_t timeout);

void os_subtree_forget(struct os_subtree *subtree);

#endif
