/* What this program is, for those of other machines. SPDX-License-Identifier: MIT */
#include "cluster/program.h"

#include "memory/heap.h"
#include "memory/region.h"
#include "os/file.h"
#include "process/registry.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* FNV-1a (Fowler, Noll, Vo). */
static uint64_t hash(uint64_t seed, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        seed = (seed ^ bytes[i]) * UINT64_C(0x100000001b3);
    return seed;
}

#define HASH_SEED UINT64_C(0xcbf29ce484222325)

/* A sum, since the order in which tasks are registered is the linker's. */
static void add_task(const struct mproc_task *task, void *sum)
{
    if (task->kind != MPROC_KIND_TASK)
        return;
    uint64_t sizes[2] = { task->input_size, task->output_size };
    *(uint64_t *)sum += hash(hash(HASH_SEED, task->name, strlen(task->name)), sizes, sizeof sizes);
}

uint64_t program_digest(void)
{
    uint64_t sum = 1;
    registry_each(add_task, &sum);
    return sum;
}

uint64_t program_family(void)
{
    char boot[64] = "";
    struct stat stat = { 0 };
    int length = os_read_file("/proc/sys/kernel/random/boot_id", boot, sizeof boot);
    if (length <= 0 || !region_existing() || fstat(region_descriptor(), &stat) != 0)
        return 0;
    char text[128];
    snprintf(text, sizeof text, "%.60s %llu %llu", boot, (unsigned long long)stat.st_dev,
             (unsigned long long)stat.st_ino);
    return hash(HASH_SEED, text, strlen(text));
}

/* Without a branch in it, so that several are looked at by one instruction: nearly all that is sent has none. */
enum { LOOKED_AT_ONCE = 64 };

static bool any_is_between(const uintptr_t *words, uintptr_t first, uintptr_t end)
{
    uintptr_t any = 0;
    for (int i = 0; i < LOOKED_AT_ONCE; i++)
        any |= words[i] - first < end - first;
    return any != 0;
}

static bool any_is_address(const uintptr_t *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (heap_contains((const void *)words[i], 1))
            return true;
    return false;
}

bool program_has_addresses(const void *data, size_t size)
{
    const struct region *region = region_existing();
    if (!region)
        return false;
    uintptr_t first = (uintptr_t)region_unit_address(region, region->geometry.first_unit);
    uintptr_t end = (uintptr_t)region_unit_address(region, atomic_load(&region->used_end));
    const uintptr_t *words = data;
    size_t count = size / sizeof *words, i = 0;
    for (; i + LOOKED_AT_ONCE <= count; i += LOOKED_AT_ONCE)
        if (any_is_between(words + i, first, end) && any_is_address(words + i, LOOKED_AT_ONCE))
            return true;
    return any_is_address(words + i, count - i);
}
