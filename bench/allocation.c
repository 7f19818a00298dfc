/* What shared memory costs: small blocks against malloc, and the first touch of pages against private memory.
 * SPDX-License-Identifier: MIT */
#include "bench.h"

#include <mproc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAIRS = 2000000, HELD = 1000, TIMES = 500, ROUNDS = 11 };

#define TOUCHED ((size_t)128 << 20)

struct allocator {
    void *(*allocate)(size_t);
    void (*release)(void *);
};

static void release_shared(void *block)
{
    mproc_free(block);
}

static const struct allocator libc = { malloc, free }, shared = { mproc_alloc, release_shared };

/* One block at a time. */
static double pairs(void *argument)
{
    const struct allocator *allocator = argument;
    double start = bench_now();
    for (int i = 0; i < PAIRS; i++) {
        char *volatile block = allocator->allocate(64);
        if (!block)
            return -1;
        *block = 1;
        allocator->release(block);
    }
    return bench_now() - start;
}

/* Many blocks, then none. */
static double batches(void *argument)
{
    const struct allocator *allocator = argument;
    static char *blocks[HELD];
    double start = bench_now();
    for (int time = 0; time < TIMES; time++) {
        for (int i = 0; i < HELD; i++) {
            blocks[i] = allocator->allocate(64);
            if (!blocks[i])
                return -1;
            *blocks[i] = 1;
        }
        for (int i = 0; i < HELD; i++)
            allocator->release(blocks[i * 7 % HELD]);
    }
    return bench_now() - start;
}

/* The same while another process does it too. */
static double beside(double (*run)(void *), void *argument)
{
    _Atomic int *ready = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = fork();
    atomic_fetch_add(ready, 1);
    while (atomic_load(ready) < 2) {
    }
    double took = run(argument);
    if (child == 0)
        _exit(took < 0);
    int status;
    waitpid(child, &status, 0);
    munmap(ready, 4096);
    return status == 0 ? took : -1;
}

static double pairs_beside(void *argument)
{
    return beside(pairs, argument);
}

static double batches_beside(void *argument)
{
    return beside(batches, argument);
}

enum memory { PRIVATE, PRIVATE_HUGE, SHARED, SHARED_HUGE, HEAP, HEAP_AGAIN };

/* The first touch of each page; in the heap also of memory that was touched before. */
static double touch(void *argument)
{
    static char *again;
    enum memory memory = *(enum memory *)argument;
    bool is_heap = memory == HEAP || memory == HEAP_AGAIN;
    bool is_huge = memory == PRIVATE_HUGE || memory == SHARED_HUGE;
    int flags = memory == SHARED || memory == SHARED_HUGE ? MAP_SHARED : MAP_PRIVATE;
    char *block;
    if (memory == HEAP_AGAIN && !again) {
        again = mproc_alloc(TOUCHED);
        memset(again, 2, TOUCHED);
    }
    if (is_heap)
        block = memory == HEAP_AGAIN ? again : mproc_alloc(TOUCHED);
    else
        block = mmap(NULL, TOUCHED, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    if (!block || block == MAP_FAILED)
        return -1;
    if (!is_heap)
        madvise(block, TOUCHED, is_huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    double start = bench_now();
    for (size_t i = 0; i < TOUCHED; i += 4096)
        ((volatile char *)block)[i] = 1;
    double took = bench_now() - start;
    if (memory == HEAP)
        mproc_free(block);
    else if (!is_heap)
        munmap(block, TOUCHED);
    return took;
}

/* With "touch" as its argument it measures that alone: for another environment. */
int main(int argc, char **argv)
{
    bool touch_only = argc == 2 && strcmp(argv[1], "touch") == 0;
    const struct bench_contestant one[] = {
        { "malloc", pairs, (void *)(uintptr_t)&libc },
        { "mproc_alloc", pairs, (void *)(uintptr_t)&shared },
        { "malloc, a second process too", pairs_beside, (void *)(uintptr_t)&libc },
        { "mproc_alloc, a second process too", pairs_beside, (void *)(uintptr_t)&shared },
    };
    const struct bench_contestant many[] = {
        { "malloc", batches, (void *)(uintptr_t)&libc },
        { "mproc_alloc", batches, (void *)(uintptr_t)&shared },
        { "malloc, a second process too", batches_beside, (void *)(uintptr_t)&libc },
        { "mproc_alloc, a second process too", batches_beside, (void *)(uintptr_t)&shared },
    };
    enum memory kinds[] = { PRIVATE, PRIVATE_HUGE, SHARED, SHARED_HUGE, HEAP, HEAP_AGAIN };
    const struct bench_contestant touches[] = {
        { "private memory, 4 KiB pages", touch, &kinds[0] },
        { "private memory, huge pages", touch, &kinds[1] },
        { "shared memory, 4 KiB pages", touch, &kinds[2] },
        { "shared memory, huge pages asked for", touch, &kinds[3] },
        { "the heap, new memory", touch, &kinds[4] },
        { "the heap, memory that was used before", touch, &kinds[5] },
    };
    mproc_free(mproc_alloc(1)); /* one heap for all */
    int failed = 0;
    if (!touch_only) {
        failed |= bench_run("allocate and free 64 bytes", one, 4, ROUNDS, PAIRS, "ns a pair", 1e-9);
        failed |= bench_run("allocate 1000 blocks of 64 bytes, then free them", many, 4, ROUNDS, (double)TIMES * HELD,
                            "ns a pair", 1e-9);
    }
    failed |= bench_run("first touch of 128 MiB", touches, 6, ROUNDS, (double)TOUCHED / (1 << 30), "s a GiB", 1);
    return failed;
}
