/* Starts that cannot be, and what is refused. SPDX-License-Identifier: MIT */
#define METHOD method
#include "../conformance/process_shared.h"

#include "os/sanitizer.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>

static const enum mproc_start_method methods[] = { MPROC_FORK, MPROC_FORKSERVER, MPROC_SPAWN };

enum { METHODS = 3 };

static int wait_for_go(struct shared *shared)
{
    return mproc_event_wait(&shared->go, MPROC_FOREVER);
}
MPROC_PROCESS(wait_for_go, struct shared);

static int do_nothing(const void *nothing)
{
    (void)nothing;
    return 0;
}
MPROC_PROCESS(do_nothing);

static int a_task(const int *in, int *out)
{
    *out = *in;
    return 0;
}
MPROC_TASK(a_task);

static int nobody_registered(const int *number)
{
    return *number;
}

static void expect_error(int err, int code, const struct mproc_error *error, const char *word)
{
    if (err != code || error->code != code || !strstr(error->message, word))
        fail_msg("%d (%s) in place of %d with '%s'", err, error->message, code, word);
}

static void starting_twice_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < METHODS; i++) {
        enum mproc_start_method method = methods[i];
        struct shared *shared = share();
        struct mproc_error error;
        mproc_process *process = NULL, *before;
        START(&process, wait_for_go, shared);
        before = process;
        expect_error(mproc_process_start(&process, wait_for_go, shared, .method = method, .error = &error),
                     MPROC_E_ALREADY_STARTED, &error, "another variable");
        assert_ptr_equal(process, before);
        mproc_event_set(&shared->go);
        finish_well(process);
        START(&process, wait_for_go, shared); /* a handle that was closed is no obstacle */
        assert_ptr_not_equal(process, before);
        finish_well(process);
        mproc_free(shared);
    }
}

static void wrong_arguments_are_named(void **state)
{
    (void)state;
    mproc_process *process = NULL;
    struct mproc_error error;
    int number = 1;
    void *untyped = &number;
    struct mproc_process_start_arguments arguments = { .size = 0 };
    assert_int_equal(mproc_process_start_with(NULL), -EINVAL);
    assert_int_equal(mproc_process_start_with(&arguments), MPROC_E_STRUCT_SIZE);
    arguments.size = sizeof arguments + 8;
    assert_int_equal(mproc_process_start_with(&arguments), MPROC_E_STRUCT_SIZE);
    expect_error(mproc_process_start(NULL, do_nothing, NULL, .error = &error), -EINVAL, &error, "handle is NULL");
    expect_error(mproc_process_start(&process, do_nothing, NULL, .method = (enum mproc_start_method)3, .error = &error),
                 -EINVAL, &error, "MPROC_FORKSERVER");
    expect_error(mproc_process_start(&process, nobody_registered, &number, .error = &error), MPROC_E_UNREGISTERED,
                 &error, "MPROC_PROCESS(nobody_registered)");
    expect_error(mproc_process_start(&process, do_nothing, untyped, .error = &error), MPROC_E_TYPE_UNKNOWN, &error,
                 ".argument_size");
    arguments = (struct mproc_process_start_arguments) {
        .size = sizeof arguments, .process = &process, .function = (mproc_function *)a_task, .error = &error
    };
    expect_error(mproc_process_start_with(&arguments), MPROC_E_UNREGISTERED, &error, "'a_task' is a task");
    arguments.function = NULL;
    expect_error(mproc_process_start_with(&arguments), -EINVAL, &error, "function_name");
    arguments.function_name = "wait_for_go";
    arguments.argument = &number;
    arguments.argument_size = sizeof number;
    expect_error(mproc_process_start_with(&arguments), MPROC_E_TYPE_MISMATCH, &error, "is given 4 bytes");
    assert_null(process);
}

