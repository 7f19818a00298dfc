/* Agents of a test: the test's program, started anew. SPDX-License-Identifier: MIT */
#ifndef AGENTS_H
#define AGENTS_H

#include "harness.h"

#include <signal.h>

struct agent_options {
    const char *url;
    const char *name;    /* default "agent" */
    int workers;         /* default 2 */
    int patience, lease; /* milliseconds; default 30 s, 1 s */
    const char *program; /* default: this one */
    bool by_option;      /* started by --mproc-agent, with the defaults of that for patience and lease */
};

struct test_agent {
    int pid;
    int output; /* what it says on standard error */
};

void agent_start(struct test_agent *agent, struct agent_options options);

/* AGENT(&agent, .url = ..., ...) */
#define AGENT(agent, ...) agent_start(agent, (struct agent_options) { __VA_ARGS__ })

/* Waits until it has ended, and fails if its exit status is not that, or if what it said does not hold that text. */
void agent_expect_end(struct test_agent *agent, int exit_status, const char *text);

/* Asks it to leave, and waits until it has. */
void agent_leave(struct test_agent *agent);

/* Sends SIGKILL, and waits until it is gone. */
void agent_kill(struct test_agent *agent);

/* Shows what it has said so far, when a test has failed. */
void agent_show(const struct test_agent *agent);

/* For main: whether the program was started as an agent, and what main returns then. */
bool agent_is_meant(int argc, char **argv);
int agent_main(int argc, char **argv);

#define CLUSTER_MAIN(tests)                                                                                            \
    int main(int argc, char **argv)                                                                                    \
    {                                                                                                                  \
        if (agent_is_meant(argc, argv))                                                                                \
            return agent_main(argc, argv);                                                                             \
        return harness_main(argc, argv, tests, sizeof(tests) / sizeof(tests)[0], HARNESS_SECONDS);                     \
    }

#endif
