/* Workers from their initializer to their finalizer: state, replacement, how many there are, where they run; on every
 * backend. Compiled once for each; BACKEND and METHOD say which. SPDX-License-Identifier: MIT */
#include "pool_shared.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* ---- state */

enum way { WELL, BADLY, BY_CRASH, BADLY_THREE_TIMES };

struct config {
    struct board *board;
    enum way way;
    int number;
};

struct state {
    int number, items;
    char zeroes[1000];
};

static int set_up(const struct config *config, struct state *worker_state)
{
    int count = ++config->board->started;
    if (config->way == BADLY || (config->way == BADLY_THREE_TIMES && count <= 3))
        return mproc_task_fail(7, "nothing works today");
    if (config->way == BY_CRASH)
        raise(SIGKILL);
    for (size_t i = 0; i < sizeof worker_state->zeroes; i++)
        if (worker_state->zeroes[i] || worker_state->number || worker_state->items)
            return 1;
    worker_state->number = config->number;
    return 0;
}
MPROC_TASK(set_up);

static int clean_up(const struct config *config, struct state *worker_state)
{
    config->board->signals += worker_state->items;
    config->board->ended++;
    return 9; /* does not matter */
}
MPROC_TASK(clean_up);

struct use {
    int number, items, worker;
};

static int use_state(const int *unused, struct use *use)
{
    (void)unused;
    struct state *worker_state = mproc_worker_state();
    if (!worker_state)
        return mproc_task_fail(1, "there is no state");
    *use = (struct use) { worker_state->number, ++worker_state->items, mproc_worker_index() };
    return 0;
}
MPROC_TASK(use_state);

/* Machines close their pools soon after this one. */
static void close_and_settle(mproc_pool *pool, struct board *board)
{
    assert_int_equal(mproc_pool_close(pool), 0);
    while (IS_CLUSTER && board->ended != board->started)
        harness_sleep_ms(1);
}

static void each_worker_has_its_own_state(void **state)
{
    (void)state;
    enum { N = 300 };
    struct board *board = board_make();
    struct config config = { board, WELL, 4711 };
    int in[N] = { 0 }, items[3] = { 0 };
    struct use uses[N];
    mproc_pool *pool = OPEN(.workers = 3, .initializer = MPROC_INITIALIZER(set_up, &config, struct state),
                            .finalizer = MPROC_FINALIZER(clean_up, &config, struct state));
    config.number = 0; /* it was copied */
    assert_null(mproc_worker_state());
    assert_int_equal(mproc_map(pool, use_state, in, uses, N, .chunk = 3), 0);
    for (int i = 0; i < N; i++) {
        assert_int_equal(uses[i].number, 4711);
        assert_true(uses[i].worker >= 0 && uses[i].worker < 3);
        if (items[uses[i].worker] < uses[i].items)
            items[uses[i].worker] = uses[i].items;
    }
    assert_int_equal(items[0] + items[1] + items[2], N); /* each counted its own */
    close_and_settle(pool, board);
    assert_true(board->started >= 1 && board->started <= (IS_SERIAL ? 1 : 3));
    assert_int_equal(board->ended, board->started);
    assert_int_equal(board->signals, N);
    assert_int_equal(mproc_free(board), 0);
}

static int look_for_state(const int *unused, int *there)
{
    (void)unused;
    *there = mproc_worker_state() != NULL;
    return 0;
}
MPROC_TASK(look_for_state);

static int map_inside(const int *unused, int *there)
{
    int err = mproc_map(NULL, look_for_state, unused, there, 1);
    return err ? err : mproc_worker_state() ? 0 : 1;
}
MPROC_TASK(map_inside);

