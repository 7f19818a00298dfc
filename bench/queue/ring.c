/* The limit for small messages: a bare ring of words. SPDX-License-Identifier: MIT
 *
 * One producer, one consumer; each keeps the other's index and looks again only when that says full or empty. Nobody
 * ever sleeps.
 */
#include "stream.h"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>

enum { WORDS = 1024 };

static struct ring {
    _Alignas(128) uint64_t head; /* words taken */
    uint64_t tail_seen;
    _Alignas(128) uint64_t tail; /* words put */
    uint64_t head_seen;
    _Alignas(128) uint64_t words[WORDS];
} * ring;

static void wait_for_change(const uint64_t *index, uint64_t *seen)
{
    for (int spins = 0; __atomic_load_n(index, __ATOMIC_ACQUIRE) == *seen; spins++) {
        if (spins % 1024 == 1023)
            sched_yield();
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
    *seen = __atomic_load_n(index, __ATOMIC_ACQUIRE);
}

static inline int put(const void *data, size_t size)
{
    uint64_t tail = ring->tail;
    if (tail - ring->head_seen == WORDS)
        wait_for_change(&ring->head, &ring->head_seen);
    memcpy(&ring->words[tail % WORDS], data, sizeof *ring->words);
    __atomic_store_n(&ring->tail, tail + 1, __ATOMIC_RELEASE);
    return size == sizeof *ring->words ? 0 : -1;
}

static inline int get(void *buffer, size_t size)
{
    uint64_t head = ring->head;
    if (head == ring->tail_seen)
        wait_for_change(&ring->tail, &ring->tail_seen);
    memcpy(buffer, &ring->words[head % WORDS], sizeof *ring->words);
    __atomic_store_n(&ring->head, head + 1, __ATOMIC_RELEASE);
    return size == sizeof *ring->words ? 0 : -1;
}

STREAM_LOOPS(put, get)

static int create(const struct load *load)
{
    ring = mmap(NULL, sizeof *ring, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ring == MAP_FAILED)
        return -errno;
    return load->producers == 1 && load->consumers == 1 && load->size == sizeof *ring->words ? 0 : -ENOTSUP;
}

static int open_end(const struct load *load, enum side side, int number)
{
    (void)load, (void)side, (void)number;
    return 0;
}

static void destroy(void)
{
    if (ring != MAP_FAILED)
        munmap(ring, sizeof *ring);
}

const struct channel ring_channel = {
    .create = create,
    .open = open_end,
    .produce = produce,
    .consume = consume,
    .destroy = destroy,
};
