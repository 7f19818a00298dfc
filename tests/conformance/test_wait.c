/* Waiting for the first of many, and descriptors for event loops. SPDX-License-Identifier: MIT */
#include "queue.h"

#include <poll.h>
#include <sys/epoll.h>

struct shared *shared;

static mproc_event *event;
static mproc_connection *here, *there;

static void begin(void)
{
    begin_with(.messages = 2);
    event = mproc_calloc(1, sizeof *event);
    assert_int_equal(mproc_pipe(&here, &there), 0);
}

static void finish(void)
{
    assert_int_equal(mproc_connection_close(here), 0);
    assert_int_equal(mproc_connection_close(there), 0);
    assert_int_equal(mproc_free(event), 0);
    end();
}

/* ---- mproc_wait */

static void what_is_ready_is_said(void **state)
{
    (void)state;
    int fds[2];
    begin();
    assert_int_equal(pipe(fds), 0);
    struct mproc_waitable what[] = {
        MPROC_WAIT_QUEUE(shared->queue), MPROC_WAIT_QUEUE_ROOM(shared->queue), MPROC_WAIT_CONNECTION(here),
        MPROC_WAIT_EVENT(event),         MPROC_WAIT_FD(fds[0], POLLIN),        { .kind = MPROC_WAITABLE_NONE },
    };
    assert_int_equal(mproc_wait(what, 6, 0), 1);
    assert_true(what[1].ready);
    assert_int_equal(put_number(1, 0), 0);
    assert_int_equal(mproc_wait(what, 6, MPROC_FOREVER), 2);
    assert_true(what[0].ready && what[1].ready && !what[2].ready && !what[3].ready && !what[4].ready);
    assert_int_equal(put_number(2, 0), 0);
    assert_int_equal(mproc_connection_send(there, "x", 1, 0), 0);
    assert_int_equal(mproc_event_set(event), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(mproc_wait(what, 6, MPROC_FOREVER), 4);
    assert_true(what[0].ready && !what[1].ready && what[2].ready && what[3].ready && what[4].ready && !what[5].ready);
    assert_int_equal(what[4].result, POLLIN);
    close(fds[1]);
    close(fds[0]);
    finish();
}

static void nothing_is_ready(void **state)
{
    (void)state;
    begin();
    struct mproc_waitable what[] = { MPROC_WAIT_QUEUE(shared->queue), MPROC_WAIT_CONNECTION(here),
                                     MPROC_WAIT_EVENT(event) };
    assert_int_equal(mproc_wait(what, 3, 0), -ETIMEDOUT);
    assert_int_equal(mproc_wait(what, 3, MPROC_MS(30)), -ETIMEDOUT);
    assert_int_equal(mproc_wait(what, 3, MPROC_MS(250)), -ETIMEDOUT); /* several slices */
    assert_false(what[0].ready || what[1].ready || what[2].ready);
    assert_int_equal(mproc_wait(NULL, 0, 0), -ETIMEDOUT);
    assert_int_equal(mproc_wait(NULL, 0, MPROC_MS(5)), -ETIMEDOUT);
    finish();
}

static int do_one_after_the_other(void *unused)
{
    (void)unused;
    for (int i = 0; i < 30; i++) {
        while (atomic_load(&shared->go) <= i)
            harness_sleep_ms(1);
        int err = i % 3 == 0   ? put_number(i, MPROC_FOREVER)
                  : i % 3 == 1 ? mproc_event_set(event)
                               : mproc_connection_send(there, &i, sizeof i, MPROC_FOREVER);
        if (err != 0)
            return 1;
    }
    return 0;
}

static void each_wakes_the_waiter(void **state)
{
    (void)state;
    struct party party;
    int number;
    begin();
    party_start(&party, do_one_after_the_other, NULL);
    for (int i = 0; i < 30; i++) {
        struct mproc_waitable what[] = { MPROC_WAIT_QUEUE(shared->queue), MPROC_WAIT_EVENT(event),
                                         MPROC_WAIT_CONNECTION(here) };
        atomic_fetch_add(&shared->go, 1);
        assert_int_equal(mproc_wait(what, 3, MPROC_FOREVER), 1);
        assert_true(what[i % 3].ready);
        if (i % 3 == 0)
            assert_int_equal(get_number(0), i);
        else if (i % 3 == 1)
            assert_int_equal(mproc_event_clear(event), 0);
        else
            assert_int_equal(mproc_connection_receive(here, &number, sizeof number, NULL, 0), 0);
    }
    assert_int_equal(party_join(&party), 0);
    finish();
}

static int get_one(void *unused)
{
    (void)unused;
    wait_for(&shared->go, 1);
    return get_number(MPROC_FOREVER) > 0 ? 0 : 1;
}

static void room_wakes_the_waiter(void **state)
{
    (void)state;
    struct party party;
    begin();
    assert_int_equal(put_number(1, 0), 0);
    assert_int_equal(put_number(2, 0), 0);
    party_start(&party, get_one, NULL);
    struct mproc_waitable what[] = { MPROC_WAIT_QUEUE_ROOM(shared->queue) };
    assert_int_equal(mproc_wait(what, 1, 0), -ETIMEDOUT);
    atomic_store(&shared->go, 1);
    assert_int_equal(mproc_wait(what, 1, MPROC_FOREVER), 1);
    assert_int_equal(put_number(3, 0), 0);
    assert_int_equal(party_join(&party), 0);
    finish();
}

static int end_soon(void *unused)
{
    (void)unused;
    put_number(1, 0);
    atomic_store(&shared->ready, 1);
    wait_for(&shared->go, 1);
    return 0;
}

static void the_end_of_all_writers_wakes_the_waiter(void **state)
{
    (void)state;
    struct party party;
    if (PARTIES == THREADS)
        harness_skip("threads are of one process, which goes on");
    begin();
    party_start(&party, end_soon, NULL);
    wait_for(&shared->ready, 1);
    assert_int_equal(mproc_queue_detach(shared->queue, MPROC_QUEUE_WRITER), 0);
    assert_int_equal(get_number(0), 1);
    struct mproc_waitable what[] = { MPROC_WAIT_QUEUE(shared->queue) };
    assert_int_equal(mproc_wait(what, 1, 0), -ETIMEDOUT);
    atomic_store(&shared->go, 1);
    assert_int_equal(mproc_wait(what, 1, MPROC_FOREVER), 1);
    assert_int_equal(what[0].result, MPROC_E_NO_WRITERS);
    assert_int_equal(party_join(&party), 0);
    finish();
}

static void ends_are_ready(void **state)
{
    (void)state;
    begin();
    mproc_connection *closed = NULL, *other = NULL;
    struct mproc_waitable what[] = { MPROC_WAIT_QUEUE(shared->queue), MPROC_WAIT_CONNECTION(here) };
    assert_int_equal(mproc_queue_close(shared->queue), 0);
    assert_int_equal(mproc_wait(what, 2, 0), 1);
    assert_int_equal(what[0].result, MPROC_E_CLOSED);
    assert_int_equal(mproc_pipe(&closed, &other), 0);
    assert_int_equal(mproc_connection_close(closed), 0);
    what[0] = MPROC_WAIT_CONNECTION(other);
    what[1] = MPROC_WAIT_CONNECTION(closed);
    assert_int_equal(mproc_wait(what, 2, MPROC_FOREVER), 2);
    assert_int_equal(what[0].result, 0);
    assert_int_equal(what[1].result, MPROC_E_CLOSED);
    assert_int_equal(mproc_connection_close(other), 0);
    finish();
}

static void wrong_use_has_an_error(void **state)
{
    (void)state;
    begin();
    struct mproc_waitable what[20] = { MPROC_WAIT_EVENT(NULL), MPROC_WAIT_QUEUE(NULL), MPROC_WAIT_PROCESS(NULL),
                                       MPROC_WAIT_CONNECTION(NULL), MPROC_WAIT_FD(9999, POLLIN) };
    assert_int_equal(mproc_wait(NULL, 1, 0), -EINVAL);
    assert_int_equal(mproc_wait(what, -1, 0), -EINVAL);
    assert_int_equal(mproc_wait(what, 20, 0), 5); /* more than a few */
    for (int i = 0; i < 4; i++)
        assert_int_equal(what[i].result, -EINVAL);
    assert_int_equal(what[4].result, POLLNVAL);
    what[7].kind = (enum mproc_waitable_kind)77;
    assert_int_equal(mproc_wait(what, 20, 0), -EINVAL);
    finish();
}

/* ---- descriptors */

static bool is_readable(int fd, int timeout)
{
    struct pollfd what = { .fd = fd, .events = POLLIN };
    return poll(&what, 1, timeout) == 1 && (what.revents & POLLIN);
}

static int put_when_told(void *unused)
{
    (void)unused;
    for (int i = 0; i < 50; i++) {
        wait_for(&shared->go, i + 1);
        if (put_number(i, MPROC_FOREVER) != 0)
            return 1;
    }
    return 0;
}

static void a_queue_has_a_descriptor(void **state)
{
    (void)state;
    struct party party;
    begin();
    party_start(&party, put_when_told, NULL);
    int fd = mproc_queue_fd(shared->queue, MPROC_QUEUE_READER);
    assert_true(fd >= 0);
    assert_int_equal(mproc_queue_fd(shared->queue, MPROC_QUEUE_READER), fd);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(get_number(0), -ETIMEDOUT);
        atomic_fetch_add(&shared->go, 1);
        int64_t number;
        do {
            assert_true(is_readable(fd, HARNESS_PATIENCE));
            number = get_number(0);
        } while (number == -ETIMEDOUT);
        assert_int_equal(number, i);
    }
    assert_int_equal(party_join(&party), 0);
    assert_int_equal(mproc_queue_fd_close(shared->queue, MPROC_QUEUE_READER), 0);
    assert_int_equal(mproc_queue_fd_close(shared->queue, MPROC_QUEUE_READER), 0);
    finish();
}

