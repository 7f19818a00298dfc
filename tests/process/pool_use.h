/* What the tests of pools of processes share: a task, opening, closing. SPDX-License-Identifier: MIT
 *
 * To be included behind the test's own struct board, which its tasks and itself see in the heap.
 */
#ifndef POOL_USE_H
#define POOL_USE_H

#include "harness.h"

#include <mproc.h>

static int add_one(const int *in, int *out)
{
    *out = *in + 1;
    return 0;
}
MPROC_TASK(add_one);

static mproc_pool *open_pool(int workers)
{
    mproc_pool *pool;
    assert_int_equal(mproc_pool_open(&pool, .workers = workers), 0);
    return pool;
}

static struct board *board_make(void)
{
    struct board *board = mproc_calloc(1, sizeof *board);
    assert_non_null(board);
    return board;
}

static void end(mproc_pool *pool, struct board *board)
{
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_free(board), 0);
}

#endif
