/* Condition and event, and signals that break waits, for processes and for threads. SPDX-License-Identifier: MIT */
#include "locks.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

/* ---- condition */

static int consume(void *unused)
{
    (void)unused;
    if (mproc_lock_acquire(&shared->lock, MPROC_FOREVER) != 0)
        return 1;
    atomic_fetch_add(&shared->ready, 1);
    while (shared->items == 0)
        if (mproc_condition_wait(&shared->condition, &shared->lock, MPROC_FOREVER) != 0)
            return 2;
    shared->items--;
    atomic_fetch_add(&shared->done, 1);
    return mproc_lock_release(&shared->lock) ? 3 : 0;
}

/* All of them hold the lock before they wait, so whoever gets it after them finds them waiting. */
static void start_waiters(struct party *parties, int count, int (*run)(void *))
{
    for (int i = 0; i < count; i++)
        party_start(&parties[i], run, NULL);
    wait_ready(count);
    mproc_lock_acquire(&shared->lock, MPROC_FOREVER);
    mproc_lock_release(&shared->lock);
}

static void notify_wakes_as_many_as_it_says(void **state)
{
    (void)state;
    struct party parties[MANY];
    begin();
    assert_int_equal(mproc_condition_notify(&shared->condition, 1), 0); /* nobody is there */
    start_waiters(parties, MANY, consume);
    mproc_lock_acquire(&shared->lock, MPROC_FOREVER);
    shared->items = MANY;
    assert_int_equal(mproc_condition_notify(&shared->condition, 1), 0);
    mproc_lock_release(&shared->lock);
    while (atomic_load(&shared->done) < 1)
        harness_sleep_ms(1);
    harness_sleep_ms(250); /* longer than a sleeper sleeps without looking */
    assert_int_equal(atomic_load(&shared->done), 1);
    mproc_condition_notify(&shared->condition, 2);
    while (atomic_load(&shared->done) < 3)
        harness_sleep_ms(1);
    harness_sleep_ms(250);
    assert_int_equal(atomic_load(&shared->done), 3);
    mproc_condition_notify_all(&shared->condition);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(party_join(&parties[i]), 0);
    end();
}

static int wait_and_die(void *unused)
{
    (void)unused;
    mproc_lock_acquire(&shared->lock, MPROC_FOREVER);
    atomic_fetch_add(&shared->ready, 1);
    mproc_condition_wait(&shared->condition, &shared->lock, PARTIES == THREADS ? MPROC_MS(50) : MPROC_FOREVER);
    mproc_lock_release(&shared->lock);
    return 0;
}

static void a_dead_waiter_takes_no_wake_up(void **state)
{
    (void)state;
    struct party victims[MANY], parties[MANY];
    begin();
    start_waiters(victims, MANY, wait_and_die);
    for (int i = 0; i < MANY; i++) {
        if (PARTIES == PROCESSES)
            kill(victims[i].pid, SIGKILL);
        party_join(&victims[i]);
    }
    atomic_store(&shared->ready, 0);
    start_waiters(parties, MANY, consume);
    for (int i = 0; i < MANY; i++) {
        mproc_lock_acquire(&shared->lock, MPROC_FOREVER);
        shared->items++;
        mproc_condition_notify(&shared->condition, 1);
        mproc_lock_release(&shared->lock);
    }
    for (int i = 0; i < MANY; i++)
        assert_int_equal(party_join(&parties[i]), 0);
    end();
}

static bool has_items(void *items)
{
    return *(int *)items > 0;
}

static int produce_late(void *unused)
{
    (void)unused;
    for (int i = 0; i < 3; i++) {
        harness_sleep_ms(10);
        mproc_lock_acquire(&shared->lock, MPROC_FOREVER);
        shared->items = i - 1;
        mproc_condition_notify_all(&shared->condition);
        mproc_lock_release(&shared->lock);
    }
    return 0;
}

static void wait_for_looks_at_the_predicate(void **state)
{
    (void)state;
    struct party party;
    begin();
    assert_int_equal(mproc_condition_wait_for(&shared->condition, &shared->lock, has_items, &shared->items, 0),
                     MPROC_E_NOT_OWNER);
    mproc_lock_acquire(&shared->lock, 0);
    assert_int_equal(
        mproc_condition_wait_for(&shared->condition, &shared->lock, has_items, &shared->items, MPROC_MS(20)),
        -ETIMEDOUT);
    assert_int_equal(mproc_lock_owner(&shared->lock), getpid());
    party_start(&party, produce_late, NULL);
    assert_int_equal(
        mproc_condition_wait_for(&shared->condition, &shared->lock, has_items, &shared->items, MPROC_FOREVER), 0);
    assert_int_equal(shared->items, 1);
    mproc_lock_release(&shared->lock);
    assert_int_equal(party_join(&party), 0);
    end();
}

static int notify_rlock(void *unused)
{
    (void)unused;
    mproc_rlock_acquire(&shared->rlock, MPROC_FOREVER);
    mproc_condition_notify_all(&shared->condition);
    return mproc_rlock_release(&shared->rlock);
}

