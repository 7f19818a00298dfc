/* Registration: several source files, shared libraries, names that are taken. SPDX-License-Identifier: MIT */
#include "harness.h"

#include <dlfcn.h>
#include <errno.h>
#include <mproc.h>
#include <stdio.h>
#include <string.h>

int task_of_another_file(const int *in, int *out); /* registry_other.c */

static int task_of_this_file(const int *in, int *out)
{
    *out = *in + 1;
    return 0;
}
MPROC_TASK(task_of_this_file, int, int);
enum { LINE_OF_TASK = __LINE__ - 1 };

static mproc_pool *open_pool(void)
{
    mproc_pool *pool;
    assert_int_equal(mproc_pool_open(&pool, .workers = 2, .backend = BACKEND), 0);
    return pool;
}

static void tasks_of_several_source_files_are_found(void **state)
{
    (void)state;
    int in[2] = { 1, 2 }, out[2];
    mproc_pool *pool = open_pool();
    assert_int_equal(mproc_map(pool, task_of_this_file, in, out, 2), 0);
    assert_int_equal(out[0], 2);
    assert_int_equal(mproc_map(pool, task_of_another_file, in, out, 2), 0);
    assert_int_equal(out[0], 101);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void a_task_can_be_called_through_a_pointer(void **state)
{
    (void)state;
    int (*tasks[2])(const int *, int *) = { task_of_this_file, task_of_another_file };
    int in[2] = { 1, 2 }, out[2];
    mproc_pool *pool = open_pool();
    assert_int_equal(mproc_map(pool, tasks[1], in, out, 2), 0);
    assert_int_equal(out[1], 102);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void a_task_can_still_be_called_directly(void **state)
{
    (void)state;
    int in = 5, out;
    assert_int_equal(task_of_this_file(&in, &out), 0);
    assert_int_equal(out, 6);
    assert_int_equal(mproc_task_fail(7, "outside of a task %d", 1), 7);
}

static int map_by_name(mproc_pool *pool, const char *name, struct mproc_error *error)
{
    int in[2] = { 1, 2 }, out[2] = { 0 };
    struct mproc_map_arguments arguments = {
        .size = sizeof arguments,
        .name = name,
        .input = in,
        .input_size = sizeof(int),
        .output = out,
        .output_size = sizeof(int),
        .n = 2,
        .error = error,
    };
    int err = mproc_map_with(pool, &arguments);
    return err ? err : out[1];
}

static void a_shared_library_brings_its_tasks(void **state)
{
    (void)state;
    struct mproc_error error;
    mproc_pool *before = open_pool();
    assert_int_equal(map_by_name(before, "task_of_plugin", NULL), MPROC_E_UNREGISTERED);
    void *library = dlopen(PLUGIN, RTLD_NOW);
    assert_non_null(library);
    if (BACKEND == MPROC_PROCESSES) {
        assert_int_equal(map_by_name(before, "task_of_plugin", &error), MPROC_E_REGISTERED_LATE);
        assert_non_null(strstr(error.message, "open the pool again"));
    }
    mproc_pool *after = open_pool();
    assert_int_equal(map_by_name(after, "task_of_plugin", NULL), 1002);
    assert_int_equal(mproc_pool_close(after), 0);
    dlclose(library);
    assert_int_equal(map_by_name(before, "task_of_plugin", NULL), MPROC_E_UNREGISTERED);
    assert_int_equal(mproc_pool_close(before), 0);
}

static int call_nothing(const void *in, void *out)
{
    (void)in;
    (void)out;
    return 0;
}

static void nothing(void)
{
}

static void a_name_that_is_taken_is_an_error_that_names_both_places(void **state)
{
    (void)state;
    static struct mproc_task same = { "task_of_this_file", nothing, call_nothing, 0, 0, "same.c", 17,
                                      MPROC_KIND_TASK,     0,       NULL };
    struct mproc_error error;
    mproc_pool *pool = open_pool(), *other;
    assert_int_equal(mproc_task_register(&same), 0);
    assert_int_equal(mproc_task_register(&same), -EINVAL);
    assert_int_equal(mproc_pool_open(&other, .backend = BACKEND, .error = &error), MPROC_E_DUPLICATE_TASK);
    assert_non_null(strstr(error.message, "'task_of_this_file'"));
    char place[64];
    snprintf(place, sizeof place, "test_registry.c:%d", LINE_OF_TASK);
    assert_non_null(strstr(error.message, place));
    assert_non_null(strstr(error.message, "same.c:17"));
    assert_int_equal(map_by_name(pool, "task_of_this_file", &error), MPROC_E_DUPLICATE_TASK);
    assert_non_null(strstr(error.message, "same.c:17"));
    assert_int_equal(map_by_name(pool, "task_of_another_file", NULL), 102);
    mproc_task_unregister(&same);
    assert_int_equal(map_by_name(pool, "task_of_this_file", NULL), 3);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void an_incomplete_task_is_refused(void **state)
{
    (void)state;
    static struct mproc_task task;
    assert_int_equal(mproc_task_register(NULL), -EINVAL);
    assert_int_equal(mproc_task_register(&task), -EINVAL);
    task.name = "x";
    assert_int_equal(mproc_task_register(&task), -EINVAL);
    task.function = nothing;
    assert_int_equal(mproc_task_register(&task), -EINVAL);
    mproc_task_unregister(&task);
    mproc_task_unregister(NULL);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(tasks_of_several_source_files_are_found),
    cmocka_unit_test(a_task_can_be_called_through_a_pointer),
    cmocka_unit_test(a_task_can_still_be_called_directly),
    cmocka_unit_test(a_shared_library_brings_its_tasks),
    cmocka_unit_test(a_name_that_is_taken_is_an_error_that_names_both_places),
    cmocka_unit_test(an_incomplete_task_is_refused),
};

HARNESS_MAIN(tests)
