/* Queues: putting and getting, for processes and for threads. SPDX-License-Identifier: MIT */
#include "queue.h"

struct shared *shared;

/* ---- one by one */

static void messages_come_in_order(void **state)
{
    (void)state;
    begin_unlimited();
    for (int i = 0; i < 20000; i++) /* several segments */
        assert_int_equal(put_number(i, 0), 0);
    assert_int_equal(mproc_queue_size(shared->queue), 20000);
    assert_int_equal(mproc_queue_bytes(shared->queue), 20000 * 8);
    for (int i = 0; i < 20000; i++)
        assert_int_equal(get_number(0), i);
    assert_true(mproc_queue_is_empty(shared->queue));
    assert_int_equal(get_number(0), -ETIMEDOUT);
    assert_int_equal(get_number(MPROC_MS(20)), -ETIMEDOUT);
    end();
}

static void messages_have_any_size(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0,    1,    7,    8,     9,     15,    16,    17,      100,      1024,
                                    8191, 8192, 8193, 32768, 65535, 65536, 65537, 1000000, 10 << 20, 70 << 20 };
    enum { COUNT = sizeof sizes / sizeof *sizes };
    begin_unlimited();
    unsigned char *bytes = malloc(sizes[COUNT - 1]);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            fill(bytes, sizes[i], (uint64_t)i);
            assert_int_equal(mproc_queue_put(shared->queue, sizes[i] ? bytes : NULL, sizes[i], 0), 0);
        }
        for (int i = 0; i < COUNT; i++) {
            size_t size = 12345;
            memset(bytes, 0xee, sizes[i]);
            assert_int_equal(mproc_queue_get(shared->queue, bytes, sizes[COUNT - 1], &size, 0), 0);
            assert_int_equal(size, sizes[i]);
            assert_true(is_filled(bytes, size, (uint64_t)i));
        }
    }
    free(bytes);
    end();
}

static void a_message_that_does_not_fit_stays(void **state)
{
    (void)state;
    unsigned char bytes[9000];
    struct iovec parts[2] = { { bytes, 10 }, { bytes, 10 } };
    size_t size = 0;
    begin_unlimited();
    for (size_t length = 11; length < sizeof bytes; length += 8900) {
        fill(bytes, length, length);
        assert_int_equal(mproc_queue_put(shared->queue, bytes, length, 0), 0);
        assert_int_equal(mproc_queue_get(shared->queue, bytes, 10, &size, 0), -EMSGSIZE);
        assert_int_equal(size, length);
        assert_int_equal(mproc_queue_get(shared->queue, NULL, 0, NULL, 0), -EMSGSIZE);
        parts[0].iov_len = 10;
        assert_int_equal(mproc_queue_get_many(shared->queue, parts, 2, 0), -EMSGSIZE);
        assert_int_equal(parts[0].iov_len, length);
        assert_int_equal(mproc_queue_size(shared->queue), 1);
        memset(bytes, 0, sizeof bytes);
        assert_int_equal(mproc_queue_get(shared->queue, bytes, sizeof bytes, NULL, 0), 0);
        assert_true(is_filled(bytes, length, length));
    }
    end();
}

