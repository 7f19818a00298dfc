/* mproc_init. SPDX-License-Identifier: MIT */
#include <mproc/init.h>

#include "memory/heap.h"
#include "memory/member.h"
#include "os/file.h"
#include "process/child.h"
#include "process/exit.h"
#include "process/forkserver.h"
#include "process/init.h"
#include "process/server.h"

#include <errno.h>
#include <mproc/error.h>
#include <mproc/memory.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The leash was taken before the program was executed; if its other end is open after this process has lodged, the
 * record is good. */
static _Noreturn void run_spawned(struct child_setup *setup, int server)
{
    int err = mproc_family_check();
    enum start_step step = STEP_FAMILY;
    if (!err && !heap_contains(setup->record, sizeof *setup->record))
        err = MPROC_E_FAMILY;
    if (err)
        child_fail(setup->report, err, step);
    if (!member_lodge(setup->owner) || os_has_hung_up(setup->leash))
        _exit(127);
    forkserver_join(server);
    const struct mproc_task *task = child_find_task(setup->record, &err, &step);
    if (!task)
        child_fail(setup->report, err, step);
    exit(child_finish(child_run(setup, task)));
}

int mproc_init(int *argc, char ***argv)
{
    struct child_setup setup;
    int server;
    static char unnamed[] = "mproc";
    char *none[] = { unnamed, NULL };
    bool named = argc && argv && *argc > 0;
    switch (spawn_read(named ? *argc : 1, named ? *argv : none, &setup, &server)) {
    case SPAWNED: run_spawned(&setup, server);
    case SPAWNED_BY_HAND:
        fputs(
            "mproc_init: this program was started as an mproc process by hand, or with privileges of its file, so that "
            "it does not know what for\n",
            stderr);
        _exit(127);
    case NOT_SPAWNED: break;
    }
    int err = mproc_family_check();
    if (err)
        return err;
    struct hidden_environment *hidden = init_hide_environment();
    err = forkserver_begin(named ? (*argv)[0] : program_invocation_name);
    init_show_environment(hidden);
    if (err)
        return err;
    exit_watch();
    if (named)
        init_be_agent_if_told(*argc, *argv);
    init_serve_if_not_first(named ? (*argv)[0] : program_invocation_name);
    return 0;
}
