/* Semaphores and barriers, for processes and for threads. SPDX-License-Identifier: MIT */
#include "parties.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

enum { MANY = 4 };

struct shared {
    mproc_semaphore semaphore, answer;
    mproc_barrier barrier;
    _Atomic int ready, done, inside, most, actions;
    _Atomic int numbers[100];
};

static struct shared *shared;

static void begin(void)
{
    shared = mproc_calloc(1, sizeof *shared);
    assert_non_null(shared);
}

static void end(void)
{
    mproc_semaphore_destroy(&shared->semaphore);
    mproc_barrier_destroy(&shared->barrier);
    assert_int_equal(mproc_free(shared), 0);
}

static void wait_ready(int count)
{
    while (atomic_load(&shared->ready) < count)
        harness_sleep_ms(1);
}

/* ---- semaphore */

static int enter_and_leave(void *unused)
{
    (void)unused;
    for (int i = 0; i < 1000; i++) {
        if (mproc_semaphore_acquire(&shared->semaphore, MPROC_FOREVER) != 0)
            return 1;
        int inside = atomic_fetch_add(&shared->inside, 1) + 1, most = atomic_load(&shared->most);
        while (inside > most && !atomic_compare_exchange_weak(&shared->most, &most, inside)) {
        }
        if (i % 50 == 0)
            sched_yield();
        atomic_fetch_sub(&shared->inside, 1);
        if (mproc_semaphore_release(&shared->semaphore) != 0)
            return 2;
    }
    return 0;
}

static void a_semaphore_lets_so_many_in(void **state)
{
    (void)state;
    struct party parties[2 * MANY];
    begin();
    assert_int_equal(mproc_bounded_semaphore_init(&shared->semaphore, 3), 0);
    for (int i = 0; i < 2 * MANY; i++)
        party_start(&parties[i], enter_and_leave, NULL);
    for (int i = 0; i < 2 * MANY; i++)
        assert_int_equal(party_join(&parties[i]), 0);
    assert_in_range(atomic_load(&shared->most), 1, 3); /* on a busy machine they may never meet */
    assert_int_equal(mproc_semaphore_value(&shared->semaphore), 3);
    assert_int_equal(mproc_semaphore_held(&shared->semaphore), 0);
    end();
}

static int take_two_and_die(void *unused)
{
    (void)unused;
    mproc_semaphore_acquire(&shared->semaphore, MPROC_FOREVER);
    mproc_semaphore_acquire(&shared->semaphore, MPROC_FOREVER);
    atomic_fetch_add(&shared->ready, 1);
    harness_sleep_ms(20);
    raise(SIGKILL);
    return 0;
}

static void units_of_dead_processes_come_back(void **state)
{
    (void)state;
    if (PARTIES == THREADS)
        harness_skip("units are held by processes");
    struct party parties[8];
    begin();
    for (int bounded = 0; bounded < 2; bounded++) {
        if (bounded)
            mproc_bounded_semaphore_init(&shared->semaphore, 16);
        else
            mproc_semaphore_init(&shared->semaphore, 16);
        atomic_store(&shared->ready, 0);
        for (int i = 0; i < 8; i++) /* more than an object has places for without memory from the heap */
            party_start(&parties[i], take_two_and_die, NULL);
        wait_ready(8);
        for (int i = 0; i < 16; i++)
            assert_int_equal(mproc_semaphore_acquire(&shared->semaphore, MPROC_FOREVER), 0);
        assert_int_equal(mproc_semaphore_acquire(&shared->semaphore, 0), -ETIMEDOUT);
        assert_int_equal(mproc_semaphore_held(&shared->semaphore), 16);
        for (int i = 0; i < 16; i++)
            assert_int_equal(mproc_semaphore_release(&shared->semaphore), 0);
        for (int i = 0; i < 8; i++)
            party_join(&parties[i]);
        assert_int_equal(mproc_semaphore_value(&shared->semaphore), 16);
        assert_int_equal(mproc_semaphore_destroy(&shared->semaphore), 0);
    }
    end();
}