static void many_go_in_one_call(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    static int64_t numbers[COUNT];
    static struct iovec messages[COUNT];
    static unsigned char large[20000];
    begin_unlimited();
    for (int i = 0; i < COUNT; i++) {
        numbers[i] = i;
        messages[i] = (struct iovec) { &numbers[i], sizeof numbers[i] };
    }
    fill(large, sizeof large, 7);
    messages[1000] = (struct iovec) { large, sizeof large };
    assert_int_equal(mproc_queue_put_many(shared->queue, messages, COUNT, 0), COUNT);
    assert_int_equal(mproc_queue_put_many(shared->queue, messages, 0, 0), 0);
    memset(large, 0, sizeof large);
    for (int i = 0; i < COUNT; i++)
        numbers[i] = -1;
    assert_int_equal(mproc_queue_get_many(shared->queue, messages, 0, 0), 0);
    assert_int_equal(mproc_queue_get_many(shared->queue, messages, COUNT, 0), COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_true(i == 1000 ? is_filled(large, sizeof large, 7) : numbers[i] == i);
    assert_int_equal(messages[1000].iov_len, sizeof large);
    assert_int_equal(mproc_queue_get_many(shared->queue, messages, COUNT, 0), -ETIMEDOUT);
    end();
}

static void many_stop_where_there_is_no_room(void **state)
{
    (void)state;
    int64_t numbers[10];
    struct iovec messages[10];
    begin_with(.messages = 4);
    for (int i = 0; i < 10; i++) {
        numbers[i] = i;
        messages[i] = (struct iovec) { &numbers[i], sizeof numbers[i] };
    }
    assert_int_equal(mproc_queue_put_many(shared->queue, messages, 10, MPROC_FOREVER), 4);
    assert_int_equal(mproc_queue_put_many(shared->queue, messages, 10, 0), -ETIMEDOUT);
    assert_int_equal(get_number(0), 0);
    assert_int_equal(mproc_queue_put_many(shared->queue, messages + 4, 6, MPROC_FOREVER), 1);
    for (int i = 1; i < 5; i++)
        assert_int_equal(get_number(0), i);
    end();
}

/* ---- limits */

static void messages_are_limited(void **state)
{
    (void)state;
    begin_with(.messages = 3);
    for (int i = 0; i < 3; i++) {
        assert_false(mproc_queue_is_full(shared->queue));
        assert_int_equal(put_number(i, 0), 0);
    }
    assert_true(mproc_queue_is_full(shared->queue));
    assert_int_equal(put_number(3, 0), -ETIMEDOUT);
    assert_int_equal(put_number(3, MPROC_MS(20)), -ETIMEDOUT);
    assert_int_equal(get_number(0), 0);
    assert_int_equal(put_number(3, 0), 0);
    for (int i = 1; i < 4; i++)
        assert_int_equal(get_number(0), i);
    end();
}

static void bytes_are_limited(void **state)
{
    (void)state;
    static unsigned char bytes[100000];
    begin_with(.bytes = 1000);
    assert_int_equal(mproc_queue_put(shared->queue, bytes, 600, 0), 0);
    assert_int_equal(mproc_queue_put(shared->queue, bytes, 401, 0), -ETIMEDOUT);
    assert_int_equal(mproc_queue_put(shared->queue, bytes, 400, 0), 0);
    assert_int_equal(mproc_queue_put(shared->queue, bytes, 0, 0), 0);
    assert_int_equal(mproc_queue_put(shared->queue, bytes, 1, 0), -ETIMEDOUT);
    for (int i = 0; i < 3; i++)
        assert_int_equal(mproc_queue_get(shared->queue, bytes, sizeof bytes, NULL, 0), 0);
    /* One that is larger is let in alone. */
    assert_int_equal(mproc_queue_put(shared->queue, bytes, sizeof bytes, 0), 0);
    assert_true(mproc_queue_is_full(shared->queue));
    assert_int_equal(mproc_queue_put(shared->queue, bytes, 0, 0), -ETIMEDOUT);
    assert_int_equal(mproc_queue_get(shared->queue, bytes, sizeof bytes, NULL, 0), 0);
    end();
}

static int put_three(void *unused)
{
    (void)unused;
    for (int i = 0; i < 3; i++) {
        if (put_number(i, MPROC_FOREVER) != 0)
            return 1;
        atomic_fetch_add(&shared->done, 1);
    }
    return 0;
}

static void a_full_queue_is_waited_for(void **state)
{
    (void)state;
    struct party party;
    begin_with(.messages = 1);
    party_start(&party, put_three, NULL);
    wait_for(&shared->done, 1);
    for (int i = 0; i < 3; i++) {
        harness_sleep_ms(20);
        assert_int_equal(atomic_load(&shared->done), i + 1);
        assert_int_equal(get_number(MPROC_FOREVER), i);
        if (i < 2)
            wait_for(&shared->done, i + 2);
    }
    assert_int_equal(party_join(&party), 0);
    end();
}

/* ---- in place */

static void messages_are_written_and_read_in_place(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 8, 5000, 8192, 8193, 65536, 3000000 };
    struct mproc_message message;
    begin_unlimited();
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 7; i++) {
            assert_int_equal(mproc_queue_reserve(shared->queue, sizes[i] + 10, &message), 0);
            assert_int_equal(message.size, sizes[i] + 10);
            assert_int_equal((uintptr_t)message.data % 16, 0);
            fill(message.data, sizes[i], (uint64_t)i);
            message.size = sizes[i];
            assert_true(mproc_queue_size(shared->queue) == (size_t)i);
            assert_int_equal(mproc_queue_commit(shared->queue, &message, 0), 0);
            assert_int_equal(mproc_queue_commit(shared->queue, &message, 0), -EINVAL);
        }
        for (int i = 0; i < 7; i++) {
            assert_int_equal(mproc_queue_borrow(shared->queue, &message, 0), 0);
            struct mproc_message copy = message;
            assert_int_equal(message.size, sizes[i]);
            assert_int_equal((uintptr_t)message.data % 16, 0);
            assert_true(is_filled(message.data, message.size, (uint64_t)i));
            assert_int_equal(mproc_queue_release(shared->queue, &message), 0);
            assert_int_equal(mproc_queue_release(shared->queue, &message), -EINVAL);
            assert_int_equal(mproc_queue_release(shared->queue, &copy), -EINVAL);
        }
    }
    assert_int_equal(mproc_queue_borrow(shared->queue, &message, 0), -ETIMEDOUT);
    end();
}

