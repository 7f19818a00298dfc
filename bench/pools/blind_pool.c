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

struct job {
    blind_task *task;
    const char *in;
    char *out;
    size_t in_size, out_size, n;
    enum blind_claims claims;
};

/* `range` is the number of the job above the index of the next task that nobody has. A claim moves it by
 * compare-and-swap. Who succeeds has read a job that is not over, since its tasks are not all done. Jobs take turns in
 * two places, so that one's fields are written while `range` names the other, and no claim on them can succeed.
 *
 * A worker that spins keeps that role while it runs tasks, until it falls asleep. So at the beginning of a job there is
 * one that will look, or the role is free, and the caller wakes one. */
struct blind_pool {
    _Alignas(128) _Atomic uint64_t range;
    _Alignas(128) _Atomic size_t done; /* tasks of this job */
    _Atomic uint32_t caller_sleeps;
    _Alignas(128) _Atomic int spinning; /* at most one idle worker */
    _Atomic int sleeping;
    _Atomic uint32_t bell;
    _Atomic int is_closing;
    struct {
        _Alignas(128) struct job job;
    } places[2];
    _Alignas(128) int workers;
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

static const struct job *find_job(const struct blind_pool *pool, uint64_t range)
{
    return &pool->places[range >> INDEX_BITS & 1].job;
}

static bool has_work(const struct blind_pool *pool, uint64_t range)
{
    return (range & INDEX_MASK) < find_job(pool, range)->n;
}

static size_t limit_claim(enum blind_claims claims, int workers, size_t wanted, size_t left)
{
    size_t share = left / (2 * (size_t)workers);
    if (claims == BLIND_GUIDED || wanted > share)
        wanted = share;
    return wanted > 0 && claims != BLIND_ONE ? wanted : 1;
}

static void run_tasks(const struct job *job, size_t first, size_t count)
{
    const char *in = job->in + first * job->in_size;
    char *out = job->out + first * job->out_size;
    for (size_t i = 0; i < count; i++, in += job->in_size, out += job->out_size)
        job->task(in, out);
}

/* Of the job that the tasks are of, n is read before the count tells that it may be over. */
static void count_done(struct blind_pool *pool, size_t n, size_t done)
{
    if (atomic_fetch_add(&pool->done, done) + done == n && atomic_load(&pool->caller_sleeps) == 1) {
        atomic_store(&pool->caller_sleeps, 0);
        futex(&pool->caller_sleeps, FUTEX_WAKE, 1);
    }
}

/* Takes tasks of a job until nobody's are left. */
static void work(struct blind_pool *pool)
{
    size_t done = 0, wanted = 1, n = 0;
    uint64_t range = atomic_load_explicit(&pool->range, memory_order_acquire);
    while (has_work(pool, range)) {
        const struct job *job = find_job(pool, range);
        size_t first = range & INDEX_MASK, left = job->n - first;
        size_t count = limit_claim(job->claims, pool->workers, wanted, left);
        if (!atomic_compare_exchange_weak_explicit(&pool->range, &range, range + count, memory_order_acquire,
                                                   memory_order_acquire))
            continue;
        bool is_timed = job->claims == BLIND_ADAPT && left - count > (size_t)pool->workers;
        if (done > 0 && count < left && atomic_load_explicit(&pool->sleeping, memory_order_relaxed) > 0)
            wake_one(pool);
        double start = is_timed ? bench_now() : 0;
        run_tasks(job, first, count);
        if (is_timed && count == wanted && bench_now() - start < CLAIM_LEAST)
            wanted *= 2;
        done += count;
        n = job->n;
        range = atomic_load_explicit(&pool->range, memory_order_acquire);
    }
    if (done > 0)
        count_done(pool, n, done);
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

static bool is_over(struct blind_pool *pool, size_t n)
{
    return atomic_load_explicit(&pool->done, memory_order_acquire) == n;
}

static void sleep_until_over(struct blind_pool *pool, size_t n)
{
    size_t left = n - (atomic_load(&pool->range) & INDEX_MASK);
    for (size_t i = 0; i < left && atomic_load(&pool->sleeping) > 0 && i < (size_t)pool->workers; i++)
        wake_one(pool);
    while (!is_over(pool, n)) {
        atomic_store(&pool->caller_sleeps, 1);
        if (!is_over(pool, n))
            futex(&pool->caller_sleeps, FUTEX_WAIT, 1);
    }
    atomic_store(&pool->caller_sleeps, 0);
}

static void wait_until_over(struct blind_pool *pool, size_t n)
{
    double start = bench_now(), helped = start;
    for (int i = 1; !is_over(pool, n); i++) {
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
            sleep_until_over(pool, n);
            return;
        }
        if (i % 1024 == 0)
            sched_yield();
    }
}

void blind_pool_map(struct blind_pool *pool, blind_task *task, const void *in, size_t in_size, void *out,
                    size_t out_size, size_t n, enum blind_claims claims)
{
    uint64_t range = ((atomic_load(&pool->range) >> INDEX_BITS) + 1) << INDEX_BITS;
    pool->places[range >> INDEX_BITS & 1].job = (struct job) { task, in, out, in_size, out_size, n, claims };
    atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
    atomic_store(&pool->range, range);
    if (atomic_load(&pool->spinning) == 0)
        wake_one(pool);
    wait_until_over(pool, n);
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
