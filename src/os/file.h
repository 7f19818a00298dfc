/* File descriptors and small files. SPDX-License-Identifier: MIT */
#ifndef OS_FILE_H
#define OS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads a small file, as those in /proc, into text and ends it with a NUL. Returns the number of bytes, or -errno. */
int os_read_file(const char *path, char *text, size_t size);

/* Moves fd above the standard descriptors if a program that had closed those was given one of them, so that what it
 * prints does not end up in ours. Returns the descriptor, or -errno with fd closed; passes negative numbers through. */
int os_fd_above_standard(int fd);

/* Size that a file may have, up to `most`. A larger one would not be refused but answered with SIGXFSZ. */
size_t os_file_size_limit(size_t most);

/* Two connected sockets of a kind (SOCK_STREAM, SOCK_SEQPACKET), close-on-exec, above the standard descriptors. Returns
 * 0 or -errno. */
int os_socket_pair(int kind, int fds[2]);

/* A pipe, likewise; fds[0] is to be read from. */
int os_pipe(int fds[2]);

/* Closes each that is not negative. */
void os_close_all(const int *fds, unsigned count);

/* The same, and sets them to -1; before it closes them, so that a child that is forked meanwhile closes nothing twice.
 */
void os_close_and_forget(int *const *fds, unsigned count);

/* Waits until there is something to read or the other end hung up, at most `timeout` nanoseconds (negative: for ever).
 * Returns 0, -ETIMEDOUT, or -EINTR after a signal. */
int os_poll_readable(int fd, int64_t timeout);

/* True once the other end of a pipe or socket is closed in every process. */
bool os_has_hung_up(int fd);

/* Moves fd to a number that programs do not expect to get, if the limit allows it. Returns the number. */
int os_fd_out_of_the_way(int fd);

/* Waits until the other end of a socket is closed in every process, at most `timeout` nanoseconds. Returns 0 when it
 * is, -ETIMEDOUT. Bytes that arrive are dropped; signals do not end the wait. */
int os_wait_hang_up(int fd, long long timeout);

#endif