static void a_reservation_can_be_cancelled(void **state)
{
    (void)state;
    struct mproc_message message;
    begin_with(.messages = 1);
    assert_int_equal(mproc_queue_reserve(shared->queue, 100, &message), 0);
    assert_int_equal(mproc_queue_cancel(shared->queue, &message), 0);
    assert_int_equal(mproc_queue_cancel(shared->queue, &message), -EINVAL);
    assert_int_equal(mproc_queue_reserve(shared->queue, 100, &message), 0);
    message.size = 1 << 20;
    assert_int_equal(mproc_queue_commit(shared->queue, &message, 0), -EINVAL);
    message.size = 100;
    assert_int_equal(put_number(1, 0), 0);
    /* It stays the caller's when it cannot be put. */
    assert_int_equal(mproc_queue_commit(shared->queue, &message, 0), -ETIMEDOUT);
    assert_int_equal(get_number(0), 1);
    assert_int_equal(mproc_queue_commit(shared->queue, &message, 0), 0);
    assert_int_equal(mproc_queue_bytes(shared->queue), 100);
    end();
}

static void what_is_borrowed_stays_as_it_is(void **state)
{
    (void)state;
    enum { HELD = 200 };
    static struct mproc_message held[HELD];
    unsigned char bytes[3000];
    begin_unlimited();
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < HELD; i++) {
            for (int j = 0; j < 10; j++) { /* every tenth is held, over many segments */
                fill(bytes, sizeof bytes, (uint64_t)(i * 10 + j));
                assert_int_equal(mproc_queue_put(shared->queue, bytes, sizeof bytes, 0), 0);
            }
            assert_int_equal(mproc_queue_borrow(shared->queue, &held[i], 0), 0);
            for (int j = 1; j < 10; j++)
                assert_int_equal(mproc_queue_get(shared->queue, bytes, sizeof bytes, NULL, 0), 0);
        }
        for (int i = 0; i < HELD; i++) {
            int at = i * 7 % HELD;
            assert_true(is_filled(held[at].data, sizeof bytes, (uint64_t)at * 10));
            assert_int_equal(mproc_queue_release(shared->queue, &held[at]), 0);
        }
    }
    end();
}

/* ---- blocks */

static void blocks_are_handed_over(void **state)
{
    (void)state;
    static const size_t sizes[] = { 16, 1000, 100000, 5 << 20 };
    begin_unlimited();
    for (int i = 0; i < 4; i++) {
        unsigned char *block = i % 2 ? mproc_alloc(sizes[i]) : mproc_alloc_owned(sizes[i]);
        void *got = NULL;
        size_t size;
        fill(block, sizes[i], (uint64_t)i);
        assert_int_equal(mproc_queue_put_block(shared->queue, block, sizes[i], 0), 0);
        assert_int_equal(mproc_queue_get_block(shared->queue, &got, &size, 0), 0);
        assert_ptr_equal(got, block);
        assert_int_equal(size, sizes[i]);
        assert_int_equal(mproc_free(got), 0);
    }
    end();
}

