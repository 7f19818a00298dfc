/* Lock, recursive lock, reader-writer lock, for processes and for threads. SPDX-License-Identifier: MIT */
#include "locks.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

/* ---- lock */

static int count_up(void *unused)
{
    (void)unused;
    for (int i = 0; i < TIMES; i++) {
        if (mproc_lock_acquire(&shared->lock, MPROC_FOREVER) != 0)
            return 1;
        long seen = shared->counter;
        if (i % 100 == 0)
            sched_yield();
        shared->counter = seen + 1;
        if (mproc_lock_release(&shared->lock) != 0)
            return 2;
    }
    return 0;
}

static void a_lock_lets_one_in_at_a_time(void **state)
{
    (void)state;
    struct party parties[MANY];
    begin();
    for (int i = 0; i < MANY; i++)
        party_start(&parties[i], count_up, NULL);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(party_join(&parties[i]), 0);
    assert_int_equal(shared->counter, MANY * TIMES);
    end();
}

static int try_lock(void *unused)
{
    (void)unused;
    if (mproc_lock_acquire(&shared->lock, 0) != -ETIMEDOUT || mproc_lock_owner(&shared->lock) == 0)
        return 1;
    if (mproc_lock_acquire(&shared->lock, MPROC_MS(30)) != -ETIMEDOUT)
        return 2;
    return mproc_lock_release(&shared->lock); /* another one than the holder */
}

static void a_held_lock_times_out_and_may_be_released_by_another(void **state)
{
    (void)state;
    struct party party;
    begin();
    assert_int_equal(mproc_lock_owner(&shared->lock), 0);
    assert_int_equal(mproc_lock_acquire(&shared->lock, 0), 0);
    assert_int_equal(mproc_lock_owner(&shared->lock), getpid());
    assert_int_equal(mproc_lock_acquire(&shared->lock, 0), -ETIMEDOUT);
    party_start(&party, try_lock, NULL);
    assert_int_equal(party_join(&party), 0);
    assert_int_equal(mproc_lock_release(&shared->lock), MPROC_E_NOT_LOCKED);
    assert_int_equal(mproc_lock_acquire(&shared->lock, 0), 0);
    assert_int_equal(mproc_lock_release(&shared->lock), 0);
    end();
}

static int acquire_and_die(void *unused)
{
    (void)unused;
    mproc_lock_acquire(&shared->lock, MPROC_FOREVER);
    shared->counter = 1;
    atomic_fetch_add(&shared->ready, 1);
    harness_sleep_ms(20);
    party_die();
    return 0;
}

static int acquire_after_death(void *unused)
{
    (void)unused;
    if (mproc_lock_acquire(&shared->lock, MPROC_FOREVER) != MPROC_E_OWNER_DIED)
        return 1;
    return mproc_lock_release(&shared->lock);
}

static void a_dead_holder_is_noticed_until_somebody_says_that_all_is_well(void **state)
{
    (void)state;
    struct party victim, others[MANY];
    begin();
    party_start(&victim, acquire_and_die, NULL);
    wait_ready(1);
    for (int i = 0; i < MANY; i++)
        party_start(&others[i], acquire_after_death, NULL);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(party_join(&others[i]), 0);
    party_join(&victim);
    assert_int_equal(mproc_lock_mark_consistent(&shared->lock), MPROC_E_NOT_OWNER);
    assert_int_equal(mproc_lock_acquire(&shared->lock, 0), MPROC_E_OWNER_DIED);
    assert_int_equal(mproc_lock_mark_consistent(&shared->lock), 0);
    assert_int_equal(mproc_lock_mark_consistent(&shared->lock), -EINVAL);
    assert_int_equal(mproc_lock_release(&shared->lock), 0);
    assert_int_equal(mproc_lock_acquire(&shared->lock, 0), 0);
    assert_int_equal(mproc_lock_release(&shared->lock), 0);
    end();
}

static void a_lock_of_one_who_died_long_ago_is_free(void **state)
{
    (void)state;
    struct party victim;
    begin();
    party_start(&victim, acquire_and_die, NULL);
    party_join(&victim);
    assert_int_equal(mproc_lock_owner(&shared->lock), 0);
    for (int i = 0; i < 20; i++) { /* its place is given to others */
        struct party other;
        party_start(&other, try_lock, NULL);
        party_join(&other);
    }
    assert_int_equal(mproc_lock_acquire(&shared->lock, 0), MPROC_E_OWNER_DIED);
    assert_int_equal(mproc_lock_release(&shared->lock), 0);
    end();
}

