/* Futexes, with the kernel's robust list. SPDX-License-Identifier: MIT */
#include "os/futex.h"

#include <errno.h>
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

void os_futex_wake(_Atomic uint32_t *word, int count)
{
    futex(word, FUTEX_WAKE, (uint32_t)count, NULL);
}

int os_robust_register(struct os_robust_list *list, struct os_robust_word *words, unsigned count, unsigned stride)
{
    _Static_assert(sizeof(struct os_robust_list) == 3 * sizeof(long), "the kernel's struct robust_list_head");
    list->word_offset = offsetof(struct os_robust_word, word);
    list->pending = NULL;
    struct os_robust_word **link = &list->first;
    for (unsigned i = 0; i < count; i++) {
        struct os_robust_word *word = (struct os_robust_word *)((char *)words + (size_t)i * stride);
        *link = word;
        link = &word->next;
    }
    *link = (struct os_robust_word *)list; /* the kernel stops where the list comes back to its head */
    return syscall(SYS_set_robust_list, list, sizeof *list) == 0 ? 0 : -errno;
}
