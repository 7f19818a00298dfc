/* Connections that several threads of a process use at a time. SPDX-License-Identifier: MIT */
#include "connection_use.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

enum { THREADS = 4, ROUNDS = 300 };

/* ---- many use one end */

struct user {
    mproc_connection *connection;
    unsigned number;
    long received, sum;
};

struct numbered {
    unsigned thread, round;
    char filling[];
};

static size_t size_of_filling(unsigned thread, unsigned round)
{
    return (round * 7919 + thread * 104729) % (round % 16 ? 3000 : 200000);
}

static void *send_numbered(void *argument)
{
    struct user *user = argument;
    for (unsigned i = 0; i < ROUNDS; i++) {
        size_t size = size_of_filling(user->number, i);
        struct numbered *message = malloc(sizeof *message + size);
        *message = (struct numbered) { user->number, i };
        fill(message->filling, size, user->number + i);
        int err = mproc_connection_send(user->connection, message, sizeof *message + size, PATIENCE);
        free(message);
        if (err != 0)
            return argument;
    }
    return NULL;
}

static void start_all(pthread_t *threads, struct user *users, void *(*run)(void *), mproc_connection *connection)
{
    for (unsigned i = 0; i < THREADS; i++) {
        users[i] = (struct user) { .connection = connection, .number = i };
        assert_int_equal(pthread_create(&threads[i], NULL, run, &users[i]), 0);
    }
}

static void join_all(pthread_t *threads)
{
    for (unsigned i = 0; i < THREADS; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
}

static void messages_of_many_senders_stay_whole(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    pthread_t threads[THREADS];
    struct user users[THREADS];
    unsigned rounds[THREADS] = { 0 };
    start_all(threads, users, send_numbered, pair.here);
    for (int i = 0; i < THREADS * ROUNDS; i++) {
        const void *data = NULL;
        size_t size;
        assert_int_equal(mproc_connection_receive_borrowed(pair.there, &data, &size, PATIENCE), 0);
        const struct numbered *message = data;
        assert_true(message->thread < THREADS);
        assert_int_equal(message->round, rounds[message->thread]++);
        assert_int_equal(size, sizeof *message + size_of_filling(message->thread, message->round));
        assert_true(is_filled(message->filling, size - sizeof *message, message->thread + message->round));
    }
    join_all(threads);
    close_pair(pair);
}

static void *receive_numbers(void *argument)
{
    struct user *user = argument;
    for (;;) {
        char *copy = NULL;
        size_t size;
        int err = receive_by(user->number % WAYS, user->connection, 5000, &copy, &size, PATIENCE);
        if (err == MPROC_E_END_OF_STREAM)
            return NULL;
        if (err != 0 || size < sizeof(unsigned))
            return argument;
        unsigned number;
        memcpy(&number, copy, sizeof number);
        bool right = is_filled(copy + sizeof number, size - sizeof number, number);
        free(copy);
        if (!right)
            return argument;
        user->received++;
        user->sum += number;
    }
}

/* What is borrowed is another thread's after its next call, so one of them only receives so. */
static void each_message_goes_to_one_of_many_receivers(void **state)
{
    (void)state;
    enum { MESSAGES = 2000 };
    struct pair pair = open_pair();
    pthread_t threads[THREADS];
    struct user users[THREADS];
    static char message[5000];
    for (unsigned i = 0; i < THREADS; i++) {
        users[i] = (struct user) { .connection = pair.there, .number = i % 2 ? NEW : INTO_BUFFER };
        assert_int_equal(pthread_create(&threads[i], NULL, receive_numbers, &users[i]), 0);
    }
    for (unsigned i = 0; i < MESSAGES; i++) {
        size_t size = i * 13 % 4000;
        memcpy(message, &i, sizeof i);
        fill(message + sizeof i, size, i);
        assert_int_equal(mproc_connection_send(pair.here, message, sizeof i + size, PATIENCE), 0);
    }
    assert_int_equal(mproc_connection_close(pair.here), 0);
    join_all(threads);
    long received = 0, sum = 0;
    for (int i = 0; i < THREADS; i++) {
        received += users[i].received;
        sum += users[i].sum;
    }
    assert_int_equal(received, MESSAGES);
    assert_int_equal(sum, (long)MESSAGES * (MESSAGES - 1) / 2);
    assert_int_equal(mproc_connection_close(pair.there), 0);
}

/* ---- one waits, and another thread does something */

enum call { RECEIVE, RECEIVE_BORROWED, RECEIVE_NEW, POLL, SEND, CALLS };

struct waiter {
    mproc_connection *connection;
    enum call call;
    _Atomic pid_t thread;
    int result;
};

static void *wait_in_call(void *argument)
{
    struct waiter *waiter = argument;
    char *copy = NULL;
    size_t size;
    atomic_store(&waiter->thread, (pid_t)syscall(SYS_gettid));
    if (waiter->call == SEND)
        waiter->result = send_filled(waiter->connection, 10, 0, MPROC_FOREVER);
    else if (waiter->call == POLL)
        waiter->result = mproc_connection_poll(waiter->connection, MPROC_FOREVER);
    else
        waiter->result = receive_by((enum way)waiter->call, waiter->connection, 10, &copy, &size, MPROC_FOREVER);
    if (waiter->result == 0 && waiter->call < POLL)
        free(copy);
    return NULL;
}

static pthread_t start_waiter(struct waiter *waiter, mproc_connection *connection, enum call call)
{
    pthread_t thread;
    *waiter = (struct waiter) { .connection = connection, .call = call };
    assert_int_equal(pthread_create(&thread, NULL, wait_in_call, waiter), 0);
    while (atomic_load(&waiter->thread) == 0)
        harness_sleep_ms(1);
    assert_true(harness_wait_asleep(waiter->thread, HARNESS_PATIENCE));
    return thread;
}

static void closing_ends_the_calls_that_wait(void **state)
{
    (void)state;
    for (enum call call = 0; call < CALLS; call++) {
        struct pair pair = open_pair();
        struct waiter waiters[2];
        pthread_t threads[2];
        while (call == SEND && mproc_connection_send(pair.here, "full", 4, 0) == 0) {
        }
        for (int i = 0; i < 2; i++)
            threads[i] = start_waiter(&waiters[i], pair.here, call);
        assert_int_equal(mproc_connection_close(pair.here), 0);
        for (int i = 0; i < 2; i++) {
            pthread_join(threads[i], NULL);
            assert_int_equal(waiters[i].result, MPROC_E_CLOSED);
        }
        assert_int_equal(mproc_connection_close(pair.there), 0);
    }
}

static void *send_large(void *argument)
{
    struct waiter *waiter = argument;
    waiter->result = send_filled(waiter->connection, 5 << 20, 0, MPROC_FOREVER);
    return NULL;
}

static void closing_ends_a_send_in_mid_message(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    struct waiter waiter = { .connection = pair.here };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, send_large, &waiter), 0);
    assert_int_equal(mproc_connection_poll(pair.there, PATIENCE), 0);
    assert_int_equal(mproc_connection_close(pair.here), 0);
    pthread_join(thread, NULL);
    assert_true(waiter.result == MPROC_E_STREAM_BROKEN || waiter.result == MPROC_E_CLOSED);
    char *copy = NULL;
    size_t size;
    assert_int_equal(receive_by(NEW, pair.there, 0, &copy, &size, PATIENCE), MPROC_E_STREAM_BROKEN);
    assert_int_equal(mproc_connection_close(pair.there), 0);
}