/* ---- recursive lock */

static int try_rlock(void *unused)
{
    (void)unused;
    if (mproc_rlock_acquire(&shared->rlock, 0) != -ETIMEDOUT ||
        mproc_rlock_release(&shared->rlock) != MPROC_E_NOT_OWNER)
        return 1;
    return mproc_rlock_mark_consistent(&shared->rlock) == MPROC_E_NOT_OWNER ? 0 : 2;
}

static int acquire_rlock_twice_and_die(void *unused)
{
    (void)unused;
    mproc_rlock_acquire(&shared->rlock, MPROC_FOREVER);
    mproc_rlock_acquire(&shared->rlock, MPROC_FOREVER);
    party_die();
    return 0;
}

static void a_recursive_lock_counts_and_belongs_to_its_holder(void **state)
{
    (void)state;
    struct party party;
    begin();
    assert_int_equal(mproc_rlock_release(&shared->rlock), MPROC_E_NOT_LOCKED);
    for (int i = 0; i < 3; i++)
        assert_int_equal(mproc_rlock_acquire(&shared->rlock, 0), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mproc_rlock_owner(&shared->rlock), getpid());
        party_start(&party, try_rlock, NULL);
        assert_int_equal(party_join(&party), 0);
        assert_int_equal(mproc_rlock_release(&shared->rlock), 0);
    }
    assert_int_equal(mproc_rlock_owner(&shared->rlock), 0);
    party_start(&party, acquire_rlock_twice_and_die, NULL);
    party_join(&party);
    assert_int_equal(mproc_rlock_acquire(&shared->rlock, MPROC_FOREVER), MPROC_E_OWNER_DIED);
    assert_int_equal(mproc_rlock_acquire(&shared->rlock, 0), MPROC_E_OWNER_DIED);
    assert_int_equal(mproc_rlock_release(&shared->rlock), 0);
    assert_int_equal(mproc_rlock_mark_consistent(&shared->rlock), 0);
    assert_int_equal(mproc_rlock_release(&shared->rlock), 0);
    assert_int_equal(mproc_rlock_release(&shared->rlock), MPROC_E_NOT_LOCKED);
    end();
}

/* ---- reader-writer lock */

static int read_and_write(void *argument)
{
    bool writes = argument != NULL;
    for (int i = 0; i < 500; i++) {
        if (writes) {
            if (mproc_rwlock_acquire_write(&shared->rwlock, MPROC_FOREVER) != 0)
                return 1;
            if (atomic_fetch_add(&shared->inside, 1000) != 0)
                return 2;
            shared->counter++;
            if (i % 50 == 0)
                sched_yield();
            shared->copy++;
            atomic_fetch_sub(&shared->inside, 1000);
        } else {
            if (mproc_rwlock_acquire_read(&shared->rwlock, MPROC_FOREVER) != 0)
                return 3;
            if (atomic_fetch_add(&shared->inside, 1) >= 1000 || shared->counter != shared->copy)
                return 4;
            atomic_fetch_sub(&shared->inside, 1);
        }
        if (mproc_rwlock_release(&shared->rwlock) != 0)
            return 5;
    }
    return 0;
}

static void a_writer_is_alone_and_readers_are_not(void **state)
{
    (void)state;
    struct party parties[2 * MANY];
    begin();
    for (int i = 0; i < 2 * MANY; i++)
        party_start(&parties[i], read_and_write, i % 4 == 0 ? shared : NULL);
    for (int i = 0; i < 2 * MANY; i++)
        assert_int_equal(party_join(&parties[i]), 0);
    assert_int_equal(shared->counter, 2 * 500);
    end();
}

static int read_inside(void *unused)
{
    (void)unused;
    if (mproc_rwlock_acquire_write(&shared->rwlock, 0) != -ETIMEDOUT)
        return 1;
    if (mproc_rwlock_release(&shared->rwlock) != MPROC_E_NOT_OWNER)
        return 2;
    if (mproc_rwlock_acquire_read(&shared->rwlock, 0) != 0)
        return 3;
    if (mproc_rwlock_acquire_write(&shared->rwlock, 0) != -EDEADLK)
        return 4;
    if (mproc_rwlock_mark_consistent(&shared->rwlock) != MPROC_E_NOT_OWNER)
        return 5;
    return mproc_rwlock_release(&shared->rwlock);
}

