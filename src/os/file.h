/* File descriptors and small files. SPDX-License-Identifier: MIT */
#ifndef OS_FILE_H
#define OS_FILE_H

#include <stddef.h>

/* Reads a small file, as those in /proc, into text and ends it with a NUL. Returns the number of bytes, or -errno. */
int os_read_file(const char *path, char *text, size_t size);

/* Moves fd above the standard descriptors if a program that had closed those was given one of them, so that what it
 * prints does not end up in ours. Returns the descriptor, or -errno with fd closed; passes negative numbers through. */
int os_fd_above_standard(int fd);

/* Size that a file may have, up to `most`. A larger one would not be refused but answered with SIGXFSZ. */
size_t os_file_size_limit(size_t most);

/* Two connected sockets, close-on-exec, above the standard descriptors. Returns 0 or -errno. */
int os_socket_pair(int fds[2]);

/* Waits until the other end of a socket is closed in every process, at most `timeout` nanoseconds. Returns 0 when it
 * is, -ETIMEDOUT. Bytes that arrive are dropped; signals do not end the wait. */
int os_wait_hang_up(int fd, long long timeout);

#endif
