/* A pool of processes as fast as one can be that knows nothing of crashes. SPDX-License-Identifier: MIT */
#include "blind_pool.h"

#include "../bench.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLAIM_LEAST 10e-6 /* seconds; a claim that took less is doubled, so that most take 10 to 20 us */
#define SPIN 50e-6        /* for which an idle worker spins */
#define CALLER_SPIN 100e-6
#define HELP_AFTER 4e-6 /* after which a caller that spins wakes another worker, if there is work for one */

enum { WORKERS_MAX = 64, INDEX_BITS = 40 };
#define INDEX_MASK ((UINT64_C(1) << INDEX_BITS) - 1)

/* `range` is the number of the job above the index of the next task that nobody has. A claim moves it by
 * compare-and-swap. Who succeeds has read a job that is not over, since its tasks are not all done: so the job's
 * fields, which the caller writes between jobs, were those of this job, whenever they were read before.
 *
 * A worker that spins keeps that role while it runs tasks, until it falls asleep. So at the beginning of a job there is
 * one that will look, or the role is free, and the caller wakes one. */
struct blind_pool {
    _Alignas(128) _Atomic uint64_t range;
    blind_task *task;
    const char *in;
    char *out;
    size_t in_size, out_size, n;
    enum blind_claims claims;
    int workers;
    _Alignas(128) _Atomic size_t done; /* tasks of this job */
    _Atomic uint32_t caller_sleeps;
    _Alignas(128) _Atomic int spinning; /* at most one idle worker */
    _Atomic int sleeping;
    _Atomic uint32_t bell;
    _Atomic int is_closing;
    pid_t pids[WORKERS_MAX];
};

static long futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
    return syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void *blind_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void blind_memory_free(void *memory, size_t size)
{
    munmap(memory, size);
}

static void wake_one(struct blind_pool *pool)
{
    if (atomic_load(&pool->sleeping) == 0)
        return;
    atomic_fetch_add(&pool->bell, 1);
    futex(&pool->bell, FUTEX_WAKE, 1);
}

static bool has_work(const struct blind_pool *pool, uint64_t range)
{
    return (range & INDEX_MASK) < pool->n;
}

static size_t limit_claim(const struct blind_pool *pool, size_t wanted, size_t left)
{
    size_t share = left / (2 * (size_t)pool->workers);
    if (pool->claims == BLIND_GUIDED || wanted > share)
        wanted = share;
    return wanted > 0 ? wanted : 1;
}

static void run_tasks(const struct blind_pool *pool, size_t first, size_t count)
{
    const char *in = pool->in + first * pool->in_size;
    char *out = pool->out + first * pool->out_size;
    for (size_t i = 0; i < count; i++, in += pool->in_size, out += pool->out_size)
        pool->task(in, out);
}

/* Takes tasks of the job until nobody's are left. */
static void work(struct blind_pool *pool)
{
    size_t done = 0, wanted = 1;
    bool is_first = true;
    uint64_t range = atomic_load_explicit(&pool->range, memory_order_acquire);
    while (has_work(pool, range)) {
        size_t first = range & INDEX_MASK, left = pool->n - first;
        size_t count = pool->claims == BLIND_ONE ? 1 : limit_claim(pool, wanted, left);
        if (!atomic_compare_exchange_weak_explicit(&pool->range, &range, range + count, memory_order_acquire,
                                                   memory_order_acquire))
            continue;
        bool is_last = count == left, is_timed = pool->claims == BLIND_ADAPT && left - count > (size_t)pool->workers;
        if (!is_first && !is_last && atomic_load_explicit(&pool->sleeping, memory_order_relaxed) > 0)
            wake_one(pool);
        is_first = false;
        double start = is_timed ? bench_now() : 0;
        run_tasks(pool, first, count);
        if (is_timed && count == wanted && bench_now() - start < CLAIM_LEAST)
            wanted *= 2;
        done += count;
        range = atomic_load_explicit(&pool->range, memory_order_acquire);
    }
    if (done == 0)
        return;
    size_t n = pool->n; /* of this job, which is not over before the next line */
    if (atomic_fetch_add(&pool->done, done) + done == n && atomic_load(&pool->caller_sleeps) == 1) {
        atomic_store(&pool->caller_sleeps, 0);
        futex(&pool->caller_sleeps, FUTEX_WAKE, 1);
    }
}