static int die_reading(void *unused)
{
    (void)unused;
    mproc_rwlock_acquire_read(&shared->rwlock, MPROC_FOREVER);
    mproc_rwlock_acquire_read(&shared->rwlock, MPROC_FOREVER);
    atomic_fetch_add(&shared->ready, 1);
    harness_sleep_ms(20);
    party_die();
    return 0;
}

static int die_writing(void *unused)
{
    (void)unused;
    mproc_rwlock_acquire_write(&shared->rwlock, MPROC_FOREVER);
    atomic_fetch_add(&shared->ready, 1);
    harness_sleep_ms(20);
    party_die();
    return 0;
}

static int die_waiting_to_write(void *unused)
{
    (void)unused;
    if (PARTIES == PROCESSES) {
        atomic_fetch_add(&shared->ready, 1);
        mproc_rwlock_acquire_write(&shared->rwlock, MPROC_FOREVER);
    }
    atomic_fetch_add(&shared->ready, 1);
    return 0;
}

static void dead_readers_and_writers_hold_nobody_up(void **state)
{
    (void)state;
    struct party party, readers[6];
    begin();
    assert_int_equal(mproc_rwlock_acquire_read(&shared->rwlock, 0), 0);
    party_start(&party, read_inside, NULL);
    assert_int_equal(party_join(&party), 0);
    party_start(&party, die_waiting_to_write, NULL);
    wait_ready(1);
    if (PARTIES == PROCESSES) {
        assert_true(harness_wait_asleep(party.pid, HARNESS_PATIENCE));
        kill(party.pid, SIGKILL);
    }
    party_join(&party);
    assert_int_equal(mproc_rwlock_release(&shared->rwlock), 0);
    atomic_store(&shared->ready, 0);
    for (int i = 0; i < 6; i++)
        party_start(&readers[i], die_reading, NULL);
    wait_ready(6);
    assert_int_equal(mproc_rwlock_acquire_write(&shared->rwlock, MPROC_FOREVER), 0);
    assert_int_equal(mproc_rwlock_acquire_write(&shared->rwlock, 0), -EDEADLK);
    assert_int_equal(mproc_rwlock_acquire_read(&shared->rwlock, 0), -EDEADLK);
    assert_int_equal(mproc_rwlock_release(&shared->rwlock), 0);
    for (int i = 0; i < 6; i++)
        party_join(&readers[i]);
    party_start(&party, die_writing, NULL);
    wait_ready(7);
    assert_int_equal(mproc_rwlock_acquire_read(&shared->rwlock, MPROC_FOREVER), MPROC_E_OWNER_DIED);
    assert_int_equal(mproc_rwlock_release(&shared->rwlock), 0);
    assert_int_equal(mproc_rwlock_acquire_write(&shared->rwlock, 0), MPROC_E_OWNER_DIED);
    assert_int_equal(mproc_rwlock_mark_consistent(&shared->rwlock), 0);
    assert_int_equal(mproc_rwlock_mark_consistent(&shared->rwlock), -EINVAL);
    assert_int_equal(mproc_rwlock_release(&shared->rwlock), 0);
    party_join(&party);
    assert_int_equal(mproc_rwlock_release(&shared->rwlock), MPROC_E_NOT_OWNER);
    end();
}

static int wait_to_write(void *unused)
{
    (void)unused;
    atomic_fetch_add(&shared->ready, 1);
    if (mproc_rwlock_acquire_write(&shared->rwlock, MPROC_FOREVER) != 0)
        return 1;
    return mproc_rwlock_release(&shared->rwlock);
}

static void a_stopped_writer_that_waits_holds_nobody_up(void **state)
{
    (void)state;
    if (PARTIES == THREADS)
        harness_skip("a thread cannot be stopped alone");
    struct party writer;
    begin();
    assert_int_equal(mproc_rwlock_acquire_read(&shared->rwlock, 0), 0);
    party_start(&writer, wait_to_write, NULL);
    wait_ready(1);
    assert_true(harness_wait_asleep(writer.pid, HARNESS_PATIENCE));
    kill(writer.pid, SIGSTOP);
    assert_int_equal(mproc_rwlock_release(&shared->rwlock), 0);
    assert_int_equal(mproc_rwlock_acquire_write(&shared->rwlock, MPROC_FOREVER), 0);
    assert_int_equal(mproc_rwlock_release(&shared->rwlock), 0);
    kill(writer.pid, SIGCONT);
    assert_int_equal(party_join(&writer), 0);
    end();
}

/* ---- wrong use */

