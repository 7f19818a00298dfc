/* The heap's public calls in one process. SPDX-License-Identifier: MIT */
#include "heap_use.h"

#include "memory/member.h"
#include "memory/region.h"
#include "memory/span.h"
#include "os/map.h"
#include "os/sanitizer.h"

#include <errno.h>
#include <mproc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- sizes */

static void blocks_of_every_size_are_aligned_and_apart(void **state)
{
    (void)state;
    unsigned char *blocks[SIZES][3];
    for (int i = 0; i < SIZES; i++) {
        for (int j = 0; j < 3; j++) {
            blocks[i][j] = mproc_alloc(sizes[i]);
            assert_non_null(blocks[i][j]);
            assert_int_equal((uintptr_t)blocks[i][j] % 16, 0);
            if (sizes[i] && sizes[i] % 64 == 0)
                assert_int_equal((uintptr_t)blocks[i][j] % 64, 0);
            assert_true(mproc_usable_size(blocks[i][j]) >= sizes[i]);
            assert_true(mproc_is_shared(blocks[i][j]));
            memset(blocks[i][j], i * 3 + j, mproc_usable_size(blocks[i][j]));
        }
    }
    for (int i = 0; i < SIZES; i++) {
        for (int j = 0; j < 3; j++) {
            for (size_t at = 0, size = mproc_usable_size(blocks[i][j]); at < size; at++)
                if (blocks[i][j][at] != (unsigned char)(i * 3 + j))
                    fail_msg("block of %zu bytes was written to by another one", sizes[i]);
            assert_int_equal(mproc_free(blocks[i][j]), 0);
        }
    }
    assert_int_equal(in_use(), 0);
}

static void the_table_of_classes_is_right(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SPAN_CLASSES; i++) {
        const struct span_class *info = &span_classes[i];
        size_t span = info->units * UNIT_BYTES;
        assert_true(i == 0 || info->size > span_classes[i - 1].size);
        assert_true(sizeof(struct span) + info->count <= info->start);
        assert_true(info->start + (size_t)info->count * info->size <= span);
        assert_true(info->start + (size_t)(info->count + 2) * info->size > span - 4096); /* little is wasted */
        assert_int_equal(span_class_of(info->size), i);
        assert_int_equal(span_class_of(info->size - 1), i);
        for (uint32_t at = 0; at < span; at++) {
            struct span_place place;
            char *base = (char *)((uintptr_t)1 << 40);
            bool start = at >= info->start && (at - info->start) % info->size == 0 &&
                         (at - info->start) / info->size < info->count;
            assert_int_equal(span_find((struct span *)(void *)base, i, base + at, &place), start);
            if (start)
                assert_int_equal(place.index, (at - info->start) / info->size);
        }
    }
    assert_int_equal(span_classes[SPAN_CLASSES - 1].size, SPAN_SMALL_MOST);
}

static void calloc_gives_zeroes_also_where_memory_was_used(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < SIZES; i++) {
            char *block = mproc_calloc(sizes[i], 1);
            for (size_t at = 0; at < sizes[i]; at++)
                assert_int_equal(block[at], 0);
            memset(block, 1, sizes[i]);
            assert_int_equal(mproc_free(block), 0);
        }
    }
    errno = 0;
    assert_null(mproc_calloc(SIZE_MAX / 2, 3));
    assert_int_equal(errno, ENOMEM);
}

static void realloc_keeps_what_the_block_held(void **state)
{
    (void)state;
    char *block = mproc_realloc(NULL, 1);
    size_t before = 0;
    for (int i = 0; i < 2 * SIZES; i++) {
        size_t size = sizes[i < SIZES ? i : 2 * SIZES - 1 - i];
        block = mproc_realloc(block, size);
        assert_non_null(block);
        assert_true(mproc_usable_size(block) >= size);
        for (size_t at = 0; at < before && at < size; at++)
            assert_int_equal(block[at], (char)(at * 7));
        for (size_t at = 0; at < size; at++)
            block[at] = (char)(at * 7);
        before = size;
    }
    errno = 0;
    assert_null(mproc_realloc(block, SIZE_MAX / 2));
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(mproc_free(block), 0);
    errno = 0;
    assert_null(mproc_realloc(block, 10));
    assert_int_equal(errno, EINVAL);
    assert_int_equal(in_use(), 0);
}

