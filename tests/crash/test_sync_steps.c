/* Locks and counts, with a process killed at each machine instruction of an operation. SPDX-License-Identifier: MIT
 *
 * After each kill what the dead one held can be had, whoever waited goes on, the guarded data are whole or said not to
 * be, and no unit is lost or too many.
 */
#include "steps.h"

#include <errno.h>
#include <mproc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { UNITS = 3, FILL = 6 };

/* In the heap. */
struct world {
    mproc_lock lock;
    mproc_rlock rlock;
    mproc_rwlock rwlock;
    mproc_condition condition;
    mproc_event event;
    mproc_semaphore semaphore, bounded;
    mproc_barrier barrier;
    long first, second; /* equal whenever nobody is inside */
    int items;
    _Atomic int survived; /* the survivor is through */
};

static struct world *world;
static const int64_t limit = MPROC_MS(STEPS_LIMIT);

static void join(void)
{
    mproc_free(mproc_alloc(16));
}

static void renew(void)
{
    mproc_semaphore_destroy(&world->semaphore);
    mproc_semaphore_destroy(&world->bounded);
    mproc_barrier_destroy(&world->barrier);
    mproc_rwlock_destroy(&world->rwlock);
    memset(world, 0, sizeof *world);
    mproc_semaphore_init(&world->semaphore, UNITS);
    mproc_bounded_semaphore_init(&world->bounded, UNITS);
    mproc_barrier_init(&world->barrier, 2);
}

/* ---- locks */

static void change(void)
{
    world->first++;
    atomic_signal_fence(memory_order_seq_cst);
    world->second++;
}

/* After acquiring: the data are whole, or the call has said that they may not be. 0 if so. */
static int look(int result)
{
    if (result != 0 && result != MPROC_E_OWNER_DIED)
        return 1;
    if (result == 0 && world->first != world->second)
        return 2;
    world->second = world->first;
    return 0;
}

static void use_lock(void)
{
    mproc_lock_acquire(&world->lock, MPROC_FOREVER);
    change();
    mproc_lock_release(&world->lock);
}

static int take_lock(void)
{
    for (int i = 0; i < 2; i++) {
        int result = mproc_lock_acquire(&world->lock, limit);
        if (look(result) != 0)
            return 10 + look(result);
        if (result == MPROC_E_OWNER_DIED && mproc_lock_mark_consistent(&world->lock) != 0)
            return 20;
        change();
        if (mproc_lock_release(&world->lock) != 0)
            return 30;
    }
    return 0;
}

static void check_lock(bool whole)
{
    (void)whole;
    assert_int_equal(take_lock(), 0);
}

/* A lock whose holder is dead already. */
static void renew_with_dead_holder(void)
{
    renew();
    pid_t pid = fork();
    if (pid == 0) {
        mproc_lock_acquire(&world->lock, 0);
        world->first++;
        raise(SIGKILL);
    }
    waitpid(pid, NULL, 0);
}

static void take_over(void)
{
    if (mproc_lock_acquire(&world->lock, MPROC_FOREVER) == MPROC_E_OWNER_DIED) {
        world->second = world->first;
        mproc_lock_mark_consistent(&world->lock);
    }
    mproc_lock_release(&world->lock);
}

static void use_rlock(void)
{
    mproc_rlock_acquire(&world->rlock, MPROC_FOREVER);
    mproc_rlock_acquire(&world->rlock, MPROC_FOREVER);
    change();
    mproc_rlock_release(&world->rlock);
    mproc_rlock_release(&world->rlock);
}

static int take_rlock(void)
{
    int result = mproc_rlock_acquire(&world->rlock, limit);
    if (look(result) != 0)
        return 10 + look(result);
    if (result == MPROC_E_OWNER_DIED)
        mproc_rlock_mark_consistent(&world->rlock);
    change();
    return mproc_rlock_release(&world->rlock);
}

static void check_rlock(bool whole)
{
    (void)whole;
    assert_int_equal(take_rlock(), 0);
    int result = mproc_rlock_release(&world->rlock);
    assert_true(result == MPROC_E_NOT_LOCKED || result == MPROC_E_NOT_OWNER);
}

