/* Memory that has a name. SPDX-License-Identifier: MIT
 *
 * A file of /dev/shm is made without a name, gets its size and its pages, is mapped, and is given its name by one
 * system call. So whoever finds the name finds all of it, and a process that dies before leaves nothing.
 */
#include "os/named_memory.h"

#include "os/file.h"
#include "os/map.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "/dev/shm"
#define RESERVE_AT_ONCE ((size_t)4 << 20)

struct path {
    char text[sizeof FOLDER "/" + OS_NAMED_MEMORY_LONGEST];
};

/* A file on its way to its name. */
struct draft {
    int fd;
    bool hidden; /* it has a name that nobody looks for, as the file system knows no files without */
    struct path hidden_path;
};

static struct path path_of(const char *name)
{
    struct path path;
    snprintf(path.text, sizeof path.text, "%s/%s", FOLDER, name);
    return path;
}

int os_named_memory_invent(char name[OS_NAMED_MEMORY_INVENTED])
{
    uint64_t number;
    if (getrandom(&number, sizeof number, 0) != sizeof number)
        return -errno;
    snprintf(name, OS_NAMED_MEMORY_INVENTED, "mproc_%016" PRIx64, number);
    return 0;
}

/* Only through /proc can an ordinary user give an unnamed file a name. */
static int open_unnamed(void)
{
    if (access("/proc/self/fd", X_OK) != 0)
        return -EOPNOTSUPP;
    int fd = os_fd_above_standard(open(FOLDER, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (fd < 0)
        return errno == EISDIR ? -EOPNOTSUPP : -errno;
    return fd;
}

static int open_hidden(struct path *path)
{
    char name[1 + OS_NAMED_MEMORY_INVENTED] = ".";
    int err = os_named_memory_invent(name + 1);
    if (err)
        return err;
    *path = path_of(name);
    int fd = os_fd_above_standard(open(path->text, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
    return fd < 0 ? -errno : fd;
}

static int draft_open(struct draft *draft)
{
    draft->fd = open_unnamed();
    draft->hidden = draft->fd == -EOPNOTSUPP;
    if (draft->hidden)
        draft->fd = open_hidden(&draft->hidden_path);
    return draft->fd < 0 ? draft->fd : 0;
}

static int draft_publish(const struct draft *draft, const char *name)
{
    struct path path = path_of(name);
    char unnamed[32];
    snprintf(unnamed, sizeof unnamed, "/proc/self/fd/%d", draft->fd);
    const char *from = draft->hidden ? draft->hidden_path.text : unnamed;
    return linkat(AT_FDCWD, from, AT_FDCWD, path.text, AT_SYMLINK_FOLLOW) == 0 ? 0 : -errno;
}

static void draft_close(const struct draft *draft)
{
    if (draft->hidden)
        unlink(draft->hidden_path.text);
    close(draft->fd);
}

/* A signal makes the kernel undo what one call has reserved. Calls for little at a time get on even if a timer signals
 * often. */
static int reserve(int fd, size_t size)
{
    for (size_t done = 0; done < size;) {
        size_t count = size - done < RESERVE_AT_ONCE ? size - done : RESERVE_AT_ONCE;
        int err = posix_fallocate(fd, (off_t)done, (off_t)count);
        if (err && err != EINTR)
            return -err;
        done += err ? 0 : count;
    }
    return 0;
}

static int map(int fd, size_t size, void **base)
{
    void *address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED)
        return -errno;
    *base = address;
    return 0;
}

int os_named_memory_create(const char *name, size_t size, void **base)
{
    void *address = NULL;
    struct draft draft;
    if (size > os_file_size_limit(SIZE_MAX))
        return -EFBIG;
    /* A /dev/shm without a limit would take all that there is, and leave the choice of a victim to the kernel. */
    if (size > PTRDIFF_MAX || size > os_memory_available())
        return -ENOMEM;
    int err = draft_open(&draft);
    if (err)
        return err;
    err = reserve(draft.fd, size);
    if (!err)
        err = map(draft.fd, size, &address);
    if (!err) {
        err = draft_publish(&draft, name);
        if (err)
            munmap(address, size);
        else
            *base = address;
    }
    draft_close(&draft);
    return err;
}

/* What stands under a name but is no memory: a symbolic link, a folder, a socket. */
static int error_of_name(int number)
{
    return number == ELOOP || number == EISDIR || number == ENXIO ? -EINVAL : -number;
}

static int size_of(int fd, size_t *size)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -EINVAL;
    *size = (size_t)status.st_size;
    return *size == 0 ? -EAGAIN : 0;
}

int os_named_memory_attach(const char *name, void **base, size_t *size)
{
    struct path path = path_of(name);
    size_t bytes = 0;
    int fd = os_fd_above_standard(open(path.text, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (fd < 0)
        return error_of_name(errno);
    int err = size_of(fd, &bytes);
    if (!err)
        err = map(fd, bytes, base);
    if (!err)
        *size = bytes;
    close(fd);
    return err;
}

void os_named_memory_detach(void *base, size_t size)
{
    munmap(base, size);
}

int os_named_memory_unlink(const char *name)
{
    struct path path = path_of(name);
    return unlink(path.text) == 0 ? 0 : error_of_name(errno);
}
