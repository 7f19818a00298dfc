/* What becomes of a process's processes when it ends by itself. SPDX-License-Identifier: MIT
 *
 * If it ends in any other way, the leash is all: the kernel kills them.
 */
#include "process/exit.h"

#include "os/clock.h"
#include "os/process.h"
#include "process/forkserver.h"
#include "process/process.h"

#include <stdatomic.h>
#include <stdlib.h>

#define DAEMON_PATIENCE INT64_C(1000000000)

static void terminate_daemons(void)
{
    struct process *process;
    unsigned index = 0;
    for (mproc_process *handle; (handle = process_next(&index, &process));) {
        if (process->daemon)
            os_pidfd_kill(process->pidfd, SIGTERM);
        process_release(handle);
    }
}

static void join(struct process *process, int64_t deadline)
{
    if (process->daemon && os_pidfd_wait(process->pidfd, os_left(deadline)) != 0)
        os_pidfd_kill(process->pidfd, SIGKILL);
    os_pidfd_wait(process->pidfd, -1);
    process_learn(process, 0);
}

void exit_end_processes(void)
{
    struct process *process;
    unsigned index = 0;
    terminate_daemons();
    int64_t deadline = os_deadline(DAEMON_PATIENCE);
    for (mproc_process *handle; (handle = process_next(&index, &process));) {
        join(process, deadline);
        process_release(handle);
    }
}

static atomic_flag watched = ATOMIC_FLAG_INIT;

/* Handlers are inherited by forked children, which find no processes of their own here, and no server. A handler that
 * runs later may start processes, and this one then runs again. */
static void at_exit(void)
{
    atomic_flag_clear(&watched);
    exit_end_processes();
    forkserver_end();
}

void exit_watch(void)
{
    if (!atomic_flag_test_and_set(&watched))
        atexit(at_exit);
}
