/* A pool as one writes it by hand: forked workers, each at the other end of a socket. SPDX-License-Identifier: MIT */
#ifndef BENCH_SOCKET_POOL_H
#define BENCH_SOCKET_POOL_H

enum { SOCKET_POOL_WORKERS = 2 };

/* Forks workers that answer each number with the next one. Returns 0, or -1. */
int socket_pool_open(void);

/* Sends number i to worker i and receives the answers. Returns 0, or -1. */
int socket_pool_map(const int *in, int *out, int n);

void socket_pool_close(void);

#endif
