/* Knowing whether a thread is alive. SPDX-License-Identifier: MIT */
#include "os/life.h"

#include "os/futex.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

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

/* For a thread whose libc does not know that it exists: one made by a bare clone. */
static _Thread_local struct robust_head own_head;

static struct robust_head *register_own(void)
{
    own_head = (struct robust_head) { &own_head, -(long)(2 * sizeof(uint32_t) + sizeof(void *)), NULL };
    return syscall(SYS_set_robust_list, &own_head, sizeof own_head) == 0 ? &own_head : NULL;
}

static struct robust_head *list_of_this_thread(void)
{
    struct robust_head *head = registered_head();
    if (!head) {
        have_libc_register();
        head = registered_head();
    }
    return head ? head : register_own();
}

/* The link that is at libc's offset from one of the words; NULL where there is no such place in the struct. The link to
 * the entry before comes in front of it. */
static void **link_at_offset(struct os_life *life, long offset, int *index)
{
    long end = (long)sizeof(struct os_life) - (long)sizeof(void *);
    for (int i = 0; i < 2; i++) {
        long word = (long)offsetof(struct os_life, word) + (long)sizeof(uint32_t) * i, link = word - offset;
        bool over_words = link + (long)sizeof(void *) > (long)offsetof(struct os_life, word) &&
                          link - (long)sizeof(void *) < (long)offsetof(struct os_life, links);
        *index = i;
        if (link >= (long)sizeof(void *) && link <= end && link % (long)sizeof(void *) == 0 && !over_words)
            return (void **)(void *)((char *)life + link);
    }
    return NULL;
}

/* A libc's list, whose entries know the one before. Ours, in the pool's supervisor, does not. */
static bool is_linked_back(const struct robust_head *head)
{
    return head->word_offset < 0;
}

/* The last bit of a link says that the mutex behind it inherits priority. */
static void **entry(void *link)
{
    return (void **)((uintptr_t)link & ~(uintptr_t)1);
}

/* The kernel looks at `pending` too, so the thread is marked as ended wherever it is killed here: before the word is
 * taken the word does not hold its id, and afterwards either `pending` or the list leads to it. */
int os_life_begin(struct os_life *life, enum os_life_state expected)
{
    int index;
    struct robust_head *head = list_of_this_thread();
    void **link = head ? link_at_offset(life, head->word_offset, &index) : NULL;
    if (!link)
        return -ENOSYS;
    uint32_t seen = atomic_load(&life->word[index]), mine = (uint32_t)syscall(SYS_gettid) | FUTEX_WAITERS;
    if (os_life_state(life) != expected || (expected == OS_LIFE_ENDED) != ((seen & FUTEX_OWNER_DIED) != 0))
        return -EBUSY;
    head->pending = link;
    atomic_signal_fence(memory_order_seq_cst);
    bool taken = atomic_compare_exchange_strong(&life->word[index], &seen, mine);
    if (taken) {
        link[0] = head->first;
        link[-1] = head;
        atomic_signal_fence(memory_order_seq_cst);
        if (is_linked_back(head) && (void *)entry(head->first) != (void *)head)
            entry(head->first)[-1] = link;
        head->first = link;
    }
    atomic_signal_fence(memory_order_seq_cst);
    head->pending = NULL;
    return taken ? 0 : -EBUSY;
}

void os_life_end(struct os_life *life)
{
    int index;
    struct robust_head *head = list_of_this_thread();
    void **link = link_at_offset(life, head->word_offset, &index), **before = &head->first;
    head->pending = link;
    atomic_signal_fence(memory_order_seq_cst);
    while (entry(*before) != link)
        before = entry(*before);
    if (is_linked_back(head) && (void *)entry(link[0]) != (void *)head)
        entry(link[0])[-1] = link[-1];
    *before = link[0];
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store(&life->word[index], FUTEX_OWNER_DIED);
    head->pending = NULL;
}

_Atomic uint32_t *os_life_word(struct os_life *life)
{
    return &life->word[atomic_load_explicit(&life->word[1], memory_order_relaxed) != 0];
}

void *os_life_list(void)
{
    return registered_head();
}

void os_life_list_renew(void *list)
{
    struct robust_head *head = list;
    if (!head)
        return;
    head->first = head;
    head->pending = NULL;
    syscall(SYS_set_robust_list, head, sizeof *head);
}
