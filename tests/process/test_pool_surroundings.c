/* Pools in tasks of pools, and pools in a program that is short of descriptors, has threads, or is out of memory.
 * SPDX-License-Identifier: MIT */
#include "gate.h"
#include "harness.h"

#include "os/sanitizer.h"

#include <errno.h>
#include <fcntl.h>
#include <mproc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the heap. */
struct board {
    struct gate gate;
    _Atomic int workers, most_workers, depth, error; /* of nested pools */
};

#include "pool_use.h"

struct order {
    struct board *board;
    mproc_pool *pool;
    int number;
};

static bool works(mproc_pool *pool)
{
    enum { N = 50 };
    int in[N], out[N] = { 0 }, one = 0;
    mproc_future *future = NULL;
    for (int i = 0; i < N; i++)
        in[i] = i;
    bool right = mproc_map(pool, add_one, in, out, N) == 0;
    for (int i = 0; i < N; i++)
        right = right && out[i] == i + 1;
    right = right && mproc_submit(&future, pool, add_one, &in[7], &one) == 0;
    right = right && mproc_future_wait(future, MPROC_FOREVER) == 0 && one == 8;
    return right && mproc_future_free(future) == 0;
}

static int exit_status_of(pid_t pid)
{
    int status;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- pools in tasks */

/* Begins when all workers are in this task, so that nobody could do anything for them. */
static int submit_when_all_are_busy(const struct order *order, int *sum)
{
    mproc_pool *const pools[2] = { order->pool, NULL };
    gate_pass(&order->board->gate);
    *sum = 0;
    for (int i = 0; i < 10; i++) {
        int results[3], numbers[3] = { i, i, i };
        mproc_future *future = NULL;
        int err = mproc_map_async(&future, pools[i % 2], add_one, numbers, results, 3);
        err = err ? err : mproc_future_wait(future, MPROC_FOREVER);
        err = err ? err : mproc_future_free(future);
        err = err ? err : mproc_map(pools[i % 2], add_one, results, numbers, 3);
        if (err)
            return mproc_task_fail(err, "%s", mproc_strerror(err));
        *sum += numbers[2];
    }
    return 0;
}
MPROC_TASK(submit_when_all_are_busy);

static void tasks_that_use_their_own_pool_do_not_wait_for_themselves(void **state)
{
    (void)state;
    struct board *board = board_make();
    struct order orders[12];
    int sums[12];
    struct mproc_error error = { .message = "" };
    mproc_future *future = NULL;
    mproc_pool *pool = open_pool(3);
    for (int i = 0; i < 12; i++)
        orders[i] = (struct order) { board, pool, i };
    assert_int_equal(
        mproc_map_async(&future, pool, submit_when_all_are_busy, orders, sums, 12, .chunk = 1, .error = &error), 0);
    gate_wait_arrived(&board->gate, 3);
    gate_open(&board->gate);
    int err = mproc_future_wait(future, MPROC_FOREVER);
    assert_string_equal(error.message, "");
    assert_int_equal(err, 0);
    for (int i = 0; i < 12; i++)
        assert_int_equal(sums[i], 45 + 20);
    assert_int_equal(mproc_future_free(future), 0);
    end(pool, board);
}

/* Opens a pool in a task of the pool that it opens in a task ... */
static int nest(const int *depth, int *sum)
{
    mproc_pool *pool;
    int deeper = *depth - 1, below = 0;
    *sum = 1;
    if (deeper == 0)
        return 0;
    int err = mproc_pool_open(&pool);
    if (err)
        return mproc_task_fail(err, "depth %d: %s", *depth, mproc_strerror(err));
    err = mproc_apply(pool, nest, &deeper, &below);
    *sum += below;
    int closed = mproc_pool_close(pool);
    return err ? err : closed;
}
MPROC_TASK(nest);

static void pools_can_be_nested(void **state)
{
    (void)state;
    int depth = MPROC_POOL_DEPTH_MAX, sum;
    struct mproc_error error = { .message = "" };
    mproc_pool *pool = open_pool(2);
    int err = mproc_apply(pool, nest, &depth, &sum, .error = &error);
    assert_string_equal(error.message, "");
    assert_int_equal(err, 0);
    assert_int_equal(sum, depth);
    depth++;
    assert_int_equal(mproc_apply(pool, nest, &depth, &sum, .error = &error), 1);
    assert_int_equal(mproc_pool_close(pool), 0);
}

/* Opens as large a pool as can be, and does the same in it. */
static int breed(const struct order *order, int *result)
{
    struct board *board = order->board;
    mproc_pool *pool;
    struct order next = { board, NULL, order->number + 1 };
    *result = 0;
    board->depth = order->number;
    if (order->number > 20)
        return 0;
    int err = mproc_pool_open(&pool, .workers = MPROC_WORKERS_MAX);
    if (err) {
        board->error = err;
        return 0;
    }
    board->workers += MPROC_WORKERS_MAX;
    board->most_workers = board->workers;
    err = mproc_apply(pool, breed, &next, result);
    board->workers -= MPROC_WORKERS_MAX;
    int closed = mproc_pool_close(pool);
    return err ? err : closed;
}
MPROC_TASK(breed);

static void pools_that_open_pools_come_to_an_end(void **state)
{
    (void)state;
    if (OS_ADDRESS_SANITIZER)
        harness_skip("four thousand processes with AddressSanitizer are too much for some machines");
    struct board *board = board_make();
    struct order order = { board, NULL, 0 };
    int result;
    mproc_pool *pool = open_pool(1);
    for (int round = 0; round < 2; round++) { /* those that are closed no longer count */
        board->error = board->most_workers = 0;
        assert_int_equal(mproc_apply(pool, breed, &order, &result), 0);
        assert_int_equal(board->error, -EAGAIN);
        assert_true(board->most_workers > 0 || round > 0);
        assert_true(board->most_workers + 1 <= MPROC_FAMILY_WORKERS_MAX);
        assert_true(board->depth < 5);
    }
    end(pool, board);
}

/* Opens a pool and ends without closing it. */
static int leave_pool(const int *workers, int *result)
{
    mproc_pool *pool;
    *result = mproc_pool_open(&pool, .workers = *workers, .backend = MPROC_THREADS);
    _exit(*result == 0 ? 3 : 4);
}
MPROC_TASK(leave_pool);

static void workers_of_those_that_were_killed_no_longer_count(void **state)
{
    (void)state;
    int workers = MPROC_WORKERS_MAX, result, good = 0;
    struct mproc_outcome outcome;
    mproc_pool *pool = open_pool(2);
    while (good < 6) { /* more than there may be at a time; those that are on their way out may still count */
        assert_int_equal(mproc_apply(pool, leave_pool, &workers, &result, .outcomes = &outcome), 1);
        assert_int_equal(outcome.kind, MPROC_CRASHED);
        good += outcome.exit_status == 3;
    }
    assert_int_equal(mproc_pool_close(pool), 0);
}

/* ---- descriptors */

static int with_no_descriptors_left(void)
{
    mproc_pool *pool = NULL, *other = NULL;
    mproc_future *future = NULL;
    struct rlimit plenty;
    int in = 1, out = 0;
    if (mproc_pool_open(&pool, .workers = 2) != 0 || getrlimit(RLIMIT_NOFILE, &plenty) != 0)
        return 1;
    int first_free = dup(STDIN_FILENO);
    close(first_free);
    struct rlimit none = { (rlim_t)first_free, plenty.rlim_max };
    setrlimit(RLIMIT_NOFILE, &none);
    if (mproc_pool_open(&other, .workers = 1) != -EMFILE || other)
        return 2;
    if (!works(pool))
        return 3;
    if (mproc_submit(&future, pool, add_one, &in, &out) != 0 || mproc_future_fd(future) != -EMFILE)
        return 4;
    if (mproc_future_wait(future, MPROC_FOREVER) != 0 || mproc_future_free(future) != 0)
        return 5;
    setrlimit(RLIMIT_NOFILE, &plenty);
    if (mproc_pool_open(&other, .workers = 1) != 0 || !works(other) || !works(pool))
        return 6;
    return mproc_pool_close(other) == 0 && mproc_pool_close(pool) == 0 ? 0 : 7;
}

static void a_pool_goes_on_when_no_descriptors_are_left(void **state)
{
    (void)state;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(with_no_descriptors_left());
    assert_int_equal(exit_status_of(pid), 0);
}

static bool standard_ones_are_free(void)
{
    return fcntl(0, F_GETFD) < 0 && fcntl(1, F_GETFD) < 0 && fcntl(2, F_GETFD) < 0;
}

static int without_standard_descriptors(void)
{
    mproc_pool *pool, *other;
    if (mproc_pool_open(&pool, .workers = 2) != 0)
        return 1;
    close(0);
    close(1);
    close(2);
    if (!works(pool) || !standard_ones_are_free())
        return 2;
    if (mproc_pool_open(&other, .workers = 2) != 0 || !works(other))
        return 3;
    if (mproc_pool_fd(pool) <= 2 || mproc_pool_fd(other) <= 2 || !standard_ones_are_free())
        return 4;
    return mproc_pool_close(pool) == 0 && mproc_pool_close(other) == 0 && standard_ones_are_free() ? 0 : 5;
}

static void a_caller_may_close_its_standard_descriptors(void **state)
{
    (void)state;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(without_standard_descriptors());
    assert_int_equal(exit_status_of(pid), 0);
}

/* ---- threads */

static void *use_pools(void *argument)
{
    mproc_pool *before = argument, *pool = NULL;
    assert_true(works(before));
    assert_int_equal(mproc_pool_open(&pool, .workers = 1), MPROC_E_THREADED_FORK);
    assert_null(pool);
    static const enum mproc_start_method methods[2] = { MPROC_FORKSERVER, MPROC_SPAWN };
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mproc_pool_open(&pool, .workers = 2, .method = methods[i]), 0);
        assert_true(works(pool));
        assert_int_equal(mproc_pool_close(pool), 0);
    }
    return NULL;
}