static void blocks_are_freed_with_their_message(void **state)
{
    (void)state;
    unsigned char bytes[2000];
    struct mproc_message message;
    begin_unlimited();
    for (int i = 0; i < 300; i++) {
        unsigned char *block = mproc_alloc(sizeof bytes);
        fill(block, sizeof bytes, (uint64_t)i);
        assert_int_equal(mproc_queue_put_block(shared->queue, block, sizeof bytes, 0), 0);
        if (i % 3 == 0) {
            assert_int_equal(mproc_queue_get(shared->queue, bytes, sizeof bytes, NULL, 0), 0);
            assert_true(is_filled(bytes, sizeof bytes, (uint64_t)i));
        } else if (i % 3 == 1) {
            assert_int_equal(mproc_queue_borrow(shared->queue, &message, 0), 0);
            assert_ptr_equal(message.data, block);
            assert_int_equal(mproc_queue_release(shared->queue, &message), 0);
        } else if (i > 290) {
            break; /* with one left in the queue */
        } else
            assert_int_equal(mproc_queue_get(shared->queue, bytes, sizeof bytes, NULL, 0), 0);
        assert_int_equal(mproc_usable_size(block), 0); /* it is free */
    }
    end();
}

static void any_message_can_be_taken_as_a_block(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 8, 8192, 100000 };
    unsigned char bytes[100000];
    begin_unlimited();
    for (int i = 0; i < 4; i++) {
        void *block;
        size_t size;
        fill(bytes, sizes[i], (uint64_t)i);
        assert_int_equal(mproc_queue_put(shared->queue, bytes, sizes[i], 0), 0);
        assert_int_equal(mproc_queue_get_block(shared->queue, &block, &size, 0), 0);
        assert_int_equal(size, sizes[i]);
        assert_true(is_filled(block, size, (uint64_t)i));
        assert_int_equal(mproc_free(block), 0);
    }
    end();
}

static void a_block_stays_the_callers_if_it_is_not_put(void **state)
{
    (void)state;
    int on_stack;
    begin_with(.messages = 1);
    char *block = mproc_alloc(100), *owned = mproc_alloc_owned(100);
    assert_int_equal(mproc_queue_put_block(shared->queue, &on_stack, 4, 0), MPROC_E_NOT_ALLOCATED);
    assert_int_equal(mproc_queue_put_block(shared->queue, block + 16, 4, 0), MPROC_E_NOT_ALLOCATED);
    assert_int_equal(mproc_queue_put_block(shared->queue, block, 100000, 0), MPROC_E_NOT_ALLOCATED);
    assert_int_equal(put_number(1, 0), 0);
    assert_int_equal(mproc_queue_put_block(shared->queue, block, 100, 0), -ETIMEDOUT);
    assert_int_equal(mproc_queue_put_block(shared->queue, owned, 100, 0), -ETIMEDOUT);
    assert_int_equal(mproc_queue_close(shared->queue), 0);
    assert_int_equal(mproc_queue_put_block(shared->queue, block, 100, 0), MPROC_E_CLOSED);
    assert_int_equal(mproc_free(block), 0);
    assert_int_equal(mproc_free(owned), 0);
    end();
}

/* ---- many beside each other */

enum { MANY = 3, EACH = 20000 };

/* Numbers that tell who put them and when; sizes vary, so that some are parcels. */
static int produce(void *which)
{
    static _Thread_local unsigned char bytes[20000];
    uint64_t self = (uint64_t)(intptr_t)which;
    for (uint64_t i = 0; i < EACH; i++) {
        size_t size = i % 1000 == 17 ? sizeof bytes : 16 + i % 50;
        uint64_t head[2] = { self, i };
        memcpy(bytes, head, sizeof head);
        fill(bytes + 16, size - 16, i);
        if (mproc_queue_put(shared->queue, bytes, size, MPROC_FOREVER) != 0)
            return 1;
    }
    return 0;
}

static int consume(void *unused)
{
    (void)unused;
    static _Thread_local unsigned char bytes[20000];
    int64_t last[MANY];
    memset(last, -1, sizeof last);
    for (;;) {
        uint64_t head[2];
        size_t size;
        int err = mproc_queue_get(shared->queue, bytes, sizeof bytes, &size, MPROC_FOREVER);
        if (err < 0)
            return err == MPROC_E_CLOSED ? 0 : 1;
        memcpy(head, bytes, sizeof head);
        if (head[0] >= MANY || (int64_t)head[1] <= last[head[0]] || !is_filled(bytes + 16, size - 16, head[1]))
            return 2;
        last[head[0]] = (int64_t)head[1];
        atomic_fetch_add(&shared->count, 1);
        atomic_fetch_add(&shared->sum, (int64_t)(head[0] * EACH + head[1]));
    }
}

