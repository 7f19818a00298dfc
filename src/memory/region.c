/* The shared heap's memory. SPDX-License-Identifier: MIT */
#include "memory/region.h"

#include "memory/member.h"
#include "os/map.h"
#include "os/sanitizer.h"

#include <fcntl.h>
#include <mproc/error.h>
#include <stdlib.h>
#include <unistd.h>

#define RESERVE_MOST ((size_t)1 << 40)
#define RESERVE_SANITIZER ((size_t)64 << 30)
#define RESERVE_VALGRIND ((size_t)256 << 20)
#define RESERVE_LEAST ((size_t)4 << 20)

enum { UNITS_PER_MEMBER = 4 }; /* of heap, at least: a small heap has fewer members */

_Atomic(struct region *) region_the_one;

static size_t round_up(size_t size, size_t multiple)
{
    return (size + multiple - 1) / multiple * multiple;
}

static bool is_asked_for(const char *variable)
{
    const char *text = getenv(variable);
    return text && *text && *text != '0';
}

static void format(struct region *region, void *base, size_t size)
{
    uint32_t units = (uint32_t)(size / UNIT_BYTES);
    uint32_t members = units / UNITS_PER_MEMBER < MEMBERS_MOST ? units / UNITS_PER_MEMBER : MEMBERS_MOST;
    size_t members_at = round_up(sizeof *region + (size_t)units * sizeof region->table[0], sizeof(struct member));
    size_t end = members_at + (size_t)members * sizeof(struct member);
    region->geometry = (struct region_geometry) {
        .layout = REGION_LAYOUT,
        .base = base,
        .size = size,
        .units = units,
        .first_unit = (uint32_t)(round_up(end, UNIT_BYTES) / UNIT_BYTES),
        .members = (struct member *)(void *)((char *)base + members_at),
        .members_most = members,
        .debug = is_asked_for("MPROC_HEAP_DEBUG"),
        .strict = os_memory_is_strict(),
    };
    atomic_store_explicit(&region->free_hint, region->geometry.first_unit, memory_order_relaxed);
    atomic_store_explicit(&region->used_end, region->geometry.first_unit, memory_order_relaxed);
    atomic_store_explicit(&region->limit_end, units, memory_order_relaxed);
    atomic_store_explicit(&region->members_used, 1, memory_order_relaxed); /* 0 is nobody */
}

/* Tools that keep a record of every byte of address space cannot do so for all of it. */
static size_t reserve_most(void)
{
    if (os_under_valgrind())
        return RESERVE_VALGRIND;
    return OS_ADDRESS_SANITIZER || OS_THREAD_SANITIZER ? RESERVE_SANITIZER : RESERVE_MOST;
}

static int descriptor = -1;
static int join_error;

int region_descriptor(void)
{
    return descriptor;
}

int region_join_error(void)
{
    return join_error;
}

/* The region that this program was started with, if it was. */
static struct region *join(void)
{
    const char *text = secure_getenv(REGION_VARIABLE);
    if (!text || join_error)
        return NULL;
    struct region_geometry geometry;
    int fd = (int)strtol(text, NULL, 10);
    unsetenv(REGION_VARIABLE); /* the next program is not to join by accident */
    if (pread(fd, &geometry, sizeof geometry, 0) != sizeof geometry || geometry.layout != REGION_LAYOUT ||
        os_map_join(fd, geometry.base, geometry.size) != 0) {
        join_error = MPROC_E_FAMILY;
        return NULL;
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    descriptor = fd;
    return (struct region *)(void *)geometry.base;
}

/* Threads that come at the same time may each reserve one; the first to publish wins, the others unmap theirs. */
struct region *region_get(void)
{
    struct region *region = region_existing();
    if (region)
        return region;
    void *base;
    size_t size;
    int fd;
    region = join();
    if (region)
        atomic_store(&region_the_one, region);
    if (region || join_error || os_map_reserve(reserve_most(), RESERVE_LEAST, &base, &size, &fd) != 0)
        return region;
    if (os_map_populate(base, os_page_size()) != 0) {
        os_map_unreserve(base, size);
        close(fd);
        return NULL;
    }
    if (is_asked_for("MPROC_HEAP_HUGE_PAGES"))
        os_map_use_huge_pages(base, size);
    region = base;
    format(region, base, size);
    struct region *expected = NULL;
    if (!atomic_compare_exchange_strong(&region_the_one, &expected, region)) {
        os_map_unreserve(base, size);
        close(fd);
        return expected;
    }
    descriptor = fd;
    return region;
}

bool region_table_ready(struct region *region, uint32_t end)
{
    size_t page = os_page_size();
    size_t from = (size_t)((char *)&region->table[atomic_load_explicit(&region->used_end, memory_order_relaxed)] -
                           region->geometry.base);
    size_t to = (size_t)((char *)&region->table[end] - region->geometry.base);
    from = from / page * page;
    to = round_up(to, page);
    return to <= from || os_map_populate(region->geometry.base + from, to - from) == 0;
}