static void alignments_are_kept(void **state)
{
    (void)state;
    for (size_t alignment = 1; alignment <= (size_t)4 << 20; alignment *= 2) {
        for (int i = 0; i < SIZES; i++) {
            void *block = mproc_aligned_alloc(alignment, sizes[i]);
            assert_non_null(block);
            assert_int_equal((uintptr_t)block % alignment, 0);
            assert_true(mproc_usable_size(block) >= sizes[i]);
            assert_int_equal(mproc_free(block), 0);
        }
    }
    const size_t wrong[] = { 0, 3, 48, 100, SIZE_MAX };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        errno = 0;
        assert_null(mproc_aligned_alloc(wrong[i], 16));
        assert_int_equal(errno, EINVAL);
    }
    errno = 0;
    assert_null(mproc_aligned_alloc((size_t)1 << 62, 16));
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(in_use(), 0);
}

/* ---- wrong use */

static void what_is_no_block_is_refused(void **state)
{
    (void)state;
    int local;
    assert_int_equal(mproc_free(NULL), 0);
    assert_int_equal(mproc_free(&local), MPROC_E_NOT_ALLOCATED); /* there is no heap yet */
    assert_int_equal(mproc_usable_size(&local), 0);
    assert_int_equal(mproc_heap_check(), 0);
    assert_false(mproc_is_shared(&local));
    assert_int_equal(mproc_disown(&local), MPROC_E_NOT_ALLOCATED);
    char *small = mproc_alloc(64), *large = mproc_alloc(200000);
    char *const wrong[] = {
        (char *)&local, small + 1,     small + 16,          small - 64,
        small + 64,     large + 16,    large + 65536,       (char *)((uintptr_t)large & ~0xffffffffUL),
        (char *)1,      (char *)-1024, large + (1UL << 41), (char *)region_existing()
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(mproc_free(wrong[i]), MPROC_E_NOT_ALLOCATED);
        assert_int_equal(mproc_usable_size(wrong[i]), 0);
        assert_int_equal(mproc_disown(wrong[i]), MPROC_E_NOT_ALLOCATED);
    }
    assert_int_equal(mproc_free(small), 0);
    assert_int_equal(mproc_free(small), MPROC_E_NOT_ALLOCATED);
    assert_int_equal(mproc_free(large), 0);
    assert_int_equal(mproc_free(large), MPROC_E_NOT_ALLOCATED);
    errno = 0;
    assert_null(mproc_alloc(SIZE_MAX));
    assert_int_equal(errno, ENOMEM);
    assert_null(mproc_alloc((size_t)1 << 45));
    assert_int_equal(mproc_heap_statistics(NULL), -EINVAL);
    struct mproc_heap_statistics statistics = { .size = 1 };
    assert_int_equal(mproc_heap_statistics(&statistics), MPROC_E_STRUCT_SIZE);
    assert_int_equal(in_use(), 0);
}

static void more_than_the_machine_has_is_refused(void **state)
{
    (void)state;
    errno = 0;
    assert_null(mproc_alloc(2 * os_memory_available()));
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(in_use(), 0);
}

/* ---- limits and figures */

static void a_full_heap_says_so_and_works_on(void **state)
{
    (void)state;
    assert_int_equal(mproc_heap_set_limit((size_t)10 << 20), 0);
    void **chain = NULL;
    size_t bytes = 0;
    for (void **block; (block = mproc_alloc(5000)); chain = block, bytes += 5000)
        *block = chain;
    assert_int_equal(errno, ENOMEM);
    assert_true(bytes > (size_t)8 << 20 && bytes <= (size_t)10 << 20);
    assert_true(high_water() <= (size_t)10 << 20);
    assert_null(mproc_alloc((size_t)1 << 20));
    while (chain) {
        void **next = *chain;
        assert_int_equal(mproc_free(chain), 0);
        chain = next;
    }
    char *all = mproc_alloc((size_t)8 << 20); /* empty spans make room for something else */
    assert_non_null(all);
    memset(all, 1, (size_t)8 << 20);
    mproc_free(all);
    assert_int_equal(mproc_heap_set_limit(0), 0);
    all = mproc_alloc((size_t)20 << 20);
    assert_non_null(all);
    mproc_free(all);
}

static void a_small_address_space_is_filled_without_a_signal(void **state)
{
    (void)state;
    if (OS_ADDRESS_SANITIZER)
        harness_skip("AddressSanitizer itself needs the address space");
    struct rlimit limit = { (rlim_t)160 << 20, (rlim_t)160 << 20 };
    setrlimit(RLIMIT_AS, &limit);
    harness_restart_with("SMALL_ADDRESS_SPACE", "1");
    size_t blocks = 0;
    for (char *block; (block = mproc_alloc(1000)); blocks++)
        memset(block, 1, 1000);
    assert_int_equal(errno, ENOMEM);
    assert_true(blocks > 1000);
    harness_leaves_memory(); /* its blocks stay */
}

