/* Results one by one, while others are being worked on; on every backend. Compiled once for each; BACKEND and METHOD
 * say which. SPDX-License-Identifier: MIT */
#include "pool_shared.h"

static int result;
static struct mproc_imap_item item;

/* ---- where items come from */

struct source {
    struct board *board;
    enum deed deed;
    size_t n;         /* how many there are */
    size_t failing;   /* every such one fails; 0: none */
    int last;         /* what is returned when there are no more */
    size_t asked;     /* how many were asked for */
    size_t returned;  /* how many results there were; the test counts */
    size_t most;      /* the most that were on their way */
    pthread_t thread; /* that asked last */
};

static int next_order(void *context, void *order)
{
    struct source *source = context;
    source->thread = pthread_self();
    if (source->asked >= source->n)
        return source->last;
    size_t i = source->asked++;
    enum deed deed = source->failing && i % source->failing == 0 ? FAIL : source->deed;
    *(struct order *)order = (struct order) { source->board, deed, (int)i + 1 };
    if (source->asked - source->returned > source->most)
        source->most = source->asked - source->returned;
    return 1;
}

#define IMAP(results, pool, source, ...)                                                                               \
    mproc_imap(results, pool, act, &order, &result, SIZE_MAX, .next = next_order, .next_context = source, __VA_ARGS__)

/* Takes all that is left, `expected` items, each of which has to come once, and in order if that is asked for. */
static void take_all(mproc_imap *results, struct source *source, size_t expected, bool ordered)
{
    char *seen = calloc(expected + 1, 1);
    size_t count = 0;
    int err;
    while ((err = mproc_imap_next(results, &item, MPROC_FOREVER)) == 1) {
        source->returned++;
        assert_true(item.index < expected);
        assert_int_equal(seen[item.index]++, 0);
        assert_true(!ordered || item.index == count);
        bool fails = source->failing && item.index % source->failing == 0;
        assert_int_equal(item.outcome.kind, fails ? MPROC_FAILED : MPROC_OK);
        assert_int_equal(fails ? item.outcome.code : result / 2, (int)item.index + 1);
        count++;
    }
    assert_int_equal(err, source->last);
    assert_int_equal(count, expected);
    free(seen);
}

static void check_source(size_t n, bool unordered, size_t window)
{
    struct board *board = board_make();
    struct order order;
    struct source source = { .board = board, .n = n, .failing = 7 };
    mproc_imap *results = NULL;
    mproc_pool *pool = open_pool(3);
    assert_int_equal(IMAP(&results, pool, &source, .unordered = unordered, .window = window), 0);
    assert_int_equal(source.asked, 0); /* only in mproc_imap_next */
    take_all(results, &source, n, !unordered);
    assert_true(pthread_equal(source.thread, pthread_self()));
    assert_int_equal(mproc_imap_next(results, &item, MPROC_FOREVER), 0);
    assert_int_equal(board->ended, n);
    assert_true(window == 0 || source.most <= window);
    assert_int_equal(mproc_imap_free(results), 0);
    end(pool, board);
}

static void check_sources(bool unordered)
{
    check_source(5000, unordered, 0);
    check_source(500, unordered, 1);
    check_source(1000, unordered, 17);
    check_source(0, unordered, 0);
}

static void results_come_in_the_order_of_the_items(void **state)
{
    (void)state;
    check_sources(false);
}

static void results_come_as_they_come_if_that_is_wished(void **state)
{
    (void)state;
    check_sources(true);
}

