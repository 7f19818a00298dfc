/* The shared heap. SPDX-License-Identifier: MIT */
#include "harness.h"

#include "memory/heap.h"
#include "os/map.h"
#include "os/sanitizer.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define UNIT 65536

static void blocks_are_aligned_and_apart(void **state)
{
    (void)state;
    enum { N = 50 };
    char *blocks[N];
    for (int i = 0; i < N; i++) {
        size_t size = (size_t)(i % 7) * UNIT + (size_t)i;
        blocks[i] = heap_allocate(size, i % 2);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % UNIT, 0);
        assert_true(heap_contains(blocks[i], size));
        memset(blocks[i], i, size);
    }
    for (int i = 0; i < N; i++) {
        size_t size = (size_t)(i % 7) * UNIT + (size_t)i;
        for (size_t j = 0; j < size; j += 997)
            assert_int_equal(blocks[i][j], (char)i);
        heap_free(blocks[i]);
    }
    assert_int_equal(heap_bytes_in_use(), 0);
}

static void freed_memory_is_used_again_before_new_pages(void **state)
{
    (void)state;
    char *first = heap_allocate(3 * UNIT, true), *second = heap_allocate(UNIT, true);
    heap_free(first);
    char *third = heap_allocate(2 * UNIT, true);
    assert_ptr_equal(third, first);
    assert_ptr_equal(heap_allocate(UNIT, true), first + 2 * UNIT);
    assert_true((char *)heap_allocate(UNIT, true) > second);
    assert_int_equal(heap_bytes_in_use(), 5 * UNIT);
    for (char *block = first; heap_bytes_in_use() > 0; block += block == first ? 2 * UNIT : UNIT)
        heap_free(block);
}

static void children_see_the_same_memory_at_the_same_address(void **state)
{
    (void)state;
    int *value = heap_allocate(sizeof *value, true);
    *value = 1;
    if (fork() == 0) {
        *value = 2;
        _exit(0);
    }
    wait(NULL);
    assert_int_equal(*value, 2);
    heap_free(value);
}

static void processes_that_allocate_at_once_do_not_share_blocks(void **state)
{
    (void)state;
    enum { PROCESSES = 4, ROUNDS = 3000 };
    heap_free(heap_allocate(1, true)); /* one heap for all */
    for (int p = 0; p < PROCESSES; p++) {
        if (fork() != 0)
            continue;
        unsigned seed = (unsigned)p;
        for (int round = 0; round < ROUNDS; round++) {
            size_t units = 1 + (size_t)(rand_r(&seed) % 5);
            int *block = heap_allocate(units * UNIT, false);
            for (size_t i = 0; i < units; i++)
                block[i * UNIT / sizeof *block] = p;
            for (size_t i = 0; i < units; i++)
                if (block[i * UNIT / sizeof *block] != p)
                    _exit(1);
            heap_free(block);
        }
        _exit(0);
    }
    for (int status, p = 0; p < PROCESSES; p++) {
        wait(&status);
        assert_int_equal(status, 0);
    }
    assert_int_equal(heap_bytes_in_use(), 0);
}

static void a_block_can_be_freed_by_another_process(void **state)
{
    (void)state;
    void *block = heap_allocate(10 * UNIT, true);
    if (fork() == 0) {
        heap_free(block);
        _exit(0);
    }
    wait(NULL);
    assert_int_equal(heap_bytes_in_use(), 0);
}

/* Resident shared memory of this process, in bytes. */
static size_t resident(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    assert_int_equal(fscanf(file, "%*s %*s %lu", &pages), 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void large_blocks_go_back_to_the_kernel(void **state)
{
    (void)state;
    size_t size = (size_t)128 << 20, before = resident();
    char *block = heap_allocate(size, false);
    assert_true(resident() < before + size / 2);
    memset(block, 1, size);
    assert_true(resident() >= before + size / 2);
    heap_free(block);
    assert_true(resident() < before + size / 2);
    block = heap_allocate(size, true); /* present: all of it at once */
    assert_true(resident() >= before + size / 2);
    assert_int_equal(block[size - 1], 0);
    heap_free(block);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    assert_null(heap_allocate(SIZE_MAX, false));
    assert_null(heap_allocate((size_t)1 << 45, false));
    heap_free(NULL);
    assert_false(heap_contains(state, 1));
    char *block = heap_allocate(1, true);
    assert_true(heap_contains(block, UNIT));
    assert_false(heap_contains(block, SIZE_MAX));
    assert_false(heap_contains((char *)block - ((size_t)1 << 44), 1));
    heap_free(block);
}

static void more_than_there_is_memory_is_refused_at_once(void **state)
{
    (void)state;
    size_t available = os_memory_available();
    assert_true(available > (size_t)64 << 20 && available < SIZE_MAX);
    assert_null(heap_allocate(2 * available, true));
    void *block = heap_allocate(2 * available, false); /* address space is another matter */
    if (!OS_ADDRESS_SANITIZER)
        assert_non_null(block);
    heap_free(block);
    assert_int_equal(heap_bytes_in_use(), 0);
}

static void a_small_address_space_makes_a_small_heap_that_can_be_full(void **state)
{
    (void)state;
    if (OS_ADDRESS_SANITIZER)
        harness_skip("AddressSanitizer itself needs the address space");
    struct rlimit limit = { (rlim_t)160 << 20, (rlim_t)160 << 20 };
    setrlimit(RLIMIT_AS, &limit);
    harness_restart_with("SMALL_ADDRESS_SPACE", "1");
    void *blocks[4096];
    int count = 0;
    while (count < 4096 && (blocks[count] = heap_allocate(UNIT, true)))
        count++;
    assert_true(count > 16 && count < 4096);
    while (count > 0)
        heap_free(blocks[--count]);
    void *again = heap_allocate(16 * UNIT, true);
    assert_non_null(again);
    heap_free(again);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(blocks_are_aligned_and_apart),
    cmocka_unit_test(freed_memory_is_used_again_before_new_pages),
    cmocka_unit_test(children_see_the_same_memory_at_the_same_address),
    cmocka_unit_test(processes_that_allocate_at_once_do_not_share_blocks),
    cmocka_unit_test(a_block_can_be_freed_by_another_process),
    cmocka_unit_test(large_blocks_go_back_to_the_kernel),
    cmocka_unit_test(what_does_not_fit_is_refused),
    cmocka_unit_test(more_than_there_is_memory_is_refused_at_once),
    cmocka_unit_test(a_small_address_space_makes_a_small_heap_that_can_be_full),
};

HARNESS_MAIN(tests)