static void use_rwlock(void)
{
    mproc_rwlock_acquire_read(&world->rwlock, MPROC_FOREVER);
    mproc_rwlock_release(&world->rwlock);
    mproc_rwlock_acquire_write(&world->rwlock, MPROC_FOREVER);
    change();
    mproc_rwlock_release(&world->rwlock);
}

static int take_rwlock(void)
{
    int result = mproc_rwlock_acquire_write(&world->rwlock, limit);
    if (look(result) != 0)
        return 10 + look(result);
    if (result == MPROC_E_OWNER_DIED && mproc_rwlock_mark_consistent(&world->rwlock) != 0)
        return 20;
    change();
    if (mproc_rwlock_release(&world->rwlock) != 0)
        return 30;
    result = mproc_rwlock_acquire_read(&world->rwlock, limit);
    if (look(result) != 0)
        return 40 + look(result);
    return mproc_rwlock_release(&world->rwlock) ? 50 : 0;
}

static void check_rwlock(bool whole)
{
    (void)whole;
    assert_int_equal(take_rwlock(), 0);
}

/* ---- semaphores */

static void use_semaphore(void)
{
    mproc_semaphore_acquire(&world->bounded, MPROC_FOREVER);
    mproc_semaphore_acquire(&world->bounded, MPROC_FOREVER);
    mproc_semaphore_release(&world->bounded);
    mproc_semaphore_release(&world->bounded);
}

static int take_all_units(void)
{
    for (int i = 0; i < UNITS; i++)
        if (mproc_semaphore_acquire(&world->bounded, limit) != 0)
            return 1 + i;
    for (int i = 0; i < UNITS; i++)
        if (mproc_semaphore_release(&world->bounded) != 0)
            return 11 + i;
    return 0;
}

static int take_a_unit(void)
{
    if (mproc_semaphore_acquire(&world->bounded, limit) != 0)
        return 1;
    return mproc_semaphore_release(&world->bounded) ? 2 : 0;
}

static int survive_semaphore(void)
{
    int result = take_a_unit();
    atomic_store(&world->survived, 1);
    return result;
}

static void check_units(bool whole)
{
    (void)whole;
    for (int i = 0; !atomic_load(&world->survived) && i < STEPS_LIMIT; i++)
        harness_sleep_ms(1);
    assert_int_equal(mproc_semaphore_value(&world->bounded), UNITS);
    assert_int_equal(take_all_units(), 0);
    assert_int_equal(mproc_semaphore_release(&world->bounded), MPROC_E_RELEASED_TOO_OFTEN);
}

/* Units of processes that are dead, more than there are places for without the heap. */
static void renew_with_dead_holders(void)
{
    renew();
    mproc_semaphore_destroy(&world->bounded);
    mproc_bounded_semaphore_init(&world->bounded, FILL);
    for (int i = 0; i < FILL; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            mproc_semaphore_acquire(&world->bounded, 0);
            raise(SIGKILL);
        }
        waitpid(pid, NULL, 0);
    }
}

static void take_back(void)
{
    mproc_semaphore_acquire(&world->bounded, MPROC_FOREVER);
    mproc_semaphore_acquire(&world->bounded, MPROC_FOREVER);
}

static void check_filled(bool whole)
{
    (void)whole;
    for (int i = 0; i < FILL; i++)
        assert_int_equal(mproc_semaphore_acquire(&world->bounded, limit), 0);
    assert_int_equal(mproc_semaphore_acquire(&world->bounded, 0), -ETIMEDOUT);
    for (int i = 0; i < FILL; i++)
        assert_int_equal(mproc_semaphore_release(&world->bounded), 0);
    assert_int_equal(mproc_semaphore_release(&world->bounded), MPROC_E_RELEASED_TOO_OFTEN);
}

/* The places in the object itself are taken by living holders, so that the victim makes the list grow. */
static pid_t holders[4];