static void items_come_from_an_array_too(void **state)
{
    (void)state;
    enum { N = 3000 };
    int *numbers = malloc(N * sizeof *numbers);
    int64_t squared;
    mproc_pool *pool = open_pool(2);
    for (int i = 0; i < N; i++)
        numbers[i] = i;
    for (int unordered = 0; unordered < 2; unordered++) {
        mproc_imap *results = NULL;
        int64_t sum = 0;
        assert_int_equal(mproc_imap(&results, pool, square, numbers, &squared, N, .unordered = unordered), 0);
        for (size_t i = 0; i < N; i++) {
            assert_int_equal(mproc_imap_next(results, &item, MPROC_FOREVER), 1);
            assert_true(unordered || item.index == i);
            assert_int_equal(squared, (int64_t)item.index * (int64_t)item.index);
            sum += (int64_t)item.index;
        }
        assert_int_equal(sum, (int64_t)N * (N - 1) / 2);
        assert_int_equal(mproc_imap_next(results, &item, MPROC_FOREVER), 0);
        assert_int_equal(mproc_imap_free(results), 0);
    }
    assert_int_equal(mproc_pool_close(pool), 0);
    free(numbers);
}

/* Items are taken from the array only in mproc_imap_next, when there is room: so they may be made meanwhile. */
static void the_array_is_read_no_further_than_the_window(void **state)
{
    (void)state;
    enum { N = 100, WINDOW = 4 };
    int numbers[N] = { 0 };
    int64_t squared;
    mproc_imap *results = NULL;
    mproc_pool *pool = open_pool(2);
    assert_int_equal(mproc_imap(&results, pool, square, numbers, &squared, N, .window = WINDOW), 0);
    for (int i = 0; i < N; i++) {
        for (int j = i; j < N && j < i + WINDOW; j++)
            numbers[j] = j + 5;
        assert_int_equal(mproc_imap_next(results, &item, MPROC_FOREVER), 1);
        assert_int_equal(squared, (i + 5) * (i + 5));
    }
    assert_int_equal(mproc_imap_next(results, &item, MPROC_FOREVER), 0);
    assert_int_equal(mproc_imap_free(results), 0);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void the_count_ends_an_iteration_too(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct order order;
    struct source source = { .board = board, .n = 1000000 };
    mproc_imap *results = NULL;
    mproc_pool *pool = open_pool(2);
    assert_int_equal(mproc_imap(&results, pool, act, &order, &result, 20, .next = next_order, .next_context = &source),
                     0);
    take_all(results, &source, 20, true);
    assert_int_equal(source.asked, 20);
    assert_int_equal(mproc_imap_free(results), 0);
    end(pool, board);
}

static void more_items_than_memory_would_hold_at_once(void **state)
{
    (void)state;
    enum { N = 100000 };
    struct board *board = board_make();
    struct order order;
    struct source source = { .board = board, .n = N };
    mproc_imap *results = NULL;
    mproc_pool *pool = open_pool(2);
    struct mproc_heap_statistics before = { .size = sizeof before }, now = { .size = sizeof now };
    assert_int_equal(mproc_heap_statistics(&before), 0);
    assert_int_equal(IMAP(&results, pool, &source, .unordered = true), 0);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(mproc_imap_next(results, &item, MPROC_FOREVER), 1);
        source.returned++;
        if (i % 10000 == 5000) {
            assert_int_equal(mproc_heap_statistics(&now), 0);
            assert_true(now.bytes_in_use < before.bytes_in_use + (16 << 20));
        }
    }
    assert_int_equal(mproc_imap_next(results, &item, MPROC_FOREVER), 0);
    assert_true(source.most < N / 2);
    assert_int_equal(mproc_imap_free(results), 0);
    end(pool, board);
}

/* ---- order and the window, with items that are held */

static void a_slow_item_holds_up_the_order_and_the_window(void **state)
{
    (void)state;
    if (IS_SERIAL)
        harness_skip("one item runs after the other");
    enum { WINDOW = 6 };
    struct board *board = board_make();
    struct order orders[30];
    struct mproc_imap *results = NULL;
    mproc_pool *pool = open_pool(2);
    orders_fill(orders, 30, board, WORK);
    orders[0].deed = GATE;
    assert_int_equal(mproc_imap(&results, pool, act, orders, &result, 30, .window = WINDOW, .chunk = 1), 0);
    assert_int_equal(mproc_imap_next(results, &item, 0), -ETIMEDOUT);
    while (board->ended < WINDOW - 1)
        assert_int_equal(mproc_imap_next(results, &item, MPROC_MS(1)), -ETIMEDOUT);
    assert_int_equal(mproc_imap_next(results, &item, MPROC_MS(20)), -ETIMEDOUT);
    assert_int_equal(board->started, WINDOW);
    gate_open(&board->gate);
    for (size_t i = 0; i < 30; i++) {
        assert_int_equal(mproc_imap_next(results, &item, MPROC_FOREVER), 1);
        assert_int_equal(item.index, i);
    }
    assert_int_equal(mproc_imap_free(results), 0);
    end(pool, board);
}

