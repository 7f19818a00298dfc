/* Sleeping on a word of memory, between processes. SPDX-License-Identifier: MIT */
#ifndef OS_FUTEX_H
#define OS_FUTEX_H

#include <stdatomic.h>
#include <stdint.h>

/* The kernel's bits in a robust word; <linux/futex.h> is not there with every libc. */
#define FUTEX_WAITERS 0x80000000u
#define FUTEX_OWNER_DIED 0x40000000u

/* Sleeps while *word is expected. Returns 0 when woken (or for no reason at all: look at the word again), -EAGAIN if
 * the word was something else, -EINTR after a signal, -ETIMEDOUT after `timeout` nanoseconds (negative: never). */
int os_futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t timeout);

/* Wakes at most `count` sleepers. Harmless on any mapped address. */
void os_futex_wake(_Atomic uint32_t *word, int count);

/* Words whose waiters the kernel wakes when the calling thread dies.
 *
 * A robust word holds the thread's id, and FUTEX_WAITERS once someone sleeps on it. If the thread dies
 * while that is so, the kernel sets FUTEX_OWNER_DIED in the word and wakes one sleeper; words that hold anything else
 * are left alone. See Documentation/locking/robust-futex-ABI.rst in the kernel's sources: the list is walked by the
 * kernel, so that it works after SIGKILL too. */
struct os_robust_word {
    struct os_robust_word *next; /* written by the owning thread only */
    _Atomic uint32_t word;
};

struct os_robust_list {
    struct os_robust_word *first;
    long word_offset;
    struct os_robust_word *pending;
};

/* Makes words[0 .. count - 1], `stride` bytes apart, the calling thread's robust words, in place of any list that libc
 * had registered for this thread. The list and the words must outlive the thread. Returns 0 or -errno. */
int os_robust_register(struct os_robust_list *list, struct os_robust_word *words, unsigned count, unsigned stride);

/* Sets the word, which is the calling thread's, to 0 and wakes its sleepers, such that a death between the two steps
 * still wakes one. */
void os_robust_release(struct os_robust_list *list, struct os_robust_word *word);

#endif