static void a_process_function_is_no_task(void **state)
{
    (void)state;
    struct mproc_error error;
    int in[1] = { 0 }, out[1];
    const struct mproc_map_arguments arguments = {
        .size = sizeof arguments,
        .name = "wait_for_go",
        .input = in,
        .input_size = sizeof in[0],
        .output = out,
        .output_size = sizeof out[0],
        .n = 1,
        .error = &error,
    };
    mproc_pool *pool;
    assert_int_equal(mproc_pool_open(&pool, .backend = MPROC_SERIAL), 0);
    expect_error(mproc_map_with(pool, &arguments), MPROC_E_UNREGISTERED, &error, "MPROC_PROCESS");
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void handles_that_are_no_good_are_recognised(void **state)
{
    (void)state;
    struct mproc_outcome outcome;
    mproc_process *process = NULL, *none = NULL;
    assert_int_equal(mproc_process_start(&process, do_nothing, NULL), 0);
    finish_well(process);
    mproc_process *wrong[] = { process, (mproc_process *)&outcome, (mproc_process *)(uintptr_t)0x12345 };
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mproc_process_join(wrong[i], 0), MPROC_E_CLOSED);
        assert_int_equal(mproc_process_outcome(wrong[i], &outcome), MPROC_E_CLOSED);
        assert_int_equal(mproc_process_kill(wrong[i]), MPROC_E_CLOSED);
        assert_int_equal(mproc_process_stop(wrong[i], 1, 1, 1), MPROC_E_CLOSED);
        assert_int_equal(mproc_process_fd(wrong[i]), MPROC_E_CLOSED);
        assert_int_equal(mproc_process_close(wrong[i]), MPROC_E_CLOSED);
        assert_int_equal(mproc_process_pid(wrong[i]), 0);
        assert_string_equal(mproc_process_name(wrong[i]), "");
        assert_false(mproc_process_is_alive(wrong[i]));
    }
    assert_int_equal(mproc_process_join(none, 0), -EINVAL);
    assert_int_equal(mproc_process_outcome(none, &outcome), -EINVAL);
    assert_int_equal(mproc_process_terminate(none), -EINVAL);
    assert_int_equal(mproc_process_stop(none, 1, 1, 1), -EINVAL);
    assert_int_equal(mproc_process_fd(none), -EINVAL);
    assert_int_equal(mproc_process_close(none), 0);
    assert_false(mproc_process_is_alive(none));
    assert_int_equal(mproc_active_children(NULL, 1), -EINVAL);
    assert_int_equal(mproc_active_children(NULL, -1), -EINVAL);
}

static void a_forked_child_cannot_use_its_parents_handles(void **state)
{
    (void)state;
    struct shared *shared = share();
    for (int i = 0; i < METHODS; i++) {
        enum mproc_start_method method = methods[i];
        mproc_process *process = NULL;
        START(&process, wait_for_go, shared);
        pid_t pid = fork();
        if (pid == 0) {
            struct mproc_outcome outcome;
            bool right = mproc_process_join(process, 0) == MPROC_E_FORKED &&
                         mproc_process_close(process) == MPROC_E_FORKED &&
                         mproc_process_kill(process) == MPROC_E_FORKED &&
                         mproc_process_stop(process, 1, 1, 1) == MPROC_E_FORKED &&
                         mproc_process_outcome(process, &outcome) == MPROC_E_FORKED &&
                         mproc_process_fd(process) == MPROC_E_FORKED && mproc_active_children(NULL, 0) == 0;
            process = NULL;
            right = right && mproc_process_start(&process, do_nothing, NULL, .method = method) == 0 &&
                    mproc_process_join(process, MPROC_FOREVER) == 0 && mproc_process_close(process) == 0;
            exit(right ? 0 : 1);
        }
        int status;
        waitpid(pid, &status, 0);
        assert_int_equal(status, 0);
        assert_true(mproc_process_is_alive(process));
        mproc_event_set(&shared->go);
        finish_well(process);
        mproc_event_clear(&shared->go);
    }
    mproc_free(shared);
}

