/* Connections to started processes, in each start method: METHOD. SPDX-License-Identifier: MIT */
#include "process_shared.h"

#include "../unit/connection_use.h"

/* ---- the example of mproc/connection.h */

static int work(const int *fd)
{
    mproc_connection *connection = NULL;
    char text[20];
    size_t size;
    EXPECT(mproc_connection_open(&connection, *fd) == 0);
    EXPECT(mproc_connection_receive(connection, text, sizeof text, &size, MPROC_FOREVER) == 0);
    EXPECT(size == 6 && strcmp(text, "hello") == 0);
    EXPECT(mproc_connection_receive(connection, text, sizeof text, &size, MPROC_FOREVER) == MPROC_E_END_OF_STREAM);
    return 0;
}
MPROC_PROCESS(work, int);

static void the_example_of_the_header_does_what_it_says(void **state)
{
    (void)state;
    mproc_connection *here = NULL, *there = NULL;
    mproc_process *process = NULL;
    assert_int_equal(mproc_pipe(&here, &there), 0);
    int fd = mproc_connection_fd(there);
    START(&process, work, &fd, .keep_fds = &fd, .keep_fds_count = 1);
    assert_int_equal(mproc_connection_close(there), 0);
    assert_int_equal(mproc_connection_send(here, "hello", 6, MPROC_FOREVER), 0);
    assert_int_equal(mproc_connection_close(here), 0);
    finish_well(process);
}

/* ---- more of it */

static int echo(const int *fd)
{
    mproc_connection *connection = NULL;
    EXPECT(mproc_connection_open(&connection, *fd) == 0);
    for (const void *data;;) {
        size_t size;
        int err = mproc_connection_receive_borrowed(connection, &data, &size, PATIENCE);
        if (err == MPROC_E_END_OF_STREAM)
            break;
        EXPECT(err == 0);
        EXPECT(mproc_connection_send(connection, data, size, PATIENCE) == 0);
    }
    EXPECT(mproc_connection_close(connection) == 0);
    return 0;
}
MPROC_PROCESS(echo, int);

/* Starts a process that has pair.there, and closes it here. */
#define START_WITH(process, function, pair)                                                                            \
    do {                                                                                                               \
        int kept = mproc_connection_fd((pair).there);                                                                  \
        START(process, function, &kept, .keep_fds = &kept, .keep_fds_count = 1);                                       \
        assert_int_equal(mproc_connection_close((pair).there), 0);                                                     \
    } while (0)

static void messages_of_any_size_go_there_and_back(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 16384, 16384 + 1, 1 << 20, 10 << 20 };
    struct pair pair = open_pair();
    mproc_process *process = NULL;
    START_WITH(&process, echo, pair);
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(send_filled(pair.here, sizes[i], i, PATIENCE), 0);
        assert_true(comes(pair.here, i % WAYS, sizes[i], i));
    }
    assert_int_equal(mproc_connection_close(pair.here), 0);
    finish_well(process);
}

static int send_some(const int *fd)
{
    mproc_connection *writer = NULL;
    EXPECT(mproc_connection_open(&writer, *fd) == 0);
    for (unsigned i = 0; i < 10; i++)
        EXPECT(send_filled(writer, i * 10000, i, PATIENCE) == 0);
    return 0; /* and its end closes it */
}
MPROC_PROCESS(send_some, int);

static void one_way_pipes_go_there_too(void **state)
{
    (void)state;
    struct pair pair = { NULL, NULL };
    mproc_process *process = NULL;
    assert_int_equal(mproc_pipe_one_way(&pair.here, &pair.there), 0);
    START_WITH(&process, send_some, pair);
    for (unsigned i = 0; i < 10; i++)
        assert_true(comes(pair.here, i % WAYS, i * 10000, i));
    assert_int_equal(mproc_connection_receive(pair.here, NULL, 0, NULL, PATIENCE), MPROC_E_END_OF_STREAM);
    finish_well(process);
    assert_int_equal(mproc_connection_close(pair.here), 0);
}

static int receive_some(const int *fd)
{
    mproc_connection *reader = NULL;
    EXPECT(mproc_connection_open(&reader, *fd) == 0);
    for (unsigned i = 0; i < 10; i++)
        EXPECT(comes(reader, BORROWED, i * 10000, i));
    EXPECT(mproc_connection_receive(reader, NULL, 0, NULL, PATIENCE) == MPROC_E_END_OF_STREAM);
    return 0;
}
MPROC_PROCESS(receive_some, int);

static void two_processes_talk_to_each_other(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    mproc_process *first = NULL, *second = NULL;
    int fds[2] = { mproc_connection_fd(pair.here), mproc_connection_fd(pair.there) };
    START(&first, send_some, &fds[0], .keep_fds = &fds[0], .keep_fds_count = 1);
    assert_int_equal(mproc_connection_close(pair.here), 0);
    START(&second, receive_some, &fds[1], .keep_fds = &fds[1], .keep_fds_count = 1);
    assert_int_equal(mproc_connection_close(pair.there), 0);
    finish_well(first);
    finish_well(second);
}

static int stay(const int *fd)
{
    mproc_connection *connection = NULL;
    EXPECT(mproc_connection_open(&connection, *fd) == 0);
    EXPECT(mproc_connection_send(connection, "there", 5, PATIENCE) == 0);
    for (;;)
        pause();
}
MPROC_PROCESS(stay, int);