static void a_call_in_line_has_the_state_of_its_task(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct config config = { board, WELL, 1 };
    int in[4] = { 0 }, there[4];
    mproc_pool *pool = open_pool(2);
    assert_int_equal(mproc_map(pool, look_for_state, in, there, 4), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(there[i], 0);
    assert_int_equal(mproc_pool_close(pool), 0);
    pool = OPEN(.workers = 2, .initializer = MPROC_INITIALIZER(set_up, &config, struct state));
    assert_int_equal(mproc_map(pool, map_inside, in, there, 4), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(there[i], 1);
    end(pool, board);
}

static int not_registered(const struct config *config, struct state *worker_state)
{
    (void)config;
    (void)worker_state;
    return 0;
}

static void an_initializer_has_to_be_registered(void **state)
{
    (void)state;
    mproc_pool *pool = (mproc_pool *)state;
    struct config config = { 0 };
    struct mproc_error error;
    assert_int_equal(mproc_pool_open(&pool, .backend = BACKEND, .method = METHOD, .cluster = CLUSTER_URL,
                                     .error = &error,
                                     .initializer = MPROC_INITIALIZER(not_registered, &config, struct state)),
                     MPROC_E_UNREGISTERED);
    assert_non_null(strstr(error.message, "not_registered"));
    assert_int_equal(mproc_pool_open(&pool, .backend = BACKEND, .method = METHOD, .cluster = CLUSTER_URL,
                                     .finalizer = MPROC_FINALIZER(not_registered, &config, struct state)),
                     MPROC_E_UNREGISTERED);
    assert_ptr_equal(pool, state);
}

/* ---- initializers that fail */

static void check_initializers_fail(enum way way)
{
    struct board *board = board_make();
    struct config config = { board, way, 1 };
    struct mproc_error error;
    int in[20] = { 0 };
    struct use uses[20], one;
    mproc_future *future = NULL;
    mproc_imap *results = NULL;
    struct mproc_imap_item item;
    mproc_pool *pool =
        OPEN(.workers = 2, .start_failures = 3, .initializer = MPROC_INITIALIZER(set_up, &config, struct state));
    int err = mproc_submit(&future, pool, use_state, in, uses);
    assert_true(err == 0 || err == MPROC_E_WORKERS_FAIL);
    if (err == 0)
        assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), MPROC_E_WORKERS_FAIL);
    assert_int_equal(mproc_map(pool, use_state, in, uses, 20, .error = &error), MPROC_E_WORKERS_FAIL);
    assert_int_equal(error.code, MPROC_E_WORKERS_FAIL);
    assert_non_null(strstr(error.message, "initializer"));
    err = mproc_imap(&results, pool, use_state, in, &one, 20);
    if (err == 0)
        assert_int_equal(mproc_imap_next(results, &item, MPROC_FOREVER), MPROC_E_WORKERS_FAIL);
    else
        assert_int_equal(err, MPROC_E_WORKERS_FAIL);
    assert_int_equal(mproc_imap_free(results), 0);
    assert_int_equal(mproc_pool_join(pool, MPROC_FOREVER), 0);
    assert_true(board->started >= (IS_SERIAL ? 1 : 3) && board->started <= 3 + 2);
    assert_int_equal(mproc_pool_close(pool), MPROC_E_WORKERS_FAIL);
    assert_int_equal(mproc_future_free(future), 0);
    assert_int_equal(mproc_free(board), 0);
}

static void initializers_that_fail_break_the_pool(void **state)
{
    (void)state;
    check_initializers_fail(BADLY);
}

static void initializers_that_crash_break_the_pool(void **state)
{
    (void)state;
    if (!IS_PROCESSES)
        harness_skip("the program would crash");
    check_initializers_fail(BY_CRASH);
}

static void an_initializer_that_fails_now_and_then_is_run_again(void **state)
{
    (void)state;
    if (IS_SERIAL)
        harness_skip("there are no workers to be started again");
    struct board *board = board_make();
    struct config config = { board, BADLY_THREE_TIMES, 12 };
    int in[10] = { 0 };
    struct use uses[10];
    mproc_pool *pool =
        OPEN(.workers = 2, .start_failures = 5, .initializer = MPROC_INITIALIZER(set_up, &config, struct state));
    assert_int_equal(mproc_map(pool, use_state, in, uses, 10), 0);
    assert_int_equal(uses[9].number, 12);
    assert_true(board->started >= 4);
    end(pool, board);
}

/* ---- replacement */

static void a_worker_is_replaced_after_its_items(void **state)
{
    (void)state;
    enum { N = 200, EACH = 5 };
    struct board *board = board_make();
    struct config config = { board, WELL, 1 };
    int in[N] = { 0 };
    struct use uses[N];
    mproc_pool *pool =
        OPEN(.workers = 2, .items_per_worker = EACH, .initializer = MPROC_INITIALIZER(set_up, &config, struct state),
             .finalizer = MPROC_FINALIZER(clean_up, &config, struct state));
    assert_int_equal(mproc_map(pool, use_state, in, uses, N, .chunk = 7), 0);
    for (int i = 0; i < N; i++)
        assert_true(uses[i].items <= EACH);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(mproc_apply(pool, use_state, &in[i], &uses[i]), 0);
        assert_true(uses[i].items <= EACH);
    }
    close_and_settle(pool, board);
    assert_int_equal(board->signals, N + 12);
    assert_int_equal(board->ended, board->started);
    assert_true(board->started >= (N + 12) / EACH);
    assert_int_equal(mproc_free(board), 0);
}