static void what_the_new_process_does_not_have_is_told(void **state)
{
    (void)state;
    void *plugin = dlopen(PLUGIN, RTLD_NOW);
    assert_non_null(plugin);
    for (int i = 0; i < METHODS; i++) {
        mproc_process *process = NULL;
        struct mproc_error error;
        const struct mproc_process_start_arguments arguments = { .size = sizeof arguments,
                                                                 .process = &process,
                                                                 .function_name = "process_of_plugin",
                                                                 .method = methods[i],
                                                                 .error = &error };
        int err = mproc_process_start_with(&arguments);
        if (methods[i] == MPROC_FORK) {
            assert_int_equal(err, 0);
            finish_well(process);
        } else {
            expect_error(err, MPROC_E_FUNCTION_MISSING, &error, "'process_of_plugin'");
        }
    }
    assert_int_equal(mproc_active_children(NULL, 0), 0);
    dlclose(plugin);
}

static void a_program_that_cannot_be_executed_is_an_error(void **state)
{
    (void)state;
    size_t size = (size_t)1 << 20;
    char *too_long = malloc(size);
    memset(too_long, 'x', size - 1);
    too_long[size - 1] = '\0';
    const char *const environment[] = { too_long, NULL };
    mproc_process *process = NULL;
    struct mproc_error error;
    for (int i = 0; i < 10; i++)
        expect_error(mproc_process_start(&process, do_nothing, NULL, .method = MPROC_SPAWN, .environment = environment,
                                         .error = &error),
                     -E2BIG, &error, "execute the program");
    free(too_long);
    enum mproc_start_method method = MPROC_SPAWN;
    START(&process, do_nothing, NULL);
    finish_well(process);
}

static void a_program_that_ends_before_it_is_ready_is_an_error(void **state)
{
    (void)state;
    if (OS_ADDRESS_SANITIZER)
        harness_skip("a sanitizer needs more memory to begin with");
    mproc_process *process = NULL;
    struct mproc_error error;
    /* Too little to load a program; the kernel kills it. */
    expect_error(
        mproc_process_start(&process, do_nothing, NULL, .method = MPROC_SPAWN, .memory_limit = 4096, .error = &error),
        MPROC_E_NOT_STARTED, &error, "'do_nothing'");
    assert_null(process);
}

static void no_more_processes_is_an_error(void **state)
{
    (void)state;
    if (getuid() != 0)
        harness_skip("needs a user of its own");
    struct rlimit before_limit, limit;
    mproc_process *process = NULL;
    struct mproc_error error;
    int before = harness_count_descriptors();
    /* The user has this process and is allowed one. */
    assert_int_equal(setuid(65531), 0);
    assert_int_equal(getrlimit(RLIMIT_NPROC, &before_limit), 0);
    limit = (struct rlimit) { .rlim_cur = 1, .rlim_max = before_limit.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NPROC, &limit), 0);
    expect_error(mproc_process_start(&process, do_nothing, NULL, .error = &error), -EAGAIN, &error, "cannot fork");
    assert_int_equal(harness_count_descriptors(), before);
    assert_int_equal(setrlimit(RLIMIT_NPROC, &before_limit), 0);
    for (int i = 1; i < METHODS; i++)
        expect_error(mproc_process_start(&process, do_nothing, NULL, .method = methods[i], .error = &error), -EPERM,
                     &error, "another user id");
    assert_int_equal(harness_count_descriptors(), before);
}

static void *wait_in_thread(void *shared)
{
    wait_for_go(shared);
    return NULL;
}

static void a_threaded_process_is_not_forked_unless_it_is_asked_for(void **state)
{
    (void)state;
    struct shared *shared = share();
    mproc_process *process = NULL;
    struct mproc_error error;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wait_in_thread, shared), 0);
    expect_error(mproc_process_start(&process, do_nothing, NULL, .error = &error), MPROC_E_THREADED_FORK, &error,
                 ".method = MPROC_FORKSERVER");
    assert_int_equal(mproc_process_start(&process, do_nothing, NULL, .fork_with_threads = true), 0);
    finish_well(process);
    for (int i = 1; i < METHODS; i++) {
        enum mproc_start_method method = methods[i];
        START(&process, do_nothing, NULL);
        finish_well(process);
    }
    mproc_event_set(&shared->go);
    pthread_join(thread, NULL);
    assert_int_equal(mproc_process_start(&process, do_nothing, NULL), 0);
    finish_well(process);
    mproc_free(shared);
}