static void pools_opened_before_threads_are_used_by_them_and_others_come_of_a_server(void **state)
{
    (void)state;
    pthread_t threads[4];
    mproc_pool *pool = open_pool(2);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_pools, pool), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(works(pool));
    assert_int_equal(mproc_pool_close(pool), 0);
    pool = open_pool(1); /* the threads are gone */
    assert_int_equal(mproc_pool_close(pool), 0);
}

/* ---- memory */

/* The folder of this process's memory control group; "" if there is none that a group can be made in. */
static void memory_group(char *path, size_t size, bool *first_version)
{
    char line[300], folder[256] = "";
    FILE *file = fopen("/proc/self/cgroup", "r");
    *first_version = false;
    while (file && fgets(line, sizeof line, file)) {
        char *controllers = strchr(line, ':'), *own = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!own)
            continue;
        own[strcspn(own, "\n")] = '\0';
        *own++ = '\0';
        if (strcmp(controllers + 1, "memory") == 0) {
            *first_version = true;
            snprintf(folder, sizeof folder, "/sys/fs/cgroup/memory%s", own);
            break;
        }
        if (controllers[1] == '\0')
            snprintf(folder, sizeof folder, "/sys/fs/cgroup%s", own);
    }
    if (file)
        fclose(file);
    snprintf(path, size, "%s/mproc-test-%d", folder, (int)getpid());
    if (!folder[0] || mkdir(path, 0700) != 0)
        path[0] = '\0';
}

