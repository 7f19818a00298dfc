/* Pools in a process that has little of something: memory, processes, descriptors, files.
 * SPDX-License-Identifier: MIT */
#include "harness.h"

#include "os/sanitizer.h"

#include <errno.h>
#include <fcntl.h>
#include <mproc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int add_one(const int *in, int *out)
{
    *out = *in + 1;
    return 0;
}
MPROC_TASK(add_one);

static void check_works(mproc_pool *pool)
{
    int in[10], out[10] = { 0 };
    for (int i = 0; i < 10; i++)
        in[i] = i;
    assert_int_equal(mproc_map(pool, add_one, in, out, 10), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(out[i], i + 1);
}

static mproc_pool *open_pool(int workers)
{
    mproc_pool *pool;
    assert_int_equal(mproc_pool_open(&pool, .workers = workers), 0);
    return pool;
}

static int exit_status_of(pid_t pid)
{
    int status;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- limits */

/* In a process of its own, as limits stay. Returns the child's exit status. */
static int in_child(int (*body)(void))
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(body());
    return exit_status_of(pid);
}

static void set_limit(int resource, rlim_t value)
{
    struct rlimit limit = { value, value };
    setrlimit((__rlimit_resource_t)resource, &limit);
}

static int without_processes(void)
{
    mproc_pool *pool = NULL;
    if (setuid(65534) != 0)
        return HARNESS_SKIPPED;
    set_limit(RLIMIT_NPROC, 1);
    int err = mproc_pool_open(&pool, .workers = 2);
    return err == -EAGAIN && !pool ? 0 : 1;
}

static void no_processes_left_is_an_error(void **state)
{
    (void)state;
    int result = in_child(without_processes);
    if (result == HARNESS_SKIPPED)
        harness_skip("root is needed to become a user whose processes are limited");
    assert_int_equal(result, 0);
}

static int losing_processes(void)
{
    mproc_pool *pool = NULL;
    int in[4] = { 0 }, out[4], children[1], workers[4];
    if (setuid(65533) != 0)
        return HARNESS_SKIPPED;
    if (mproc_pool_open(&pool, .workers = 2) != 0)
        return 1;
    /* A limit that is set now does not reach the supervisor; prlimit does. */
    harness_children(getpid(), children, 1);
    int count = harness_children(children[0], workers, 4);
    struct rlimit none = { 1, 1 };
    if (prlimit(children[0], RLIMIT_NPROC, &none, NULL) != 0)
        return 2;
    for (int i = 0; i < count; i++)
        kill(workers[i], SIGKILL);
    struct mproc_error error;
    if (mproc_map(pool, add_one, in, out, 4, .error = &error) != MPROC_E_NO_WORKERS)
        return 3;
    if (!strstr(error.message, "could not start a single worker"))
        return 4;
    if (mproc_map(pool, add_one, in, out, 4) != MPROC_E_NO_WORKERS)
        return 5;
    return mproc_pool_close(pool) == MPROC_E_NO_WORKERS ? 0 : 6;
}

static void a_pool_that_cannot_replace_its_workers_says_so(void **state)
{
    (void)state;
    int result = in_child(losing_processes);
    if (result == HARNESS_SKIPPED)
        harness_skip("root is needed to become a user whose processes are limited");
    assert_int_equal(result, 0);
}

/* With room for no descriptor, for one, for two: each step of opening fails once. */
static int without_descriptors(void)
{
    struct mproc_error error;
    for (int room = 0; room < 5; room++) {
        mproc_pool *pool = NULL;
        int first = dup(STDIN_FILENO), last = first;
        for (int i = 1; i < room; i++)
            last = dup(STDIN_FILENO);
        struct rlimit limit = { (rlim_t)last + (room > 0), 1000 }, plenty = { 1000, 1000 };
        for (int fd = first; fd <= last; fd++)
            close(fd);
        setrlimit(RLIMIT_NOFILE, &limit);
        int err = mproc_pool_open(&pool, .workers = 2, .error = &error);
        setrlimit(RLIMIT_NOFILE, &plenty);
        if (err == 0)
            return room >= 2 && mproc_pool_close(pool) == 0 ? 0 : 2;
        if (err != -EMFILE || pool || error.code != -EMFILE)
            return 1;
    }
    return 3;
}

static void no_descriptors_left_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(in_child(without_descriptors), 0);
}

