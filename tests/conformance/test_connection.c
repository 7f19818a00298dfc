/* Connections between parties: PARTIES are processes or threads. SPDX-License-Identifier: MIT */
#include "parties.h"

#include "../unit/connection_use.h"

#include <fcntl.h>

/* A party's end, and the other one. Of processes each has copies of both, and closes what is not its own. */
struct side {
    mproc_connection *mine, *other;
};

static int leave_to_others(mproc_connection *connection)
{
    return PARTIES == PROCESSES ? mproc_connection_close(connection) : 0;
}

/* Starts a party that has pair.there, and closes it. */
static struct side start_other(struct party *party, struct side *side, struct pair pair, int (*run)(void *))
{
    *side = (struct side) { pair.there, pair.here };
    party_start(party, run, side);
    assert_int_equal(leave_to_others(pair.there), 0);
    return (struct side) { pair.here, pair.there };
}

static const size_t sizes[] = {
    0, 1, 2, 100, 4095, 4096, 16384, 16384 + 1, 65535, 65536, 65537, 1 << 20, 70 << 20, 0, 5
};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static int send_all_sizes(void *argument)
{
    struct side *side = argument;
    CHECK(leave_to_others(side->other) == 0);
    for (unsigned i = 0; i < WAYS * SIZES; i++)
        CHECK(send_filled(side->mine, sizes[i % SIZES], i, PATIENCE) == 0);
    CHECK(mproc_connection_close(side->mine) == 0);
    return 0;
}

static void check_all_sizes(struct pair pair)
{
    struct party party;
    struct side there, here = start_other(&party, &there, pair, send_all_sizes);
    for (unsigned i = 0; i < WAYS * SIZES; i++)
        assert_true(comes(here.mine, i / SIZES, sizes[i % SIZES], i));
    assert_int_equal(mproc_connection_receive(here.mine, NULL, 0, NULL, PATIENCE), MPROC_E_END_OF_STREAM);
    assert_int_equal(party_join(&party), 0);
    assert_int_equal(mproc_connection_close(here.mine), 0);
}

static void messages_of_any_size_arrive_whole_and_in_order(void **state)
{
    (void)state;
    check_all_sizes(open_pair());
}

static void one_way_too(void **state)
{
    (void)state;
    struct pair pair;
    assert_int_equal(mproc_pipe_one_way(&pair.here, &pair.there), 0);
    check_all_sizes(pair);
}

static void a_pipe_of_the_systems_carries_them_as_well(void **state)
{
    (void)state;
    struct pair pair;
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(mproc_connection_open(&pair.here, fds[0]), 0);
    assert_int_equal(mproc_connection_open(&pair.there, fds[1]), 0);
    check_all_sizes(pair);
}

enum { SMALL_ONES = 20000 };

static int send_small_ones(void *argument)
{
    struct side *side = argument;
    CHECK(leave_to_others(side->other) == 0);
    for (int i = 0; i < SMALL_ONES; i++)
        CHECK(mproc_connection_send(side->mine, &i, sizeof i, PATIENCE) == 0);
    CHECK(mproc_connection_close(side->mine) == 0);
    return 0;
}

static void many_small_messages_keep_their_order(void **state)
{
    (void)state;
    struct party party;
    struct side there, here = start_other(&party, &there, open_pair(), send_small_ones);
    for (int i = 0; i < SMALL_ONES; i++) {
        int number = -1;
        size_t size = 0;
        assert_int_equal(mproc_connection_receive(here.mine, &number, sizeof number, &size, PATIENCE), 0);
        assert_int_equal(size, sizeof number);
        assert_int_equal(number, i);
    }
    assert_int_equal(party_join(&party), 0);
    assert_int_equal(mproc_connection_close(here.mine), 0);
}

enum { ECHOES = 12, ECHO_SIZE = (1 << 20) + 7 };

static int echo(void *argument)
{
    struct side *side = argument;
    CHECK(leave_to_others(side->other) == 0);
    for (const void *data;;) {
        size_t size;
        int err = mproc_connection_receive_borrowed(side->mine, &data, &size, PATIENCE);
        if (err == MPROC_E_END_OF_STREAM)
            break;
        CHECK(err == 0);
        CHECK(mproc_connection_send(side->mine, data, size, PATIENCE) == 0);
    }
    CHECK(mproc_connection_close(side->mine) == 0);
    return 0;
}

static void *send_echoes(void *connection)
{
    for (unsigned i = 0; i < ECHOES; i++)
        if (send_filled(connection, ECHO_SIZE, i, PATIENCE) != 0)
            return connection;
    return NULL;
}

static void both_directions_flow_at_once(void **state)
{
    (void)state;
    struct party party;
    struct side there, here = start_other(&party, &there, open_pair(), echo);
    pthread_t sender;
    void *failed;
    assert_int_equal(pthread_create(&sender, NULL, send_echoes, here.mine), 0);
    for (unsigned i = 0; i < ECHOES; i++)
        assert_true(comes(here.mine, i % WAYS, ECHO_SIZE, i));
    pthread_join(sender, &failed);
    assert_null(failed);
    assert_int_equal(mproc_connection_close(here.mine), 0);
    assert_int_equal(party_join(&party), 0);
}

