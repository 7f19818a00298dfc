/* Memory that forked children share. SPDX-License-Identifier: MIT */
#ifndef OS_MAP_H
#define OS_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reserves up to `most` bytes, at least `least`, of zeroed memory shared with children; pages cost nothing until they
 * are touched. Kept out of core dumps. Returns 0 and fills base, size, and a close-on-exec descriptor of the memory; or
 * -ENOMEM where the address space (or a limit on it, or on file sizes) has no room for `least`, or another -errno. */
int os_map_reserve(size_t most, size_t least, void **base, size_t *size, int *descriptor);

/* Maps memory that another process has reserved, at the address that it has there. Returns 0 or -errno: -EEXIST if
 * something else is there. */
int os_map_join(int descriptor, void *base, size_t size);

/* Asks for huge pages there, where the kernel offers them for shared memory. */
void os_map_use_huge_pages(void *base, size_t size);

/* Undoes os_map_reserve. */
void os_map_unreserve(void *base, size_t size);

/* Makes the pages present, so that touching them cannot fail later. Returns 0, or -ENOMEM if there is no memory. On
 * kernels before 5.14 it does nothing. */
int os_map_populate(void *address, size_t size);

/* Gives the pages back to the kernel; they read as zero afterwards. Returns 0, or -errno with the pages as they were
 * (memory that is locked cannot be given back). */
int os_map_release(void *address, size_t size);

/* A word of this process alone that reads as 0 in a child, however that was forked; in the child it is its own. NULL
 * where there is no memory. Constant, and needs no lock. */
_Atomic uint64_t *os_fork_guard(void);

/* True if the kernel may refuse memory at first touch (strict accounting), rather than kill for it. */
bool os_memory_is_strict(void);

size_t os_page_size(void);

/* Bytes that can be allocated without driving the system out of memory, as far as the kernel can tell: free,
 * reclaimable and swap. SIZE_MAX where it doesn't tell. */
size_t os_memory_available(void);

/* True if the program runs under valgrind. */
bool os_under_valgrind(void);

#endif
