/* Futexes, with the kernel's robust list. SPDX-License-Identifier: MIT */
#include "os/futex.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { FUTEX_WAIT = 0, FUTEX_WAKE = 1 };

static long futex(void *word, int operation, uint32_t value, const struct timespec *timeout)
{
    return syscall(SYS_futex, word, operation, value, timeout, NULL, 0);
}

int os_futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t timeout)
{
    struct timespec relative = { .tv_sec = (time_t)(timeout / 1000000000), .tv_nsec = (long)(timeout % 1000000000) };
    return futex(word, FUTEX_WAIT, expected, timeout < 0 ? NULL : &relative) == 0 ? 0 : -errno;
}

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

enum { FUTEX_WORDS_MOST = 32, FUTEX_32_BITS = 2 };

/* The kernel's struct futex_waitv. */
struct futex_waiter {
    uint64_t expected, address;
    uint32_t flags, reserved;
};

static _Atomic bool waits_for_one_only;

int os_futex_wait_any(const struct os_futex_word *words, int count, int64_t deadline, int64_t timeout)
{
    struct futex_waiter waiters[FUTEX_WORDS_MOST];
    if (count == 1 || count > FUTEX_WORDS_MOST || atomic_load_explicit(&waits_for_one_only, memory_order_relaxed))
        return os_futex_wait(words[0].word, words[0].expected, timeout);
    for (int i = 0; i < count; i++)
        waiters[i] = (struct futex_waiter) { words[i].expected, (uint64_t)(uintptr_t)words[i].word, FUTEX_32_BITS, 0 };
    struct timespec until = { .tv_sec = (time_t)(deadline / 1000000000), .tv_nsec = (long)(deadline % 1000000000) };
    long result = syscall(SYS_futex_waitv, waiters, count, 0, &until, CLOCK_MONOTONIC);
    if (result >= 0 || errno == EAGAIN || errno == EINTR || errno == ETIMEDOUT)
        return result >= 0 ? (int)result : -errno;
    atomic_store_explicit(&waits_for_one_only, true, memory_order_relaxed);
    return os_futex_wait(words[0].word, words[0].expected, timeout);
}

int os_futex_wake(_Atomic uint32_t *word, int count)
{
    long woken = futex(word, FUTEX_WAKE, (uint32_t)count, NULL);
    return woken > 0 ? (int)woken : 0;
}

int os_robust_begin(struct os_robust_list *list)
{
    _Static_assert(sizeof(struct os_robust_list) == 3 * sizeof(long), "the kernel's struct robust_list_head");
    /* The kernel stops where the list comes back to its head. */
    *list =
        (struct os_robust_list) { (struct os_robust_word *)(void *)list, offsetof(struct os_robust_word, word), NULL };
    return syscall(SYS_set_robust_list, list, sizeof *list) == 0 ? 0 : -errno;
}

void os_robust_add(struct os_robust_list *list, struct os_robust_word *words, unsigned count, unsigned stride)
{
    for (unsigned i = count; i-- > 0;) {
        struct os_robust_word *word = (struct os_robust_word *)(void *)((char *)words + (size_t)i * stride);
        word->next = list->first;
        atomic_signal_fence(memory_order_seq_cst);
        list->first = word;
    }
}
