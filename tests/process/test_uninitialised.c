/* Programs that call mproc_init late, or not. SPDX-License-Identifier: MIT */
#include "harness.h"

#include <mproc.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int do_nothing(const void *nothing)
{
    (void)nothing;
    return 0;
}
MPROC_PROCESS(do_nothing);

static void expect_start(enum mproc_start_method method, int code, const char *word)
{
    mproc_process *process = NULL;
    struct mproc_error error = { .message = "" };
    int err = mproc_process_start(&process, do_nothing, NULL, .method = method, .error = &error);
    if (err != code || !strstr(error.message, word))
        fail_msg("%d (%s) in place of %d with '%s'", err, error.message, code, word);
    if (err)
        return;
    assert_int_equal(mproc_process_join(process, MPROC_FOREVER), 0);
    assert_int_equal(mproc_process_close(process), 0);
}

static void without_init_fork_is_all_there_is(void **state)
{
    (void)state;
    expect_start(MPROC_FORK, 0, "");
    expect_start(MPROC_FORKSERVER, MPROC_E_INIT_MISSING, "first thing in main");
    expect_start(MPROC_SPAWN, MPROC_E_INIT_MISSING, "first thing in main");
}

static void *wait_for_byte(void *fd)
{
    char byte;
    return read(*(int *)fd, &byte, 1) == 1 ? NULL : fd;
}

static void init_is_refused_beside_threads(void **state)
{
    (void)state;
    int link[2];
    pthread_t thread;
    assert_int_equal(pipe(link), 0);
    assert_int_equal(pthread_create(&thread, NULL, wait_for_byte, &link[0]), 0);
    assert_int_equal(mproc_init(NULL, NULL), MPROC_E_THREADED_FORK);
    expect_start(MPROC_FORKSERVER, MPROC_E_INIT_MISSING, "first thing in main");
    assert_int_equal(write(link[1], "x", 1), 1);
    pthread_join(thread, NULL);
    close(link[0]);
    close(link[1]);
}

/* A spawned process of this program does not get to mproc_init: it runs main as any, which finds no such test. */
static void a_spawned_program_that_does_not_call_init_is_told_of(void **state)
{
    (void)state;
    int before = harness_count_descriptors();
    assert_int_equal(mproc_init(NULL, NULL), 0);
    int with_server = harness_count_descriptors();
    expect_start(MPROC_FORKSERVER, 0, "");
    for (int i = 0; i < 3; i++)
        expect_start(MPROC_SPAWN, MPROC_E_NOT_STARTED, "before main called mproc_init");
    assert_int_equal(harness_count_descriptors(), with_server);
    exit(before < with_server ? 0 : 1);
}

/* Nor does it start processes of its own. */
static void one_that_was_spawned_starts_nothing_before_init(void **state)
{
    (void)state;
    setenv("MPROC_PROCESS", "1:2:3:4:5", 1);
    expect_start(MPROC_FORK, MPROC_E_INIT_MISSING, "itself started with MPROC_SPAWN");
    expect_start(MPROC_SPAWN, MPROC_E_INIT_MISSING, "itself started with MPROC_SPAWN");
}

static void a_process_cannot_be_spawned_by_hand(void **state)
{
    (void)state;
    static char name[] = "name", mark[] = "--mproc-process", end[] = "x";
    char *arguments[] = { name, mark, end, NULL }, **argv = arguments;
    int argc = 3, status;
    pid_t pid = fork();
    if (pid == 0) {
        mproc_init(&argc, &argv);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 127);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(without_init_fork_is_all_there_is),
    cmocka_unit_test(init_is_refused_beside_threads),
    cmocka_unit_test(a_spawned_program_that_does_not_call_init_is_told_of),
    cmocka_unit_test(one_that_was_spawned_starts_nothing_before_init),
    cmocka_unit_test(a_process_cannot_be_spawned_by_hand),
};

HARNESS_MAIN(tests)