static void a_slow_item_does_not_hold_up_others_without_an_order(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct order orders[30];
    struct mproc_imap *results = NULL;
    mproc_pool *pool = open_pool(2);
    orders_fill(orders, 30, board, WORK);
    orders[0].deed = GATE;
    assert_int_equal(mproc_imap(&results, pool, act, orders, &result, 30, .window = 5, .chunk = 1, .unordered = true),
                     0);
    for (int i = 0; i < 30; i++) {
        if (i == 29 && !IS_SERIAL)
            assert_int_equal(mproc_imap_next(results, &item, 0), -ETIMEDOUT);
        if (i == 29)
            gate_open(&board->gate);
        assert_int_equal(mproc_imap_next(results, &item, MPROC_FOREVER), 1);
        assert_int_equal(item.index == 0, i == (IS_SERIAL ? 0 : 29));
        assert_int_equal(result, 2 * (int)item.index);
    }
    assert_int_equal(mproc_imap_next(results, &item, MPROC_FOREVER), 0);
    assert_int_equal(mproc_imap_free(results), 0);
    end(pool, board);
}

/* ---- ends before the end */

static void a_source_that_fails_ends_the_iteration_after_what_came_before(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct order order;
    mproc_pool *pool = open_pool(2);
    for (int unordered = 0; unordered < 2; unordered++) {
        struct source source = { .board = board, .n = 50, .last = -EBADMSG };
        mproc_imap *results = NULL;
        assert_int_equal(IMAP(&results, pool, &source, .unordered = unordered), 0);
        take_all(results, &source, 50, !unordered);
        assert_int_equal(mproc_imap_free(results), 0);
    }
    struct source empty = { .board = board, .last = -EIO };
    mproc_imap *results = NULL;
    assert_int_equal(IMAP(&results, pool, &empty, .chunk = 0), 0);
    assert_int_equal(mproc_imap_next(results, &item, MPROC_FOREVER), -EIO);
    assert_int_equal(mproc_imap_free(results), 0);
    end(pool, board);
}

static void an_iteration_can_be_ended_in_its_midst(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct order order;
    mproc_pool *pool = OPEN(.workers = 2, .ask_grace = MPROC_SEC(1000));
    for (int taken = 0; taken < 20; taken += 5) {
        struct source source = { .board = board, .n = 1000000 };
        mproc_imap *results = NULL;
        assert_int_equal(IMAP(&results, pool, &source, .window = 50), 0);
        for (int i = 0; i < taken; i++)
            assert_int_equal(mproc_imap_next(results, &item, MPROC_FOREVER), 1);
        assert_int_equal(mproc_imap_free(results), 0);
        assert_int_equal(mproc_imap_free(results), MPROC_E_CLOSED);
        assert_int_equal(mproc_imap_next(results, &item, 0), MPROC_E_CLOSED);
    }
    if (!IS_SERIAL) { /* with an item that runs until it is asked to stop */
        struct source source = { .board = board, .deed = UNTIL_ASKED, .n = 10 };
        mproc_imap *results = NULL;
        assert_int_equal(mproc_pool_join(pool, MPROC_FOREVER), 0); /* what other machines have in hand */
        int started = board->started;
        assert_int_equal(IMAP(&results, pool, &source, .window = 1), 0);
        while (board->started == started)
            assert_int_equal(mproc_imap_next(results, &item, MPROC_MS(1)), -ETIMEDOUT);
        assert_int_equal(mproc_imap_free(results), 0);
        assert_int_equal(mproc_pool_join(pool, MPROC_FOREVER), 0);
        assert_int_equal(board->asked, 1);
        assert_int_equal(board->started, started + 1);
    }
    end(pool, board);
}

