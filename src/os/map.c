/* Memory that forked children share. SPDX-License-Identifier: MIT */
#include "os/map.h"

#include "os/file.h"
#include "os/sanitizer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif

size_t os_page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* A place far from where the kernel puts programs, libraries, stacks and heaps, so that a process started later by exec
 * finds it free too. ThreadSanitizer keeps its shadow memory there, and decides itself. */
static void *quiet_address(void)
{
#if OS_THREAD_SANITIZER || UINTPTR_MAX <= 0xffffffff
    return NULL;
#else
    uint32_t spread = 0;
    if (getrandom(&spread, sizeof spread, GRND_NONBLOCK) != sizeof spread)
        spread = 0;
    return (void *)(((uintptr_t)0x2000 << 32) + ((uintptr_t)(spread & 0xfff) << 32));
#endif
}

static void *map_file(int fd, size_t size)
{
    void *address = quiet_address();
    void *base = MAP_FAILED;
    if (address)
        base = mmap(address, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, fd, 0);
    if (base != MAP_FAILED && base != address) { /* a kernel that does not know the flag takes it as a hint */
        munmap(base, size);
        base = MAP_FAILED;
    }
    if (base == MAP_FAILED)
        base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    return base;
}

/* Kernels from 6.3 on want to be told that the file will not be executed; older ones refuse the flag. */
static int memory_file(void)
{
    int fd = memfd_create("mproc", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("mproc", MFD_CLOEXEC);
    return os_fd_above_standard(fd);
}

int os_map_reserve(size_t most, size_t least, void **base, size_t *size, int *descriptor)
{
    int fd = memory_file();
    if (fd < 0)
        return -errno;
    int err = -ENOMEM;
    size_t limit = os_file_size_limit(most);
    for (size_t bytes = most; bytes >= least; bytes /= 2) {
        if (bytes > limit || ftruncate(fd, (off_t)bytes) != 0)
            continue;
        void *address = map_file(fd, bytes);
        if (address != MAP_FAILED) {
            madvise(address, bytes, MADV_DONTDUMP);
            *base = address;
            *size = bytes;
            err = 0;
            break;
        }
    }
    if (err)
        close(fd);
    else
        *descriptor = os_fd_out_of_the_way(fd);
    return err;
}

int os_map_join(int descriptor, void *base, size_t size)
{
    void *address =
        mmap(base, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, descriptor, 0);
    if (address == MAP_FAILED)
        return -errno;
    if (address != base) { /* a kernel that does not know the flag */
        munmap(address, size);
        return -EEXIST;
    }
    madvise(address, size, MADV_DONTDUMP);
    return 0;
}

void os_map_use_huge_pages(void *base, size_t size)
{
    madvise(base, size, MADV_HUGEPAGE);
}

void os_map_unreserve(void *base, size_t size)
{
    munmap(base, size);
}

int os_map_populate(void *address, size_t size)
{
    if (madvise(address, size, MADV_POPULATE_WRITE) == 0 || errno == EINVAL)
        return 0;
    return errno == EFAULT || errno == EHWPOISON ? -ENOMEM : -errno;
}

int os_map_release(void *address, size_t size)
{
    return madvise(address, size, MADV_REMOVE) == 0 ? 0 : -errno;
}

static bool find_kilobytes(const char *text, const char *name, size_t *bytes)
{
    const char *at = strstr(text, name);
    if (!at)
        return false;
    *bytes = strtoull(at + strlen(name), NULL, 10) * 1024;
    return true;
}

size_t os_memory_available(void)
{
    char text[4096];
    size_t available, swap;
    if (os_read_file("/proc/meminfo", text, sizeof text) <= 0 || !find_kilobytes(text, "\nMemAvailable:", &available))
        return SIZE_MAX;
    return find_kilobytes(text, "\nSwapFree:", &swap) ? available + swap : available;
}

bool os_memory_is_strict(void)
{
    char text[16];
    return os_read_file("/proc/sys/vm/overcommit_memory", text, sizeof text) > 0 && text[0] == '2';
}

_Atomic uint64_t *os_fork_guard(void)
{
    static _Atomic(_Atomic uint64_t *) guard;
    _Atomic uint64_t *page = atomic_load_explicit(&guard, memory_order_acquire);
    if (page)
        return page;
    void *fresh = mmap(NULL, os_page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fresh == MAP_FAILED)
        return NULL;
    if (madvise(fresh, os_page_size(), MADV_WIPEONFORK) != 0) {
        munmap(fresh, os_page_size());
        return NULL;
    }
    if (atomic_compare_exchange_strong(&guard, &page, (_Atomic uint64_t *)fresh))
        return fresh;
    munmap(fresh, os_page_size());
    return page;
}

bool os_under_valgrind(void)
{
    /* Its header, with the documented way to ask, is not everywhere; what it preloads into every program gives it away.
     */
    const char *preloaded = getenv("LD_PRELOAD");
    return preloaded && strstr(preloaded, "vgpreload_");
}
