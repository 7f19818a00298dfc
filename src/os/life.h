/* Knowing whether a thread is alive, without asking it. SPDX-License-Identifier: MIT
 *
 * A life is a word in shared memory that the kernel marks when the thread that it belongs to ends, in whatever way: by
 * returning, by exec, by SIGKILL in the middle of an instruction. Others look at the word; that takes no system call.
 *
 * The kernel walks a list of such words when a thread ends (Documentation/locking/robust-futex-ABI.rst in its sources).
 * A thread has one list, and libc has registered it for its robust mutexes. So a life is linked into libc's list, laid
 * out as the kernel's interface and libc's registration ask: links to the next and previous entry, and the word at the
 * distance from them that libc told the kernel.
 */
#ifndef OS_LIFE_H
#define OS_LIFE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct os_life {
    void *front[2];           /* links, written by the owning thread and its libc only ... */
    _Atomic uint32_t word[2]; /* one of them is used, as the links have to be aligned; the other is 0 */
    void *links[5];           /* ... in front of the words or behind, as libc has it */
};

enum os_life_state {
    OS_LIFE_NEVER, /* never used */
    OS_LIFE_ALIVE,
    OS_LIFE_ENDED,
};

/* May be called at any time, on any life. */
static inline enum os_life_state os_life_state(struct os_life *life)
{
    uint32_t word = atomic_load_explicit(&life->word[0], memory_order_acquire) |
                    atomic_load_explicit(&life->word[1], memory_order_acquire);
    if (word == 0)
        return OS_LIFE_NEVER;
    return (word & 0x40000000u) != 0 ? OS_LIFE_ENDED : OS_LIFE_ALIVE;
}

/* Makes an unused or ended life the calling thread's. Killed at any instruction, the caller leaves a life that was not
 * taken, or that is marked as ended. Returns 0; -EBUSY if it is not `expected` any more, because another thread took
 * it; -ENOSYS if the kernel or libc does not let a thread have one. */
int os_life_begin(struct os_life *life, enum os_life_state expected);

/* Ends a life that the calling thread began, as its death would, but that nobody is woken. */
void os_life_end(struct os_life *life);

/* The word for futex calls. The kernel wakes one sleeper on it when the thread ends. */
_Atomic uint32_t *os_life_word(struct os_life *life);

/* The calling thread's list of lives, which is libc's of robust mutexes; NULL if there is none. A child made by a bare
 * clone has its copy of the list, which is its parent's: it begins an empty one there. */
void *os_life_list(void);
void os_life_list_renew(void *list);

#endif
