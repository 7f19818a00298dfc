/* The shared heap's memory and the tables at its start. SPDX-License-Identifier: MIT
 *
 * A family is a program and the processes that mproc started from it. The region is reserved once, by the first of them
 * that needs it, and inherited by fork, at one address. It holds this struct, the table of units, the members (see
 * memory/member.h), and then the units that are handed out.
 */
#ifndef MEMORY_REGION_H
#define MEMORY_REGION_H

#include <mproc/version.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNIT_BYTES ((size_t)64 << 10)

struct member;

/* Constant once the region is there. */
struct region_geometry {
    uint64_t layout; /* REGION_LAYOUT */
    char *base;
    size_t size;
    uint32_t units;
    uint32_t first_unit; /* the ones before it hold the tables */
    struct member *members;
    uint32_t members_most;
    bool debug;  /* MPROC_HEAP_DEBUG was set */
    bool strict; /* the kernel may refuse memory at first touch */
};

/* See sync/watch.h. `owner` is the truth: 0 or a process that has ended, and the place is anybody's. Only the owner
 * writes, but for `armed`, which whoever told of news sets to 0 if it still is what it was before that. */
struct region_watch {
    _Atomic uint64_t owner;
    _Atomic(const void *) object;
    _Atomic uint32_t armed; /* how-manyeth arming; 0: not armed */
    uint32_t armings;
    unsigned char name[8]; /* of a socket; the first byte is 0 */
    uint32_t name_length;
};

enum { REGION_WATCHES = 4096 };

struct region {
    struct region_geometry geometry;
    _Alignas(64) _Atomic uint32_t
        free_hint;             /* no unit below is free, as far as is known; derived: any value is safe, 0 is slowest */
    _Atomic uint32_t used_end; /* no unit from here on was ever claimed; only grows, and before a claim */
    _Atomic uint32_t limit_end;    /* units from here on are not handed out */
    _Atomic uint32_t members_used; /* no member from here on was ever taken; only grows, and before one is taken */
    _Atomic uint64_t sweeper;      /* member id of the thread that sweeps; 0: nobody (memory/sweep.c) */
    _Atomic uint32_t orphans;      /* not 0 if there may be spans whose thread has ended; derived */
    _Alignas(64) _Atomic uint32_t
        watches_used; /* no watch from here on was ever taken; only grows, and before one is */
    struct region_watch watches[REGION_WATCHES];
    _Alignas(64) _Atomic uint64_t table[]; /* a word for each unit (memory/units.h) */
};

/* What a program of another version of the library would have otherwise. */
#define REGION_LAYOUT                                                                                                  \
    (UINT64_C(0x6d70726f) << 32 | MPROC_VERSION_MAJOR << 24 | MPROC_VERSION_MINOR << 16 |                              \
     sizeof(struct region_geometry))

/* Descriptor of the region's memory; -1 if there is no region. */
int region_descriptor(void);

/* 0, or why the program could not join the region that it was started with. */
int region_join_error(void);

/* Names the descriptor to a program that is to join. */
#define REGION_VARIABLE "MPROC_FAMILY"

/* The region, reserved if it is not there yet; NULL where there is no address space or no memory for it. */
struct region *region_get(void);

/* Set once; forked children inherit it with the mapping. */
extern _Atomic(struct region *) region_the_one;

/* The region, or NULL as long as nobody has needed it. */
static inline struct region *region_existing(void)
{
    return atomic_load_explicit(&region_the_one, memory_order_acquire);
}

/* Makes sure that the table's words below `end` can be touched. Returns false if there is no memory. */
bool region_table_ready(struct region *region, uint32_t end);

static inline char *region_unit_address(const struct region *region, uint32_t unit)
{
    return region->geometry.base + (size_t)unit * UNIT_BYTES;
}

/* The unit that an address lies in; 0, which is never handed out, if it is not in one that may be. */
static inline uint32_t region_unit_of(const struct region *region, const void *address)
{
    size_t unit = (size_t)((uintptr_t)address - (uintptr_t)region->geometry.base) / UNIT_BYTES;
    return unit >= region->geometry.first_unit && unit < region->geometry.units ? (uint32_t)unit : 0;
}

#endif
