/* Runs functions beside each other, in processes or in threads. SPDX-License-Identifier: MIT
 *
 * A suite that includes this is compiled with PARTIES as PROCESSES and as THREADS.
 */
#ifndef PARTIES_H
#define PARTIES_H

#include "harness.h"

#include <mproc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum parties_kind { PROCESSES, THREADS };

struct party {
    int (*run)(void *); /* returns 0 to 100 */
    void *argument;
    pthread_t thread;
    pid_t pid;
};

static inline void *party_thread(void *party)
{
    return (void *)(intptr_t)((struct party *)party)->run(((struct party *)party)->argument);
}

static inline void party_start(struct party *party, int (*run)(void *), void *argument)
{
    *party = (struct party) { .run = run, .argument = argument };
    if (PARTIES == THREADS) {
        assert_int_equal(pthread_create(&party->thread, NULL, party_thread, party), 0);
        return;
    }
    party->pid = fork();
    if (party->pid == 0)
        _exit(run(argument));
    assert_true(party->pid > 0);
}

/* What the function returned; -SIGKILL for a process that was killed. */
static inline int party_join(struct party *party)
{
    void *result;
    int status;
    if (PARTIES == THREADS) {
        assert_int_equal(pthread_join(party->thread, &result), 0);
        return (int)(intptr_t)result;
    }
    assert_int_equal(waitpid(party->pid, &status, 0), party->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Ends the calling party in mid-air: a process by SIGKILL, a thread by returning from where it is. */
static inline void party_die(void)
{
    if (PARTIES == THREADS)
        pthread_exit(NULL);
    raise(SIGKILL);
}

#endif
