/* What AddressSanitizer is told about the heap. SPDX-License-Identifier: MIT
 *
 * Its record of what may be touched is each process's own, so it is told only what holds for a process whatever the
 * others do: a block that a thread freed in a span of its own stays free until that same thread allocates it again.
 * The functions are there if the program was built with AddressSanitizer, whether mproc was or not.
 */
#ifndef MEMORY_ASAN_H
#define MEMORY_ASAN_H

#include <stdbool.h>
#include <stddef.h>

void __asan_poison_memory_region(const volatile void *address, size_t size) __attribute__((weak));
void __asan_unpoison_memory_region(const volatile void *address, size_t size) __attribute__((weak));

static inline bool asan_is_there(void)
{
    return __asan_poison_memory_region != NULL;
}

static inline void asan_poison(const void *address, size_t size)
{
    if (__asan_poison_memory_region)
        __asan_poison_memory_region(address, size);
}

static inline void asan_unpoison(const void *address, size_t size)
{
    if (__asan_unpoison_memory_region)
        __asan_unpoison_memory_region(address, size);
}

#endif
