/* The heap's public calls in several processes and threads, which may die. SPDX-License-Identifier: MIT */
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

enum { ORPHANS = 40000 };

static void allocate_orphans(void *blocks)
{
    for (int i = 0; i < ORPHANS; i++)
        ((void **)blocks)[i] = mproc_alloc(240);
}

/* However often it was swept in between. */
static void what_dead_processes_allocated_serves_other_sizes_once_it_is_freed(void **state)
{
    (void)state;
    assert_int_equal(mproc_heap_set_limit((size_t)16 << 20), 0);
    void **blocks = mproc_alloc(ORPHANS * sizeof *blocks);
    assert_int_equal(in_child(allocate_orphans, blocks), 0);
    assert_true(in_use() > (size_t)9 << 20);
    for (int i = 0; i < ORPHANS; i++)
        assert_int_equal(mproc_free(blocks[i]), 0);
    void *large = mproc_alloc((size_t)12 << 20);
    assert_non_null(large);
    assert_int_equal(mproc_free(large), 0);
    assert_int_equal(mproc_free(blocks), 0);
    assert_int_equal(mproc_heap_set_limit(0), 0);
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
        if (i % 2 == 1 && mproc_disown(mproc_realloc(block, sizes[i] + 1)) != 0)
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
    assert_int_equal(mproc_publish_at(NULL, slots), -EINVAL);
    assert_int_equal(mproc_publish_at((char *)slots + 3, slots), -EINVAL);
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
    mproc_lock lock;
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

/* This program again, with one argument: where to find a block. */
static void in_another_program(void **state)
{
    (void)state;
    const char *address = getenv("BLOCK");
    if (address) { /* the other program */
        struct shared_cell *cell = (struct shared_cell *)strtoull(address, NULL, 16);
        if (mproc_family_check() != 0 || !mproc_is_shared(cell) || getenv("MPROC_FAMILY") ||
            mproc_lock_acquire(&cell->lock, 0) != -ETIMEDOUT)
            _exit(1);
        allocate_into(cell);
        _exit(mproc_free(mproc_alloc(100000)) == 0 ? 42 : 2);
    }
    struct shared_cell *cell = mproc_calloc(1, sizeof *cell);
    mproc_lock_acquire(&cell->lock, 0);
    for (int lost = 0; lost < 2; lost++) {
        pid_t pid = fork();
        if (pid == 0) {
            char text[32];
            snprintf(text, sizeof text, "%llx", (unsigned long long)(uintptr_t)cell);
            setenv("BLOCK", text, 1);
            if (mproc_family_keep() != 0)
                _exit(3);
            if (lost)
                close(region_descriptor());
            harness_restart_with("ANOTHER_PROGRAM", "1");
        }
        int status;
        waitpid(pid, &status, 0);
        assert_int_equal(WEXITSTATUS(status), lost ? 1 : 42);
    }
    assert_string_equal(cell->block, "hello");
    assert_int_equal(mproc_free(cell->block), 0);
    assert_int_equal(mproc_lock_release(&cell->lock), 0);
    assert_int_equal(mproc_free(cell), 0);
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

static void fill_page(uintptr_t *lines)
{
    for (int i = 0; i < 50; i++)
        lines[i] = (uintptr_t)mproc_alloc(16) / 64;
}

static void processes_share_no_cache_line_by_allocating(void **state)
{
    (void)state;
    uintptr_t *lines = mproc_alloc(sizeof(uintptr_t) * 100);
    _Atomic int *over = mproc_calloc(1, sizeof *over);
    pid_t pid = fork();
    if (pid == 0) {
        fill_page(lines);
        while (!*over) /* what the dead leave may be shared */
            harness_sleep_ms(1);
        _exit(0);
    }
    fill_page(lines + 50);
    *over = 1;
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

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(another_process_sees_and_frees),
    cmocka_unit_test(blocks_outlive_the_process_that_allocated_them),
    cmocka_unit_test(what_a_dead_process_owned_is_swept_and_used_again),
    cmocka_unit_test(what_dead_processes_allocated_serves_other_sizes_once_it_is_freed),
    cmocka_unit_test(what_was_published_stays),
    cmocka_unit_test(spans_of_ended_threads_are_used_again),
    cmocka_unit_test(places_of_ended_processes_are_used_again),
    cmocka_unit_test(a_child_of_any_fork_is_somebody_else),
    cmocka_unit_test(a_child_forked_before_the_first_use_shares_the_heap),
    cmocka_unit_test(in_another_program),
    cmocka_unit_test(many_threads_may_come_and_go_in_a_small_heap),
    cmocka_unit_test(a_process_killed_while_it_fills_a_block_leaves_none),
    cmocka_unit_test(memory_that_is_locked_is_not_taken_for_zeroes),
    cmocka_unit_test(processes_share_no_cache_line_by_allocating),
    cmocka_unit_test(processes_and_threads_that_churn_do_not_meet),
};

HARNESS_MAIN(tests)