static void run_many(void)
{
    struct party producers[MANY], consumers[MANY];
    for (int i = 0; i < MANY; i++)
        party_start(&consumers[i], consume, NULL);
    for (int i = 0; i < MANY; i++)
        party_start(&producers[i], produce, (void *)(intptr_t)i);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(party_join(&producers[i]), 0);
    assert_int_equal(mproc_queue_close(shared->queue), 0);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(party_join(&consumers[i]), 0);
    assert_int_equal(atomic_load(&shared->count), MANY * EACH);
    assert_int_equal(atomic_load(&shared->sum), (int64_t)MANY * EACH * (MANY * EACH - 1) / 2);
}

static void many_put_and_many_get(void **state)
{
    (void)state;
    begin_with(.messages = 100);
    run_many();
    end();
}

static void many_put_and_many_get_within_bytes(void **state)
{
    (void)state;
    begin_with(.bytes = 30000, .messages = 1000);
    run_many();
    end();
}

static void many_put_and_many_get_one_at_a_time(void **state)
{
    (void)state;
    begin_with(.messages = 1);
    run_many();
    end();
}

/* ---- closing */

static int get_until_the_end(void *unused)
{
    (void)unused;
    int64_t number;
    while ((number = get_number(MPROC_FOREVER)) >= 0)
        atomic_fetch_add(&shared->count, 1);
    return number == MPROC_E_CLOSED ? 0 : 1;
}

static void readers_drain_a_closed_queue(void **state)
{
    (void)state;
    struct party parties[MANY];
    begin_unlimited();
    for (int i = 0; i < 1000; i++)
        assert_int_equal(put_number(i, 0), 0);
    assert_false(mproc_queue_is_closed(shared->queue));
    assert_int_equal(mproc_queue_close(shared->queue), 0);
    assert_int_equal(mproc_queue_close(shared->queue), 0);
    assert_true(mproc_queue_is_closed(shared->queue));
    assert_int_equal(put_number(0, 0), MPROC_E_CLOSED);
    struct mproc_message message;
    assert_int_equal(mproc_queue_reserve(shared->queue, 1, &message), MPROC_E_CLOSED);
    for (int i = 0; i < MANY; i++)
        party_start(&parties[i], get_until_the_end, NULL);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(party_join(&parties[i]), 0);
    assert_int_equal(atomic_load(&shared->count), 1000);
    end();
}

static int put_until_the_end(void *unused)
{
    (void)unused;
    int err;
    atomic_fetch_add(&shared->ready, 1);
    while ((err = put_number(1, MPROC_FOREVER)) == 0) {
    }
    return err == MPROC_E_CLOSED ? 0 : 1;
}

static void closing_wakes_all(void **state)
{
    (void)state;
    struct party readers[MANY], writers[MANY];
    begin_with(.messages = 2);
    for (int i = 0; i < MANY; i++)
        party_start(&writers[i], put_until_the_end, NULL);
    wait_for(&shared->ready, MANY);
    while (!mproc_queue_is_full(shared->queue))
        harness_sleep_ms(1);
    harness_sleep_ms(20);
    assert_int_equal(mproc_queue_close(shared->queue), 0);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(party_join(&writers[i]), 0);
    for (int i = 0; i < MANY; i++)
        party_start(&readers[i], get_until_the_end, NULL);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(party_join(&readers[i]), 0);
    end();
    begin_unlimited();
    for (int i = 0; i < MANY; i++)
        party_start(&readers[i], get_until_the_end, NULL);
    harness_sleep_ms(20);
    assert_int_equal(mproc_queue_close(shared->queue), 0);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(party_join(&readers[i]), 0);
    end();
}

/* ---- wrong use */

