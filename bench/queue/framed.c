/* Messages over a stream of bytes: each has its size in front. SPDX-License-Identifier: MIT */
#include "framed.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

static struct locks {
    _Alignas(128) pthread_mutex_t write;
    _Alignas(128) pthread_mutex_t read;
} * locks;

static pthread_mutex_t *write_lock, *read_lock; /* NULL: not needed */

int framed_create(const struct load *load, size_t atomic)
{
    locks = mmap(NULL, sizeof *locks, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (locks == MAP_FAILED)
        return -errno;
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&locks->write, &attributes);
    pthread_mutex_init(&locks->read, &attributes);
    pthread_mutexattr_destroy(&attributes);
    write_lock = load->producers > 1 && sizeof(uint32_t) + load->size > atomic ? &locks->write : NULL;
    read_lock = load->consumers > 1 ? &locks->read : NULL;
    return 0;
}

void framed_destroy(void)
{
    if (locks != MAP_FAILED)
        munmap(locks, sizeof *locks);
}

static int write_all(int fd, struct iovec *parts, int count)
{
    while (count > 0) {
        ssize_t written = writev(fd, parts, count);
        if (written < 0)
            return -1;
        while (count > 0 && (size_t)written >= parts->iov_len) {
            written -= (ssize_t)parts->iov_len;
            parts++;
            count--;
        }
        if (count > 0) {
            parts->iov_base = (char *)parts->iov_base + written;
            parts->iov_len -= (size_t)written;
        }
    }
    return 0;
}

static int read_all(int fd, void *buffer, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = read(fd, (char *)buffer + done, size - done);
        if (got <= 0)
            return -1;
        done += (size_t)got;
    }
    return 0;
}

int framed_put(int fd, const void *data, size_t size)
{
    uint32_t length = (uint32_t)size;
    struct iovec parts[2] = { { &length, sizeof length }, { (void *)data, size } };
    if (write_lock)
        pthread_mutex_lock(write_lock);
    int err = write_all(fd, parts, 2);
    if (write_lock)
        pthread_mutex_unlock(write_lock);
    return err;
}

int framed_get(int fd, void *buffer, size_t size)
{
    uint32_t length;
    if (read_lock)
        pthread_mutex_lock(read_lock);
    int err = read_all(fd, &length, sizeof length);
    if (err == 0)
        err = length == size ? read_all(fd, buffer, size) : -1;
    if (read_lock)
        pthread_mutex_unlock(read_lock);
    return err;
}
