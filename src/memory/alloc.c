/* The heap's public calls. SPDX-License-Identifier: MIT */
#include "memory/block.h"
#include "memory/debug.h"
#include "memory/member.h"
#include "memory/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <mproc/error.h>
#include <mproc/memory.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ALIGNMENT_LEAST = 16 };

static bool is_debugged(void)
{
    struct region *region = region_get();
    return region && region->geometry.debug;
}

static void *allocate_debugged(size_t size, size_t alignment, bool owned)
{
    size_t front = debug_front(alignment);
    bool zeroed;
    if (size > SIZE_MAX / 2) {
        errno = ENOMEM;
        return NULL;
    }
    void *memory = block_allocate(front + size + DEBUG_GUARD, alignment, owned, &zeroed);
    struct block block;
    if (!memory || !block_find(region_get(), memory, &block))
        return NULL;
    return debug_dress(memory, block.size, front, size);
}

static void *allocate(size_t size, size_t alignment, bool owned, bool *zeroed)
{
    *zeroed = false;
    if (is_debugged())
        return allocate_debugged(size, alignment, owned);
    return block_allocate(size, alignment, owned, zeroed);
}

static __attribute__((noinline)) void *allocate_slowly(size_t size)
{
    bool zeroed;
    return allocate(size, ALIGNMENT_LEAST, false, &zeroed);
}

void *mproc_alloc(size_t size)
{
    struct member *self = member_quick();
    if (__builtin_expect(self != NULL && size <= SPAN_SMALL_MOST, 1)) {
        unsigned size_class = span_class_of(size);
        void *block = span_allocate_quickly(&self->cache[size_class], size_class, BLOCK_FAMILY);
        if (__builtin_expect(block != NULL, 1))
            return block;
    }
    return allocate_slowly(size);
}

void *mproc_alloc_owned(size_t size)
{
    bool zeroed;
    return allocate(size, ALIGNMENT_LEAST, true, &zeroed);
}

/* What is filled before it is handed out belongs to the process as long as that takes. */
void *mproc_calloc(size_t count, size_t size)
{
    size_t bytes;
    bool zeroed;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    void *block = allocate(bytes, ALIGNMENT_LEAST, true, &zeroed);
    if (!block)
        return NULL;
    if (!zeroed)
        memset(block, 0, bytes);
    publish_block(region_existing(), block);
    return block;
}

void *memory_allocate_owned(size_t alignment, size_t size)
{
    bool zeroed;
    return allocate(size, alignment, true, &zeroed);
}

void *mproc_aligned_alloc(size_t alignment, size_t size)
{
    bool zeroed;
    if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
        errno = EINVAL;
        return NULL;
    }
    return allocate(size, alignment < ALIGNMENT_LEAST ? ALIGNMENT_LEAST : alignment, false, &zeroed);
}

static int free_debugged(struct region *region, void *address)
{
    struct block block;
    if (!debug_undress(region, address, &block, "mproc_free"))
        return MPROC_E_NOT_ALLOCATED;
    debug_check(address);
    debug_bury(address);
    return block_free(region, &block) ? 0 : MPROC_E_NOT_ALLOCATED;
}

static __attribute__((noinline)) int free_slowly(void *address)
{
    struct region *region = region_existing();
    struct block block;
    if (!address)
        return 0;
    if (region && region->geometry.debug)
        return free_debugged(region, address);
    return block_find(region, address, &block) && block_free(region, &block) ? 0 : MPROC_E_NOT_ALLOCATED;
}

/* The common case, a small block of the calling thread's own, comes first and without what the others need. */
int mproc_free(void *address)
{
    struct member *self = member_quick();
    if (self) {
        struct region *region = region_existing();
        uint32_t unit = region_unit_of(region, address);
        uint64_t word = atomic_load_explicit(&region->table[unit], memory_order_relaxed);
        struct span_place place;
        if (unit != 0 && unit_state(word) == UNIT_SPAN && unit_owner(word) == member_thread.place &&
            span_find((struct span *)(void *)region_unit_address(region, unit), unit_class(word), address, &place) &&
            span_free_own(&self->cache[place.size_class], &place))
            return 0;
    }
    return free_slowly(address);
}

