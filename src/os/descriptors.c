/* Which descriptors a new process has. SPDX-License-Identifier: MIT */
#include "os/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

enum { OTHERS_MOST = 16 };

static int highest_target(const struct os_placements *placements)
{
    int highest = STDERR_FILENO;
    for (unsigned i = 0; i < placements->count; i++)
        if (placements->target[i] > highest)
            highest = placements->target[i];
    return highest;
}

static bool is_target(const struct os_placements *placements, int fd)
{
    for (unsigned i = 0; i < placements->count; i++)
        if (placements->target[i] == fd)
            return true;
    return false;
}

/* The old number is closed by what is placed there, or with all the rest. */
static int move_out(const struct os_placements *placements, int fd, int above)
{
    if (fd < 0 || !is_target(placements, fd))
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, above + 1);
    return moved >= 0 ? moved : -errno;
}

int os_place_descriptors(const struct os_placements *placements, int *const *others, unsigned others_count)
{
    int above = highest_target(placements), source[OS_PLACEMENTS_MOST];
    for (unsigned i = 0; i < others_count; i++) {
        int moved = move_out(placements, *others[i], above);
        if (moved < 0 && *others[i] >= 0)
            return moved;
        *others[i] = moved;
    }
    for (unsigned i = 0; i < placements->count; i++) {
        bool in_place = placements->source[i] == placements->target[i];
        source[i] = in_place ? placements->source[i] : move_out(placements, placements->source[i], above);
        if (source[i] < 0 && placements->source[i] >= 0)
            return source[i];
    }
    for (unsigned i = 0; i < placements->count; i++) {
        int target = placements->target[i];
        if (source[i] < 0)
            close(target);
        else if (source[i] == target ? fcntl(target, F_SETFD, 0) != 0 : dup2(source[i], target) < 0)
            return -errno;
    }
    return 0;
}

static void insert(int *sorted, unsigned *count, int fd)
{
    unsigned at = (*count)++;
    for (; at > 0 && sorted[at - 1] > fd; at--)
        sorted[at] = sorted[at - 1];
    sorted[at] = fd;
}

/* As getdents64 has it; readdir would allocate memory. */
struct directory_entry {
    uint64_t inode;
    int64_t offset;
    unsigned short size;
    unsigned char type;
    char name[];
};

/* Before Linux 5.9, and where close_range is forbidden: those in /proc or, if that is not there, all numbers. */
static void close_one_by_one(unsigned first, unsigned last)
{
    _Alignas(struct directory_entry) char entries[1024];
    int directory = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        long most = sysconf(_SC_OPEN_MAX);
        for (unsigned fd = first; fd <= last && fd < (unsigned long)(most > 0 ? most : 1024); fd++)
            close((int)fd);
        return;
    }
    for (long count; (count = syscall(SYS_getdents64, directory, entries, sizeof entries)) > 0;) {
        for (long at = 0; at < count;) {
            const struct directory_entry *entry = (const struct directory_entry *)(const void *)(entries + at);
            unsigned fd = (unsigned)atoi(entry->name);
            if (entry->name[0] != '.' && fd >= first && fd <= last && fd != (unsigned)directory)
                close((int)fd);
            at += entry->size;
        }
    }
    close(directory);
}

static void close_range_of(unsigned first, unsigned last)
{
    if (first <= last && syscall(SYS_close_range, first, last, 0) != 0)
        close_one_by_one(first, last);
}

void os_close_others(const struct os_placements *placements, int *const *others, unsigned others_count)
{
    int kept[OS_PLACEMENTS_MOST + OTHERS_MOST + 1];
    unsigned count = 0, from = STDERR_FILENO + 1;
    for (unsigned i = 0; i < placements->count; i++)
        if (placements->source[i] >= 0)
            insert(kept, &count, placements->target[i]);
    for (unsigned i = 0; i < others_count && i < OTHERS_MOST; i++)
        insert(kept, &count, *others[i]);
    for (unsigned i = 0; i < count; i++) {
        if (kept[i] < (int)from)
            continue;
        close_range_of(from, (unsigned)kept[i] - 1);
        from = (unsigned)kept[i] + 1;
    }
    close_range_of(from, UINT_MAX);
}
