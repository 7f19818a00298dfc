/* Queues whose writers, readers and consumers go away. SPDX-License-Identifier: MIT */
#include "queue.h"

struct shared *shared;

enum { MANY = 3 };

/* ---- writers and readers */

static int put_one_and_end(void *unused)
{
    (void)unused;
    return put_number(1, MPROC_FOREVER) == 0 ? 0 : 1;
}

static int get_until_an_error(void *error)
{
    int64_t number;
    while ((number = get_number(MPROC_FOREVER)) >= 0)
        atomic_fetch_add(&shared->count, 1);
    return number == (int64_t)(intptr_t)error ? 0 : 1;
}

static void readers_are_told_when_the_last_writer_has_ended(void **state)
{
    (void)state;
    struct party writer, readers[MANY];
    begin_unlimited();
    for (int i = 0; i < MANY; i++)
        party_start(&readers[i], get_until_an_error, (void *)(intptr_t)MPROC_E_NO_WRITERS);
    party_start(&writer, put_one_and_end, NULL);
    assert_int_equal(party_join(&writer), 0);
    assert_int_equal(mproc_queue_detach(shared->queue, MPROC_QUEUE_WRITER), 0);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(party_join(&readers[i]), 0);
    assert_int_equal(atomic_load(&shared->count), 1);
    assert_int_equal(get_number(0), MPROC_E_NO_WRITERS);
    /* It may be written to again. */
    assert_int_equal(put_number(7, 0), 0);
    assert_int_equal(get_number(0), 7);
    assert_int_equal(get_number(0), -ETIMEDOUT);
    end();
}

static int write_until_killed(void *unused)
{
    (void)unused;
    put_number(1, MPROC_FOREVER);
    atomic_fetch_add(&shared->ready, 1);
    harness_sleep_ms(HARNESS_PATIENCE);
    return 1;
}

static void readers_are_told_when_the_last_writer_is_killed(void **state)
{
    (void)state;
    struct party writer, readers[MANY];
    if (PARTIES == THREADS)
        harness_skip("threads are not killed");
    begin_unlimited();
    party_start(&writer, write_until_killed, NULL);
    wait_for(&shared->ready, 1);
    assert_int_equal(mproc_queue_detach(shared->queue, MPROC_QUEUE_WRITER), 0);
    for (int i = 0; i < MANY; i++)
        party_start(&readers[i], get_until_an_error, (void *)(intptr_t)MPROC_E_NO_WRITERS);
    while (atomic_load(&shared->count) < 1)
        harness_sleep_ms(1);
    harness_sleep_ms(30);
    kill(writer.pid, SIGKILL);
    assert_int_equal(party_join(&writer), -SIGKILL);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(party_join(&readers[i]), 0);
    end();
}

static int put_until_an_error(void *error)
{
    int err;
    atomic_fetch_add(&shared->ready, 1);
    while ((err = put_number(1, MPROC_FOREVER)) == 0) {
    }
    return err == (int)(intptr_t)error ? 0 : 1;
}

static int read_until_killed(void *unused)
{
    (void)unused;
    get_number(MPROC_FOREVER);
    atomic_fetch_add(&shared->ready, 1);
    harness_sleep_ms(HARNESS_PATIENCE);
    return 1;
}

static void writers_are_told_when_the_last_reader_is_gone(void **state)
{
    (void)state;
    struct party writers[MANY], reader;
    begin_with(.messages = 2);
    for (int i = 0; i < MANY; i++)
        party_start(&writers[i], put_until_an_error, (void *)(intptr_t)MPROC_E_NO_READERS);
    if (PARTIES == PROCESSES) {
        party_start(&reader, read_until_killed, NULL);
        wait_for(&shared->ready, MANY + 1);
        kill(reader.pid, SIGKILL);
        assert_int_equal(party_join(&reader), -SIGKILL);
    }
    wait_for(&shared->ready, MANY);
    harness_sleep_ms(30);
    assert_int_equal(mproc_queue_detach(shared->queue, MPROC_QUEUE_READER), 0);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(party_join(&writers[i]), 0);
    /* What needs no room is put as before. */
    assert_int_equal(put_number(1, 0), MPROC_E_NO_READERS);
    assert_int_equal(get_number(0), 1);
    end();
}