static bool group_set(const char *group, const char *name, const char *value)
{
    char path[500];
    snprintf(path, sizeof path, "%s/%s", group, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);
    if (fd >= 0)
        close(fd);
    return done;
}

static int hog(const int *megabytes, int *result)
{
    for (int i = 0; i < *megabytes; i++) {
        char *volatile bytes = malloc(1 << 20);
        if (!bytes)
            return 1;
        memset(bytes, i + 1, 1 << 20);
    }
    *result = *megabytes;
    return 0;
}
MPROC_TASK(hog);

static int out_of_memory(const char *group)
{
    enum { N = 12, HOG = 5 };
    int megabytes[N] = { 0 }, results[N];
    struct mproc_outcome outcomes[N];
    mproc_pool *pool;
    if (!group_set(group, "cgroup.procs", "0"))
        return HARNESS_SKIPPED;
    megabytes[HOG] = 400;
    if (mproc_pool_open(&pool, .workers = 2) != 0)
        return 1;
    if (mproc_map(pool, hog, megabytes, results, N, .outcomes = outcomes) != 1)
        return 2;
    for (int i = 0; i < N; i++)
        if (outcomes[i].kind != (i == HOG ? MPROC_CRASHED : MPROC_OK))
            return 3;
    if (outcomes[HOG].signal != SIGKILL || !outcomes[HOG].out_of_memory)
        return 4;
    megabytes[HOG] = 1;
    return mproc_map(pool, hog, megabytes, results, N) == 0 && mproc_pool_close(pool) == 0 ? 0 : 5;
}

static void a_worker_that_the_kernel_kills_for_memory_costs_one_item(void **state)
{
    (void)state;
    char group[400];
    bool first_version;
    memory_group(group, sizeof group, &first_version);
    if (!group[0])
        harness_skip("no control group can be made");
    bool limited = group_set(group, first_version ? "memory.limit_in_bytes" : "memory.max", "100000000");
    if (limited && !first_version)
        group_set(group, "memory.swap.max", "0");
    if (limited && first_version)
        group_set(group, "memory.memsw.limit_in_bytes", "100000000");
    fflush(stdout);
    pid_t pid = limited ? fork() : -1;
    if (pid == 0)
        _exit(out_of_memory(group));
    int result = limited ? exit_status_of(pid) : HARNESS_SKIPPED;
    for (int i = 0; rmdir(group) != 0 && errno == EBUSY && i < HARNESS_PATIENCE; i++)
        harness_sleep_ms(1);
    if (result == HARNESS_SKIPPED)
        harness_skip("the memory of a control group cannot be limited");
    assert_int_equal(result, 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(tasks_that_use_their_own_pool_do_not_wait_for_themselves),
    cmocka_unit_test(pools_can_be_nested),
    cmocka_unit_test(pools_that_open_pools_come_to_an_end),
    cmocka_unit_test(workers_of_those_that_were_killed_no_longer_count),
    cmocka_unit_test(a_pool_goes_on_when_no_descriptors_are_left),
    cmocka_unit_test(a_caller_may_close_its_standard_descriptors),
    cmocka_unit_test(pools_opened_before_threads_are_used_by_them_and_others_come_of_a_server),
    cmocka_unit_test(a_worker_that_the_kernel_kills_for_memory_costs_one_item),
};

HARNESS_MAIN_WITH_INIT(tests)
