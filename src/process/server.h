/* The inside of the server. SPDX-License-Identifier: MIT */
#ifndef PROCESS_SERVER_H
#define PROCESS_SERVER_H

#include "process/child.h"

#include <mproc/process.h>

/* What the server is asked for. In `setup`, descriptors are indexes among those that come with the message. */
struct server_request {
    enum mproc_start_method method;
    int letter;           /* index of a file with the strings for MPROC_SPAWN; -1 */
    unsigned descriptors; /* how many come with it; the first is the report socket */
    struct child_setup setup;
};

/* Serves until the leash ends it. In processes that it forks, it returns their set-up. */
struct child_setup *server_run(int socket, int leash);

/* Executes the program anew, in a child that is made for it. `letter`: a file with strings, each with its NUL: the
 * first argument, the process's name, the environment. Returns its pid, or -errno and *step. */
pid_t spawn_program(struct child_setup *setup, int letter, enum start_step *step);

/* Writes such a file. Returns it, or -errno. */
int spawn_write_letter(const char *program, const char *name, const char *const *environment);

/* If the calling program was started by spawn_program, gives what it was told there. */
enum spawned { NOT_SPAWNED, SPAWNED, SPAWNED_BY_HAND };
enum spawned spawn_read(int argc, char **argv, struct child_setup *setup, int *server);

/* True in a program that was started by spawn_program, until spawn_read. */
bool spawn_is_pending(void);

#endif
