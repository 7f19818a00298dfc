/* The heap, with a process killed at each machine instruction of an operation. SPDX-License-Identifier: MIT
 *
 * After each kill the survivors can allocate and free blocks of any size, nothing that the dead one owned is left, and
 * what others have is untouched.
 */
#include "steps.h"

#include "memory/member.h"
#include "memory/sweep.h"
#include "memory/units.h"

#include <mproc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LARGE = 200000 };

/* In the heap. */
struct world {
    mproc_lock lock;
    char *small, *large, *where;
    struct mproc_bytes result, large_result;
};

static struct world *world;
static size_t baseline; /* bytes in use before each point */

static size_t in_use(void)
{
    struct mproc_heap_statistics statistics = { .size = sizeof statistics };
    assert_int_equal(mproc_heap_statistics(&statistics), 0);
    return statistics.bytes_in_use;
}

static void begin(void)
{
    world = mproc_calloc(1, sizeof *world);
    assert_non_null(world);
    baseline = in_use();
}

static void end(void)
{
    mproc_free(world);
    assert_int_equal(in_use(), 0);
}

/* Blocks can be had, are apart, and can be given back. */
static void use_heap(void)
{
    static const size_t sizes[] = { 16, 64, 64, 1000, 5000, LARGE };
    char *blocks[6];
    for (int i = 0; i < 6; i++) {
        blocks[i] = mproc_alloc(sizes[i]);
        assert_non_null(blocks[i]);
        memset(blocks[i], i, sizes[i]);
    }
    for (int i = 0; i < 6; i++) {
        for (size_t at = 0; at < sizes[i]; at += 13)
            assert_int_equal(blocks[i][at], i);
        assert_int_equal(mproc_free(blocks[i]), 0);
    }
}

/* Every unit is free or in a block, whoever was killed. */
static void check_table(void)
{
    struct region *region = region_existing();
    for (uint32_t unit = region->geometry.first_unit; unit < atomic_load(&region->used_end);) {
        uint64_t word = atomic_load(&region->table[unit]);
        assert_true(unit_state(word) == UNIT_FREE || unit_state(word) == UNIT_BLOCK || unit_state(word) == UNIT_SPAN);
        unit += unit_state(word) == UNIT_FREE ? 1 : unit_count(word);
    }
}

/* `most`: bytes that the dead one may have got for the family with nobody to know where. */
static void check_heap(size_t most)
{
    size_t now = in_use();
    if (now < baseline || now > baseline + most)
        fail_msg("%zu bytes are in use, before there were %zu", now, baseline);
    check_table();
    use_heap();
    assert_int_equal(in_use(), now);
    baseline = now;
}

static void check_nothing_left(bool whole)
{
    (void)whole;
    check_heap(0);
}

static void join_heap(void)
{
    mproc_free(mproc_alloc(16));
}

/* ---- allocating */

static void allocate_owned(void)
{
    char *block = mproc_alloc_owned(64);
    *block = 1;
}

static void allocate_owned_large(void)
{
    char *block = mproc_alloc_owned(LARGE);
    *block = 1;
}

static void allocate_owned_and_free(void)
{
    char *blocks[3] = { mproc_alloc_owned(64), mproc_alloc_owned(3000), mproc_alloc_owned(LARGE) };
    for (int i = 0; i < 3; i++)
        mproc_free(blocks[i]);
}

static void allocate_for_family(void)
{
    char *block = mproc_alloc(64);
    *block = 1;
}

static void check_one_for_family(bool whole)
{
    (void)whole;
    check_heap(64);
    assert_true(mproc_heap_bytes_of(0) <= baseline);
}

static void reallocate(void)
{
    char *block = mproc_alloc_owned(64);
    block = mproc_realloc(block, 5000);
    block = mproc_realloc(block, LARGE);
    *block = 1;
}

static void allocate_aligned_value(void)
{
    int *value = mproc_value(int);
    mproc_value_free(value);
}