static void a_crash_costs_its_item(void **state)
{
    (void)state;
    if (!IS_PROCESSES)
        harness_skip("the program would crash");
    enum { N = 60 };
    struct board *board = board_make();
    struct order orders[N];
    mproc_imap *results = NULL;
    mproc_pool *pool = open_pool(2);
    orders_fill(orders, N, board, WORK);
    for (int i = 3; i < N; i += 20)
        orders[i].deed = i == 3 ? EXIT : CRASH;
    assert_int_equal(mproc_imap(&results, pool, act, orders, &result, N), 0);
    for (int i = 0; i < N; i++) {
        result = -1;
        assert_int_equal(mproc_imap_next(results, &item, MPROC_FOREVER), 1);
        assert_int_equal(item.index, i);
        assert_int_equal(item.outcome.kind, orders[i].deed == WORK ? MPROC_OK : MPROC_CRASHED);
        assert_int_equal(result, orders[i].deed == WORK ? 2 * i : -1);
    }
    assert_int_equal(mproc_imap_next(results, &item, MPROC_FOREVER), 0);
    assert_int_equal(mproc_imap_free(results), 0);
    end(pool, board);
}

static void a_pool_that_is_terminated_ends_its_iterations(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct order order;
    struct source source = { .board = board, .n = 1000000 };
    struct mproc_error error = { .code = 0 };
    mproc_imap *results = NULL;
    mproc_pool *pool = open_pool(2);
    assert_int_equal(IMAP(&results, pool, &source, .window = 8, .error = &error), 0);
    assert_int_equal(mproc_imap_next(results, &item, MPROC_FOREVER), 1);
    assert_int_equal(mproc_pool_terminate(pool), 0);
    int err = 1;
    for (int i = 0; i < 20 && err == 1; i++) /* what was done may still be told */
        err = mproc_imap_next(results, &item, MPROC_FOREVER);
    assert_true(err == MPROC_E_TERMINATED || err == MPROC_E_CLOSED);
    assert_int_equal(error.code, err);
    assert_int_equal(mproc_imap_free(results), 0);
    assert_int_equal(mproc_free(board), 0);
}

/* ---- signals and wrong use */

static volatile sig_atomic_t interrupts;

static void count_interrupt(int signal)
{
    (void)signal;
    interrupts++;
}

static void *interrupt(void *done)
{
    while (!*(_Atomic int *)done) {
        harness_wait_asleep(getpid(), HARNESS_PATIENCE);
        kill(getpid(), SIGUSR1);
        harness_sleep_ms(5);
    }
    return NULL;
}

static void a_signal_interrupts_the_wait_but_not_the_iteration(void **state)
{
    (void)state;
    if (IS_SERIAL)
        harness_skip("there is no wait to break");
    struct sigaction action = { .sa_handler = count_interrupt }; /* no SA_RESTART */
    struct board *board = board_make();
    struct order orders[10];
    sigset_t usr1;
    static _Atomic int done;
    mproc_imap *results = NULL;
    pthread_t thread;
    mproc_pool *pool = open_pool(2);
    orders_fill(orders, 10, board, GATE);
    sigaction(SIGUSR1, &action, NULL);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL); /* in the thread, so that the signal comes to this one */
    assert_int_equal(pthread_create(&thread, NULL, interrupt, &done), 0);
    pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
    assert_int_equal(mproc_imap(&results, pool, act, orders, &result, 10, .chunk = 1), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(mproc_imap_next(results, &item, MPROC_FOREVER), -EINTR);
    done = 1;
    pthread_join(thread, NULL);
    assert_true(interrupts >= 3);
    gate_open(&board->gate);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(mproc_imap_next(results, &item, MPROC_FOREVER), 1);
        assert_int_equal(item.index, i);
    }
    assert_int_equal(mproc_imap_free(results), 0);
    end(pool, board);
}

static void ignore_done(mproc_future *future, void *context)
{
    (void)future;
    (void)context;
}