static void it_stays_readable_until_all_is_taken(void **state)
{
    (void)state;
    begin();
    assert_int_equal(put_number(1, 0), 0);
    int fd = mproc_queue_fd(shared->queue, MPROC_QUEUE_READER),
        room = mproc_queue_fd(shared->queue, MPROC_QUEUE_WRITER);
    assert_true(is_readable(fd, 0));
    assert_true(is_readable(room, 0));
    assert_int_equal(put_number(2, 0), 0);
    assert_int_equal(put_number(3, 0), -ETIMEDOUT);
    assert_int_equal(get_number(0), 1);
    assert_true(is_readable(room, HARNESS_PATIENCE));
    assert_true(is_readable(fd, 0));
    assert_int_equal(get_number(0), 2);
    assert_int_equal(get_number(0), -ETIMEDOUT);
    assert_int_equal(mproc_queue_close(shared->queue), 0);
    assert_true(is_readable(fd, HARNESS_PATIENCE));
    assert_int_equal(get_number(0), MPROC_E_CLOSED);
    finish(); /* which closes both */
}

static int set_when_told(void *unused)
{
    (void)unused;
    for (int i = 0; i < 20; i++) {
        wait_for(&shared->go, i + 1);
        mproc_event_set(event);
    }
    return 0;
}