static void hold_some(void *ready)
{
    mproc_alloc(1000);
    mproc_alloc(100000);
    *(_Atomic int *)ready = 1;
    pause();
}

static void statistics_tell_by_process(void **state)
{
    (void)state;
    _Atomic int *ready = mproc_calloc(1, sizeof *ready);
    char *mine = mproc_alloc(300);
    pid_t pid = fork();
    if (pid == 0)
        hold_some(ready);
    while (!*ready)
        harness_sleep_ms(1);
    struct mproc_heap_statistics statistics = { .size = sizeof statistics };
    assert_int_equal(mproc_heap_statistics(&statistics), 0);
    assert_int_equal(statistics.processes, 2);
    assert_int_equal(statistics.blocks_in_use, 4);
    assert_int_equal(statistics.bytes_in_use, 16 + 320 + 1024 + 131072);
    assert_true(statistics.reserved >= statistics.limit && statistics.limit >= statistics.high_water);
    assert_true(statistics.high_water >= statistics.bytes_in_use);
    assert_int_equal(mproc_heap_bytes_of(pid), 1024 + 131072);
    assert_int_equal(mproc_heap_bytes_of(getpid()), 16 + 320);
    assert_int_equal(mproc_heap_bytes_of(0), 0);
    assert_int_equal(mproc_heap_bytes_of(1), 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_int_equal(mproc_heap_bytes_of(pid), 0);
    assert_int_equal(mproc_heap_bytes_of(0), 1024 + 131072);
    mproc_free(mine);
    mproc_free((void *)ready);
    harness_leaves_memory(); /* the dead one's blocks stay */
}

static size_t resident(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    assert_int_equal(fscanf(file, "%*s %*s %lu", &pages), 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void trimming_gives_memory_back(void **state)
{
    (void)state;
    size_t size = (size_t)32 << 20, before = resident();
    char *block = mproc_alloc(size);
    assert_true(resident() < before + size / 2); /* pages come at first touch */
    memset(block, 1, size);
    mproc_free(block);
    assert_true(resident() > before + size / 2);
    assert_true(mproc_heap_trim() >= size);
    assert_true(resident() < before + size / 2);
}

/* ---- debug mode */

static char report[4096];

/* Runs a function with standard error in a file, and reads that. */
static void with_report(void (*run)(void))
{
    FILE *file = tmpfile();
    int saved = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    run();
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(file);
    size_t length = fread(report, 1, sizeof report - 1, file);
    report[length] = '\0';
    fclose(file);
}

static char *debugged;

static void free_debugged(void)
{
    mproc_free(debugged);
}

static void check_debugged(void)
{
    assert_int_equal(mproc_heap_check(), 1);
}

static void expect_report(const char *what)
{
    char pid[32];
    snprintf(pid, sizeof pid, "process %d", (int)getpid());
    if (!strstr(report, what) || !strstr(report, pid))
        fail_msg("'%s' and '%s' are not in the report: %s", what, pid, report);
}

static void debug_mode_reports_what_is_damaged(void **state)
{
    (void)state;
    harness_restart_with("MPROC_HEAP_DEBUG", "1");
    debugged = mproc_alloc(100);
    assert_int_equal(mproc_usable_size(debugged), 100);
    assert_int_equal((unsigned char)debugged[99], 0xa5);
    with_report(free_debugged);
    assert_string_equal(report, "");
    with_report(free_debugged);
    expect_report("freed already");
    assert_int_equal((unsigned char)debugged[99], 0xdd);

    debugged = mproc_alloc(100);
    debugged[100] = 1;
    with_report(check_debugged);
    expect_report("past its end");
    with_report(free_debugged);
    expect_report("past its end");

    debugged = mproc_alloc(100000);
    debugged[-1] = 1;
    with_report(free_debugged);
    expect_report("bytes before block");

    debugged = mproc_aligned_alloc(4096, 50);
    assert_int_equal((uintptr_t)debugged % 4096, 0);
    debugged = mproc_realloc(debugged, 5000);
    debugged = mproc_realloc(debugged, 10);
    with_report(free_debugged);
    assert_string_equal(report, "");
    debugged++;
    with_report(free_debugged);
    expect_report("no block of the heap");
    int *zeroes = mproc_calloc(10, sizeof *zeroes);
    assert_int_equal(zeroes[9], 0);
    mproc_free(zeroes);
    assert_int_equal(in_use(), 0);
}

static void own_debugged_and_die(void *where)
{
    mproc_publish_at(where, mproc_alloc_owned(100));
    mproc_alloc_owned(100);
    raise(SIGKILL);
}

static void debug_mode_does_not_change_who_owns_what(void **state)
{
    (void)state;
    harness_restart_with("MPROC_HEAP_DEBUG", "1");
    char **where = mproc_calloc(1, sizeof *where);
    in_child(own_debugged_and_die, where);
    struct mproc_heap_statistics statistics = { .size = sizeof statistics };
    mproc_heap_statistics(&statistics);
    assert_int_equal(statistics.blocks_in_use, 2);
    assert_int_equal(mproc_free(*where), 0);
    assert_int_equal(mproc_free(where), 0);
}

static void use_after_free(void *block)
{
    close(STDERR_FILENO);
    mproc_free(block);
    *(volatile char *)block = 1;
}

static void address_sanitizer_knows_the_heap(void **state)
{
    (void)state;
    if (!OS_ADDRESS_SANITIZER)
        harness_skip("not built with AddressSanitizer");
    pid_t pid = fork();
    if (pid == 0) {
        use_after_free(mproc_alloc(100));
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_not_equal(status, 0);
    harness_leaves_memory(); /* the report may come before the block is free */
}

/* ---- values and arrays */

static void values_and_arrays_are_zeroed_and_have_a_lock(void **state)
{
    (void)state;
    int *value = mproc_value(int);
    double *array = mproc_array(double, 1000);
    long *raw = mproc_raw_value(long);
    char *raw_array = mproc_raw_array(char, 100000);
    assert_int_equal(*value, 0);
    assert_int_equal(*raw, 0);
    for (int i = 0; i < 1000; i++)
        assert_true(array[i] == 0.0);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(raw_array[i], 0);
    assert_int_equal((uintptr_t)array % 64, 0);
    assert_int_equal(mproc_value_count(array), 1000);
    assert_int_equal(mproc_value_count(value), 1);
    assert_int_equal(mproc_value_count(raw), 0);
    assert_null(mproc_value_lock(raw));
    assert_null(mproc_value_lock(NULL));
    assert_null(mproc_value_lock(&state));
    mproc_rlock *lock = mproc_value_lock(value);
    assert_int_equal(mproc_rlock_acquire(lock, 0), 0);
    assert_int_equal(mproc_rlock_acquire(lock, 0), 0);
    assert_int_equal(mproc_rlock_release(lock), 0);
    assert_int_equal(mproc_rlock_release(lock), 0);
    assert_int_equal(mproc_value_free(raw), MPROC_E_NOT_ALLOCATED);
    assert_int_equal(mproc_value_free(value), 0);
    assert_int_equal(mproc_value_free(value), MPROC_E_NOT_ALLOCATED);
    assert_int_equal(mproc_value_free(array), 0);
    assert_int_equal(mproc_value_free(NULL), 0);
    assert_null(mproc_value_allocate(SIZE_MAX, 2));
    mproc_free(raw);
    mproc_free(raw_array);
    assert_int_equal(in_use(), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(blocks_of_every_size_are_aligned_and_apart),
    cmocka_unit_test(the_table_of_classes_is_right),
    cmocka_unit_test(calloc_gives_zeroes_also_where_memory_was_used),
    cmocka_unit_test(realloc_keeps_what_the_block_held),
    cmocka_unit_test(alignments_are_kept),
    cmocka_unit_test(what_is_no_block_is_refused),
    cmocka_unit_test(more_than_the_machine_has_is_refused),
    cmocka_unit_test(a_full_heap_says_so_and_works_on),
    cmocka_unit_test(a_small_address_space_is_filled_without_a_signal),
    cmocka_unit_test(statistics_tell_by_process),
    cmocka_unit_test(trimming_gives_memory_back),
    cmocka_unit_test(debug_mode_reports_what_is_damaged),
    cmocka_unit_test(debug_mode_does_not_change_who_owns_what),
    cmocka_unit_test(address_sanitizer_knows_the_heap),
    cmocka_unit_test(values_and_arrays_are_zeroed_and_have_a_lock),
};

HARNESS_MAIN(tests)
