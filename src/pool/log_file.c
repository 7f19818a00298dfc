/* A file that lines are added to, by several threads. SPDX-License-Identifier: MIT */
#include "pool/log_file.h"

#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int log_file_open(const char *path, int flags)
{
    int fd = open(path, O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | flags, 0666);
    return fd < 0 ? -errno : os_fd_above_standard(fd);
}

void log_file_begin(struct log_file *file, int fd)
{
    struct stat status;
    pthread_mutex_init(&file->lock, NULL);
    file->fd = fd;
    file->process = getpid();
    file->is_stream = fstat(fd, &status) != 0 || !S_ISREG(status.st_mode);
    file->err = 0;
    file->used = 0;
}

void log_file_lock(struct log_file *file)
{
    pthread_mutex_lock(&file->lock);
}

void log_file_unlock(struct log_file *file)
{
    pthread_mutex_unlock(&file->lock);
}

void log_file_fail(struct log_file *file, int err)
{
    if (!file->err)
        file->err = err;
}

/* A file above the limit on sizes would be answered with SIGXFSZ. */
static bool is_too_large(const struct log_file *file)
{
    struct stat status;
    if (file->is_stream || fstat(file->fd, &status) != 0)
        return false;
    size_t limit = os_file_size_limit(SIZE_MAX), size = (size_t)status.st_size;
    return size > limit || file->used > limit - size;
}

/* A pipe that nobody reads raises SIGPIPE in this thread: it is held back and taken away, unless one was pending
 * before.
 */
static ssize_t write_stream(int fd, const char *text, size_t size)
{
    static const struct timespec at_once = { 0, 0 };
    sigset_t pipe_signal, before, pending;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    ssize_t written = write(fd, text, size);
    int err = errno;
    if (written < 0 && err == EPIPE && !sigismember(&pending, SIGPIPE)) {
        while (sigtimedwait(&pipe_signal, NULL, &at_once) < 0 && errno == EINTR) {
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = err;
    return written;
}

static int write_all(const struct log_file *file)
{
    for (size_t done = 0; done < file->used;) {
        const char *from = file->text + done;
        size_t size = file->used - done;
        ssize_t written = file->is_stream ? write_stream(file->fd, from, size) : write(file->fd, from, size);
        if (written < 0 && errno != EINTR)
            return -errno;
        done += written > 0 ? (size_t)written : 0;
    }
    return 0;
}

void log_file_write_out(struct log_file *file)
{
    if (file->used > 0 && !file->err && getpid() == file->process)
        log_file_fail(file, is_too_large(file) ? -EFBIG : write_all(file));
    file->used = 0;
}

void log_file_begin_line(struct log_file *file, size_t size)
{
    if (LOG_FILE_ROOM - file->used <= size)
        log_file_write_out(file);
}

void log_file_add(struct log_file *file, const char *format, ...)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        size_t room = LOG_FILE_ROOM - file->used;
        va_list values;
        va_start(values, format);
        int length = vsnprintf(file->text + file->used, room, format, values);
        va_end(values);
        if (length >= 0 && (size_t)length < room) {
            file->used += (size_t)length;
            return;
        }
        log_file_write_out(file);
    }
    log_file_fail(file, -EMSGSIZE);
}

int log_file_end(struct log_file *file)
{
    log_file_write_out(file);
    /* What the disk had promised and cannot keep (a quota, a network) may be told only now. */
    if (close(file->fd) != 0 && errno != EINTR && getpid() == file->process)
        log_file_fail(file, -errno);
    pthread_mutex_destroy(&file->lock);
    return file->err;
}