static void check_one_value(bool whole)
{
    (void)whole;
    check_heap(128);
}

static int churn(void)
{
    for (int i = 0; i < 3; i++) {
        char *small = mproc_alloc(64), *large = mproc_alloc(LARGE);
        if (!small || !large)
            return 1;
        memset(small, 1, 64);
        large[0] = large[LARGE - 1] = 2;
        if (small[63] != 1 || mproc_free(small) != 0 || mproc_free(large) != 0)
            return 2;
    }
    return 0;
}

/* ---- freeing what another process allocated */

static void give_blocks(void)
{
    world->small = mproc_alloc(64);
    world->large = mproc_alloc(LARGE);
    assert_true(world->small && world->large);
}

static void free_small(void)
{
    mproc_free(world->small);
}

static void free_large(void)
{
    mproc_free(world->large);
}

/* Whatever was freed is free; whatever was not can be. */
static void check_freed(bool whole)
{
    in_use();
    int small = mproc_free(world->small), large = mproc_free(world->large);
    assert_true(small == 0 || small == MPROC_E_NOT_ALLOCATED);
    assert_true(large == 0 || large == MPROC_E_NOT_ALLOCATED);
    assert_true(!whole || small != 0 || large != 0);
    check_heap(0);
}

/* ---- results of any length, which survivors of a worker free again */

static void give_results(void)
{
    world->result = world->large_result = (struct mproc_bytes) { NULL, 0 };
    assert_non_null(mproc_bytes_allocate(&world->result, 1000));
    assert_non_null(mproc_bytes_allocate(&world->large_result, LARGE));
}

static void free_result(void)
{
    mproc_bytes_free(&world->result);
}

static void free_large_result(void)
{
    mproc_bytes_free(&world->large_result);
}

static void allocate_result_again(void)
{
    mproc_bytes_allocate(&world->result, 3000);
}

static void check_results(bool whole)
{
    (void)whole;
    assert_int_equal(mproc_bytes_free(&world->result), 0);
    assert_int_equal(mproc_bytes_free(&world->large_result), 0);
    assert_null(world->result.data);
    assert_null(world->large_result.data);
    check_heap(0);
}

/* ---- publishing */

static void clear_where(void)
{
    world->where = NULL;
}

static void publish(void)
{
    mproc_lock_acquire(&world->lock, MPROC_FOREVER);
    char *block = mproc_alloc_owned(64);
    strcpy(block, "ready");
    mproc_publish(&world->where, block);
    mproc_lock_release(&world->lock);
}

static int take_published(void)
{
    int result = mproc_lock_acquire(&world->lock, MPROC_FOREVER);
    if (result != 0 && result != MPROC_E_OWNER_DIED)
        return 1;
    if (result != 0)
        mproc_lock_mark_consistent(&world->lock);
    char *block = world->where;
    world->where = NULL;
    mproc_lock_release(&world->lock);
    if (block && (strcmp(block, "ready") != 0 || mproc_free(block) != 0))
        return 2;
    return 0;
}

static void check_published(bool whole)
{
    (void)whole;
    harness_sleep_ms(1); /* the survivor may still be at it */
    assert_int_equal(take_published(), 0);
    for (int i = 0; i < STEPS_LIMIT && in_use() != baseline; i++)
        harness_sleep_ms(1);
    check_heap(0);
}

/* ---- sweeping */

static void join_and_leave_rubbish(void)
{
    join_heap();
    pid_t pid = fork();
    if (pid == 0) {
        mproc_alloc_owned(64);
        mproc_alloc_owned(3000);
        mproc_alloc_owned(LARGE);
        raise(SIGKILL);
    }
    waitpid(pid, NULL, 0);
}

static void sweep(void)
{
    sweep_dead(region_existing(), member_self());
}

static void fill_and_trim(void)
{
    for (int i = 0; i < 3; i++)
        mproc_free(mproc_alloc_owned((size_t)1000 << (2 * i)));
    mproc_heap_trim();
}