static void a_condition_releases_a_recursive_lock_whole(void **state)
{
    (void)state;
    struct party party;
    begin();
    assert_int_equal(mproc_condition_wait_rlock(&shared->condition, &shared->rlock, 0), MPROC_E_NOT_OWNER);
    for (int i = 0; i < 3; i++)
        mproc_rlock_acquire(&shared->rlock, 0);
    party_start(&party, notify_rlock, NULL);
    assert_int_equal(mproc_condition_wait_rlock(&shared->condition, &shared->rlock, MPROC_FOREVER), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(mproc_rlock_release(&shared->rlock), 0);
    assert_int_equal(mproc_rlock_release(&shared->rlock), MPROC_E_NOT_LOCKED);
    assert_int_equal(party_join(&party), 0);
    end();
}

/* ---- event */

static int wait_event(void *unused)
{
    (void)unused;
    shared->waiters[atomic_fetch_add(&shared->ready, 1)] = (int)syscall(SYS_gettid);
    if (mproc_event_wait(&shared->event, MPROC_FOREVER) != 0)
        return 1;
    atomic_fetch_add(&shared->done, 1);
    return 0;
}

static void an_event_wakes_all_also_if_cleared_at_once(void **state)
{
    (void)state;
    struct party parties[MANY];
    begin();
    assert_false(mproc_event_is_set(&shared->event));
    assert_int_equal(mproc_event_wait(&shared->event, 0), -ETIMEDOUT);
    assert_int_equal(mproc_event_wait(&shared->event, MPROC_MS(20)), -ETIMEDOUT);
    for (int i = 0; i < MANY; i++)
        party_start(&parties[i], wait_event, NULL);
    wait_ready(MANY);
    for (int i = 0; i < MANY; i++) {
        while (!shared->waiters[i])
            harness_sleep_ms(1);
        assert_true(harness_wait_asleep(shared->waiters[i], HARNESS_PATIENCE));
    }
    assert_int_equal(atomic_load(&shared->done), 0);
    assert_int_equal(mproc_event_set(&shared->event), 0);
    assert_int_equal(mproc_event_clear(&shared->event), 0);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(party_join(&parties[i]), 0);
    assert_false(mproc_event_is_set(&shared->event));
    assert_int_equal(mproc_event_set(&shared->event), 0);
    assert_int_equal(mproc_event_set(&shared->event), 0);
    assert_true(mproc_event_is_set(&shared->event));
    assert_int_equal(mproc_event_wait(&shared->event, 0), 0);
    end();
}

static void on_alarm(int signal)
{
    (void)signal;
    errno = 1234;
    mproc_event_set(&shared->event);
    if (errno != 1234)
        _exit(99);
}

static int wait_for_alarm(void *unused)
{
    (void)unused;
    return mproc_event_wait(&shared->event, MPROC_FOREVER) ? 1 : 0;
}

static void an_event_can_be_set_in_a_signal_handler(void **state)
{
    (void)state;
    struct party party;
    begin();
    party_start(&party, wait_for_alarm, NULL);
    harness_sleep_ms(20);
    struct sigaction action = { .sa_handler = on_alarm }, before;
    sigaction(SIGUSR1, &action, &before);
    raise(SIGUSR1);
    assert_int_equal(party_join(&party), 0);
    sigaction(SIGUSR1, &before, NULL);
    end();
}

/* ---- signals */

static void ignore(int signal)
{
    (void)signal;
}

static void signals_break_waits_and_leave_nothing_acquired(void **state)
{
    (void)state;
    begin();
    struct sigaction action = { .sa_handler = ignore }, before;
    sigaction(SIGALRM, &action, &before);
    mproc_lock_acquire(&shared->lock, 0);
    for (int what = 0; what < 4; what++) {
        struct itimerval time = { .it_value = { 0, 30000 }, .it_interval = { 0, 30000 } };
        setitimer(ITIMER_REAL, &time, NULL);
        int result = 0;
        if (what == 0)
            result = mproc_event_wait(&shared->event, MPROC_FOREVER);
        else if (what == 1)
            result = mproc_lock_acquire(&shared->lock, MPROC_FOREVER);
        else if (what == 2)
            result = mproc_condition_wait(&shared->condition, &shared->lock, MPROC_FOREVER);
        else if (mproc_rwlock_acquire_read(&shared->rwlock, 0) == 0) {
            mproc_semaphore semaphore;
            mproc_semaphore_init(&semaphore, 0);
            result = mproc_semaphore_acquire(&semaphore, MPROC_FOREVER);
            mproc_semaphore_destroy(&semaphore);
        }
        memset(&time, 0, sizeof time);
        setitimer(ITIMER_REAL, &time, NULL);
        assert_int_equal(result, -EINTR);
        assert_int_equal(mproc_lock_owner(&shared->lock), getpid());
    }
    sigaction(SIGALRM, &before, NULL);
    mproc_rwlock_release(&shared->rwlock);
    mproc_lock_release(&shared->lock);
    end();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(notify_wakes_as_many_as_it_says),
    cmocka_unit_test(a_dead_waiter_takes_no_wake_up),
    cmocka_unit_test(wait_for_looks_at_the_predicate),
    cmocka_unit_test(a_condition_releases_a_recursive_lock_whole),
    cmocka_unit_test(an_event_wakes_all_also_if_cleared_at_once),
    cmocka_unit_test(an_event_can_be_set_in_a_signal_handler),
    cmocka_unit_test(signals_break_waits_and_leave_nothing_acquired),
};

HARNESS_MAIN(tests)