static void wrong_use_has_an_error(void **state)
{
    (void)state;
    mproc_queue *queue = NULL;
    struct mproc_message message = { .data = NULL };
    struct iovec parts[1] = { { NULL, 5 } };
    char byte;
    static const struct mproc_queue_arguments short_arguments = { .size = 3 };
    assert_int_equal(mproc_queue_create_with(&queue, &short_arguments), MPROC_E_STRUCT_SIZE);
    assert_int_equal(mproc_queue_create_with(NULL, NULL), -EINVAL);
    assert_int_equal(mproc_queue_create(&queue, .deliveries = 3), -EINVAL);
    assert_null(queue);
    assert_int_equal(mproc_queue_create_with(&queue, NULL), 0);
    assert_int_equal(mproc_queue_put(NULL, &byte, 1, 0), -EINVAL);
    assert_int_equal(mproc_queue_put(queue, NULL, 1, 0), -EINVAL);
    assert_int_equal(mproc_queue_put_many(queue, parts, 1, 0), -EINVAL);
    assert_int_equal(mproc_queue_put_many(queue, NULL, 1, 0), -EINVAL);
    assert_int_equal(mproc_queue_put_many(queue, parts, -1, 0), -EINVAL);
    assert_int_equal(mproc_queue_put_block(queue, NULL, 0, 0), -EINVAL);
    assert_int_equal(mproc_queue_reserve(queue, 1, NULL), -EINVAL);
    assert_int_equal(mproc_queue_reserve(queue, SIZE_MAX, &message), -ENOMEM);
    assert_int_equal(mproc_queue_reserve(queue, SIZE_MAX / 2, &message), -ENOMEM);
    assert_int_equal(mproc_queue_commit(queue, NULL, 0), -EINVAL);
    assert_int_equal(mproc_queue_commit(queue, &message, 0), -EINVAL);
    message.place_ = &byte;
    assert_int_equal(mproc_queue_commit(queue, &message, 0), -EINVAL);
    assert_int_equal(mproc_queue_release(queue, &message), -EINVAL);
    assert_int_equal(mproc_queue_get(NULL, &byte, 1, NULL, 0), -EINVAL);
    assert_int_equal(mproc_queue_get(queue, NULL, 1, NULL, 0), -EINVAL);
    assert_int_equal(mproc_queue_get_many(queue, parts, 1, 0), -EINVAL);
    assert_int_equal(mproc_queue_get_block(queue, NULL, NULL, 0), -EINVAL);
    assert_int_equal(mproc_queue_borrow(queue, NULL, 0), -EINVAL);
    assert_int_equal(mproc_queue_task_done(queue), -EINVAL);
    assert_int_equal(mproc_queue_join(queue, 0), -EINVAL);
    assert_int_equal(mproc_queue_attach(queue, (enum mproc_queue_role)0), -EINVAL);
    assert_int_equal(mproc_queue_detach(queue, (enum mproc_queue_role)4), -EINVAL);
    assert_int_equal(mproc_queue_close(NULL), -EINVAL);
    assert_int_equal(mproc_queue_fd(queue, MPROC_QUEUE_WRITER_AND_READER), -EINVAL);
    assert_int_equal(mproc_queue_size(NULL), 0);
    assert_int_equal(mproc_queue_free(NULL), 0);
    assert_int_equal(mproc_queue_free(queue), 0);
    uint64_t *nothing = mproc_aligned_alloc(4096, 4096); /* as a queue would be */
    memset(nothing, 0, 4096);
    assert_int_equal(mproc_queue_put((mproc_queue *)(void *)nothing, &byte, 1, 0), MPROC_E_NOT_INITIALISED);
    assert_int_equal(mproc_queue_free((mproc_queue *)(void *)nothing), MPROC_E_NOT_INITIALISED);
    assert_int_equal(mproc_free(nothing), 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_in_order),
        cmocka_unit_test(messages_have_any_size),
        cmocka_unit_test(a_message_that_does_not_fit_stays),
        cmocka_unit_test(many_go_in_one_call),
        cmocka_unit_test(many_stop_where_there_is_no_room),
        cmocka_unit_test(messages_are_limited),
        cmocka_unit_test(bytes_are_limited),
        cmocka_unit_test(a_full_queue_is_waited_for),
        cmocka_unit_test(messages_are_written_and_read_in_place),
        cmocka_unit_test(a_reservation_can_be_cancelled),
        cmocka_unit_test(what_is_borrowed_stays_as_it_is),
        cmocka_unit_test(blocks_are_handed_over),
        cmocka_unit_test(blocks_are_freed_with_their_message),
        cmocka_unit_test(any_message_can_be_taken_as_a_block),
        cmocka_unit_test(a_block_stays_the_callers_if_it_is_not_put),
        cmocka_unit_test(many_put_and_many_get),
        cmocka_unit_test(many_put_and_many_get_within_bytes),
        cmocka_unit_test(many_put_and_many_get_one_at_a_time),
        cmocka_unit_test(readers_drain_a_closed_queue),
        cmocka_unit_test(closing_wakes_all),
        cmocka_unit_test(wrong_use_has_an_error),
    };
    return harness_main(argc, argv, tests, sizeof tests / sizeof *tests, HARNESS_SECONDS);
}
