/* A program with a pool in a terminal, in which somebody types Ctrl-C. SPDX-License-Identifier: MIT */
#include "gate.h"
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <mproc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the heap. */
struct board {
    struct gate gate;
    _Atomic int waiting, returned;
    _Atomic pid_t program, other;
};

struct order {
    struct board *board;
    enum { AT_GATE, HANG } deed;
};

static int act(const struct order *order, int *pid)
{
    *pid = getpid();
    if (order->deed == AT_GATE)
        gate_pass(&order->board->gate);
    for (signal(SIGTERM, SIG_IGN); order->deed == HANG;)
        harness_sleep_ms(1000);
    return 0;
}
MPROC_TASK(act);

static volatile sig_atomic_t interrupts;

static void count_interrupt(int signal)
{
    (void)signal;
    interrupts++;
}

/* Begins a session on the terminal, as its leader, in the foreground. */
static void take_terminal(const char *path)
{
    setsid();
    int terminal = open(path, O_RDWR);
    ioctl(terminal, TIOCSCTTY, 0);
    close(terminal);
}

/* Another program of the session, in the same process group, as in a shell's pipeline. */
static void start_other(struct board *board)
{
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGINT, SIG_IGN);
        board->other = getpid();
        for (;;)
            pause();
    }
    while (!board->other)
        harness_sleep_ms(1);
}

/* Returns 0 or what is wrong. */
static int wait_and_be_interrupted(struct board *board, mproc_pool *pool)
{
    struct order orders[4] = { { board, AT_GATE }, { board, AT_GATE }, { board, AT_GATE }, { board, AT_GATE } };
    int pids[4];
    mproc_future *future = NULL;
    if (mproc_map_async(&future, pool, act, orders, pids, 4, .chunk = 1) != 0)
        return 2;
    gate_wait_arrived(&board->gate, 2);
    board->waiting = 1;
    int err = mproc_future_wait(future, MPROC_FOREVER);
    board->returned = 1;
    if (err != -EINTR || interrupts == 0)
        return 3;
    gate_open(&board->gate);
    while ((err = mproc_future_wait(future, MPROC_FOREVER)) == -EINTR) {
    }
    return err == 0 && mproc_future_free(future) == 0 ? 0 : 4; /* no worker was harmed */
}

static int be_program(struct board *board)
{
    struct order hang = { board, HANG };
    struct sigaction action = { .sa_handler = count_interrupt }; /* no SA_RESTART */
    struct mproc_outcome outcome;
    mproc_pool *pool;
    int pid, err;
    sigaction(SIGINT, &action, NULL);
    start_other(board);
    if (mproc_pool_open(&pool, .workers = 2, .ask_grace = MPROC_MS(1), .terminate_grace = MPROC_MS(1)) != 0)
        return 1;
    if ((err = wait_and_be_interrupted(board, pool)) != 0)
        return err;
    do /* kills a worker */
        err = mproc_apply(pool, act, &hang, &pid, .timeout = MPROC_MS(10), .outcomes = &outcome);
    while (err == -EINTR);
    if (err != 1 || outcome.kind != MPROC_TIMED_OUT)
        return 5;
    if (mproc_submit(NULL, pool, act, &hang, &pid) != 0 || mproc_pool_terminate(pool) != 0)
        return 6;
    return harness_process_state(board->other) == 'S' || harness_process_state(board->other) == 'R' ? 0 : 7;
}

static void an_interrupt_from_the_terminal_breaks_the_wait_and_nothing_else(void **state)
{
    (void)state;
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0)
        harness_skip("there are no pseudo-terminals");
    struct board *board = mproc_calloc(1, sizeof *board);
    assert_non_null(board);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        take_terminal(ptsname(terminal));
        board->program = getpid();
        _exit(be_program(board));
    }
    while (!board->waiting && harness_process_state(pid) != 'Z')
        harness_sleep_ms(1);
    while (!board->returned && harness_process_state(pid) != 'Z') { /* again, as it may have been about to wait */
        harness_wait_asleep(pid, HARNESS_PATIENCE);
        assert_int_equal(write(terminal, "\003", 1), 1);
        harness_sleep_ms(10);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_true(board->other > 0);
    assert_int_equal(status, 0);
    kill(board->other, SIGKILL);
    assert_true(harness_wait_gone(board->other, HARNESS_PATIENCE));
    close(terminal);
    mproc_free(board);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_interrupt_from_the_terminal_breaks_the_wait_and_nothing_else),
};

HARNESS_MAIN(tests)