static void a_process_that_is_killed_ends_its_stream(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    mproc_process *process = NULL;
    START_WITH(&process, stay, pair);
    char text[5];
    assert_int_equal(mproc_connection_receive(pair.here, text, sizeof text, NULL, PATIENCE), 0);
    assert_int_equal(mproc_connection_receive(pair.here, NULL, 0, NULL, 0), -ETIMEDOUT);
    assert_int_equal(mproc_process_kill(process), 0);
    assert_int_equal(mproc_connection_receive(pair.here, NULL, 0, NULL, PATIENCE), MPROC_E_END_OF_STREAM);
    assert_int_equal(mproc_connection_send(pair.here, "x", 1, PATIENCE), -EPIPE);
    assert_int_equal(finish(process).signal, SIGKILL);
    assert_int_equal(mproc_connection_close(pair.here), 0);
}

static void connections_that_are_not_kept_do_not_go_there(void **state)
{
    (void)state;
    struct pair pair = open_pair(), other = open_pair();
    mproc_process *process = NULL;
    START_WITH(&process, stay, pair);
    char text[5];
    assert_int_equal(mproc_connection_receive(pair.here, text, sizeof text, NULL, PATIENCE), 0);
    assert_int_equal(mproc_connection_close(other.there), 0);
    assert_int_equal(mproc_connection_receive(other.here, NULL, 0, NULL, PATIENCE), MPROC_E_END_OF_STREAM);
    assert_int_equal(mproc_connection_close(other.here), 0);
    assert_int_equal(mproc_process_kill(process), 0);
    finish(process);
    assert_int_equal(mproc_connection_close(pair.here), 0);
}

static mproc_connection *everywhere; /* where the process is forked, a copy of its starter's handle */

/* Its handle does not stand for whatever got its number. */
static int look_at_handles(const int *unused)
{
    (void)unused;
    struct pair pair = { NULL, NULL };
    int count = harness_count_descriptors();
    EXPECT(!everywhere || mproc_connection_fd(everywhere) == MPROC_E_CLOSED);
    EXPECT(mproc_pipe(&pair.here, &pair.there) == 0);
    EXPECT(!everywhere || mproc_connection_close(everywhere) == MPROC_E_CLOSED);
    EXPECT(harness_count_descriptors() == count + 2);
    EXPECT(mproc_connection_close(pair.here) == 0);
    EXPECT(mproc_connection_close(pair.there) == 0);
    return 0;
}
MPROC_PROCESS(look_at_handles);

static void handles_do_not_go_there(void **state)
{
    (void)state;
    struct pair pair = open_pair();
    mproc_process *process = NULL;
    everywhere = pair.there;
    START(&process, look_at_handles, NULL);
    finish_well(process);
    assert_int_equal(mproc_connection_close(pair.here), 0);
    assert_int_equal(mproc_connection_close(pair.there), 0);
}

/* ---- connections over connections */

/* Gets a connection, and answers over it with one end of another. */
static int get_and_give(const int *fd)
{
    mproc_connection *connection = NULL, *got = NULL;
    struct pair own = { NULL, NULL };
    int came, given;
    EXPECT(mproc_connection_open(&connection, *fd) == 0);
    EXPECT(comes(connection, NEW, 100, 1));
    EXPECT(mproc_connection_take_fds(connection, &came, 1) == 1);
    EXPECT(mproc_connection_open(&got, came) == 0);
    EXPECT(mproc_pipe(&own.here, &own.there) == 0);
    given = mproc_connection_fd(own.there);
    EXPECT(mproc_connection_send_fds(got, "", 0, &given, 1, PATIENCE) == 0);
    EXPECT(mproc_connection_close(own.there) == 0);
    EXPECT(comes(own.here, BORROWED, 100000, 2));
    EXPECT(send_filled(own.here, 100000, 3, PATIENCE) == 0);
    return 0;
}
MPROC_PROCESS(get_and_give, int);

static void connections_go_over_connections(void **state)
{
    (void)state;
    struct pair pair = open_pair(), passed = open_pair();
    mproc_process *process = NULL;
    mproc_connection *given = NULL;
    char data[100];
    int fd = mproc_connection_fd(passed.there);
    START_WITH(&process, get_and_give, pair);
    fill(data, sizeof data, 1);
    assert_int_equal(mproc_connection_send_fds(pair.here, data, sizeof data, &fd, 1, PATIENCE), 0);
    assert_int_equal(mproc_connection_close(passed.there), 0);
    assert_true(comes(passed.here, INTO_BUFFER, 0, 0));
    assert_int_equal(mproc_connection_take_fds(passed.here, &fd, 1), 1);
    assert_int_equal(mproc_connection_open(&given, fd), 0);
    assert_int_equal(send_filled(given, 100000, 2, PATIENCE), 0);
    assert_true(comes(given, NEW, 100000, 3));
    finish_well(process);
    assert_int_equal(mproc_connection_receive(given, NULL, 0, NULL, PATIENCE), MPROC_E_END_OF_STREAM);
    assert_int_equal(mproc_connection_receive(passed.here, NULL, 0, NULL, PATIENCE), MPROC_E_END_OF_STREAM);
    assert_int_equal(mproc_connection_close(given), 0);
    assert_int_equal(mproc_connection_close(passed.here), 0);
    assert_int_equal(mproc_connection_close(pair.here), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_example_of_the_header_does_what_it_says),
    cmocka_unit_test(messages_of_any_size_go_there_and_back),
    cmocka_unit_test(one_way_pipes_go_there_too),
    cmocka_unit_test(two_processes_talk_to_each_other),
    cmocka_unit_test(a_process_that_is_killed_ends_its_stream),
    cmocka_unit_test(connections_that_are_not_kept_do_not_go_there),
    cmocka_unit_test(handles_do_not_go_there),
    cmocka_unit_test(connections_go_over_connections),
};

HARNESS_MAIN_WITH_INIT(tests)