static void a_forked_child_is_a_process_of_its_own(void **state)
{
    (void)state;
    struct party party;
    begin_unlimited();
    assert_int_equal(put_number(1, 0), 0);
    party_start(&party, put_one_and_end, NULL); /* has its parent's memory of being a writer */
    assert_int_equal(party_join(&party), 0);
    assert_int_equal(get_number(0), 1);
    assert_int_equal(get_number(0), 1);
    assert_int_equal(mproc_queue_detach(shared->queue, MPROC_QUEUE_WRITER), 0);
    party_start(&party, write_until_killed, NULL);
    if (PARTIES == PROCESSES) {
        wait_for(&shared->ready, 1);
        assert_int_equal(get_number(0), 1);
        assert_int_equal(get_number(0), -ETIMEDOUT);
        kill(party.pid, SIGKILL);
        assert_int_equal(party_join(&party), -SIGKILL);
        assert_int_equal(get_number(MPROC_FOREVER), MPROC_E_NO_WRITERS);
        end();
    } else
        _exit(0); /* with its thread */
}

/* ---- consumers that die with what they took */

static int take_and_die(void *how)
{
    struct mproc_message message;
    if (how)
        mproc_queue_borrow(shared->queue, &message, MPROC_FOREVER);
    else
        get_number(MPROC_FOREVER);
    atomic_fetch_add(&shared->ready, 1);
    harness_sleep_ms(HARNESS_PATIENCE);
    return 1;
}

static void kill_one_that_took(void *how)
{
    struct party party;
    atomic_store(&shared->ready, 0);
    party_start(&party, take_and_die, how);
    wait_for(&shared->ready, 1);
    kill(party.pid, SIGKILL);
    assert_int_equal(party_join(&party), -SIGKILL);
}

static void what_a_dead_consumer_had_is_delivered_again(void **state)
{
    (void)state;
    if (PARTIES == THREADS)
        harness_skip("threads are not killed");
    begin_with(.redeliver = true);
    for (int i = 1; i < 4; i++)
        assert_int_equal(put_number(i, 0), 0);
    for (int i = 0; i < 3; i++)
        kill_one_that_took(i % 2 ? shared : NULL);
    struct mproc_message message;
    assert_int_equal(mproc_queue_borrow(shared->queue, &message, 0), 0);
    assert_int_equal(*(int64_t *)message.data, 1);
    assert_int_equal(message.deliveries, 4);
    assert_int_equal(mproc_queue_size(shared->queue), 2);
    assert_int_equal(mproc_queue_join(shared->queue, 0), -ETIMEDOUT);
    assert_int_equal(mproc_queue_release(shared->queue, &message), 0);
    assert_int_equal(get_number(0), 2);
    assert_int_equal(get_number(0), 3);
    assert_int_equal(mproc_queue_join(shared->queue, 0), -ETIMEDOUT);
    assert_int_equal(mproc_queue_task_done(shared->queue), 0);
    assert_int_equal(mproc_queue_task_done(shared->queue), 0);
    assert_int_equal(mproc_queue_task_done(shared->queue), MPROC_E_RELEASED_TOO_OFTEN);
    assert_int_equal(mproc_queue_join(shared->queue, MPROC_FOREVER), 0);
    assert_int_equal(mproc_queue_lost(shared->queue), 0);
    end();
}

/* What came back was taken last, though it was put first. */
static int take_and_be_done_with_the_first(void *unused)
{
    (void)unused;
    if (get_number(MPROC_FOREVER) != 2)
        return 1;
    atomic_fetch_add(&shared->done, 1);
    wait_for(&shared->go, 1);
    if (get_number(MPROC_FOREVER) != 1 || mproc_queue_task_done(shared->queue) != 0)
        return 2;
    party_die();
    return 3;
}

static void done_is_what_was_taken_first(void **state)
{
    (void)state;
    struct party one, other;
    if (PARTIES == THREADS)
        harness_skip("threads are not killed");
    begin_with(.redeliver = true);
    assert_int_equal(put_number(1, 0), 0);
    assert_int_equal(put_number(2, 0), 0);
    party_start(&one, take_and_die, NULL);
    wait_for(&shared->ready, 1);
    party_start(&other, take_and_be_done_with_the_first, NULL);
    wait_for(&shared->done, 1);
    kill(one.pid, SIGKILL);
    assert_int_equal(party_join(&one), -SIGKILL);
    atomic_store(&shared->go, 1);
    assert_int_equal(party_join(&other), -SIGKILL);
    assert_int_equal(get_number(0), 1);
    assert_int_equal(get_number(0), -ETIMEDOUT);
    end();
}