static void a_bounded_semaphore_refuses_too_much(void **state)
{
    (void)state;
    begin();
    mproc_bounded_semaphore_init(&shared->semaphore, 2);
    assert_int_equal(mproc_semaphore_release(&shared->semaphore), MPROC_E_RELEASED_TOO_OFTEN);
    assert_int_equal(mproc_semaphore_acquire(&shared->semaphore, 0), 0);
    assert_int_equal(mproc_semaphore_release(&shared->semaphore), 0);
    assert_int_equal(mproc_semaphore_release(&shared->semaphore), MPROC_E_RELEASED_TOO_OFTEN);
    assert_int_equal(mproc_semaphore_value(&shared->semaphore), 2);
    mproc_semaphore_destroy(&shared->semaphore);
    mproc_semaphore_init(&shared->semaphore, 1);
    assert_int_equal(mproc_semaphore_release(&shared->semaphore), 0);
    assert_int_equal(mproc_semaphore_value(&shared->semaphore), 2);
    mproc_semaphore_destroy(&shared->semaphore);
    mproc_semaphore_init(&shared->semaphore, MPROC_SEMAPHORE_VALUE_MAX);
    assert_int_equal(mproc_semaphore_release(&shared->semaphore), -EOVERFLOW);
    end();
}

static int take_signals(void *unused)
{
    (void)unused;
    for (int i = 0; i < 100; i++)
        if (mproc_semaphore_acquire(&shared->semaphore, MPROC_FOREVER) != 0)
            return 1;
    mproc_semaphore_release(&shared->answer);
    raise(SIGKILL);
    return 0;
}

static void signals_are_not_given_back(void **state)
{
    (void)state;
    if (PARTIES == THREADS)
        harness_skip("a thread cannot be killed alone");
    struct party party;
    begin();
    mproc_signal_semaphore_init(&shared->semaphore, 0);
    mproc_signal_semaphore_init(&shared->answer, 0);
    party_start(&party, take_signals, NULL);
    for (int i = 0; i < 100; i++)
        assert_int_equal(mproc_semaphore_release(&shared->semaphore), 0);
    assert_int_equal(mproc_semaphore_acquire(&shared->answer, MPROC_FOREVER), 0);
    party_join(&party);
    assert_int_equal(mproc_semaphore_value(&shared->semaphore), 0);
    assert_int_equal(mproc_semaphore_acquire(&shared->semaphore, MPROC_MS(150)), -ETIMEDOUT);
    end();
}

static int release_for_another(void *unused)
{
    (void)unused;
    harness_sleep_ms(20);
    return mproc_semaphore_release(&shared->semaphore);
}

static void any_process_may_release(void **state)
{
    (void)state;
    struct party party;
    begin();
    mproc_bounded_semaphore_init(&shared->semaphore, 1);
    assert_int_equal(mproc_semaphore_acquire(&shared->semaphore, 0), 0);
    assert_int_equal(mproc_semaphore_acquire(&shared->semaphore, MPROC_MS(20)), -ETIMEDOUT);
    party_start(&party, release_for_another, NULL);
    assert_int_equal(mproc_semaphore_acquire(&shared->semaphore, MPROC_FOREVER), 0);
    assert_int_equal(party_join(&party), 0);
    assert_int_equal(mproc_semaphore_held(&shared->semaphore), 1);
    assert_int_equal(mproc_semaphore_release(&shared->semaphore), 0);
    end();
}

/* ---- barrier */

static int meet(void *unused)
{
    (void)unused;
    for (int round = 0; round < 100; round++) {
        int number = mproc_barrier_wait(&shared->barrier, MPROC_FOREVER);
        if (number < 0 || number >= MANY)
            return 1;
        atomic_fetch_or(&shared->numbers[round], 1 << number);
    }
    return 0;
}

static int act(void *unused)
{
    (void)unused;
    atomic_fetch_add(&shared->actions, 1);
    return 0;
}

static void a_barrier_counts_its_parties(void **state)
{
    (void)state;
    struct party parties[MANY];
    begin();
    assert_int_equal(mproc_barrier_init_action(&shared->barrier, MANY, act, NULL), 0);
    for (int i = 0; i < MANY; i++)
        party_start(&parties[i], meet, NULL);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(party_join(&parties[i]), 0);
    for (int round = 0; round < 100; round++)
        assert_int_equal(atomic_load(&shared->numbers[round]), (1 << MANY) - 1);
    assert_int_equal(atomic_load(&shared->actions), 100);
    assert_int_equal(mproc_barrier_waiting(&shared->barrier), 0);
    assert_int_equal(mproc_barrier_is_broken(&shared->barrier), 0);
    end();
}

static int meet_once(void *unused)
{
    (void)unused;
    atomic_fetch_add(&shared->ready, 1);
    int result = mproc_barrier_wait(&shared->barrier, MPROC_FOREVER);
    return result >= 0 ? result : result == MPROC_E_BROKEN_BARRIER ? 50 : 60;
}