struct large {
    char bytes[1 << 20];
};

static int take_large(const struct large *in, struct large *out)
{
    out->bytes[0] = in->bytes[0];
    return 0;
}
MPROC_TASK(take_large);

static int without_memory(void)
{
    static struct large in[64], out[64];
    mproc_pool *pool;
    struct mproc_error error;
    int small_in[2] = { 1, 2 }, small_out[2];
    /* 192 MiB: what the process has, and a heap of 64 MiB at the most. */
    if (mproc_pool_open(&pool, .workers = 1) != 0)
        return 1;
    if (mproc_map(pool, take_large, in, out, 64, .error = &error) != -ENOMEM)
        return 2;
    if (!strstr(error.message, "mproc_map of 'take_large': 64 items of 1048576 and 1048576 bytes: no memory left"))
        return 3;
    if (mproc_map(pool, add_one, small_in, small_out, 2) != 0 || small_out[1] != 3)
        return 4;
    return mproc_pool_close(pool) == 0 ? 0 : 5;
}

static void no_memory_left_is_an_error_and_costs_nothing_else(void **state)
{
    (void)state;
    if (OS_ADDRESS_SANITIZER)
        harness_skip("AddressSanitizer itself needs the address space");
    set_limit(RLIMIT_AS, (rlim_t)352 << 20);
    harness_restart_with("SMALL_ADDRESS_SPACE", "1");
    assert_int_equal(in_child(without_memory), 0);
}

static void more_memory_than_there_is_is_an_error_at_once(void **state)
{
    (void)state;
    static struct large in[1], out[1];
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_map(pool, take_large, in, out, 200000), -ENOMEM); /* 400 GB, which are not there either */
    check_works(pool);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static int with_small_files(void)
{
    mproc_pool *pool;
    int in[2] = { 1, 2 }, out[2];
    return mproc_pool_open(&pool, .workers = 1) == 0 && mproc_map(pool, add_one, in, out, 2) == 0 &&
                   mproc_pool_close(pool) == 0
               ? 0
               : 1;
}

static void a_limit_on_file_sizes_is_respected(void **state)
{
    (void)state;
    set_limit(RLIMIT_FSIZE, 16 << 20); /* would be answered with SIGXFSZ */
    harness_restart_with("SMALL_FILES", "1");
    assert_int_equal(in_child(with_small_files), 0);
}

static void too_many_pools_are_refused(void **state)
{
    (void)state;
    static mproc_pool *pools[MPROC_POOLS_MAX + 1];
    int count = 0, err;
    while ((err = mproc_pool_open(&pools[count], .backend = MPROC_SERIAL)) == 0 && count < MPROC_POOLS_MAX)
        count++;
    assert_int_equal(err, -EMFILE);
    assert_int_equal(count, MPROC_POOLS_MAX);
    for (int i = 0; i < count; i++)
        assert_int_equal(mproc_pool_close(pools[i]), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(no_processes_left_is_an_error),
    cmocka_unit_test(a_pool_that_cannot_replace_its_workers_says_so),
    cmocka_unit_test(no_descriptors_left_is_an_error),
    cmocka_unit_test(no_memory_left_is_an_error_and_costs_nothing_else),
    cmocka_unit_test(more_memory_than_there_is_is_an_error_at_once),
    cmocka_unit_test(a_limit_on_file_sizes_is_respected),
    cmocka_unit_test(too_many_pools_are_refused),
};

HARNESS_MAIN(tests)
