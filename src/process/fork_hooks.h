/* Calling those who want to know of forks. SPDX-License-Identifier: MIT */
#ifndef PROCESS_FORK_HOOKS_H
#define PROCESS_FORK_HOOKS_H

#include <stdbool.h>
#include <sys/types.h>

/* Forks with hooks called around it, and all signals blocked: in the parent until it returns, in the child until it
 * unblocks them. `loud`: through os_fork_loud. Returns as fork does, or -errno. */
pid_t fork_with_hooks(bool loud);

#endif