static void wait_until_waiting(int count)
{
    for (int i = 0; mproc_barrier_waiting(&shared->barrier) != count; i++) {
        assert_true(i < HARNESS_PATIENCE);
        harness_sleep_ms(1);
    }
}

static void timeout_abort_and_reset_break_a_barrier(void **state)
{
    (void)state;
    struct party parties[MANY];
    begin();
    mproc_barrier_init(&shared->barrier, MANY + 2);
    for (int what = 0; what < 3; what++) {
        for (int i = 0; i < MANY; i++)
            party_start(&parties[i], meet_once, NULL);
        wait_until_waiting(MANY);
        if (what == 0)
            assert_int_equal(mproc_barrier_wait(&shared->barrier, MPROC_MS(20)), -ETIMEDOUT);
        else if (what == 1)
            assert_int_equal(mproc_barrier_abort(&shared->barrier), 0);
        else
            assert_int_equal(mproc_barrier_reset(&shared->barrier), 0);
        for (int i = 0; i < MANY; i++)
            assert_int_equal(party_join(&parties[i]), 50);
        assert_int_equal(mproc_barrier_is_broken(&shared->barrier), what < 2);
        if (what < 2)
            assert_int_equal(mproc_barrier_wait(&shared->barrier, MPROC_FOREVER), MPROC_E_BROKEN_BARRIER);
        assert_int_equal(mproc_barrier_reset(&shared->barrier), 0);
        assert_int_equal(mproc_barrier_is_broken(&shared->barrier), 0);
    }
    end();
}

static mproc_barrier *inner;

static int meet_inside(void *unused)
{
    (void)unused;
    return mproc_barrier_wait(inner, MPROC_FOREVER) == 0 ? 0 : 1;
}

static int meet_pair(void *unused)
{
    (void)unused;
    int number = mproc_barrier_wait(&shared->barrier, MPROC_FOREVER);
    return number >= 0 ? number : 50;
}

static void an_action_may_wait_at_another_barrier(void **state)
{
    (void)state;
    struct party parties[2];
    begin();
    inner = mproc_calloc(1, sizeof *inner);
    mproc_barrier_init(inner, 1);
    mproc_barrier_init_action(&shared->barrier, 2, meet_inside, NULL);
    for (int i = 0; i < 2; i++)
        party_start(&parties[i], meet_pair, NULL);
    assert_int_equal(party_join(&parties[0]) + party_join(&parties[1]), 1);
    mproc_barrier_destroy(inner);
    mproc_free(inner);
    end();
}

static int refuse(void *unused)
{
    (void)unused;
    return 1;
}

static void a_failed_action_breaks_a_barrier(void **state)
{
    (void)state;
    struct party parties[MANY];
    begin();
    mproc_barrier_init_action(&shared->barrier, MANY, refuse, NULL);
    for (int i = 0; i < MANY; i++)
        party_start(&parties[i], meet_once, NULL);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(party_join(&parties[i]), 50);
    end();
}

static int die_in_action(void *unused)
{
    (void)unused;
    raise(SIGKILL);
    return 0;
}

static void a_party_that_dies_breaks_a_barrier(void **state)
{
    (void)state;
    if (PARTIES == THREADS)
        harness_skip("a thread cannot be killed while it waits");
    struct party parties[MANY], victim;
    begin();
    mproc_barrier_init(&shared->barrier, MANY + 2);
    party_start(&victim, meet_once, NULL);
    for (int i = 0; i < MANY; i++)
        party_start(&parties[i], meet_once, NULL);
    wait_until_waiting(MANY + 1);
    kill(victim.pid, SIGKILL);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(party_join(&parties[i]), 50);
    party_join(&victim);
    mproc_barrier_destroy(&shared->barrier);
    mproc_barrier_init_action(&shared->barrier, MANY, die_in_action, NULL);
    int killed = 0, broken = 0;
    for (int i = 0; i < MANY; i++)
        party_start(&parties[i], meet_once, NULL);
    for (int i = 0; i < MANY; i++) {
        int result = party_join(&parties[i]);
        killed += result == -SIGKILL;
        broken += result == 50;
    }
    assert_int_equal(killed, 1);
    assert_int_equal(broken, MANY - 1);
    end();
}