static void an_event_has_a_descriptor(void **state)
{
    (void)state;
    struct party party;
    begin();
    party_start(&party, set_when_told, NULL);
    int fd = mproc_event_fd(event);
    assert_true(fd >= 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(mproc_event_wait(event, 0), -ETIMEDOUT);
        atomic_fetch_add(&shared->go, 1);
        do
            assert_true(is_readable(fd, HARNESS_PATIENCE));
        while (mproc_event_wait(event, 0) != 0);
        assert_int_equal(mproc_event_clear(event), 0);
    }
    assert_int_equal(party_join(&party), 0);
    assert_int_equal(mproc_event_fd_close(event), 0);
    assert_int_equal(mproc_event_fd(NULL), -EINVAL);
    assert_int_equal(mproc_event_fd_close(NULL), -EINVAL);
    finish();
}

static int poll_in_child(void *unused)
{
    (void)unused;
    int fd = mproc_queue_fd(shared->queue, MPROC_QUEUE_READER); /* its own, not its parent's */
    if (fd < 0 || get_number(0) != -ETIMEDOUT)
        return 1;
    atomic_fetch_add(&shared->ready, 1);
    for (int64_t number = -ETIMEDOUT; number == -ETIMEDOUT; number = get_number(0))
        if (!is_readable(fd, HARNESS_PATIENCE))
            return 2;
    return mproc_queue_fd_close(shared->queue, MPROC_QUEUE_READER) == 0 ? 0 : 3;
}

static void several_processes_poll(void **state)
{
    (void)state;
    struct party parties[3];
    if (PARTIES == THREADS)
        harness_skip("threads share one descriptor");
    begin();
    assert_true(mproc_queue_fd(shared->queue, MPROC_QUEUE_READER) >= 0);
    for (int i = 0; i < 3; i++)
        party_start(&parties[i], poll_in_child, NULL);
    wait_for(&shared->ready, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(put_number(i, MPROC_FOREVER), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(party_join(&parties[i]), 0);
    finish();
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_ready_is_said),
        cmocka_unit_test(nothing_is_ready),
        cmocka_unit_test(each_wakes_the_waiter),
        cmocka_unit_test(room_wakes_the_waiter),
        cmocka_unit_test(the_end_of_all_writers_wakes_the_waiter),
        cmocka_unit_test(ends_are_ready),
        cmocka_unit_test(wrong_use_has_an_error),
        cmocka_unit_test(a_queue_has_a_descriptor),
        cmocka_unit_test(it_stays_readable_until_all_is_taken),
        cmocka_unit_test(an_event_has_a_descriptor),
        cmocka_unit_test(several_processes_poll),
    };
    return harness_main(argc, argv, tests, sizeof tests / sizeof *tests, HARNESS_SECONDS);
}
