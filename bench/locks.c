/* What a lock costs, alone and between two processes, against libc's robust mutex and a plain futex lock.
 * SPDX-License-Identifier: MIT */
#include "bench.h"

#include <linux/futex.h>
#include <mproc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ALONE = 1000000, CONTENDED = 200000 };

/* Each on cache lines of its own. */
static struct shared {
    _Alignas(128) mproc_lock lock;
    _Alignas(128) mproc_rlock rlock;
    _Alignas(128) mproc_semaphore semaphore;
    _Alignas(128) pthread_mutex_t robust;
    _Alignas(128) pthread_mutex_t mutex;
    _Alignas(128) _Atomic int plain;
    _Alignas(128) _Atomic int ready;
    _Alignas(128) long counter;
    double seconds[2];
} * shared;

/* Ulrich Drepper, Futexes Are Tricky: the third of his mutexes, spinning for a while as ours does. It knows no owner.
 */
static void plain_acquire(void)
{
    for (int i = 0; i < 100; i++) {
        int free = 0;
        if (atomic_load_explicit(&shared->plain, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&shared->plain, &free, 1, memory_order_acquire,
                                                    memory_order_relaxed))
            return;
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
    while (atomic_exchange_explicit(&shared->plain, 2, memory_order_acquire) != 0)
        syscall(SYS_futex, &shared->plain, FUTEX_WAIT, 2, NULL, NULL, 0);
}

static void plain_release(void)
{
    if (atomic_exchange_explicit(&shared->plain, 0, memory_order_release) == 2)
        syscall(SYS_futex, &shared->plain, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void acquire_lock(void)
{
    mproc_lock_acquire(&shared->lock, MPROC_FOREVER);
}
static void release_lock(void)
{
    mproc_lock_release(&shared->lock);
}
static void acquire_rlock(void)
{
    mproc_rlock_acquire(&shared->rlock, MPROC_FOREVER);
}
static void release_rlock(void)
{
    mproc_rlock_release(&shared->rlock);
}
static void acquire_semaphore(void)
{
    mproc_semaphore_acquire(&shared->semaphore, MPROC_FOREVER);
}
static void release_semaphore(void)
{
    mproc_semaphore_release(&shared->semaphore);
}
static void acquire_robust(void)
{
    pthread_mutex_lock(&shared->robust);
}
static void release_robust(void)
{
    pthread_mutex_unlock(&shared->robust);
}
static void acquire_mutex(void)
{
    pthread_mutex_lock(&shared->mutex);
}
static void release_mutex(void)
{
    pthread_mutex_unlock(&shared->mutex);
}

struct kind {
    void (*acquire)(void), (*release)(void);
};

static double repeat(const struct kind *kind, int times)
{
    double start = bench_now();
    for (int i = 0; i < times; i++) {
        kind->acquire();
        shared->counter++;
        kind->release();
    }
    return bench_now() - start;
}

static double alone(void *argument)
{
    shared->counter = 0;
    double took = repeat(argument, ALONE);
    return shared->counter == ALONE ? took : -1;
}

static double contended(void *argument)
{
    shared->counter = 0;
    atomic_store(&shared->ready, 0);
    pid_t child = fork();
    atomic_fetch_add(&shared->ready, 1);
    while (atomic_load(&shared->ready) < 2) {
    }
    double took = repeat(argument, CONTENDED);
    if (child == 0)
        _exit(0);
    double start = bench_now();
    waitpid(child, NULL, 0);
    took += bench_now() - start;
    return shared->counter == 2L * CONTENDED ? took : -1;
}

static void prepare(void)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&shared->mutex, &attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&shared->robust, &attributes);
    pthread_mutexattr_destroy(&attributes);
    mproc_semaphore_init(&shared->semaphore, 1);
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv);
    shared = mproc_aligned_alloc(128, sizeof *shared);
    if (!shared)
        return 1;
    *shared = (struct shared) { .counter = 0 };
    prepare();
    struct kind robust = { acquire_robust, release_robust }, mutex = { acquire_mutex, release_mutex };
    struct kind plain = { plain_acquire, plain_release }, lock = { acquire_lock, release_lock };
    struct kind rlock = { acquire_rlock, release_rlock }, semaphore = { acquire_semaphore, release_semaphore };
    bench_row(&(struct bench_row) {
        .title = "acquire and release a lock, nobody else there",
        .unit = "ns a pair",
        .scale = 1e-9,
        .per = ALONE,
        .contestants = { { "mproc_lock", BENCH_OURS, alone, .argument = &lock },
                         { "mproc_rlock", BENCH_OURS, alone, .argument = &rlock },
                         { "mproc_semaphore", BENCH_OURS, alone, .argument = &semaphore },
                         { "a plain futex lock", BENCH_LIMIT, alone, .argument = &plain },
                         { "libc's robust shared mutex", BENCH_PEER, alone, .argument = &robust },
                         { "libc's shared mutex", BENCH_PEER, alone, .argument = &mutex } },
        .targets = { { "mproc_lock", BENCH_AT_MOST_TIMES, 1, { "libc's robust shared mutex" } } },
    });
    bench_row(&(struct bench_row) {
        .title = "acquire and release a lock, two processes at once",
        .unit = "ns a pair",
        .scale = 1e-9,
        .per = 2.0 * CONTENDED,
        .contestants = { { "mproc_lock", BENCH_OURS, contended, .argument = &lock },
                         { "mproc_rlock", BENCH_OURS, contended, .argument = &rlock },
                         { "a plain futex lock", BENCH_LIMIT, contended, .argument = &plain },
                         { "libc's robust shared mutex", BENCH_PEER, contended, .argument = &robust },
                         { "libc's shared mutex", BENCH_PEER, contended, .argument = &mutex } },
        .targets = { { "mproc_lock", BENCH_AT_MOST_TIMES, 1, { "libc's robust shared mutex" } } },
    });
    mproc_semaphore_destroy(&shared->semaphore);
    mproc_free(shared);
    return bench_end();
}