/* The block that a program's address belongs to, in either mode, and the bytes of the program's part. */
static bool find(const void *address, struct block *block, size_t *size, const char *caller)
{
    struct region *region = region_existing();
    if (region && region->geometry.debug) {
        if (!debug_undress(region, address, block, caller))
            return false;
        *size = debug_size(address);
        return true;
    }
    if (!block_find(region, address, block))
        return false;
    *size = block->size;
    return true;
}

size_t mproc_usable_size(const void *address)
{
    struct block block;
    size_t size;
    return address && find(address, &block, &size, "mproc_usable_size") ? size : 0;
}

static bool is_owned(const struct block *block)
{
    return block->small ? atomic_load(&block->place.span->state[block->place.index]) == BLOCK_OWNED
                        : (block->word & UNIT_OWNED) != 0;
}

void *mproc_realloc(void *address, size_t size)
{
    struct block block;
    size_t old;
    bool zeroed;
    if (!address)
        return mproc_alloc(size);
    if (!find(address, &block, &old, "mproc_realloc")) {
        errno = EINVAL;
        return NULL;
    }
    if (!is_debugged() && size <= old && size >= old / 2)
        return address;
    void *moved = allocate(size, ALIGNMENT_LEAST, true, &zeroed);
    if (!moved)
        return NULL;
    memcpy(moved, address, old < size ? old : size);
    if (!is_owned(&block))
        publish_block(region_existing(), moved);
    mproc_free(address);
    return moved;
}

bool mproc_is_shared(const void *address)
{
    struct region *region = region_existing();
    return region && region_unit_of(region, address) != 0;
}

/* A thread says what it is about to do, so that whoever finds it dead can tell by *where whether it had been done. */
int mproc_publish_at(void *where, void *address)
{
    struct region *region = region_existing();
    struct block block;
    size_t size;
    if (!where || !mproc_is_shared(where) || (uintptr_t)where % sizeof(void *) != 0)
        return -EINVAL;
    if (!address || !find(address, &block, &size, "mproc_publish"))
        return MPROC_E_NOT_ALLOCATED;
    struct member *self = member_self();
    if (!self)
        return -ENOMEM;
    atomic_store(&self->publishing_at, where);
    atomic_store(&self->publishing, (uintptr_t)address | (atomic_load(&self->use) & 15));
    atomic_store((_Atomic(void *) *)where, address);
    int err = publish_block(region, address);
    atomic_store(&self->publishing, 0);
    return err;
}

int mproc_disown(void *address)
{
    struct block block;
    size_t size;
    if (!address || !find(address, &block, &size, "mproc_disown"))
        return MPROC_E_NOT_ALLOCATED;
    return publish_block(region_existing(), address);
}

bool memory_find_block(const void *address, struct block *block)
{
    struct region *region = region_existing();
    return region &&
           (region->geometry.debug ? debug_finds(region, address, block) : block_find(region, address, block));
}

bool memory_is_block(const void *address, size_t size)
{
    struct block block;
    if (!memory_find_block(address, &block))
        return false;
    return (region_existing()->geometry.debug ? debug_size(address) : block.size) >= size;
}

bool memory_is_owned(const void *address)
{
    struct block block;
    return memory_find_block(address, &block) && is_owned(&block);
}

int mproc_family_keep(void)
{
    char text[16];
    int fd = region_get() ? region_descriptor() : -1;
    struct region_geometry geometry;
    /* The program may have closed it, and opened something else. */
    if (fd < 0 || pread(fd, &geometry, sizeof geometry, 0) != sizeof geometry || geometry.layout != REGION_LAYOUT ||
        geometry.base != region_get()->geometry.base || fcntl(fd, F_SETFD, 0) != 0)
        return MPROC_E_FAMILY;
    snprintf(text, sizeof text, "%d", fd);
    return setenv(REGION_VARIABLE, text, 1) == 0 ? 0 : -errno;
}

int mproc_family_check(void)
{
    region_get();
    return region_join_error();
}