/* ---- */

static void every_operation_on_the_heap(void **state)
{
    (void)state;
    const struct steps all[] = {
        { .name = "allocate", .ready = join_heap, .operation = allocate_owned, .check = check_nothing_left },
        { .name = "allocate, large",
          .ready = join_heap,
          .operation = allocate_owned_large,
          .check = check_nothing_left },
        { .name = "allocate and free",
          .ready = join_heap,
          .operation = allocate_owned_and_free,
          .check = check_nothing_left },
        { .name = "allocate for the family",
          .ready = join_heap,
          .operation = allocate_for_family,
          .check = check_one_for_family },
        { .name = "reallocate", .ready = join_heap, .operation = reallocate, .check = check_nothing_left },
        { .name = "allocate and free a value",
          .ready = join_heap,
          .operation = allocate_aligned_value,
          .check = check_one_value },
        { .name = "allocate, another one too",
          .ready = join_heap,
          .operation = allocate_owned_and_free,
          .survive = churn,
          .check = NULL },
        { .name = "free another's block",
          .prepare = give_blocks,
          .ready = join_heap,
          .operation = free_small,
          .check = check_freed },
        { .name = "free another's large block",
          .prepare = give_blocks,
          .ready = join_heap,
          .operation = free_large,
          .check = check_freed },
        { .name = "free a result",
          .prepare = give_results,
          .ready = join_heap,
          .operation = free_result,
          .check = check_results },
        { .name = "free a large result",
          .prepare = give_results,
          .ready = join_heap,
          .operation = free_large_result,
          .check = check_results },
        { .name = "allocate a result again",
          .prepare = give_results,
          .ready = join_heap,
          .operation = allocate_result_again,
          .check = check_results },
        { .name = "publish",
          .prepare = clear_where,
          .ready = join_heap,
          .operation = publish,
          .survive = take_published,
          .check = check_published },
        { .name = "sweep", .ready = join_and_leave_rubbish, .operation = sweep, .check = check_nothing_left },
        { .name = "trim", .ready = join_heap, .operation = fill_and_trim, .check = check_nothing_left },
    };
    begin();
    long points = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        bool is_long = all[i].operation == sweep || all[i].operation == fill_and_trim; /* looks at every block */
        long often = all[i].operation == free_result || all[i].operation == free_large_result ? stepper_stride(5)
                                                                                              : stepper_stride(29);
        points += steps_run(&all[i], is_long ? stepper_stride(997) == 1 ? 7 : 997 : often);
        baseline = in_use();
    }
    printf("points: %ld\n", points);
    assert_true(points > 100);
    world->where = NULL;
    harness_leaves_memory(); /* what the dead had allocated for the family */
}

static void the_first_allocation_of_a_process(void **state)
{
    (void)state;
    const struct steps first = { .name = "join and allocate",
                                 .operation = allocate_owned,
                                 .check = check_nothing_left };
    begin();
    assert_true(steps_run(&first, stepper_stride(101)) > 10);
    end();
}

static void operations_beside_one_that_stands_still(void **state)
{
    (void)state;
    const struct steps both[] = {
        { .name = "allocate and free",
          .ready = join_heap,
          .operation = allocate_owned_and_free,
          .survive = churn,
          .check = NULL },
        { .name = "publish and take",
          .prepare = clear_where,
          .ready = join_heap,
          .operation = publish,
          .survive = take_published,
          .check = check_published },
    };
    long points = 0;
    begin();
    for (int i = 0; i < 2; i++)
        points += steps_run_beside(&both[i], getenv("MPROC_CRASH_ALL") ? 61 : 601);
    assert_true(points > 2);
    check_heap(0);
    end();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_operation_on_the_heap),
    cmocka_unit_test(the_first_allocation_of_a_process),
    cmocka_unit_test(operations_beside_one_that_stands_still),
};

HARNESS_MAIN_SECONDS(tests, getenv("MPROC_CRASH_ALL") ? 7200 : 600)
