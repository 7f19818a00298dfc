/* Redis servers of a test, each in a folder of its own, and certificates. SPDX-License-Identifier: MIT */
#ifndef SERVERS_H
#define SERVERS_H

#include <stdbool.h>

struct server {
    int pid; /* 0: it does not run */
    int port;
    char folder[48];
    char url[96]; /* without user and password */
};

/* Makes the folder, and chooses a port. */
void server_make(struct server *server);

/* Starts it on 127.0.0.1 with further lines of its configuration file, and waits until it answers. A port with TLS is
 * made by "port 0\ntls-port N". */
void server_start(struct server *server, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same with TLS, the certificate being server.crt of its folder. The URL becomes one of rediss:// */
void server_start_tls(struct server *server, const char *more);

/* At once, without a word to its clients. */
void server_kill(struct server *server);

/* As it was started, on the same port, with what it has on disk. */
void server_start_again(struct server *server);

/* Kills it if it runs, and removes the folder. */
void server_end(struct server *server);

/* Path of a file in the folder. Good until it was called 8 times more. */
const char *server_file(const struct server *server, const char *name);

/* Runs a command of redis-cli, such as "config set maxmemory 1mb". */
void server_command(const struct server *server, const char *command);

/* Begins to, and returns the process that does, to be waited for. */
int server_begin_command(const struct server *server, const char *command);

/* Waits until the answer to a command of redis-cli has a line that fits the pattern of grep. In the command $TASKS is
 * the key of the tasks of the one pool. */
void server_wait_says(const struct server *server, const char *command, const char *pattern);

/* True if there is no key that fits the pattern. */
bool server_has_no(const struct server *server, const char *pattern);

/* Its URL with a user and a password, such as "anna:secret". Good until it was called 8 times more. */
const char *server_url_as(const struct server *server, const char *user);

/* In the folder: ca.crt, server.crt (for 127.0.0.1), client.crt, all of that authority, each with its .key; and
 * other.crt, of another authority. */
void certificates_make(const struct server *server);

/* A port that nobody listens on. */
int port_find(void);

#endif