static void renew_with_living_holders(void)
{
    renew_with_dead_holders();
    check_filled(true);
    for (int i = 0; i < 4; i++) {
        int status;
        holders[i] = fork();
        if (holders[i] == 0) {
            mproc_semaphore_acquire(&world->bounded, 0);
            raise(SIGSTOP);
            _exit(0);
        }
        waitpid(holders[i], &status, WUNTRACED);
    }
}

static void check_with_living_holders(bool whole)
{
    (void)whole;
    assert_int_equal(mproc_semaphore_value(&world->bounded), FILL - 4);
    for (int i = 0; i < 4; i++) {
        kill(holders[i], SIGKILL);
        waitpid(holders[i], NULL, 0);
    }
    check_filled(true);
}

/* ---- condition and event */

static void wait_for_items(void)
{
    mproc_lock_acquire(&world->lock, MPROC_FOREVER);
    while (world->items == 0)
        mproc_condition_wait(&world->condition, &world->lock, MPROC_FOREVER);
    world->items--;
    mproc_lock_release(&world->lock);
}

static bool put_item_within(int64_t timeout)
{
    int result = mproc_lock_acquire(&world->lock, timeout);
    if (result != 0 && result != MPROC_E_OWNER_DIED)
        return false;
    if (result != 0)
        mproc_lock_mark_consistent(&world->lock);
    world->items++;
    mproc_condition_notify(&world->condition, 1);
    mproc_lock_release(&world->lock);
    return true;
}

static void put_item(void)
{
    assert_true(put_item_within(limit));
}

/* The lock may be held by the one that stands still. */
static void put_item_if_possible(void)
{
    put_item_within(MPROC_MS(1));
}

static int get_item(void)
{
    int result = mproc_lock_acquire(&world->lock, limit);
    while (result == 0 || result == MPROC_E_OWNER_DIED) {
        if (result == MPROC_E_OWNER_DIED)
            mproc_lock_mark_consistent(&world->lock);
        if (world->items > 0)
            break;
        result = mproc_condition_wait(&world->condition, &world->lock, limit);
    }
    if (result != 0 && result != MPROC_E_OWNER_DIED)
        return 1;
    world->items--;
    return mproc_lock_release(&world->lock) ? 2 : 0;
}

/* The victim waits, is woken, and dies at some point: its item, or the next, is for the survivor. */
static void check_item_for_survivor(bool whole)
{
    if (whole || world->items == 0)
        put_item();
}

static void notify_item(void)
{
    mproc_lock_acquire(&world->lock, MPROC_FOREVER);
    world->items++;
    mproc_condition_notify(&world->condition, 1);
    mproc_lock_release(&world->lock);
}

/* An item that was put wakes the survivor, whether the dead one got to waking it or not. */
static void check_notified(bool whole)
{
    (void)whole;
    int result = mproc_lock_acquire(&world->lock, limit);
    assert_true(result == 0 || result == MPROC_E_OWNER_DIED);
    if (result != 0)
        mproc_lock_mark_consistent(&world->lock);
    mproc_lock_release(&world->lock);
    put_item(); /* in case there is none; one notification more wakes nobody twice */
}

static void set_event(void)
{
    mproc_event_set(&world->event);
}

static int wait_event(void)
{
    return mproc_event_wait(&world->event, limit) ? 1 : 0;
}

static void wait_for_event(void)
{
    mproc_event_wait(&world->event, MPROC_FOREVER);
}

/* Whether the dead one had set it shows in the flag: then the survivor goes on by itself. */
static void check_event(bool whole)
{
    bool set = mproc_event_is_set(&world->event);
    assert_true(set || !whole);
    if (!set)
        mproc_event_set(&world->event);
}

/* ---- barrier */

static void meet(void)
{
    mproc_barrier_wait(&world->barrier, MPROC_FOREVER);
}

static int meet_or_break(void)
{
    int result = mproc_barrier_wait(&world->barrier, limit);
    return result == 0 || result == 1 || result == MPROC_E_BROKEN_BARRIER ? 0 : result == -ETIMEDOUT ? 1 : 2;
}

