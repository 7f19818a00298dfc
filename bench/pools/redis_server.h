/* A Redis server of one's own, and programs beside it. SPDX-License-Identifier: MIT */
#ifndef BENCH_REDIS_SERVER_H
#define BENCH_REDIS_SERVER_H

#include <sys/types.h>

/* Starts a program, which ends with this one, whatever becomes of it; without standard output. Returns its process, or
 * -1. */
pid_t helper_start(const char *program, char *const arguments[]);

/* Asks it to end, and waits for it. */
void helper_end(pid_t pid);

/* Starts redis-server on a free port of the loopback interface, without persistence, and waits until it answers.
 * Returns its process; 0: there is none on this machine; or -1. */
pid_t redis_server_start(int *port);

#endif