static void wrong_use_is_refused(void **state)
{
    (void)state;
    int numbers[2] = { 3, 4 }, *no_numbers = NULL;
    int64_t squared, *nowhere = NULL;
    struct mproc_outcome outcomes[2];
    mproc_imap *results = (mproc_imap *)state;
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_imap(&results, pool, square, numbers, &squared, 2, .outcomes = outcomes), -EINVAL);
    assert_int_equal(mproc_imap(&results, pool, square, numbers, &squared, 2, .on_done = ignore_done), -EINVAL);
    assert_int_equal(mproc_imap(&results, pool, square, numbers, &squared, 2, .no_wait = true), -EINVAL);
    assert_int_equal(mproc_imap(&results, pool, square, no_numbers, &squared, 2), -EINVAL);
    assert_int_equal(mproc_imap(&results, pool, square, numbers, nowhere, 2), -EINVAL);
    assert_int_equal(mproc_imap(NULL, pool, square, numbers, &squared, 2), -EINVAL);
    assert_int_equal(mproc_imap_with(&results, pool, NULL), -EINVAL);
    assert_ptr_equal(results, state);
    assert_int_equal(mproc_imap(&results, pool, square, numbers, &squared, 2), 0);
    assert_int_equal(mproc_imap_next(results, NULL, MPROC_FOREVER), -EINVAL);
    assert_int_equal(mproc_imap_next(NULL, &item, MPROC_FOREVER), -EINVAL);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mproc_imap_next(results, &item, MPROC_FOREVER), 1); /* nothing was lost */
        assert_int_equal(squared, numbers[i] * numbers[i]);
    }
    assert_int_equal(mproc_imap_free(results), 0);
    assert_int_equal(mproc_imap_free(NULL), 0);
    assert_int_equal(mproc_pool_close(pool), 0);
    results = (mproc_imap *)state;
    assert_int_equal(mproc_imap(&results, pool, square, numbers, &squared, 2), MPROC_E_CLOSED);
    assert_ptr_equal(results, state);
}

static void an_item_that_fails_is_no_error_of_the_iteration(void **state)
{
    (void)state;
    int in[4] = { 0, 2, 3, 4 }, out = 0, failed = 0;
    struct mproc_error error = { .code = 77 };
    mproc_imap *results = NULL;
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_imap(&results, pool, fail_if_odd, in, &out, 4, .error = &error), 0);
    while (mproc_imap_next(results, &item, MPROC_FOREVER) == 1)
        failed += item.outcome.kind == MPROC_FAILED;
    assert_int_equal(failed, 1);
    assert_int_equal(error.code, 77);
    assert_int_equal(mproc_imap_free(results), 0);
    assert_int_equal(mproc_imap(&results, pool, fail_if_odd, in, &out, MPROC_UNTIL_END, .error = &error), -EINVAL);
    assert_non_null(strstr(error.message, ".next"));
    assert_int_equal(mproc_pool_close(pool), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_item_that_fails_is_no_error_of_the_iteration),
    cmocka_unit_test(results_come_in_the_order_of_the_items),
    cmocka_unit_test(results_come_as_they_come_if_that_is_wished),
    cmocka_unit_test(items_come_from_an_array_too),
    cmocka_unit_test(the_array_is_read_no_further_than_the_window),
    cmocka_unit_test(the_count_ends_an_iteration_too),
    cmocka_unit_test(more_items_than_memory_would_hold_at_once),
    cmocka_unit_test(a_slow_item_holds_up_the_order_and_the_window),
    cmocka_unit_test(a_slow_item_does_not_hold_up_others_without_an_order),
    cmocka_unit_test(a_source_that_fails_ends_the_iteration_after_what_came_before),
    cmocka_unit_test(an_iteration_can_be_ended_in_its_midst),
    cmocka_unit_test(a_crash_costs_its_item),
    cmocka_unit_test(a_pool_that_is_terminated_ends_its_iterations),
    cmocka_unit_test(a_signal_interrupts_the_wait_but_not_the_iteration),
    cmocka_unit_test(wrong_use_is_refused),
};

CONFORMANCE_MAIN(tests)
