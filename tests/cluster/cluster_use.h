/* What the cluster's suites share: tasks, and opening a pool. SPDX-License-Identifier: MIT */
#ifndef CLUSTER_USE_H
#define CLUSTER_USE_H

#include "agents.h"
#include "servers.h"

#include <errno.h>
#include <mproc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- tasks, which an agent shares nothing but files with */

struct piece {
    int number;
    char folder[48]; /* "": it is done at once */
};

static inline bool file_exists(const char *folder, const char *name, int number)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s.%d", folder, name, number);
    return access(path, F_OK) == 0;
}

static inline void file_make(const char *folder, const char *name, int number)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s.%d", folder, name, number);
    FILE *file = fopen(path, "we");
    if (file)
        fclose(file);
}

/* Says that it has begun, and waits until all may go on. */
static int work(const struct piece *piece, int *result)
{
    if (piece->folder[0]) {
        file_make(piece->folder, "begun", piece->number);
        while (!file_exists(piece->folder, "go", 0) && access(piece->folder, F_OK) == 0)
            harness_sleep_ms(5);
    }
    *result = 2 * piece->number;
    return 0;
}
MPROC_TASK(work, struct piece, int);

static inline int count_begun(const char *folder, int n)
{
    int count = 0;
    for (int i = 0; i < n; i++)
        count += file_exists(folder, "begun", i);
    return count;
}

/* Until so many of n have begun: which, is the machine's to say. */
static inline void wait_begun(const char *folder, int n, int count)
{
    double deadline = harness_now() + HARNESS_PATIENCE / 1000.0;
    while (count_begun(folder, n) < count) {
        assert_true(harness_now() < deadline);
        harness_sleep_ms(5);
    }
}

/* ---- a pool */

static mproc_pool *pool;
static struct mproc_error error;

static inline int open_with(struct mproc_pool_open_arguments arguments)
{
    error = (struct mproc_error) { .code = 0 };
    arguments.size = sizeof arguments;
    arguments.pool = &pool;
    arguments.error = &error;
    if (!arguments.cluster_options.lease)
        arguments.cluster_options.lease = MPROC_SEC(1);
    return mproc_pool_open_with(&arguments);
}

/* OPEN(.cluster = ..., ...): what mproc_pool_open returns. */
#define OPEN(...) open_with((struct mproc_pool_open_arguments) { __VA_ARGS__ })

static inline void open_well(struct mproc_pool_open_arguments arguments)
{
    if (open_with(arguments) != 0)
        fail_msg("%s", error.message);
}
#define OPEN_WELL(...) open_well((struct mproc_pool_open_arguments) { __VA_ARGS__ })

/* The error's text goes to the test's output, where it can be judged by reading. */
static inline void expect_error(int result, int code, const char *text)
{
    fprintf(stderr, "%s: %s\n", mproc_error_name(result), error.message);
    assert_int_equal(result, code);
    assert_int_equal(error.code, code);
    if (!strstr(error.message, text))
        fail_msg("the message does not say '%s'", text);
}

static inline void wait_machines(int count)
{
    double deadline = harness_now() + HARNESS_PATIENCE / 1000.0;
    while (mproc_pool_machines(pool, NULL, 0) != count) {
        assert_true(harness_now() < deadline);
        harness_sleep_ms(5);
    }
}

/* All of it works. */
static inline void check_map(void)
{
    enum { N = 20 };
    struct piece pieces[N] = { { .number = 0 } };
    int results[N] = { 0 };
    for (int i = 0; i < N; i++)
        pieces[i].number = i;
    int result = mproc_map(pool, work, pieces, results, N, .error = &error);
    if (result != 0)
        fail_msg("%s", error.message);
    for (int i = 0; i < N; i++)
        assert_int_equal(results[i], 2 * i);
}

#endif
