/* Who a thread is to the rest of its family. SPDX-License-Identifier: MIT
 *
 * Every thread that uses the heap or a lock has a place in a table in the heap, and an id: the place and the number of
 * its use, so that an id is never given twice. From the id alone, any process can tell whether that thread is alive,
 * by looking at a word that the kernel marks when the thread ends.
 *
 * A process is known by the id of the first of its threads that came here, which in a program that was not forked is
 * its main thread. It has ended when all its threads that came here have. Until then the place of the first one is
 * kept.
 */
#ifndef MEMORY_MEMBER_H
#define MEMORY_MEMBER_H

#include "memory/span.h"
#include "os/life.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { MEMBERS_MOST = 65535, MEMBER_BYTES = 1024 };

/* Bits of an id: two flags, which are 0 and belong to whoever stores ids in a word of his own; the place; the use. */
typedef uint64_t member_id;
enum { MEMBER_PLACE_SHIFT = 2, MEMBER_USE_SHIFT = 18 };
#define MEMBER_FLAGS UINT64_C(3)
#define MEMBER_PLACE_MASK UINT64_C(0xffff)

/* A place may be taken if its life has ended, or was never begun, and `swept` is `use`. Only the thread whose place it
 * is writes into it, but for `life` (the kernel), `swept`, `disowned`, `judged` and `verdict` (the sweeper), `round`
 * (see sync/barrier.c), and `publishing` after its end (the sweeper, and who takes over a lock from it). */
struct member {
    _Alignas(MEMBER_BYTES) struct os_life life;
    _Atomic uint64_t use;      /* number of threads that had this place; the last one's use */
    _Atomic uint64_t swept;    /* up to and including this use, nothing in the heap names this place any more */
    _Atomic uint64_t disowned; /* up to and including this use, no span names this place as its thread */
    _Atomic uint32_t lodger;   /* 1: see member_lodge */
    _Atomic uint32_t process;  /* the place that stands for its process */
    _Atomic uint32_t verdict;  /* memory/sweep.c */
    _Atomic uint64_t judged;   /* the use that the verdict is about */
    _Atomic int pid;
    _Atomic uint32_t workers;      /* of the process's pools, in the place that stands for it; kept by src/pool */
    _Atomic uint64_t round;        /* sync/barrier.c: how the round ended that the thread waits for */
    _Atomic uintptr_t publishing;  /* a block that is about to be published, with the last 4 bits of `use` ... */
    _Atomic(void *) publishing_at; /* ... by a store of its address there; see mproc_publish */
    _Atomic uint64_t settling;     /* the ended thread whose publishing this one settles; 0: none. See memory/sweep.c */
    /* Used by this thread alone. */
    member_id id;
    member_id process_id;
    uint32_t spans;       /* that it owns */
    uint32_t fresh_spans; /* of them, taken since it last looked for empty ones */
    _Alignas(64) struct span_cache cache[SPAN_CLASSES];
};

static inline member_id member_make_id(uint32_t place, uint64_t use)
{
    return use << MEMBER_USE_SHIFT | (uint64_t)place << MEMBER_PLACE_SHIFT;
}

/* What a thread knows of itself. `stamp` is that of the process in which it became a member; a child that was forked,
 * in whatever way, finds 0 behind `member_guard` instead, so that its one thread becomes a member anew. */
struct member_thread {
    struct member *self;
    member_id id;
    uint64_t stamp;
    struct member *quick; /* self; NULL if the heap is in debug mode, in which nothing is quick */
    uint32_t place;
};

extern _Thread_local struct member_thread member_thread __attribute__((tls_model("initial-exec")));
extern _Atomic(_Atomic uint64_t *) member_guard;

/* The calling thread; NULL until it has become a member, and in a forked child until it has become one there. */
static inline struct member *member_current(void)
{
    _Atomic uint64_t *guard = atomic_load_explicit(&member_guard, memory_order_acquire);
    return member_thread.stamp == atomic_load_explicit(guard, memory_order_relaxed) ? member_thread.self : NULL;
}

static inline struct member *member_quick(void)
{
    _Atomic uint64_t *guard = atomic_load_explicit(&member_guard, memory_order_acquire);
    return member_thread.stamp == atomic_load_explicit(guard, memory_order_relaxed) ? member_thread.quick : NULL;
}

/* Its id; 0 where member_current is NULL. */
static inline member_id member_current_id(void)
{
    _Atomic uint64_t *guard = atomic_load_explicit(&member_guard, memory_order_acquire);
    return member_thread.stamp == atomic_load_explicit(guard, memory_order_relaxed) ? member_thread.id : 0;
}

/* A number that this process has and no forked child of it, whatever pid namespaces do to pids. */
uint64_t member_process_stamp(void);

/* The calling thread, which becomes a member if it is not one. NULL if there is no memory or no place left. */
struct member *member_self(void);

static inline uint32_t member_place(member_id id)
{
    return (uint32_t)(id >> MEMBER_PLACE_SHIFT & MEMBER_PLACE_MASK);
}

/* False if no thread ever had that id: what looks like one is something else. */
bool member_was_ever(member_id id);

/* False if the thread of that id has ended. Takes no system call. */
bool member_is_alive(member_id id);

/* False if the process that the id stands for has ended. */
bool member_process_is_alive(member_id process_id);

/* The word that the kernel marks, and wakes one sleeper on, when the thread ends; NULL if there is none. `seen` gets
 * what the word holds as long as the thread lives. */
_Atomic uint32_t *member_life_word(member_id id, uint32_t *seen);

/* Pid of the process that the thread of that id belongs to, or belonged to; 0 if the id is out of use. */
pid_t member_pid(member_id id);

struct member *member_at(uint32_t place);

/* Adds to the number of workers that this process's pools have; returns those of all processes of the family that live.
 */
uint32_t member_add_workers(int32_t more);

/* Keeps what another process owns from being swept as long as the calling thread lives: for a process that works in
 * that memory. False if there is no place, or if that process has ended already and nobody else lodges there. To be
 * sure of the answer, the caller then makes sure that somebody lives who has kept the memory until then. */
bool member_lodge(member_id process_id);

/* False if what the process owned can be swept: it has ended, and so have all who lodged there. */
bool member_process_is_kept(member_id process_id);

#endif