/* Returns whether there may be work. */
static bool spin(struct blind_pool *pool)
{
    double end = bench_now() + SPIN;
    for (int i = 1; i % 64 != 0 || bench_now() < end; i++) {
        if (has_work(pool, atomic_load_explicit(&pool->range, memory_order_acquire)))
            return true;
        if (i % 1024 == 0)
            sched_yield();
        relax();
    }
    return false;
}

/* Waits until there may be work. */
static void idle(struct blind_pool *pool, bool *is_spinner)
{
    int nobody = 0;
    *is_spinner = *is_spinner || atomic_compare_exchange_strong(&pool->spinning, &nobody, 1);
    if (*is_spinner) {
        if (spin(pool))
            return;
        *is_spinner = false;
        atomic_store(&pool->spinning, 0);
    }
    uint32_t bell = atomic_load(&pool->bell);
    atomic_fetch_add(&pool->sleeping, 1);
    if (!has_work(pool, atomic_load(&pool->range)) && !atomic_load(&pool->is_closing))
        futex(&pool->bell, FUTEX_WAIT, bell);
    atomic_fetch_sub(&pool->sleeping, 1);
}

static void run_worker(struct blind_pool *pool)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (bool is_spinner = false; !atomic_load_explicit(&pool->is_closing, memory_order_relaxed);) {
        work(pool);
        idle(pool, &is_spinner);
    }
}

struct blind_pool *blind_pool_open(int workers)
{
    struct blind_pool *pool = workers <= WORKERS_MAX ? blind_memory(sizeof *pool) : NULL;
    if (!pool)
        return NULL;
    for (pool->workers = 0; pool->workers < workers; pool->workers++) {
        pid_t pid = fork();
        if (pid == 0) {
            run_worker(pool);
            _exit(0);
        }
        if (pid < 0) {
            blind_pool_close(pool);
            return NULL;
        }
        pool->pids[pool->workers] = pid;
    }
    return pool;
}

static bool is_over(struct blind_pool *pool)
{
    return atomic_load_explicit(&pool->done, memory_order_acquire) == pool->n;
}

static void sleep_until_over(struct blind_pool *pool)
{
    size_t left = pool->n - (atomic_load(&pool->range) & INDEX_MASK);
    for (size_t i = 0; i < left && atomic_load(&pool->sleeping) > 0 && i < (size_t)pool->workers; i++)
        wake_one(pool);
    while (!is_over(pool)) {
        atomic_store(&pool->caller_sleeps, 1);
        if (!is_over(pool))
            futex(&pool->caller_sleeps, FUTEX_WAIT, 1);
    }
    atomic_store(&pool->caller_sleeps, 0);
}

void blind_pool_map(struct blind_pool *pool, blind_task *task, const void *in, size_t in_size, void *out,
                    size_t out_size, size_t n, enum blind_claims claims)
{
    uint64_t job = atomic_load(&pool->range) >> INDEX_BITS;
    atomic_store_explicit(&pool->range, (job << INDEX_BITS) | INDEX_MASK, memory_order_relaxed); /* no work meanwhile */
    atomic_thread_fence(memory_order_seq_cst); /* who sees a field of the new job finds its claim of the old one fail */
    pool->task = task;
    pool->in = in;
    pool->out = out;
    pool->in_size = in_size;
    pool->out_size = out_size;
    pool->n = n;
    pool->claims = claims;
    atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
    atomic_store(&pool->range, (job + 1) << INDEX_BITS);
    if (atomic_load(&pool->spinning) == 0)
        wake_one(pool);
    double start = bench_now(), helped = start;
    for (int i = 1; !is_over(pool); i++) {
        relax();
        if (i % 64 != 0)
            continue;
        double now = bench_now();
        uint64_t range = atomic_load_explicit(&pool->range, memory_order_relaxed);
        if (now > helped + HELP_AFTER && (range & INDEX_MASK) > 0 && has_work(pool, range)) {
            wake_one(pool);
            helped = now;
        }
        if (now > start + CALLER_SPIN) {
            sleep_until_over(pool);
            return;
        }
        if (i % 1024 == 0)
            sched_yield();
    }
}

void blind_pool_close(struct blind_pool *pool)
{
    atomic_store(&pool->is_closing, 1);
    atomic_fetch_add(&pool->bell, 1);
    futex(&pool->bell, FUTEX_WAKE, INT_MAX);
    for (int i = 0; i < pool->workers; i++)
        waitpid(pool->pids[i], NULL, 0);
    blind_memory_free(pool, sizeof *pool);
}
