/* The server that starts processes from a snapshot of the program. SPDX-License-Identifier: MIT
 *
 * It is a single-threaded child of the process that called mproc_init, on a leash held by that one, and the parent of
 * the processes with MPROC_FORKSERVER and MPROC_SPAWN. It is asked by messages on a socket, whose other end is
 * inherited by all that come of it, and holds nothing that would be lost with it: its processes go on without it, as
 * they are on the leashes of those who asked for them; only how they end is then not known to anybody.
 */
#ifndef PROCESS_FORKSERVER_H
#define PROCESS_FORKSERVER_H

#include "process/start.h"

/* Starts the server, unless there is one that lives. Returns 0, MPROC_E_THREADED_FORK or -errno. */
int forkserver_begin(const char *program);

/* Ends the server, if this process has started it. */
void forkserver_end(void);

/* Makes known a server that was started by another process of the family. */
void forkserver_join(int socket);

/* The number of the socket to ask at, which may be changed; -1 if there is none. */
int *forkserver_socket(void);

/* Returns 0 if the start can be made as far as the server goes; or an error, reported. */
int forkserver_check(struct start *start);

/* Asks the server for the start. What comes of it is said on the report socket. Returns 0 or an error, reported. */
int forkserver_ask(struct start *start);

#endif