static void the_other_side_wakes_who_waits(void **state)
{
    (void)state;
    for (enum call call = 0; call < SEND; call++) {
        struct pair pair = open_pair();
        struct waiter waiter;
        pthread_t thread = start_waiter(&waiter, pair.here, call);
        assert_int_equal(send_filled(pair.there, 10, 0, 0), 0);
        pthread_join(thread, NULL);
        assert_int_equal(waiter.result, 0);
        if (call == POLL)
            assert_true(comes(pair.here, NEW, 10, 0));
        thread = start_waiter(&waiter, pair.here, call);
        assert_int_equal(mproc_connection_close(pair.there), 0);
        pthread_join(thread, NULL);
        assert_int_equal(waiter.result, call == POLL ? 0 : MPROC_E_END_OF_STREAM);
        assert_int_equal(mproc_connection_close(pair.here), 0);
    }
}

static void who_waits_holds_up_its_own_direction_only(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    struct waiter waiter;
    char *copy = NULL;
    size_t size;
    pthread_t thread = start_waiter(&waiter, pair.here, RECEIVE);
    for (enum way way = 0; way < WAYS; way++) {
        assert_int_equal(receive_by(way, pair.here, 10, &copy, &size, 0), -ETIMEDOUT);
        assert_int_equal(receive_by(way, pair.here, 10, &copy, &size, MPROC_MS(2)), -ETIMEDOUT);
    }
    assert_int_equal(mproc_connection_poll(pair.here, 0), -ETIMEDOUT);
    assert_int_equal(send_filled(pair.here, 1000, 1, 0), 0);
    assert_true(comes(pair.there, NEW, 1000, 1));
    assert_int_equal(send_filled(pair.there, 10, 2, 0), 0);
    pthread_join(thread, NULL);
    assert_int_equal(waiter.result, 0);
    close_pair(pair);
}

/* ---- handles */

struct handle_race {
    _Atomic(mproc_connection *) connection;
    _Atomic bool over;
    _Atomic long calls;
};

static void *use_whatever_is_there(void *argument)
{
    struct handle_race *race = argument;
    while (!atomic_load(&race->over)) {
        mproc_connection *connection = atomic_load(&race->connection);
        int err = mproc_connection_poll(connection, 0);
        if (err != 0 && err != -ETIMEDOUT && err != MPROC_E_CLOSED)
            return argument;
        err = mproc_connection_send(connection, "x", 1, 0);
        if (err != 0 && err != -ETIMEDOUT && err != MPROC_E_CLOSED && err != -EPIPE)
            return argument;
        atomic_fetch_add(&race->calls, 1);
    }
    return NULL;
}

static void closing_races_with_calls(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    struct handle_race race = { .connection = pair.here };
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_whatever_is_there, &race), 0);
    for (int i = 0; i < 200 || atomic_load(&race.calls) < 200; i++) {
        struct pair next = open_pair();
        atomic_store(&race.connection, next.here);
        close_pair(pair);
        pair = next;
    }
    atomic_store(&race.over, true);
    join_all(threads);
    close_pair(pair);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(messages_of_many_senders_stay_whole),
    cmocka_unit_test(each_message_goes_to_one_of_many_receivers),
    cmocka_unit_test(closing_ends_the_calls_that_wait),
    cmocka_unit_test(closing_ends_a_send_in_mid_message),
    cmocka_unit_test(the_other_side_wakes_who_waits),
    cmocka_unit_test(who_waits_holds_up_its_own_direction_only),
    cmocka_unit_test(closing_races_with_calls),
};

HARNESS_MAIN(tests)
