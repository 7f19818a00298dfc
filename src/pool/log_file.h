/* A file that lines are added to, by several threads. SPDX-License-Identifier: MIT
 *
 * What is added waits in memory, so that an item costs no system call, and leaves it in whole lines by write(2): a
 * process that is killed leaves at most its last line cut, and a forked child has nothing to write a second time.
 */
#ifndef POOL_LOG_FILE_H
#define POOL_LOG_FILE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { LOG_FILE_ROOM = 64 * 1024 };

struct log_file {
    pthread_mutex_t lock; /* guards what follows */
    int fd;
    pid_t process;  /* the one that writes: not its forked children */
    bool is_stream; /* a pipe or the like, not a file with a size */
    int err;        /* the first error; nothing is written after it */
    size_t used;
    char text[LOG_FILE_ROOM];
};

/* Opens a file to add to, close-on-exec, above the standard descriptors; creates it if it is not there. `flags` are
 * added to those of open. Returns the descriptor or -errno. */
int log_file_open(const char *path, int flags);

/* Begins with a descriptor of log_file_open, which is the log's from then on. */
void log_file_begin(struct log_file *file, int fd);

void log_file_lock(struct log_file *file);
void log_file_unlock(struct log_file *file);

/* Makes sure that the next so many bytes, fewer than LOG_FILE_ROOM, leave memory together. The caller has the lock. */
void log_file_begin_line(struct log_file *file, size_t size);

/* Adds text, shorter than LOG_FILE_ROOM. The caller has the lock. */
void log_file_add(struct log_file *file, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Keeps an error, if it is the first. The caller has the lock. */
void log_file_fail(struct log_file *file, int err);

/* Writes out what was added. The caller has the lock. */
void log_file_write_out(struct log_file *file);

/* Writes out and closes. Returns 0 or the first error. */
int log_file_end(struct log_file *file);

#endif
