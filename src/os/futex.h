/* Sleeping on a word of memory, between processes. SPDX-License-Identifier: MIT */
#ifndef OS_FUTEX_H
#define OS_FUTEX_H

#include <stdatomic.h>
#include <stdint.h>

/* The kernel's bits in a robust word; <linux/futex.h> is not there with every libc. */
#define FUTEX_WAITERS 0x80000000u
#define FUTEX_OWNER_DIED 0x40000000u
#define FUTEX_TID_MASK 0x3fffffffu

/* Sleeps while *word is expected. Returns 0 when woken (or for no reason at all: look at the word again), -EAGAIN if
 * the word was something else, -EINTR after a signal, -ETIMEDOUT after `timeout` nanoseconds (negative: never). */
int os_futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t timeout);

struct os_futex_word {
    _Atomic uint32_t *word;
    uint32_t expected;
};

/* Sleeps while each word is what is expected. Returns the index of one that was woken, -EAGAIN if one was something
 * else, -EINTR, or -ETIMEDOUT at `deadline` (monotonic), which is `timeout` nanoseconds from now. Before Linux 5.16
 * only the first word is looked at. */
int os_futex_wait_any(const struct os_futex_word *words, int count, int64_t deadline, int64_t timeout);

/* Wakes at most `count` sleepers. Harmless on any mapped address. Returns how many. */
int os_futex_wake(_Atomic uint32_t *word, int count);

/* Words that the kernel marks, and whose sleepers it wakes, when the calling thread dies.
 *
 * A robust word holds the thread's id in FUTEX_TID_MASK, and FUTEX_WAITERS once someone sleeps on it. If the thread
 * dies, in whatever way, the kernel takes the id out, sets FUTEX_OWNER_DIED and wakes one sleeper, all in one step for
 * whoever changes the word by compare-and-swap; a word that holds no id, or another one, is left alone. See
 * Documentation/locking/robust-futex-ABI.rst in the kernel's sources. */
struct os_robust_word {
    struct os_robust_word *next; /* written by the owning thread only */
    _Atomic uint32_t word;
};

struct os_robust_list {
    struct os_robust_word *first;
    long word_offset;
    struct os_robust_word *pending;
};

/* Gives the calling thread an empty list of robust words, in place of any list that libc had registered for it. The
 * list must outlive the thread. Returns 0 or -errno. */
int os_robust_begin(struct os_robust_list *list);

/* Adds words[0 .. count - 1], `stride` bytes apart, which must outlive the thread too. */
void os_robust_add(struct os_robust_list *list, struct os_robust_word *words, unsigned count, unsigned stride);

#endif