/* ---- how many */

static struct mproc_pool_statistics statistics_of(mproc_pool *pool)
{
    struct mproc_pool_statistics statistics = { .size = sizeof statistics };
    assert_int_equal(mproc_pool_statistics(pool, &statistics), 0);
    return statistics;
}

/* Also of an item that has not ended, and of a worker that has. */
static void the_time_that_workers_work_counts(void **state)
{
    (void)state;
    if (IS_SERIAL)
        harness_skip("there are no statistics");
    int pause = 100, result;
    mproc_pool *pool = OPEN(.workers = 1, .items_per_worker = 1);
    mproc_future *future = NULL;
    assert_int_equal(mproc_apply(pool, wait_ms, &pause, &result), 0);
    while (statistics_of(pool).busy < MPROC_MS(100))
        harness_sleep_ms(1);
    pause = 300;
    assert_int_equal(mproc_submit(&future, pool, wait_ms, &pause, &result), 0);
    while (!mproc_future_is_ready(future) && statistics_of(pool).busy < MPROC_MS(200))
        harness_sleep_ms(1);
    assert_true(statistics_of(pool).busy >= MPROC_MS(200));
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    assert_int_equal(mproc_future_free(future), 0);
    assert_int_equal(mproc_pool_close(pool), 0);
}

/* Each waits for all. */
static int meet(const struct config *config, int *result)
{
    config->board->ready++;
    while (config->board->ready < config->number)
        harness_sleep_ms(1);
    *result = 1;
    return 0;
}
MPROC_TASK(meet);

static void a_pool_grows_for_a_map_whose_items_do_not_end_before(void **state)
{
    (void)state;
    enum { N = 4 };
    if (IS_SERIAL)
        harness_skip("there is one worker");
    for (int round = 0; round < 5; round++) {
        struct board *board = board_make();
        struct config configs[N];
        int results[N];
        for (int i = 0; i < N; i++)
            configs[i] = (struct config) { board, WELL, N };
        mproc_pool *pool = OPEN(.workers = N, .workers_least = 1);
        harness_sleep_ms(round); /* so that the worker spins, or sleeps */
        assert_int_equal(mproc_map(pool, meet, configs, results, N), 0);
        assert_int_equal(mproc_pool_close(pool), 0);
        assert_int_equal(mproc_free(board), 0);
    }
}

