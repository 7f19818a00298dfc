/* Knowing whether a thread is alive. SPDX-License-Identifier: MIT */
#include "os/life.h"

#include "os/futex.h"

#include <pthread.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIFE_UNKNOWN FUTEX_TID_MASK

/* The kernel's struct robust_list_head. */
struct robust_head {
    void *first;
    long word_offset;
    void *pending;
};

static struct robust_head *registered_head(void)
{
    struct robust_head *head = NULL;
    size_t size = 0;
    if (syscall(SYS_get_robust_list, 0, &head, &size) != 0 || size != sizeof *head)
        return NULL;
    return head;
}

/* Some libcs register their list when the first robust mutex is locked. */
static void have_libc_register(void)
{
    pthread_mutexattr_t attributes;
    pthread_mutex_t mutex;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (pthread_mutex_init(&mutex, &attributes) == 0) {
        if (pthread_mutex_lock(&mutex) == 0)
            pthread_mutex_unlock(&mutex);
        pthread_mutex_destroy(&mutex);
    }
    pthread_mutexattr_destroy(&attributes);
}

static struct robust_head *list_of_this_thread(void)
{
    struct robust_head *head = registered_head();
    if (!head) {
        have_libc_register();
        head = registered_head();
    }
    return head;
}

/* Which of the two words is at an offset from an aligned link within the struct; -1 where none is. */
static int word_at_offset(long offset)
{
    long least = (long)offsetof(struct os_life, links) + (long)sizeof(void *); /* the previous link comes first */
    long most = (long)(sizeof(struct os_life) - sizeof(void *));
    for (int i = 0; i < 2; i++) {
        long link = (long)(sizeof(uint32_t) * (size_t)i) - offset;
        if (link >= least && link <= most && link % (long)sizeof(void *) == 0)
            return i;
    }
    return -1;
}

static uint32_t word_of_state(enum os_life_state state, uint32_t word)
{
    switch (state) {
    case OS_LIFE_NEVER: return 0;
    case OS_LIFE_UNKNOWN: return LIFE_UNKNOWN;
    default: return word;
    }
}

static bool take(struct os_life *life, int index, enum os_life_state expected, uint32_t mine)
{
    uint32_t seen = atomic_load(&life->word[index]);
    if (os_life_state(life) != expected || seen != word_of_state(expected, seen))
        return false;
    return atomic_compare_exchange_strong(&life->word[index], &seen, mine);
}

/* The kernel looks at `pending` too, so the thread is marked as ended wherever it is killed here: before the word is
 * taken the word does not hold its id, and afterwards either `pending` or the list leads to it. libc's own dequeuing
 * expects the address of the previous link in front of each link. */
bool os_life_begin(struct os_life *life, enum os_life_state expected)
{
    struct robust_head *head = list_of_this_thread();
    int index = head ? word_at_offset(head->word_offset) : -1;
    if (index < 0)
        return take(life, 0, expected, LIFE_UNKNOWN);
    void **link = (void **)((char *)&life->word[index] - head->word_offset);
    head->pending = link;
    atomic_signal_fence(memory_order_seq_cst);
    bool taken = take(life, index, expected, (uint32_t)syscall(SYS_gettid) | FUTEX_WAITERS);
    if (taken) {
        link[0] = head->first;
        link[-1] = head;
        atomic_signal_fence(memory_order_seq_cst);
        void **first = (void **)((uintptr_t)head->first & ~(uintptr_t)1); /* the last bit: a priority-inheriting one */
        if ((void *)first != (void *)head)
            first[-1] = link;
        head->first = link;
    }
    atomic_signal_fence(memory_order_seq_cst);
    head->pending = NULL;
    return taken;
}

_Atomic uint32_t *os_life_word(struct os_life *life)
{
    return &life->word[atomic_load_explicit(&life->word[1], memory_order_relaxed) != 0];
}
