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

enum { PAIRS = 1000000, HELD = 1000, TIMES = 300 };

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

static void *const by_libc = (void *)(uintptr_t)&libc, *const by_mproc = (void *)(uintptr_t)&shared;

static void measure_blocks(const char *title, double per, double (*run)(void *), double (*run_beside)(void *))
{
    bench_row(&(struct bench_row) {
        .title = title,
        .unit = "ns a pair",
        .scale = 1e-9,
        .per = per,
        .contestants = { { "mproc_alloc", BENCH_OURS, run, .argument = by_mproc },
                         { "mproc_alloc, a second process too", BENCH_OURS, run_beside, .argument = by_mproc },
                         { "malloc", BENCH_PEER, run, .argument = by_libc },
                         { "malloc, a second process too", BENCH_PEER, run_beside, .argument = by_libc } },
    });
}

static void measure_touch(void)
{
    static enum memory kinds[] = { PRIVATE, PRIVATE_HUGE, SHARED, SHARED_HUGE, HEAP, HEAP_AGAIN };
    const char *huge = getenv("MPROC_HEAP_HUGE_PAGES");
    bench_row(&(struct bench_row) {
        .title = bench_text("first touch of 128 MiB%s%s", huge ? ", MPROC_HEAP_HUGE_PAGES=" : "", huge ? huge : ""),
        .unit = "s a GiB",
        .per = (double)TOUCHED / (1 << 30),
        .contestants = { { "the heap, new memory", BENCH_OURS, touch, .argument = &kinds[4] },
                         { "the heap, memory that was used before", BENCH_OURS, touch, .argument = &kinds[5] },
                         { "private memory, 4 KiB pages", BENCH_LIMIT, touch, .argument = &kinds[0] },
                         { "private memory, huge pages", BENCH_LIMIT, touch, .argument = &kinds[1] },
                         { "shared memory, 4 KiB pages", BENCH_LIMIT, touch, .argument = &kinds[2] },
                         { "shared memory, huge pages asked for", BENCH_LIMIT, touch, .argument = &kinds[3] } },
    });
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv);
    mproc_free(mproc_alloc(1)); /* one heap for all */
    measure_blocks("allocate and free 64 bytes", PAIRS, pairs, pairs_beside);
    measure_blocks("allocate 1,000 blocks of 64 bytes, then free them", (double)TIMES * HELD, batches, batches_beside);
    measure_touch();
    return bench_end();
}
