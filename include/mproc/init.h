/* Getting ready for processes that are not plain forks. SPDX-License-Identifier: MIT */
#ifndef MPROC_INIT_H
#define MPROC_INIT_H

#include <mproc/export.h>

MPROC_BEGIN_DECLARATIONS

/** To be called first thing in main by programs that use MPROC_FORKSERVER or MPROC_SPAWN.
 *
 *     int main(int argc, char **argv)
 *     {
 *         int err = mproc_init(&argc, &argv);
 *
 * It forks a small server, a snapshot of the program as it is now, from which processes are started later; so memory,
 * threads and open files that come later are no burden to them. In a process that was started with MPROC_SPAWN it does
 * not return: it runs the function that the process was started for, and ends the program with exit.
 *
 * - `argc`, `argv`: the addresses of main's parameters, or NULL.
 *
 * If the program's first argument is --mproc-agent, it does not return either: the program is an agent, see
 * mproc/cluster.h. Nor does it in a program that mpirun has started on more than one rank, and that finds mproc's
 * engine for MPI, on all ranks but 0: these run tasks for the pools that rank 0 opens with .cluster = "mpi:", until it
 * ends, each with $MPROC_AGENT_WORKERS workers (default: mproc_cpu_count()). A program that is linked with MPI itself,
 * or that runs with MPROC_MPI=0 in its environment, is left alone.
 *
 * The server ends with the program, also when that is killed; wait() does not see it, and Ctrl-C does not reach it. It
 * has the program's user, limits and environment as they were here, and none of its descriptors.
 * A second call does nothing. Call it before any thread is started; not in a signal handler.
 *
 * Returns 0, or
 * - `MPROC_E_THREADED_FORK`: the process has other threads already
 * - `MPROC_E_FAMILY`: the program was started with MPROC_SPAWN, and cannot join the shared heap
 * - `-EAGAIN`, `-ENOMEM`, `-EMFILE`, `-ENFILE`: the server cannot be started
 *
 * Since 0.1. */
MPROC_API int mproc_init(int *argc, char ***argv);

MPROC_END_DECLARATIONS

#endif
