/* Runs each test in a process of its own and looks at what it leaves behind. SPDX-License-Identifier: MIT
 *
 * A test is a cmocka test. Around it the harness makes a process, limits its time, and fails it if afterwards there is
 *   - a process that it started, directly or not
 *   - a file descriptor more or less than before
 *   - memory in use in the shared heap that was not before
 *   - a new entry in /dev/shm
 * so that these need no test of their own. What is on its way out has a third of the time limit to vanish.
 *
 * The machine may stand still for seconds at any instant, or one process alone. So no test expects that something has
 * happened by a certain time: it waits for it, with limits that only say that something hangs.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
    HARNESS_SKIPPED = 77,
    HARNESS_SECONDS = 180,
    HARNESS_PATIENCE = 60000, /* milliseconds; what has not happened by then hangs */
};

/* Runs the tests named on the command line, or all. `seconds` is each test's time limit. Returns main's result. */
int harness_main(int argc, char **argv, const struct CMUnitTest *tests, size_t count, int seconds);

#define HARNESS_MAIN(tests) HARNESS_MAIN_SECONDS(tests, HARNESS_SECONDS)
#define HARNESS_MAIN_SECONDS(tests, seconds)                                                                           \
    int main(int argc, char **argv)                                                                                    \
    {                                                                                                                  \
        return harness_main(argc, argv, tests, sizeof(tests) / sizeof(tests)[0], seconds);                             \
    }

/* For tests that need mproc_init: it is called in each test's process, and in processes that these spawn. */
#define HARNESS_MAIN_WITH_INIT(tests)                                                                                  \
    int main(int argc, char **argv)                                                                                    \
    {                                                                                                                  \
        if (argc == 3 && mproc_init(&argc, &argv) != 0)                                                                \
            return 1;                                                                                                  \
        return harness_main(argc, argv, tests, sizeof(tests) / sizeof(tests)[0], HARNESS_SECONDS);                     \
    }

/* Ends the test as skipped. */
_Noreturn void harness_skip(const char *reason);

/* The test uses the default pool, which is there until the process ends: its descriptors and memory are no leak. */
void harness_uses_default_pool(void);

/* Starts the test anew with a variable in its environment, unless it is there: for what is decided when a program
 * begins. Limits of the process that were set before hold. */
void harness_restart_with(const char *variable, const char *value);

/* Called when the test has ended, before it is looked at what it leaves. */
void harness_at_end(void (*call)(void));

/* The test leaves memory in the heap on purpose. */
void harness_leaves_memory(void);

/* Number of open file descriptors. */
int harness_count_descriptors(void);

/* Pids of a process's children, at most `most`; returns how many. */
int harness_children(int pid, int *children, int most);

/* 'R', 'S', 'Z' and so on, as ps shows it; 0 if there is no such process. */
char harness_process_state(int pid);

/* Waits until a process, or one thread, sleeps in a system call; false after `milliseconds`. */
bool harness_wait_asleep(int id, int milliseconds);

/* Waits until a process is gone or a zombie; false after `milliseconds`. */
bool harness_wait_gone(int pid, int milliseconds);

/* Waits until a process has that many children; false after `milliseconds`. */
bool harness_wait_children(int pid, int count, int milliseconds);

/* A test's process is started by the program $HARNESS_LAUNCHER, if it is set, with the command as its arguments. */

/* Seconds, monotonic. */
double harness_now(void);

void harness_sleep_ms(int milliseconds);

#endif