/* ---- hooks */

struct hooked {
    char steps[32];
    char letter;
};

static void note(struct hooked *hooked, char step)
{
    size_t length = strlen(hooked->steps);
    hooked->steps[length] = hooked->letter;
    hooked->steps[length + 1] = step;
}

static void note_before(void *hooked)
{
    note(hooked, '<');
}

static void note_parent(void *hooked)
{
    note(hooked, 'p');
}

static void note_child(void *hooked)
{
    note(hooked, 'c');
}

static struct hooked first = { "", 'a' }, second = { "", 'b' };

static int compare_hooks(struct shared *shared)
{
    snprintf(shared->text, sizeof shared->text, "%s %s", first.steps, second.steps);
    return 0;
}
MPROC_PROCESS(compare_hooks);

static void hooks_are_called_around_forks(void **state)
{
    (void)state;
    struct shared *shared = share();
    const struct mproc_fork_hooks hooks[2] = { { note_before, note_parent, note_child, &first },
                                               { note_before, note_parent, note_child, &second } };
    mproc_process *process = NULL;
    assert_int_equal(mproc_fork_hooks_add(NULL), -EINVAL);
    assert_int_equal(mproc_fork_hooks_remove(&hooks[0]), -EINVAL);
    assert_int_equal(mproc_fork_hooks_add(&hooks[0]), 0);
    assert_int_equal(mproc_fork_hooks_add(&hooks[1]), 0);
    assert_int_equal(mproc_process_start(&process, compare_hooks, shared), 0);
    finish_well(process);
    assert_string_equal(shared->text, "a<ac b<bc");
    assert_string_equal(first.steps, "a<ap");
    assert_int_equal(mproc_fork_hooks_remove(&hooks[0]), 0);
    assert_int_equal(mproc_process_start(&process, compare_hooks, shared), 0);
    finish_well(process);
    assert_string_equal(shared->text, "a<ap b<bpb<bc");
    assert_int_equal(mproc_fork_hooks_remove(&hooks[1]), 0);
    for (int i = 0; i < 64; i++)
        assert_int_equal(mproc_fork_hooks_add(&(struct mproc_fork_hooks) { 0 }), 0);
    assert_int_equal(mproc_fork_hooks_add(&hooks[0]), -ENOMEM);
    mproc_free(shared);
}

/* ---- many */

static void places_for_handles_are_used_again(void **state)
{
    (void)state;
    int descriptors = harness_count_descriptors();
    for (int i = 0; i < 300; i++) {
        mproc_process *process = NULL;
        assert_int_equal(mproc_process_start(&process, do_nothing, NULL, .method = methods[i % METHODS]), 0);
        finish_well(process);
    }
    assert_int_equal(harness_count_descriptors(), descriptors);
}

static void an_init_more_does_nothing(void **state)
{
    (void)state;
    int descriptors = harness_count_descriptors();
    assert_int_equal(mproc_init(NULL, NULL), 0);
    assert_int_equal(harness_count_descriptors(), descriptors);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(starting_twice_is_refused),
    cmocka_unit_test(wrong_arguments_are_named),
    cmocka_unit_test(a_process_function_is_no_task),
    cmocka_unit_test(handles_that_are_no_good_are_recognised),
    cmocka_unit_test(a_forked_child_cannot_use_its_parents_handles),
    cmocka_unit_test(what_the_new_process_does_not_have_is_told),
    cmocka_unit_test(a_program_that_cannot_be_executed_is_an_error),
    cmocka_unit_test(a_program_that_ends_before_it_is_ready_is_an_error),
    cmocka_unit_test(no_more_processes_is_an_error),
    cmocka_unit_test(a_threaded_process_is_not_forked_unless_it_is_asked_for),
    cmocka_unit_test(hooks_are_called_around_forks),
    cmocka_unit_test(places_for_handles_are_used_again),
    cmocka_unit_test(an_init_more_does_nothing),
};

HARNESS_MAIN_WITH_INIT(tests)
