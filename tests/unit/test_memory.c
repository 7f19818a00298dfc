/* The heap's public calls. SPDX-License-Identifier: MIT */
#include "harness.h"

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

static size_t in_use(void)
{
    struct mproc_heap_statistics statistics = { .size = sizeof statistics };
    assert_int_equal(mproc_heap_statistics(&statistics), 0);
    return statistics.bytes_in_use;
}

static size_t high_water(void)
{
    struct mproc_heap_statistics statistics = { .size = sizeof statistics };
    assert_int_equal(mproc_heap_statistics(&statistics), 0);
    return statistics.high_water;
}

/* Runs a function in a child and returns its wait status. */
static int in_child(void (*run)(void *), void *argument)
{
    pid_t pid = fork();
    if (pid == 0) {
        run(argument);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* ---- sizes */

static const size_t sizes[] = { 0,      1,     15,    16,    17,    63,    64,    65,     100,     127,
                                128,    129,   250,   1000,  1024,  1025,  4095,  4096,   5000,    8192,
                                10000,  16384, 20000, 32768, 32769, 65536, 65537, 100000, 1 << 20, (1 << 20) + 1,
                                5 << 20 };
enum { SIZES = sizeof sizes / sizeof *sizes };

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
    assert_int_equal(mproc_publish(NULL, &local), MPROC_E_NOT_ALLOCATED);
    char *small = mproc_alloc(64), *large = mproc_alloc(200000);
    char *const wrong[] = {
        (char *)&local, small + 1,     small + 16,          small - 64,
        small + 64,     large + 16,    large + 65536,       (char *)((uintptr_t)large & ~0xffffffffUL),
        (char *)1,      (char *)-1024, large + (1UL << 41), (char *)region_existing()
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(mproc_free(wrong[i]), MPROC_E_NOT_ALLOCATED);
        assert_int_equal(mproc_usable_size(wrong[i]), 0);
        assert_int_equal(mproc_publish(NULL, wrong[i]), MPROC_E_NOT_ALLOCATED);
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

/* ---- several processes and threads */

static void free_all(void *argument)
{
    char **blocks = argument;
    for (int i = 0; i < SIZES; i++)
        if (blocks[i][0] != 1 || mproc_free(blocks[i]) != 0)
            _exit(1);
}

static void another_process_sees_and_frees(void **state)
{
    (void)state;
    char *blocks[SIZES];
    for (int i = 0; i < SIZES; i++) {
        blocks[i] = mproc_alloc(sizes[i]);
        blocks[i][0] = 1;
    }
    assert_int_equal(in_child(free_all, blocks), 0);
    assert_int_equal(in_use(), 0);
    for (int i = 0; i < SIZES; i++)
        assert_int_equal(mproc_free(blocks[i]), MPROC_E_NOT_ALLOCATED);
}

struct node {
    struct node *next;
    int value;
};

static void push_and_die(void *list)
{
    for (int i = 0; i < 1000; i++) {
        struct node *node = mproc_alloc(sizeof *node);
        *node = (struct node) { *(struct node **)list, i };
        *(struct node **)list = node;
    }
    raise(SIGKILL);
}

static void blocks_outlive_the_process_that_allocated_them(void **state)
{
    (void)state;
    struct node **list = mproc_calloc(1, sizeof *list);
    for (int child = 0; child < 5; child++)
        assert_true(WIFSIGNALED(in_child(push_and_die, list)));
    assert_int_equal(in_use(), 5 * 1000 * 16 + 16);
    assert_int_equal(mproc_heap_bytes_of(0), 5 * 1000 * 16);
    for (int i = 0; *list; i++) {
        struct node *node = *list;
        assert_int_equal(node->value, 999 - i % 1000);
        *list = node->next;
        assert_int_equal(mproc_free(node), 0);
    }
    mproc_free(list);
    assert_int_equal(in_use(), 0);
}

static void own_and_die(void *unused)
{
    (void)unused;
    for (int i = 0; i < SIZES; i++)
        *(char *)mproc_alloc_owned(sizes[i]) = 1;
    raise(SIGKILL);
}

static void what_a_dead_process_owned_is_swept_and_used_again(void **state)
{
    (void)state;
    mproc_free(mproc_alloc(1));
    in_child(own_and_die, NULL);
    assert_int_equal(in_use(), 0);
    size_t before = high_water();
    for (int child = 0; child < 50; child++)
        in_child(own_and_die, NULL);
    assert_int_equal(in_use(), 0);
    assert_true(high_water() <= 2 * before);
    char *mine = mproc_alloc_owned(100);
    assert_int_equal(in_use(), 112); /* the living keep theirs */
    mproc_free(mine);
}

struct slots {
    void *slot[SIZES];
};

static void publish_and_die(void *argument)
{
    struct slots *slots = argument;
    for (int i = 0; i < SIZES; i++) {
        char *block = mproc_alloc_owned(sizes[i]);
        *block = (char)i;
        if (i % 2 == 0 && mproc_publish(&slots->slot[i], block) != 0)
            _exit(1);
        if (i % 2 == 1 && mproc_publish(NULL, mproc_realloc(block, sizes[i] + 1)) != 0)
            _exit(1);
    }
    raise(SIGKILL);
}

static void what_was_published_stays(void **state)
{
    (void)state;
    struct slots *slots = mproc_calloc(1, sizeof *slots);
    assert_true(WIFSIGNALED(in_child(publish_and_die, slots)));
    struct mproc_heap_statistics statistics = { .size = sizeof statistics };
    assert_int_equal(mproc_heap_statistics(&statistics), 0);
    assert_int_equal(statistics.blocks_in_use, SIZES + 1);
    for (int i = 0; i < SIZES; i += 2) {
        assert_int_equal(*(char *)slots->slot[i], i);
        assert_int_equal(mproc_free(slots->slot[i]), 0);
    }
    void *local;
    assert_int_equal(mproc_publish(&local, slots), -EINVAL);
    mproc_free(slots);
    harness_leaves_memory(); /* the other half was published with nobody to know where: it stays, as it should */
}

static void *allocate_here(void *unused)
{
    (void)unused;
    char *blocks[100];
    for (int i = 0; i < 100; i++)
        blocks[i] = mproc_alloc((size_t)i * 50);
    for (int i = 0; i < 99; i++)
        mproc_free(blocks[i]);
    return blocks[99];
}

static void spans_of_ended_threads_are_used_again(void **state)
{
    (void)state;
    size_t first = 0;
    for (int round = 0; round < 300; round++) {
        pthread_t thread;
        void *left;
        assert_int_equal(pthread_create(&thread, NULL, allocate_here, NULL), 0);
        pthread_join(thread, &left);
        assert_int_equal(mproc_free(left), 0);
        if (round == 3)
            first = high_water();
    }
    assert_int_equal(in_use(), 0);
    assert_true(high_water() <= 2 * first);
    assert_true(atomic_load(&region_existing()->members_used) < 10);
}

static void become_member(void *unused)
{
    (void)unused;
    mproc_free(mproc_alloc(1));
    kill(getpid(), SIGKILL);
}

static void places_of_ended_processes_are_used_again(void **state)
{
    (void)state;
    mproc_free(mproc_alloc(1));
    for (int i = 0; i < 200; i++)
        in_child(become_member, NULL);
    assert_true(atomic_load(&region_existing()->members_used) < 10);
}

static void *become_member_in_thread(void *unused)
{
    (void)unused;
    return mproc_alloc(1);
}

/* In a heap that is so small that there are few places. */
static void many_threads_may_come_and_go_in_a_small_heap(void **state)
{
    (void)state;
    if (OS_ADDRESS_SANITIZER)
        harness_skip("AddressSanitizer itself needs the address space");
    struct rlimit limit = { (rlim_t)160 << 20, (rlim_t)160 << 20 };
    setrlimit(RLIMIT_AS, &limit);
    harness_restart_with("SMALL_ADDRESS_SPACE", "1");
    uint32_t places = region_existing()->geometry.members_most;
    assert_true(places < 1000);
    for (uint32_t i = 0; i < 3 * places; i++) {
        pthread_t thread;
        void *block;
        assert_int_equal(pthread_create(&thread, NULL, become_member_in_thread, NULL), 0);
        pthread_join(thread, &block);
        assert_non_null(block);
        assert_int_equal(mproc_free(block), 0);
    }
}

struct shared_cell {
    _Atomic(char *) block;
};

static void allocate_into(void *cell)
{
    char *block = mproc_alloc(100);
    strcpy(block, "hello");
    ((struct shared_cell *)cell)->block = block;
}

static void a_child_forked_before_the_first_use_shares_the_heap(void **state)
{
    (void)state;
    struct shared_cell *cell = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(in_child(allocate_into, cell), 0);
    assert_string_equal(cell->block, "hello");
    assert_int_equal(mproc_free(cell->block), 0);
    munmap(cell, 4096);
}

static void calloc_much(void *ready)
{
    *(_Atomic int *)ready = 1;
    for (;;)
        mproc_free(mproc_calloc(1, (size_t)16 << 20));
}

static void a_process_killed_while_it_fills_a_block_leaves_none(void **state)
{
    (void)state;
    _Atomic int *ready = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int round = 0; round < 20; round++) {
        *ready = 0;
        pid_t pid = fork();
        if (pid == 0)
            calloc_much((void *)ready);
        while (!*ready)
            harness_sleep_ms(1);
        harness_sleep_ms(10 + round % 7);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    munmap((void *)ready, 4096);
    /* A kill between the last store and the next call is rare, and leaves a block of the family's, as it should. */
    assert_true(in_use() <= (size_t)16 << 20);
    harness_leaves_memory();
}

static void memory_that_is_locked_is_not_taken_for_zeroes(void **state)
{
    (void)state;
    size_t size = (size_t)100 << 20;
    if (mlockall(MCL_CURRENT | MCL_ONFAULT) != 0)
        harness_skip("this user may not lock memory");
    char *block = mproc_alloc(size);
    memset(block, 1, size);
    mproc_free(block);
    block = mproc_calloc(size, 1);
    for (size_t at = 0; at < size; at += 4096)
        assert_int_equal(block[at], 0);
    mproc_free(block);
    munlockall();
}

/* By the bare system call, which tells no handler. */
static void a_child_of_any_fork_is_somebody_else(void **state)
{
    (void)state;
    member_id mine = member_self()->id;
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0L);
    if (pid == 0) {
        bool other = !member_current() && member_self()->id != mine && member_is_alive(mine) &&
                     member_pid(mine) == getppid() && member_self()->process_id != mine;
        syscall(SYS_exit_group, other ? 0 : 1);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    assert_true(member_current() && member_self()->id == mine);
}

static void fill_page(void *argument)
{
    uintptr_t *pages = argument;
    for (int i = 0; i < 50; i++)
        pages[i] = (uintptr_t)mproc_alloc(16) / 64;
    harness_sleep_ms(50);
}

static void processes_share_no_cache_line_by_allocating(void **state)
{
    (void)state;
    uintptr_t *lines = mproc_alloc(sizeof(uintptr_t) * 100);
    pid_t pid = fork();
    if (pid == 0) {
        fill_page(lines);
        _exit(0);
    }
    fill_page(lines + 50);
    waitpid(pid, NULL, 0);
    for (int i = 0; i < 50; i++)
        for (int j = 50; j < 100; j++)
            assert_int_not_equal(lines[i], lines[j]);
    harness_leaves_memory(); /* its blocks stay */
}

enum { PROCESSES = 4, ROUNDS = 20000, HELD = 64 };

static void churn(void *argument)
{
    unsigned seed = *(unsigned *)argument;
    struct {
        unsigned char *block;
        size_t size;
    } held[HELD] = { { NULL, 0 } };
    for (int round = 0; round < ROUNDS; round++) {
        int i = rand_r(&seed) % HELD;
        for (size_t at = 0; held[i].block && at < held[i].size; at += 61)
            if (held[i].block[at] != (unsigned char)(*(unsigned *)argument + (unsigned)i))
                _exit(1);
        if (held[i].block && mproc_free(held[i].block) != 0)
            _exit(2);
        held[i].size = (size_t)rand_r(&seed) % (round % 50 == 0 ? 200000 : 3000);
        held[i].block = mproc_alloc(held[i].size);
        if (!held[i].block)
            _exit(3);
        memset(held[i].block, (int)(*(unsigned *)argument + (unsigned)i), held[i].size);
    }
    for (int i = 0; i < HELD; i++)
        mproc_free(held[i].block);
}

static void *churn_thread(void *argument)
{
    churn(argument);
    return NULL;
}

static void processes_and_threads_that_churn_do_not_meet(void **state)
{
    (void)state;
    mproc_free(mproc_alloc(1));
    unsigned seeds[2 * PROCESSES];
    for (int p = 0; p < PROCESSES; p++) {
        if (fork() != 0)
            continue;
        pthread_t thread;
        seeds[2 * p] = (unsigned)(2 * p);
        seeds[2 * p + 1] = (unsigned)(2 * p + 1);
        pthread_create(&thread, NULL, churn_thread, &seeds[2 * p]);
        churn(&seeds[2 * p + 1]);
        pthread_join(thread, NULL);
        _exit(0);
    }
    for (int status, p = 0; p < PROCESSES; p++) {
        wait(&status);
        assert_int_equal(status, 0);
    }
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
    mproc_publish(where, mproc_alloc_owned(100));
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
    cmocka_unit_test(another_process_sees_and_frees),
    cmocka_unit_test(blocks_outlive_the_process_that_allocated_them),
    cmocka_unit_test(what_a_dead_process_owned_is_swept_and_used_again),
    cmocka_unit_test(what_was_published_stays),
    cmocka_unit_test(spans_of_ended_threads_are_used_again),
    cmocka_unit_test(places_of_ended_processes_are_used_again),
    cmocka_unit_test(a_child_of_any_fork_is_somebody_else),
    cmocka_unit_test(a_child_forked_before_the_first_use_shares_the_heap),
    cmocka_unit_test(many_threads_may_come_and_go_in_a_small_heap),
    cmocka_unit_test(a_process_killed_while_it_fills_a_block_leaves_none),
    cmocka_unit_test(memory_that_is_locked_is_not_taken_for_zeroes),
    cmocka_unit_test(processes_share_no_cache_line_by_allocating),
    cmocka_unit_test(processes_and_threads_that_churn_do_not_meet),
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
