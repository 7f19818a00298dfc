/* Shared values and arrays with a lock. SPDX-License-Identifier: MIT */
#include "memory/publish.h"

#include <errno.h>
#include <mproc/error.h>
#include <mproc/value.h>
#include <stdint.h>
#include <string.h>

#define VALUE_MAGIC UINT64_C(0x6d70726f6376616c)

/* In front of the elements. */
struct value {
    uint64_t magic;
    size_t count;
    mproc_rlock lock;
    char padding[64 - sizeof(uint64_t) - sizeof(size_t) - sizeof(mproc_rlock)];
};

_Static_assert(sizeof(struct value) == 64, "the elements are aligned to a cache line");

void *mproc_value_allocate(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - sizeof(struct value)) {
        errno = ENOMEM;
        return NULL;
    }
    struct value *value = memory_allocate_owned(sizeof *value, sizeof *value + bytes);
    if (!value)
        return NULL;
    memset(value, 0, sizeof *value + bytes);
    value->magic = VALUE_MAGIC;
    value->count = count;
    mproc_disown(value);
    return value + 1;
}

static struct value *of(const void *elements)
{
    uintptr_t address = (uintptr_t)elements;
    if (address < sizeof(struct value) || address % 64 != 0)
        return NULL;
    struct value *value = (struct value *)(address - sizeof(struct value));
    return memory_is_block(value, sizeof *value) && value->magic == VALUE_MAGIC ? value : NULL;
}

mproc_rlock *mproc_value_lock(const void *elements)
{
    struct value *value = of(elements);
    return value ? &value->lock : NULL;
}

size_t mproc_value_count(const void *elements)
{
    struct value *value = of(elements);
    return value ? value->count : 0;
}

int mproc_value_free(void *elements)
{
    if (!elements)
        return 0;
    if (!of(elements) && memory_is_block(elements, 0))
        return MPROC_E_NOT_ALLOCATED; /* a block, but none with a lock */
    return mproc_free((void *)((uintptr_t)elements - sizeof(struct value)));
}