static int attend_and_die(void *unused)
{
    (void)unused;
    if (mproc_barrier_attend(&shared->barrier) != 0 || mproc_barrier_attend(&shared->barrier) != 0)
        return 1;
    atomic_fetch_add(&shared->ready, 1);
    while (atomic_load(&shared->done) == 0)
        harness_sleep_ms(1);
    party_die();
    return 0;
}

static int attend_and_leave(void *unused)
{
    (void)unused;
    if (mproc_barrier_attend(&shared->barrier) != 0 || mproc_barrier_leave(&shared->barrier) != 0 ||
        mproc_barrier_leave(&shared->barrier) != 0)
        return 1;
    return 0;
}

static void a_party_that_attends_and_dies_before_it_arrives_breaks_a_barrier(void **state)
{
    (void)state;
    struct party victim, party;
    begin();
    mproc_barrier_init(&shared->barrier, 2);
    party_start(&party, attend_and_leave, NULL);
    assert_int_equal(party_join(&party), 0);
    assert_int_equal(mproc_barrier_is_broken(&shared->barrier), 0);
    party_start(&victim, attend_and_die, NULL);
    party_start(&party, meet_once, NULL);
    wait_until_waiting(1);
    wait_ready(2);
    atomic_store(&shared->done, 1);
    assert_int_equal(party_join(&party), 50);
    party_join(&victim);
    assert_int_equal(mproc_barrier_reset(&shared->barrier), 0);
    assert_int_equal(mproc_barrier_is_broken(&shared->barrier), 0);
    end();
}

/* ---- wrong use */

static void what_is_not_initialised_is_refused(void **state)
{
    (void)state;
    begin();
    assert_int_equal(mproc_semaphore_acquire(&shared->semaphore, 0), MPROC_E_NOT_INITIALISED);
    assert_int_equal(mproc_semaphore_release(&shared->semaphore), MPROC_E_NOT_INITIALISED);
    assert_int_equal(mproc_semaphore_value(NULL), -EINVAL);
    assert_int_equal(mproc_semaphore_held(NULL), -EINVAL);
    assert_int_equal(mproc_semaphore_destroy(NULL), -EINVAL);
    assert_int_equal(mproc_semaphore_init(NULL, 1), -EINVAL);
    assert_int_equal(mproc_semaphore_init(&shared->semaphore, -1), -EINVAL);
    assert_int_equal(mproc_barrier_wait(&shared->barrier, 0), MPROC_E_NOT_INITIALISED);
    assert_int_equal(mproc_barrier_abort(&shared->barrier), MPROC_E_NOT_INITIALISED);
    assert_int_equal(mproc_barrier_reset(NULL), -EINVAL);
    assert_int_equal(mproc_barrier_attend(NULL), -EINVAL);
    assert_int_equal(mproc_barrier_leave(NULL), -EINVAL);
    assert_int_equal(mproc_barrier_waiting(NULL), -EINVAL);
    assert_int_equal(mproc_barrier_is_broken(NULL), -EINVAL);
    assert_int_equal(mproc_barrier_destroy(NULL), -EINVAL);
    assert_int_equal(mproc_barrier_init(&shared->barrier, 0), -EINVAL);
    assert_int_equal(mproc_barrier_init(&shared->barrier, 65535), -EINVAL);
    assert_int_equal(mproc_barrier_init(&shared->barrier, 1), 0);
    assert_int_equal(mproc_barrier_wait(&shared->barrier, 0), 0);
    assert_int_equal(mproc_barrier_attend(&shared->barrier), 0);
    assert_int_equal(mproc_barrier_leave(&shared->barrier), 0);
    end();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_semaphore_lets_so_many_in),
    cmocka_unit_test(units_of_dead_processes_come_back),
    cmocka_unit_test(a_bounded_semaphore_refuses_too_much),
    cmocka_unit_test(signals_are_not_given_back),
    cmocka_unit_test(any_process_may_release),
    cmocka_unit_test(a_barrier_counts_its_parties),
    cmocka_unit_test(timeout_abort_and_reset_break_a_barrier),
    cmocka_unit_test(an_action_may_wait_at_another_barrier),
    cmocka_unit_test(a_failed_action_breaks_a_barrier),
    cmocka_unit_test(a_party_that_dies_breaks_a_barrier),
    cmocka_unit_test(a_party_that_attends_and_dies_before_it_arrives_breaks_a_barrier),
    cmocka_unit_test(what_is_not_initialised_is_refused),
};

HARNESS_MAIN(tests)