static int take_and_ask_for_more(void *unused)
{
    (void)unused;
    if (get_number(MPROC_FOREVER) < 0)
        return 1;
    atomic_fetch_add(&shared->ready, 1);
    wait_for(&shared->go, 1);
    int64_t more = get_number(MPROC_FOREVER);
    mproc_queue_task_done(shared->queue); /* or it would come to another one who asks for more */
    return more == MPROC_E_CLOSED ? 0 : 2;
}

static void two_who_are_not_done_do_not_wait_for_each_other(void **state)
{
    (void)state;
    struct party parties[2];
    begin_with(.redeliver = true);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(put_number(i, 0), 0);
        party_start(&parties[i], take_and_ask_for_more, NULL);
    }
    wait_for(&shared->ready, 2);
    assert_int_equal(mproc_queue_close(shared->queue), 0);
    atomic_store(&shared->go, 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(party_join(&parties[i]), 0);
    end();
}

/* One that takes what there is, and is killed before it is done, while another one waits. */
static void start_taker(struct party *taker)
{
    if (PARTIES == THREADS)
        harness_skip("threads are not killed");
    begin_with(.redeliver = true);
    assert_int_equal(put_number(5, 0), 0);
    party_start(taker, take_and_die, NULL);
    wait_for(&shared->ready, 1);
}

static void kill_taker_beside(struct party *taker, const struct party *waiting)
{
    assert_true(harness_wait_asleep(waiting->pid, HARNESS_PATIENCE));
    kill(taker->pid, SIGKILL);
    assert_int_equal(party_join(taker), -SIGKILL);
}

/* Closed, it waits for what may come back from another one. */
static void the_end_is_not_told_while_something_may_come_back(void **state)
{
    (void)state;
    struct party taker, waiting;
    start_taker(&taker);
    assert_int_equal(mproc_queue_close(shared->queue), 0);
    atomic_store(&shared->go, 1);
    party_start(&waiting, take_and_ask_for_more, NULL);
    kill_taker_beside(&taker, &waiting);
    assert_int_equal(party_join(&waiting), 0);
    end();
}

static void it_is_delivered_to_one_who_waits(void **state)
{
    (void)state;
    struct party waiting, taker;
    start_taker(&taker);
    party_start(&waiting, get_until_an_error, (void *)(intptr_t)MPROC_E_CLOSED);
    kill_taker_beside(&taker, &waiting);
    while (atomic_load(&shared->count) < 1)
        harness_sleep_ms(1);
    assert_int_equal(mproc_queue_close(shared->queue), 0);
    assert_int_equal(party_join(&waiting), 0);
    end();
}

static void deliveries_are_limited(void **state)
{
    (void)state;
    if (PARTIES == THREADS)
        harness_skip("threads are not killed");
    begin_with(.redeliver = true, .deliveries = 2);
    assert_int_equal(put_number(1, 0), 0);
    kill_one_that_took(NULL);
    kill_one_that_took(shared);
    assert_int_equal(get_number(0), -ETIMEDOUT);
    assert_int_equal(mproc_queue_lost(shared->queue), 1);
    assert_int_equal(mproc_queue_join(shared->queue, 0), MPROC_E_MESSAGES_LOST);
    assert_int_equal(mproc_queue_join(shared->queue, 0), 0); /* said once */
    end();
}

static void what_is_not_delivered_again_is_counted_as_lost(void **state)
{
    (void)state;
    if (PARTIES == THREADS)
        harness_skip("threads are not killed");
    begin_with(.joinable = true);
    for (int i = 0; i < 2; i++)
        assert_int_equal(put_number(i, 0), 0);
    kill_one_that_took(NULL);
    kill_one_that_took(shared);
    assert_int_equal(mproc_queue_join(shared->queue, MPROC_FOREVER), MPROC_E_MESSAGES_LOST);
    assert_int_equal(mproc_queue_lost(shared->queue), 2);
    end();
}

