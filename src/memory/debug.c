/* The heap's debug mode. SPDX-License-Identifier: MIT */
#include "memory/debug.h"

#include "memory/member.h"
#include "os/map.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FRESH = 0xa5, FREED = 0xdd, GUARD = 0xfd };

#define HEAD_IN_USE UINT64_C(0x6d70726f63757365)
#define HEAD_FREED UINT64_C(0x6d70726f63646561)

/* In front of the program's part, and last in it the guard before it. A copy of where it is stands at the block's
 * start, as an alignment may move it. */
struct head {
    uint64_t state;
    size_t size, front;
    int allocated_by, freed_by;
    unsigned char guard[DEBUG_GUARD];
};

_Static_assert(sizeof(struct head) == 48, "a multiple of 16, so that the program's part is aligned");

static struct head *head_of(const void *address)
{
    return (struct head *)(void *)((uintptr_t)address - sizeof(struct head));
}

size_t debug_front(size_t alignment)
{
    size_t least = sizeof(size_t) * 2 + sizeof(struct head);
    return (least + alignment - 1) / alignment * alignment;
}

/* The words at a block's start: how far the program's part is, and that it was ever dressed. */
static size_t *tag_of(void *block)
{
    return block;
}

void *debug_dress(void *block, size_t block_size, size_t front, size_t size)
{
    char *address = (char *)block + front;
    tag_of(block)[0] = front;
    tag_of(block)[1] = block_size;
    struct head *head = head_of(address);
    *head = (struct head) { .state = HEAD_IN_USE, .size = size, .front = front, .allocated_by = (int)getpid() };
    memset(head->guard, GUARD, sizeof head->guard);
    memset(address, FRESH, size);
    memset(address + size, GUARD, DEBUG_GUARD);
    return address;
}

const void *debug_block(const void *address)
{
    return (const char *)address - head_of(address)->front;
}

size_t debug_size(const void *address)
{
    return head_of(address)->size;
}

static bool is_all(const unsigned char *bytes, size_t count, unsigned char value)
{
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != value)
            return false;
    return true;
}

int debug_check(const void *address)
{
    const struct head *head = head_of(address);
    int damages = 0;
    if (!is_all(head->guard, sizeof head->guard, GUARD)) {
        fprintf(stderr,
                "mproc: heap: the bytes before block %p (%zu bytes, allocated by process %d) were overwritten\n",
                address, head->size, head->allocated_by);
        damages++;
    }
    if (!is_all((const unsigned char *)address + head->size, DEBUG_GUARD, GUARD)) {
        fprintf(stderr, "mproc: heap: block %p (%zu bytes, allocated by process %d) was written to past its end\n",
                address, head->size, head->allocated_by);
        damages++;
    }
    return damages;
}

static bool is_within(struct region *region, const void *address)
{
    const char *at = address;
    return at >= region_unit_address(region, region->geometry.first_unit) + sizeof(struct head) &&
           at < region->geometry.base + region->geometry.size;
}

static bool is_known(struct region *region, const void *address)
{
    return region && is_within(region, address) && (uintptr_t)address % 16 == 0 && region_unit_of(region, address) != 0;
}

bool debug_finds(struct region *region, const void *address, struct block *block)
{
    return is_known(region, address) && head_of(address)->state == HEAD_IN_USE &&
           block_find(region, (const char *)address - head_of(address)->front, block);
}

bool debug_undress(struct region *region, const void *address, struct block *block, const char *caller)
{
    bool known = is_known(region, address);
    const struct head *head = head_of(address);
    if (debug_finds(region, address, block))
        return true;
    if (known && head->state == HEAD_FREED)
        fprintf(stderr,
                "mproc: heap: %s of block %p (%zu bytes) in process %d, but it was freed already; allocated by process "
                "%d, freed by process %d\n",
                caller, address, head->size, (int)getpid(), head->allocated_by, head->freed_by);
    else
        fprintf(stderr,
                "mproc: heap: %s of %p in process %d, which is no block of the heap, or the bytes before it were "
                "overwritten\n",
                caller, address, (int)getpid());
    return false;
}

void debug_bury(void *address)
{
    struct head *head = head_of(address);
    memset(address, FREED, head->size);
    head->freed_by = (int)getpid();
    head->state = HEAD_FREED;
}

struct damage_count {
    int damages;
};

static void check_block(void *block, size_t size, void *argument)
{
    struct damage_count *count = argument;
    size_t front = tag_of(block)[0];
    if (tag_of(block)[1] != size || front < sizeof(struct head) || front >= size)
        return; /* a block of the library's own */
    const char *address = (const char *)block + front;
    if (head_of(address)->state == HEAD_IN_USE && head_of(address)->size <= size - front - DEBUG_GUARD)
        count->damages += debug_check(address);
}

int debug_check_all(struct region *region)
{
    struct damage_count count = { 0 };
    uint32_t end = atomic_load(&region->used_end);
    for (uint32_t unit = region->geometry.first_unit; unit < end;) {
        uint64_t word = atomic_load(&region->table[unit]);
        enum unit_state state = unit_state(word);
        if (state == UNIT_SPAN)
            span_visit(region, unit, word, check_block, &count);
        else if (state == UNIT_BLOCK)
            check_block(region_unit_address(region, unit), unit_count(word) * UNIT_BYTES, &count);
        unit += state == UNIT_SPAN || state == UNIT_BLOCK || state == UNIT_FREEING ? unit_count(word) : 1;
    }
    return count.damages;
}