static int send_and_leave(void *argument)
{
    struct side *side = argument;
    CHECK(leave_to_others(side->other) == 0);
    for (unsigned i = 0; i < 3; i++)
        CHECK(send_filled(side->mine, 1000, i, PATIENCE) == 0);
    CHECK(mproc_connection_close(side->mine) == 0);
    return 0;
}

static void after_the_last_message_comes_the_end_again_and_again(void **state)
{
    (void)state;
    struct party party;
    struct side there, here = start_other(&party, &there, open_pair(), send_and_leave);
    assert_int_equal(party_join(&party), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_true(comes(here.mine, i, 1000, i));
    for (int i = 0; i < 3 * WAYS; i++) {
        char *copy;
        size_t size;
        assert_int_equal(receive_by(i % WAYS, here.mine, 10, &copy, &size, i < 5 ? 0 : MPROC_FOREVER),
                         MPROC_E_END_OF_STREAM);
        assert_int_equal(mproc_connection_poll(here.mine, MPROC_FOREVER), 0);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(mproc_connection_send(here.mine, "x", 1, PATIENCE), -EPIPE);
    assert_int_equal(mproc_connection_close(here.mine), 0);
}

static int leave_what_came_unread(void *argument)
{
    struct side *side = argument;
    CHECK(leave_to_others(side->other) == 0);
    CHECK(send_filled(side->mine, 1000, 0, PATIENCE) == 0);
    CHECK(mproc_connection_poll(side->mine, PATIENCE) == 0);
    CHECK(mproc_connection_close(side->mine) == 0);
    return 0;
}

static void what_was_sent_arrives_though_its_sender_left_something_unread(void **state)
{
    (void)state;
    struct party party;
    struct side there, here = start_other(&party, &there, open_pair(), leave_what_came_unread);
    assert_int_equal(mproc_connection_send(here.mine, "unread", 6, PATIENCE), 0);
    assert_int_equal(party_join(&party), 0);
    assert_true(comes(here.mine, NEW, 1000, 0));
    for (int i = 0; i < 2; i++)
        assert_int_equal(mproc_connection_receive(here.mine, NULL, 0, NULL, PATIENCE), MPROC_E_END_OF_STREAM);
    assert_int_equal(mproc_connection_close(here.mine), 0);
}

static int leave_in_mid_message(void *argument)
{
    struct side *side = argument;
    CHECK(leave_to_others(side->other) == 0);
    CHECK(mproc_connection_poll(side->mine, PATIENCE) == 0);
    CHECK(mproc_connection_close(side->mine) == 0);
    return 0;
}

static void sending_to_one_who_leaves_in_mid_message_fails(void **state)
{
    (void)state;
    struct party party;
    struct side there, here = start_other(&party, &there, open_pair(), leave_in_mid_message);
    assert_int_equal(send_filled(here.mine, 70 << 20, 0, MPROC_FOREVER), -EPIPE);
    assert_int_equal(mproc_connection_send(here.mine, "x", 1, PATIENCE), -EPIPE);
    assert_int_equal(party_join(&party), 0);
    assert_int_equal(mproc_connection_close(here.mine), 0);
}

static int answer_each(void *argument)
{
    struct side *side = argument;
    CHECK(leave_to_others(side->other) == 0);
    for (unsigned i = 0; i < 1000; i++) {
        CHECK(mproc_connection_poll(side->mine, PATIENCE) == 0);
        CHECK(comes(side->mine, i % WAYS, i, i));
        CHECK(send_filled(side->mine, 999 - i, i + 1, PATIENCE) == 0);
    }
    CHECK(mproc_connection_close(side->mine) == 0);
    return 0;
}

static void questions_get_their_answers(void **state)
{
    (void)state;
    struct party party;
    struct side there, here = start_other(&party, &there, open_pair(), answer_each);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(send_filled(here.mine, i, i, PATIENCE), 0);
        assert_int_equal(mproc_connection_poll(here.mine, PATIENCE), 0);
        assert_true(comes(here.mine, i / WAYS % WAYS, 999 - i, i + 1));
    }
    assert_int_equal(party_join(&party), 0);
    assert_int_equal(mproc_connection_close(here.mine), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(messages_of_any_size_arrive_whole_and_in_order),
    cmocka_unit_test(one_way_too),
    cmocka_unit_test(a_pipe_of_the_systems_carries_them_as_well),
    cmocka_unit_test(many_small_messages_keep_their_order),
    cmocka_unit_test(both_directions_flow_at_once),
    cmocka_unit_test(after_the_last_message_comes_the_end_again_and_again),
    cmocka_unit_test(what_was_sent_arrives_though_its_sender_left_something_unread),
    cmocka_unit_test(sending_to_one_who_leaves_in_mid_message_fails),
    cmocka_unit_test(questions_get_their_answers),
};

HARNESS_MAIN(tests)