static int survive_barrier(void)
{
    int result = meet_or_break();
    atomic_store(&world->survived, 1);
    return result;
}

static int meet_alone(void)
{
    return mproc_barrier_wait(&world->barrier, MPROC_MS(1)) == -ETIMEDOUT ? 0 : 1;
}

/* The dead one had arrived, and broke the barrier or completed the round; or it had not, and is not missed. */
static void check_barrier(bool whole)
{
    (void)whole;
    for (int i = 0; !atomic_load(&world->survived) && i < STEPS_LIMIT; i++) {
        if (mproc_barrier_waiting(&world->barrier) == 1) /* the survivor: the dead one had not arrived */
            assert_int_equal(meet_or_break(), 0);
        harness_sleep_ms(1);
    }
    assert_int_equal(mproc_barrier_reset(&world->barrier), 0);
    assert_int_equal(meet_alone(), 0);
}

static void check_barrier_alone(bool whole)
{
    (void)whole;
    int broken = mproc_barrier_is_broken(&world->barrier);
    assert_true(broken == 0 || broken == 1);
    assert_int_equal(mproc_barrier_waiting(&world->barrier), 0);
    assert_int_equal(mproc_barrier_reset(&world->barrier), 0);
    assert_int_equal(meet_alone(), 0);
    assert_int_equal(mproc_barrier_is_broken(&world->barrier), 1);
}

static void attend_and_leave(void)
{
    mproc_barrier_attend(&world->barrier);
    mproc_barrier_leave(&world->barrier);
    mproc_barrier_abort(&world->barrier);
    mproc_barrier_reset(&world->barrier);
}

/* ---- */

static const struct steps all[] = {
    { "lock", renew, join, use_lock, NULL, NULL, check_lock },
    { "lock, another one after it", renew, join, use_lock, NULL, take_lock, check_lock },
    { "lock of a dead holder", renew_with_dead_holder, join, take_over, NULL, take_lock, check_lock },
    { "recursive lock", renew, join, use_rlock, NULL, take_rlock, check_rlock },
    { "reader-writer lock", renew, join, use_rwlock, NULL, take_rwlock, check_rwlock },
    { "semaphore", renew, join, use_semaphore, NULL, survive_semaphore, check_units },
    { "semaphore of dead holders", renew_with_dead_holders, join, take_back, NULL, NULL, check_filled },
    { "semaphore of many holders", renew_with_living_holders, join, take_back, NULL, NULL, check_with_living_holders },
    { "condition, the one who waits", renew, join, wait_for_items, put_item_if_possible, get_item,
      check_item_for_survivor },
    { "condition, the one who notifies", renew, join, notify_item, NULL, get_item, check_notified },
    { "event, the one who sets", renew, join, set_event, NULL, wait_event, check_event },
    { "event, the one who waits", renew, join, wait_for_event, set_event, wait_event, check_event },
    { "barrier", renew, join, meet, NULL, survive_barrier, check_barrier },
    { "barrier, the first", renew, join, meet, NULL, NULL, check_barrier_alone },
    { "barrier, attend, leave, abort, reset", renew, join, attend_and_leave, NULL, NULL, check_barrier_alone },
};

static void begin(void)
{
    world = mproc_calloc(1, sizeof *world);
    assert_non_null(world);
}

static void end(void)
{
    renew();
    mproc_free(world);
}

static void every_operation(void **state)
{
    (void)state;
    long points = 0;
    begin();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        points += steps_run(&all[i], stepper_stride(23));
    printf("points: %ld\n", points);
    assert_true(points > 100);
    end();
}

static void every_operation_beside_one_that_stands_still(void **state)
{
    (void)state;
    long points = 0;
    begin();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].survive)
            points += steps_run_beside(&all[i], getenv("MPROC_CRASH_ALL") ? 17 : 211);
    printf("points: %ld\n", points);
    assert_true(points > 10);
    end();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_operation),
    cmocka_unit_test(every_operation_beside_one_that_stands_still),
};

HARNESS_MAIN_SECONDS(tests, getenv("MPROC_CRASH_ALL") ? 7200 : 600)
