/* Having a say when mproc forks. SPDX-License-Identifier: MIT
 *
 * For libraries and languages on top of mproc, which have state of their own to bring through a fork. Mproc forks with
 * a system call of its own, so that wait() does not see its children, and so handlers of pthread_atfork do not run
 * (except with fork_with_threads, and in pool workers and MPROC_FORKSERVER children, which are forked from one that is
 * small and single-threaded).
 */
#ifndef MPROC_FORK_H
#define MPROC_FORK_H

#include <mproc/export.h>

/** Calls around a fork; each may be NULL. They are made in the thread that forks, with all signals blocked, and must
 * not call mproc. */
struct mproc_fork_hooks {
    void (*before)(void *context);          /**< in the parent; the hooks added last come first */
    void (*after_in_parent)(void *context); /**< also when the fork failed; the hooks added first come first */
    void (*after_in_child)(void *context);  /**< before anything of the program's runs there; likewise */
    void *context;                          /**< passed to each */
};

MPROC_BEGIN_DECLARATIONS

/** Adds hooks, to be called around every fork that mproc makes in this process and, as they are inherited, in those
 * that come of it: for processes with MPROC_FORK and MPROC_FORKSERVER, for the server of mproc_init, for the
 * supervisors and workers of pools. MPROC_SPAWN starts a program anew, and calls none.
 *
 * - `hooks`: copied.
 *
 * May be called from any thread, not in a hook or in a signal handler. Returns 0, -EINVAL for NULL, or -ENOMEM: there
 * are 64 of them. Since 0.1. */
MPROC_API int mproc_fork_hooks_add(const struct mproc_fork_hooks *hooks);

/** Takes hooks with these values out again. Returns 0, or -EINVAL if there are none such. Otherwise as
 * mproc_fork_hooks_add. Since 0.1. */
MPROC_API int mproc_fork_hooks_remove(const struct mproc_fork_hooks *hooks);

MPROC_END_DECLARATIONS

#endif