static void memory_that_a_dead_one_had_borrowed_is_used_again(void **state)
{
    (void)state;
    static unsigned char bytes[100000];
    if (PARTIES == THREADS)
        harness_skip("threads are not killed");
    begin_unlimited();
    for (int round = 0; round < 10; round++) {
        assert_int_equal(mproc_queue_put(shared->queue, bytes, sizeof bytes, 0), 0);
        kill_one_that_took(shared);
        assert_int_equal(get_number(0), -ETIMEDOUT);
    }
    struct mproc_heap_statistics statistics = { .size = sizeof statistics };
    assert_int_equal(mproc_heap_statistics(&statistics), 0);
    assert_in_range(statistics.bytes_in_use, 0, 600000); /* of one or two messages, not of ten */
    end();
}

/* ---- done */

static int work(void *unused)
{
    (void)unused;
    int64_t number;
    while ((number = get_number(MPROC_FOREVER)) >= 0) {
        atomic_fetch_add(&shared->count, 1);
        if (mproc_queue_task_done(shared->queue) != 0)
            return 1;
    }
    return number == MPROC_E_CLOSED ? 0 : 2;
}

static void joining_waits_for_all(void **state)
{
    (void)state;
    struct party parties[MANY];
    begin_with(.joinable = true, .messages = 10);
    for (int i = 0; i < MANY; i++)
        party_start(&parties[i], work, NULL);
    for (int round = 1; round <= 20; round++) {
        for (int i = 0; i < 100; i++)
            assert_int_equal(put_number(i, MPROC_FOREVER), 0);
        assert_int_equal(mproc_queue_join(shared->queue, MPROC_FOREVER), 0);
        assert_int_equal(atomic_load(&shared->count), round * 100);
    }
    assert_int_equal(mproc_queue_close(shared->queue), 0);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(party_join(&parties[i]), 0);
    end();
}

static void joining_ends_when_nobody_reads(void **state)
{
    (void)state;
    begin_with(.joinable = true);
    assert_int_equal(put_number(1, 0), 0);
    assert_int_equal(mproc_queue_detach(shared->queue, MPROC_QUEUE_READER), 0);
    assert_int_equal(mproc_queue_join(shared->queue, MPROC_FOREVER), MPROC_E_NO_READERS);
    end();
}

/* ---- signals and time */

static void ignore(int signal)
{
    (void)signal;
}

static int get_interrupted(void *unused)
{
    (void)unused;
    struct sigaction action = { .sa_handler = ignore };
    sigaction(SIGUSR1, &action, NULL);
    atomic_fetch_add(&shared->ready, 1);
    return get_number(MPROC_FOREVER) == -EINTR ? 0 : 1;
}

static void a_signal_ends_the_wait(void **state)
{
    (void)state;
    struct party party;
    if (PARTIES == THREADS)
        harness_skip("signals are for processes here");
    begin_unlimited();
    party_start(&party, get_interrupted, NULL);
    wait_for(&shared->ready, 1);
    while (!harness_wait_gone(party.pid, 20))
        kill(party.pid, SIGUSR1);
    assert_int_equal(party_join(&party), 0);
    assert_int_equal(put_number(3, 0), 0);
    assert_int_equal(get_number(0), 3);
    end();
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_are_told_when_the_last_writer_has_ended),
        cmocka_unit_test(readers_are_told_when_the_last_writer_is_killed),
        cmocka_unit_test(writers_are_told_when_the_last_reader_is_gone),
        cmocka_unit_test(a_forked_child_is_a_process_of_its_own),
        cmocka_unit_test(what_a_dead_consumer_had_is_delivered_again),
        cmocka_unit_test(done_is_what_was_taken_first),
        cmocka_unit_test(two_who_are_not_done_do_not_wait_for_each_other),
        cmocka_unit_test(the_end_is_not_told_while_something_may_come_back),
        cmocka_unit_test(it_is_delivered_to_one_who_waits),
        cmocka_unit_test(deliveries_are_limited),
        cmocka_unit_test(what_is_not_delivered_again_is_counted_as_lost),
        cmocka_unit_test(memory_that_a_dead_one_had_borrowed_is_used_again),
        cmocka_unit_test(joining_waits_for_all),
        cmocka_unit_test(joining_ends_when_nobody_reads),
        cmocka_unit_test(a_signal_ends_the_wait),
    };
    return harness_main(argc, argv, tests, sizeof tests / sizeof *tests, HARNESS_SECONDS);
}
