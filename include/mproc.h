/* mproc: multiprocessing for C. SPDX-License-Identifier: MIT
 *
 * Run C functions in parallel processes (or threads) and get their results back:
 *
 *     static int square(const int *number, long *result)
 *     {
 *         *result = (long)*number * *number;
 *         return 0;
 *     }
 *     MPROC_TASK(square);
 *
 *     int numbers[4] = { 1, 2, 3, 4 };
 *     long squares[4];
 *     int err = mproc_map(NULL, square, numbers, squares, 4);
 *
 * Include this header for everything, or the one of a concern alone.
 */
#ifndef MPROC_H
#define MPROC_H

#include <mproc/bytes.h>
#include <mproc/cluster.h>
#include <mproc/connection.h>
#include <mproc/cpu.h>
#include <mproc/error.h>
#include <mproc/fork.h>
#include <mproc/future.h>
#include <mproc/imap.h>
#include <mproc/init.h>
#include <mproc/memory.h>
#include <mproc/outcome.h>
#include <mproc/pool.h>
#include <mproc/process.h>
#include <mproc/progress.h>
#include <mproc/queue.h>
#include <mproc/shared_memory.h>
#include <mproc/statistics.h>
#include <mproc/sync.h>
#include <mproc/task.h>
#include <mproc/time.h>
#include <mproc/value.h>
#include <mproc/version.h>
#include <mproc/wait.h>

#endif
