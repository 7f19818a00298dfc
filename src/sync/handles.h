/* Handles: what a program holds of pools, processes and connections. SPDX-License-Identifier: MIT
 *
 * A handle looks like a pointer but is a place in a table and the how-manyeth use of that place, so that a handle that
 * was closed is recognised as such and never followed.
 */
#ifndef SYNC_HANDLES_H
#define SYNC_HANDLES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct handle_place {
    _Atomic uint64_t word;
    _Atomic uint32_t left; /* futex: grows when all but the closing call have left */
    uint64_t owner;        /* stamp of the process (memory/member.h) ... */
    void *object;          /* ... both set by the creator before the place is in use */
};

/* At most HANDLES_MOST places. */
enum { HANDLES_MOST = 1 << 20 };

struct handles {
    struct handle_place *places;
    unsigned count;
    bool inherited;               /* a forked child may use its parent's, once handles_adopt was called there */
    _Atomic unsigned used_end;    /* no place from here on was ever used */
    _Atomic unsigned search_from; /* derived: where to look for a free place first */
};

/* A handle for an object of the calling process; NULL if the table is full. */
void *handles_create(struct handles *handles, void *object);

/* Gives the object, and keeps it from being closed until handles_release. Returns 0, MPROC_E_CLOSED, or MPROC_E_FORKED
 * in a forked child of the process that created it. */
int handles_acquire(struct handles *handles, void *handle, void **object);
void handles_release(struct handles *handles, void *handle);

/* True while somebody has acquired it; false if it is stale. */
bool handles_is_used(struct handles *handles, void *handle);

/* Takes the handle out of use; waits until all who had acquired the object have released it, and calls before_waiting,
 * if it is not NULL, before that. The object is then the caller's to free. Returns as handles_acquire. */
int handles_close(struct handles *handles, void *handle, void **object, void (*before_waiting)(void *object));

/* The first handle at place `*index` or after it that is in use and of this process, acquired; *index gets the place
 * behind it. NULL if there is none. */
void *handles_next(struct handles *handles, unsigned *index, void **object);

/* In a forked child: makes its copies of the parent's handles its own, and calls back for each object. */
void handles_adopt(struct handles *handles, void (*call)(void *object));

/* Calls back for each object of another process: in a forked child, with those of its parent. */
void handles_each_foreign(struct handles *handles, void (*call)(void *object));

#endif
