/* What the heap holds. SPDX-License-Identifier: MIT */
#include "memory/block.h"
#include "memory/debug.h"
#include "memory/member.h"
#include "memory/sweep.h"

#include <errno.h>
#include <mproc/error.h>
#include <mproc/memory.h>

struct usage {
    size_t bytes, blocks;
};

/* The process that a unit's owner belongs to, or 0. */
static uint32_t process_of(struct region *region, uint32_t owner)
{
    return owner ? atomic_load(&region->geometry.members[owner].process) : 0;
}

/* What is in use, of one process (its place; 0: of those that have ended) or of all. */
static struct usage count(struct region *region, bool all, uint32_t process)
{
    struct usage usage = { 0, 0 };
    uint32_t end = atomic_load(&region->used_end);
    for (uint32_t unit = region->geometry.first_unit; unit < end;) {
        uint64_t word = atomic_load(&region->table[unit]);
        enum unit_state state = unit_state(word);
        bool wanted = all || process_of(region, unit_owner(word)) == process;
        if (state == UNIT_SPAN && wanted) {
            uint32_t blocks = span_count(region, unit, word);
            usage.blocks += blocks;
            usage.bytes += (size_t)blocks * span_classes[unit_class(word)].size;
        } else if (state == UNIT_BLOCK && wanted) {
            usage.blocks++;
            usage.bytes += unit_count(word) * UNIT_BYTES;
        }
        unit += state == UNIT_SPAN || state == UNIT_BLOCK || state == UNIT_FREEING ? unit_count(word) : 1;
    }
    return usage;
}

static bool stands_for_living_process(struct region *region, uint32_t place)
{
    struct member *member = &region->geometry.members[place];
    uint64_t use = atomic_load(&member->use);
    return use != 0 && atomic_load(&member->process) == place && atomic_load(&member->swept) != use &&
           member_process_is_alive(member_make_id(place, use));
}

int mproc_heap_statistics(struct mproc_heap_statistics *statistics)
{
    if (!statistics)
        return -EINVAL;
    if (statistics->size != sizeof *statistics)
        return MPROC_E_STRUCT_SIZE;
    struct member *self = member_self();
    if (!self)
        return -ENOMEM;
    struct region *region = region_existing();
    sweep_dead(region, self);
    struct usage usage = count(region, true, 0);
    size_t tables = region->geometry.first_unit * UNIT_BYTES;
    statistics->reserved = region->geometry.size - tables;
    statistics->limit = atomic_load(&region->limit_end) * UNIT_BYTES - tables;
    statistics->bytes_in_use = usage.bytes;
    statistics->blocks_in_use = usage.blocks;
    statistics->high_water = atomic_load(&region->used_end) * UNIT_BYTES - tables;
    statistics->processes = 0;
    for (uint32_t place = 1; place < atomic_load(&region->members_used); place++)
        statistics->processes += stands_for_living_process(region, place);
    return 0;
}

size_t mproc_heap_bytes_of(pid_t pid)
{
    struct member *self = member_self();
    if (!self)
        return 0;
    struct region *region = region_existing();
    sweep_dead(region, self);
    if (pid == 0)
        return count(region, false, 0).bytes;
    for (uint32_t place = 1; place < atomic_load(&region->members_used); place++)
        if (atomic_load(&region->geometry.members[place].pid) == pid && stands_for_living_process(region, place))
            return count(region, false, place).bytes;
    return 0;
}

int mproc_heap_set_limit(size_t bytes)
{
    struct region *region = region_get();
    if (!region)
        return -ENOMEM;
    uint32_t most = region->geometry.units - region->geometry.first_unit;
    uint32_t units =
        bytes == 0 || bytes / UNIT_BYTES >= most ? most : (uint32_t)((bytes + UNIT_BYTES - 1) / UNIT_BYTES);
    atomic_store(&region->limit_end, region->geometry.first_unit + units);
    return 0;
}

size_t mproc_heap_trim(void)
{
    struct member *self = member_self();
    if (!self)
        return 0;
    sweep_dead(region_existing(), self);
    span_reclaim(self);
    return units_trim(region_existing(), member_place(self->id));
}

int mproc_heap_check(void)
{
    struct region *region = region_existing();
    return region && region->geometry.debug ? debug_check_all(region) : 0;
}
