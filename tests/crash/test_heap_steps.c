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
    member_id dead;
    _Atomic int survived;
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

/* ---- settling what a dead one was publishing */

/* The survivor is one of several who find that it is dead. It dies when the victim has joined, so that nobody has
 * settled it before. */
static void have_one_die_publishing(size_t size)
{
    join_heap();
    pid_t pid = fork();
    if (pid == 0) {
        char *block = mproc_alloc_owned(size);
        struct member *self = member_self();
        world->dead = self->id;
        atomic_store(&self->publishing_at, (_Atomic(void *) *)(void *)&world->where);
        atomic_store(&self->publishing, (uintptr_t)block | (atomic_load(&self->use) & 15));
        world->where = block;
        raise(SIGKILL);
    }
    waitpid(pid, NULL, 0);
}

static void have_one_die_publishing_small(void)
{
    have_one_die_publishing(3000);
}

static void have_one_die_publishing_large(void)
{
    have_one_die_publishing(LARGE);
}

static int settle(void)
{
    sweep_publishing(region_existing(), world->dead);
    atomic_store(&world->survived, 1);
    return 0;
}

static void clear_settling(void)
{
    world->where = NULL;
    atomic_store(&world->survived, 0);
}

/* As one would who has settled it too. */
static void take_and_allocate(size_t size)
{
    sweep_publishing(region_existing(), world->dead);
    char *block = world->where;
    world->where = NULL;
    mproc_free(block);
    sweep_dead(region_existing(), member_self());
    mproc_alloc_owned(size);
}

static void take_and_allocate_small(void)
{
    take_and_allocate(3000);
}

static void take_and_allocate_large(void)
{
    take_and_allocate(LARGE);
}

static void settle_alone(void)
{
    settle();
}

/* The next one who looks settles it. */
static void check_is_published(bool whole)
{
    (void)whole;
    in_use();
    assert_int_equal(mproc_free(world->where), 0);
    check_heap(0);
}

static void check_settled(bool whole)
{
    (void)whole;
    for (int i = 0; i < STEPS_LIMIT && !atomic_load(&world->survived); i++)
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
        { .name = "settle what a dead one published",
          .prepare = clear_settling,
          .ready = have_one_die_publishing_small,
          .operation = settle_alone,
          .check = check_is_published },
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

/* The block may be freed, and its memory allocated anew, while one who settles stands still. */
static void who_settles_publishes_no_other_block(void **state)
{
    (void)state;
    const struct steps small = { .name = "allocate where one who settles publishes",
                                 .prepare = clear_settling,
                                 .ready = join_heap,
                                 .operation = take_and_allocate_small,
                                 .survive = settle,
                                 .check = check_settled };
    struct steps large = small;
    large.name = "allocate where one who settles publishes, large";
    large.operation = take_and_allocate_large;
    stepper_pass_over((void (*)(void))sweep_dead); /* the victim's, which is long */
    begin();
    long points = steps_run_to_the_end_beside(&small, have_one_die_publishing_small, stepper_stride(5)) +
                  steps_run_to_the_end_beside(&large, have_one_die_publishing_large, stepper_stride(5));
    printf("points: %ld\n", points);
    assert_true(points > 20);
    end();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_operation_on_the_heap),
    cmocka_unit_test(the_first_allocation_of_a_process),
    cmocka_unit_test(operations_beside_one_that_stands_still),
    cmocka_unit_test(who_settles_publishes_no_other_block),
};

HARNESS_MAIN_SECONDS(tests, getenv("MPROC_CRASH_ALL") ? 7200 : 600)