static void calls_that_are_over_do_not_count_against_the_backlog(void **state)
{
    (void)state;
    int in = 3;
    int64_t out;
    mproc_pool *pool = OPEN(.workers = 2, .backlog = 1);
    for (int i = 0; i < 5000; i++)
        assert_int_equal(mproc_apply(pool, square, &in, &out, .no_wait = true), 0);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void wait_workers(mproc_pool *pool, int count)
{
    while (statistics_of(pool).workers != count)
        harness_sleep_ms(1);
}

static void a_pool_grows_while_it_works(void **state)
{
    (void)state;
    if (IS_SERIAL || IS_CLUSTER)
        harness_skip("see a_pool_without_workers_cannot_be_resized");
    enum { N = 40 };
    struct board *board = board_make();
    struct order orders[N];
    int results[N];
    mproc_future *future = NULL;
    mproc_pool *pool = open_pool(1);
    orders_fill(orders, N, board, GATE);
    assert_int_equal(mproc_map_async(&future, pool, act, orders, results, N, .chunk = 1), 0);
    gate_wait_arrived(&board->gate, 1);
    wait_workers(pool, 1);
    assert_int_equal(mproc_pool_resize(pool, 5), 0);
    gate_wait_arrived(&board->gate, 5);
    wait_workers(pool, 5);
    gate_open(&board->gate);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    assert_int_equal(board->ended, N);
    assert_int_equal(mproc_future_free(future), 0);
    end(pool, board);
}

static void a_pool_shrinks_while_it_works(void **state)
{
    (void)state;
    if (IS_SERIAL || IS_CLUSTER)
        harness_skip("see a_pool_without_workers_cannot_be_resized");
    enum { N = 60 };
    struct board *board = board_make();
    struct order orders[N];
    int results[N];
    mproc_future *future = NULL;
    mproc_pool *pool = open_pool(4);
    orders_fill(orders, N, board, GATE);
    assert_int_equal(mproc_map_async(&future, pool, act, orders, results, N, .chunk = 1), 0);
    gate_wait_arrived(&board->gate, 4);
    assert_int_equal(mproc_pool_resize(pool, 1), 0);
    do { /* one that stays may take the turn of one that is to go */
        gate_let(&board->gate, 1);
        harness_sleep_ms(2);
    } while (statistics_of(pool).workers > 1); /* in the midst of the map */
    assert_int_equal(mproc_future_is_ready(future), false);
    gate_open(&board->gate);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    assert_int_equal(board->ended, N);
    for (int i = 0; i < N; i++)
        assert_int_equal(results[i], 2 * i);
    assert_int_equal(mproc_future_free(future), 0);
    end(pool, board);
}

static void a_pool_can_be_resized_again_and_again(void **state)
{
    (void)state;
    if (IS_SERIAL || IS_CLUSTER)
        harness_skip("see a_pool_without_workers_cannot_be_resized");
    enum { N = 100 };
    struct board *board = board_make();
    struct order orders[N];
    int results[N];
    mproc_pool *pool = open_pool(2);
    orders_fill(orders, N, board, WORK);
    for (int round = 0; round < 40; round++) {
        assert_int_equal(mproc_pool_resize(pool, 1 + round * 7 % 9), 0);
        assert_int_equal(mproc_map(pool, act, orders, results, N, .chunk = 1), 0);
    }
    assert_int_equal(board->ended, 40 * N);
    assert_int_equal(mproc_pool_resize(pool, 3), 0);
    wait_workers(pool, 3);
    end(pool, board);
}

static void a_pool_without_workers_cannot_be_resized(void **state)
{
    (void)state;
    mproc_pool *pool = open_pool(2);
    if (IS_SERIAL || IS_CLUSTER)
        assert_int_equal(mproc_pool_resize(pool, 3), -ENOTSUP);
    else {
        assert_int_equal(mproc_pool_resize(pool, 0), -EINVAL);
        assert_int_equal(mproc_pool_resize(pool, -1), -EINVAL);
        assert_int_equal(mproc_pool_resize(pool, MPROC_WORKERS_MAX + 1), -EINVAL);
        wait_workers(pool, 2);
    }
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void workers_come_when_there_is_work_and_go_when_there_is_none(void **state)
{
    (void)state;
    if (IS_SERIAL)
        harness_skip("there are no workers");
    if (IS_CLUSTER)
        harness_skip("how many workers a machine has just now is not told");
    struct board *board = board_make();
    struct order orders[4];
    int results[4];
    mproc_pool *pool = OPEN(.workers = 4, .workers_least = 1, .idle_timeout = MPROC_MS(20));
    orders_fill(orders, 4, board, GATE);
    assert_int_equal(statistics_of(pool).workers_started, 1);
    for (int round = 1; round <= 3; round++) {
        mproc_future *future = NULL;
        assert_int_equal(mproc_map_async(&future, pool, act, orders, results, 4, .chunk = 1), 0);
        gate_wait_arrived(&board->gate, 4 * round); /* needs four */
        gate_let(&board->gate, 4);
        assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
        assert_int_equal(mproc_future_free(future), 0);
        wait_workers(pool, 1);
    }
    assert_true(statistics_of(pool).workers_started >= 1 + 3 * 3);
    assert_int_equal(statistics_of(pool).workers_crashed, 0);
    assert_int_equal(mproc_pool_resize(pool, 2), 0);
    mproc_future *future = NULL;
    assert_int_equal(mproc_map_async(&future, pool, act, orders, results, 4, .chunk = 1), 0);
    gate_wait_arrived(&board->gate, 14);
    wait_workers(pool, 2);
    gate_open(&board->gate);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    assert_int_equal(mproc_future_free(future), 0);
    end(pool, board);
}

/* ---- where and how they run */

struct surroundings {
    int cpus, cpu, nice, index;
    char name[20];
};

static int look_around(const struct order *order, struct surroundings *surroundings)
{
    cpu_set_t cpus;
    carry_out(order);
    if (sched_getaffinity(0, sizeof cpus, &cpus) != 0)
        return 1;
    surroundings->cpus = CPU_COUNT(&cpus);
    for (surroundings->cpu = 0; !CPU_ISSET(surroundings->cpu, &cpus);)
        surroundings->cpu++;
    surroundings->nice = getpriority(PRIO_PROCESS, (id_t)gettid());
    surroundings->index = mproc_worker_index();
    return prctl(PR_GET_NAME, surroundings->name);
}
MPROC_TASK(look_around);

/* Has so many workers look around at the same time. */
static void look_around_all(mproc_pool *pool, struct board *board, struct surroundings *surroundings, int count)
{
    struct order orders[16];
    mproc_future *future = NULL;
    orders_fill(orders, count, board, GATE);
    assert_int_equal(mproc_map_async(&future, pool, look_around, orders, surroundings, (size_t)count, .chunk = 1), 0);
    gate_wait_arrived(&board->gate, count);
    gate_open(&board->gate);
    assert_int_equal(mproc_future_wait(future, MPROC_FOREVER), 0);
    assert_int_equal(mproc_future_free(future), 0);
}

static void workers_are_pinned_to_different_cpus(void **state)
{
    (void)state;
    if (IS_SERIAL)
        harness_skip("there are no workers");
    cpu_set_t usable;
    struct board *board = board_make();
    struct surroundings surroundings[16];
    assert_int_equal(sched_getaffinity(0, sizeof usable, &usable), 0);
    int count = CPU_COUNT(&usable) < 16 ? CPU_COUNT(&usable) : 16;
    mproc_pool *pool = OPEN(.workers = count, .pin = true);
    look_around_all(pool, board, surroundings, count);
    for (int i = 0; i < count; i++) {
        assert_int_equal(surroundings[i].cpus, 1);
        assert_true(CPU_ISSET(surroundings[i].cpu, &usable));
        CPU_CLR(surroundings[i].cpu, &usable); /* nobody else's */
    }
    end(pool, board);
}

static void workers_may_run_everywhere_otherwise(void **state)
{
    (void)state;
    cpu_set_t usable;
    struct board *board = board_make();
    struct surroundings surroundings[2];
    assert_int_equal(sched_getaffinity(0, sizeof usable, &usable), 0);
    mproc_pool *pool = open_pool(2);
    look_around_all(pool, board, surroundings, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(surroundings[i].cpus, CPU_COUNT(&usable));
        assert_int_equal(surroundings[i].nice, getpriority(PRIO_PROCESS, 0));
    }
    assert_int_equal(surroundings[0].index + surroundings[1].index, IS_SERIAL ? 0 : 1); /* 0 and 1 */
    end(pool, board);
}

static void workers_are_as_nice_as_they_are_told(void **state)
{
    (void)state;
    if (IS_SERIAL)
        harness_skip("there are no workers");
    int own = getpriority(PRIO_PROCESS, 0);
    struct board *board = board_make();
    struct surroundings surroundings[3];
    mproc_pool *pool = OPEN(.workers = 3, .nice = 4);
    look_around_all(pool, board, surroundings, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(surroundings[i].nice, own + 4 < 19 ? own + 4 : 19);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), own);
    end(pool, board);
}

static void workers_have_a_name(void **state)
{
    (void)state;
    if (IS_SERIAL)
        harness_skip("there are no workers");
    char name[] = "render";
    struct board *board = board_make();
    struct surroundings surroundings[2];
    mproc_pool *pool = OPEN(.workers = 2, .name = name);
    name[0] = 'X'; /* it was copied */
    look_around_all(pool, board, surroundings, 2);
    assert_int_equal(strncmp(surroundings[0].name, "render", 6), 0);
    assert_int_equal(strncmp(surroundings[1].name, "render", 6), 0);
    assert_int_equal(mproc_pool_close(pool), 0);
    pool = open_pool(1);
    look_around_all(pool, board, surroundings, 1);
    assert_int_equal(strncmp(surroundings[0].name, "mproc", 5), 0);
    end(pool, board);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_worker_has_its_own_state),
    cmocka_unit_test(a_call_in_line_has_the_state_of_its_task),
    cmocka_unit_test(an_initializer_has_to_be_registered),
    cmocka_unit_test(initializers_that_fail_break_the_pool),
    cmocka_unit_test(initializers_that_crash_break_the_pool),
    cmocka_unit_test(an_initializer_that_fails_now_and_then_is_run_again),
    cmocka_unit_test(a_worker_is_replaced_after_its_items),
    cmocka_unit_test(the_time_that_workers_work_counts),
    cmocka_unit_test(a_pool_grows_for_a_map_whose_items_do_not_end_before),
    cmocka_unit_test(calls_that_are_over_do_not_count_against_the_backlog),
    cmocka_unit_test(a_pool_grows_while_it_works),
    cmocka_unit_test(a_pool_shrinks_while_it_works),
    cmocka_unit_test(a_pool_can_be_resized_again_and_again),
    cmocka_unit_test(a_pool_without_workers_cannot_be_resized),
    cmocka_unit_test(workers_come_when_there_is_work_and_go_when_there_is_none),
    cmocka_unit_test(workers_are_pinned_to_different_cpus),
    cmocka_unit_test(workers_may_run_everywhere_otherwise),
    cmocka_unit_test(workers_are_as_nice_as_they_are_told),
    cmocka_unit_test(workers_have_a_name),
};

CONFORMANCE_MAIN(tests)
