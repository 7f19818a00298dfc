/* What the suites of pools share: a task that does what it is told, and a board that it shares with the test, in
 * whatever process it runs. SPDX-License-Identifier: MIT
 *
 * Included once by each suite, which is compiled for each backend and start method: workers that were spawned see
 * nothing of the test but what lies in the heap, so all that a task needs comes with its input.
 */
#ifndef POOL_SHARED_H
#define POOL_SHARED_H

#include "conformance.h"
#include "gate.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BOARD_NUMBERS = 64 };

/* In the heap. */
struct board {
    struct gate gate;
    _Atomic int started, ended;         /* tasks */
    _Atomic int asked;                  /* times that a task found that it was to stop */
    _Atomic int ready;                  /* tasks that are prepared for SIGTERM */
    _Atomic int signals;                /* times that a task got SIGTERM */
    _Atomic int numbers[BOARD_NUMBERS]; /* of the orders, as tasks started */
};

enum deed {
    WORK,
    FAIL,
    GATE,         /* waits at the gate */
    UNTIL_ASKED,  /* returns 0 when asked to stop */
    UNTIL_SIGNAL, /* hangs until SIGTERM, which it counts */
    HANG,         /* until SIGKILL, as SIGTERM is ignored */
    CRASH,
    EXIT,
    GROW, /* takes memory, up to 512 MB, and hangs */
};

struct order {
    struct board *board;
    enum deed deed;
    int number;
};

static struct board *signal_board;

static inline void count_and_exit(int signal)
{
    (void)signal;
    signal_board->signals++;
    _exit(5);
}

static char *volatile grown;

static inline _Noreturn void grow_and_hang(void)
{
    for (int i = 0; i < 64; i++) {
        char *bytes = grown = malloc(8 << 20);
        for (size_t j = 0; bytes && j < 8 << 20; j += 512)
            bytes[j] = 1;
        harness_sleep_ms(1);
    }
    for (;;)
        harness_sleep_ms(1000);
}

static inline int carry_out(const struct order *order)
{
    struct board *board = order->board;
    switch (order->deed) {
    case WORK: break;
    case FAIL: return mproc_task_fail(order->number, "%d fails", order->number);
    case GATE: gate_pass(&board->gate); break;
    case UNTIL_ASKED:
        while (!mproc_stop_requested())
            harness_sleep_ms(1);
        board->asked++;
        break;
    case UNTIL_SIGNAL:
        signal_board = board;
        signal(SIGTERM, count_and_exit);
        board->ready++;
        for (;;)
            harness_sleep_ms(1000);
    case HANG:
        signal(SIGTERM, SIG_IGN);
        board->ready++;
        for (;;)
            harness_sleep_ms(1000);
    case CRASH: raise(SIGKILL); break;
    case EXIT: exit(3);
    case GROW: grow_and_hang();
    }
    return 0;
}

/* The result is twice the order's number. */
static int act(const struct order *order, int *result)
{
    struct board *board = order->board;
    int at = board->started++;
    if (at < BOARD_NUMBERS)
        board->numbers[at] = order->number;
    int code = carry_out(order);
    *result = 2 * order->number;
    board->ended++;
    return code;
}
MPROC_TASK(act);

/* Where the caller itself runs the tasks, nobody else could let it pass the gate. */
static inline struct board *board_make(void)
{
    struct board *board = mproc_calloc(1, sizeof *board);
    assert_non_null(board);
    if (IS_SERIAL)
        gate_open(&board->gate);
    return board;
}

static inline mproc_future *begin(mproc_pool *pool, struct board *board, enum deed deed, int number, int *result)
{
    struct order order = { board, deed, number };
    mproc_future *future = NULL;
    assert_int_equal(mproc_submit(&future, pool, act, &order, result), 0);
    assert_non_null(future);
    return future;
}

/* Fills the elements with orders of the numbers from 0 on. */
static inline void orders_fill(struct order *orders, int n, struct board *board, enum deed deed)
{
    for (int i = 0; i < n; i++)
        orders[i] = (struct order) { board, deed, i };
}

static inline void wait_until(_Atomic int *number, int value)
{
    while (*number < value)
        harness_sleep_ms(1);
}

static inline void wait_ready(mproc_future *future)
{
    while (!mproc_future_is_ready(future))
        harness_sleep_ms(1);
}

/* Ends the pool and frees the board. */
static inline void end(mproc_pool *pool, struct board *board)
{
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_free(board), 0);
}

#endif