static void null_is_refused(void **state)
{
    (void)state;
    mproc_lock lock = { { 0 } };
    assert_int_equal(mproc_lock_acquire(NULL, 0), -EINVAL);
    assert_int_equal(mproc_lock_release(NULL), -EINVAL);
    assert_int_equal(mproc_lock_mark_consistent(NULL), -EINVAL);
    assert_int_equal(mproc_lock_owner(NULL), 0);
    assert_int_equal(mproc_rlock_acquire(NULL, 0), -EINVAL);
    assert_int_equal(mproc_rlock_release(NULL), -EINVAL);
    assert_int_equal(mproc_rlock_mark_consistent(NULL), -EINVAL);
    assert_int_equal(mproc_rlock_owner(NULL), 0);
    assert_int_equal(mproc_condition_wait(NULL, &lock, 0), -EINVAL);
    assert_int_equal(mproc_condition_wait_rlock(NULL, NULL, 0), -EINVAL);
    assert_int_equal(mproc_condition_wait_for(NULL, &lock, NULL, NULL, 0), -EINVAL);
    assert_int_equal(mproc_condition_notify(NULL, 1), -EINVAL);
    assert_int_equal(mproc_condition_notify_all(NULL), -EINVAL);
    assert_int_equal(mproc_event_set(NULL), -EINVAL);
    assert_int_equal(mproc_event_clear(NULL), -EINVAL);
    assert_int_equal(mproc_event_wait(NULL, 0), -EINVAL);
    assert_false(mproc_event_is_set(NULL));
    assert_int_equal(mproc_rwlock_acquire_read(NULL, 0), -EINVAL);
    assert_int_equal(mproc_rwlock_acquire_write(NULL, 0), -EINVAL);
    assert_int_equal(mproc_rwlock_release(NULL), -EINVAL);
    assert_int_equal(mproc_rwlock_mark_consistent(NULL), -EINVAL);
    assert_int_equal(mproc_rwlock_destroy(NULL), -EINVAL);
}

static void memory_that_was_not_zeroed_is_no_lock(void **state)
{
    (void)state;
    begin();
    memset(shared, 0x5a, sizeof *shared);
    assert_int_equal(mproc_lock_acquire(&shared->lock, 0), MPROC_E_NOT_INITIALISED);
    assert_int_equal(mproc_lock_release(&shared->lock), MPROC_E_NOT_INITIALISED);
    assert_int_equal(mproc_lock_owner(&shared->lock), 0);
    assert_int_equal(mproc_rlock_acquire(&shared->rlock, 0), MPROC_E_NOT_INITIALISED);
    assert_int_equal(mproc_rwlock_acquire_read(&shared->rwlock, 0), MPROC_E_NOT_INITIALISED);
    assert_int_equal(mproc_rwlock_acquire_write(&shared->rwlock, 0), MPROC_E_NOT_INITIALISED);
    assert_int_equal(mproc_rwlock_release(&shared->rwlock), MPROC_E_NOT_INITIALISED);
    assert_int_equal(mproc_rwlock_destroy(&shared->rwlock), MPROC_E_NOT_INITIALISED);
    memset(shared, 0, sizeof *shared);
    end();
}

/* No handle and no registration: zeroed memory of any kind will do. */
static void locks_work_outside_the_heap(void **state)
{
    (void)state;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct party parties[MANY];
    for (int i = 0; i < MANY; i++)
        party_start(&parties[i], count_up, NULL);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(party_join(&parties[i]), 0);
    assert_int_equal(shared->counter, MANY * TIMES);
    munmap(shared, sizeof *shared);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_lock_lets_one_in_at_a_time),
    cmocka_unit_test(a_held_lock_times_out_and_may_be_released_by_another),
    cmocka_unit_test(a_dead_holder_is_noticed_until_somebody_says_that_all_is_well),
    cmocka_unit_test(a_lock_of_one_who_died_long_ago_is_free),
    cmocka_unit_test(a_recursive_lock_counts_and_belongs_to_its_holder),
    cmocka_unit_test(a_writer_is_alone_and_readers_are_not),
    cmocka_unit_test(dead_readers_and_writers_hold_nobody_up),
    cmocka_unit_test(a_stopped_writer_that_waits_holds_nobody_up),
    cmocka_unit_test(null_is_refused),
    cmocka_unit_test(memory_that_was_not_zeroed_is_no_lock),
    cmocka_unit_test(locks_work_outside_the_heap),
};

HARNESS_MAIN(tests)
