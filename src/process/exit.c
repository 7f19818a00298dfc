/* What becomes of a process's processes when it ends by itself. SPDX-License-Identifier: MIT
 *
 * If it ends in any other way, the leash is all: the kernel kills them.
 */
#include "process/exit.h"

#include "os/process.h"
#include "process/forkserver.h"
#include "process/process.h"

#include <errno.h>
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

static void join(struct process *process)
{
    if (process->daemon && os_pidfd_wait(process->pidfd, DAEMON_PATIENCE) != 0)
        os_pidfd_kill(process->pidfd, SIGKILL);
    while (process_join(process, -1) == -EINTR) {
    }
}

void exit_end_processes(void)
{
    struct process *process;
    unsigned index = 0;
    terminate_daemons();
    for (mproc_process *handle; (handle = process_next(&index, &process));) {
        join(process);
        process_release(handle);
    }
}

/* Handlers are inherited by forked children, which find no processes of their own here, and no server. */
static void at_exit(void)
{
    exit_end_processes();
    forkserver_end();
}

void exit_watch(void)
{
    static atomic_flag watched = ATOMIC_FLAG_INIT;
    if (!atomic_flag_test_and_set(&watched))
        atexit(at_exit);
}
