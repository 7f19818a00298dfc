/* Stands between a client and a server, and breaks what they say at a chosen place. SPDX-License-Identifier: MIT */
#ifndef PROXY_H
#define PROXY_H

#include <pthread.h>
#include <stdatomic.h>

enum { PROXY_LINKS_MOST = 8 };

/* Links are numbered in the order in which they came, from 0 on; after a break those that come have the numbers anew.
 */
struct proxy {
    int port;
    int to, listener;
    pthread_t thread;
    int clients[PROXY_LINKS_MOST], servers[PROXY_LINKS_MOST];
    int count;
    _Atomic int silent;         /* link whose answers are dropped; -1: none */
    _Atomic int breaks_at;      /* link at whose next answer, which is dropped, all break; -1: none */
    _Atomic int broken, ending; /* asked for, and cleared when it is done */
};

/* Listens on a port of its own on 127.0.0.1, and passes on to another one. */
void proxy_start(struct proxy *proxy, int to);

/* What the server says on that link does not arrive from now on. */
void proxy_silence(struct proxy *proxy, int link);

/* The next that the server says on that link does not arrive, and all links break. */
void proxy_break_at_answer(struct proxy *proxy, int link);

/* All links break. Those that come afterwards are whole. */
void proxy_break(struct proxy *proxy);

void proxy_end(struct proxy *proxy);

#endif
