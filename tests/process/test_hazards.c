/* Processes in bad company: servers that are stopped, threads that fork, limits, grandchildren.
 * SPDX-License-Identifier: MIT
 */
#define METHOD method
#include "../conformance/process_shared.h"

#include "os/sanitizer.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

static const enum mproc_start_method methods[] = { MPROC_FORK, MPROC_FORKSERVER, MPROC_SPAWN };

enum { METHODS = 3 };

static int run_until_go(struct shared *shared)
{
    shared->pids[0] = getpid();
    mproc_event_set(&shared->there);
    return mproc_event_wait(&shared->go, MPROC_FOREVER);
}
MPROC_PROCESS(run_until_go);

static int do_nothing(const void *nothing)
{
    (void)nothing;
    return 0;
}
MPROC_PROCESS(do_nothing);

static pid_t server_of(pid_t process)
{
    char path[64];
    int parent = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d %*s %*c %d", &parent), 1);
    fclose(file);
    return parent;
}

static void wait_gone(pid_t pid)
{
    if (pid <= 0 || !harness_wait_gone(pid, HARNESS_PATIENCE))
        fail_msg("process %d is still there", (int)pid);
}

/* ---- the server */

static void a_stopped_server_is_not_waited_for_for_ever(void **state)
{
    (void)state;
    enum mproc_start_method method = MPROC_FORKSERVER;
    struct shared *shared = share();
    struct mproc_outcome outcome;
    mproc_process *process = NULL;
    START(&process, run_until_go, shared);
    assert_int_equal(mproc_event_wait(&shared->there, MPROC_FOREVER), 0);
    pid_t server = server_of(mproc_process_pid(process));
    kill(server, SIGSTOP);
    while (harness_process_state(server) != 'T')
        harness_sleep_ms(1);
    mproc_process_kill(process);
    while (mproc_process_join(process, MPROC_MS(10)) != 0) {
    }
    assert_false(mproc_process_is_alive(process));
    assert_int_equal(mproc_active_children(NULL, 0), 0);
    assert_int_equal(mproc_process_outcome(process, &outcome), -EAGAIN);
    kill(server, SIGCONT);
    while (mproc_process_outcome(process, &outcome) == -EAGAIN)
        harness_sleep_ms(1);
    assert_int_equal(outcome.signal, SIGKILL);
    assert_int_equal(mproc_process_close(process), 0);
    mproc_free(shared);
}

static void a_dead_server_can_be_replaced(void **state)
{
    (void)state;
    struct shared *shared = share();
    mproc_process *process = NULL;
    for (int i = 1; i < METHODS; i++) {
        enum mproc_start_method method = methods[i];
        mproc_event_clear(&shared->there);
        mproc_event_clear(&shared->go);
        START(&process, run_until_go, shared);
        assert_int_equal(mproc_event_wait(&shared->there, MPROC_FOREVER), 0);
        pid_t server = server_of(mproc_process_pid(process));
        mproc_event_set(&shared->go);
        finish_well(process);
        kill(server, SIGKILL);
        while (mproc_process_start(&process, do_nothing, NULL, .method = method) == 0)
            finish_well(process);
        assert_int_equal(mproc_init(NULL, NULL), 0);
        START(&process, do_nothing, NULL);
        finish_well(process);
    }
    mproc_free(shared);
}

/* More than the limit on descriptors that the program was begun with. */
static void more_processes_than_descriptors(void **state)
{
    (void)state;
    enum { MANY = 60 };
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    struct shared *shared = share();
    mproc_process *processes[MANY] = { NULL };
    for (int i = 0; i < MANY; i++) {
        enum mproc_start_method method = methods[1 + i % 10 / 9];
        START(&processes[i], run_until_go, shared);
    }
    mproc_event_set(&shared->go);
    pid_t server = server_of(mproc_process_pid(processes[0]));
    for (int i = 0; i < MANY; i++)
        finish_well(processes[i]);
    assert_true(harness_wait_children(server, 0, HARNESS_PATIENCE));
    mproc_free(shared);
}

static void the_limit_is_low(void **state)
{
    (void)state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 40;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    pid_t pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "again", "--run", "more_processes_than_descriptors", (char *)NULL);
        _exit(1);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
}

/* ---- threads that fork */

static volatile sig_atomic_t ended;

static void *fork_all_the_time(void *pids)
{
    for (int i = 0; i < 400 && !ended; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            sleep(1000);
            _exit(0);
        }
        ((pid_t *)pids)[i] = pid;
        usleep(200);
    }
    return NULL;
}

static _Noreturn void start_beside_forks(enum mproc_start_method method, struct shared *shared, pid_t *forked)
{
    enum { MANY = 20 };
    pthread_t thread;
    pthread_create(&thread, NULL, fork_all_the_time, forked);
    for (int i = 0; i < MANY; i++) {
        mproc_process *process = NULL;
        if (mproc_process_start(&process, run_until_go, shared, .method = method,
                                .fork_with_threads = method == MPROC_FORK) != 0)
            _exit(1);
        shared->numbers[i] = (int)mproc_process_pid(process);
    }
    ended = 1;
    pthread_join(thread, NULL);
    kill(getpid(), SIGKILL);
    _exit(2);
}

static void children_forked_beside_a_start_keep_nobody_alive(void **state)
{
    (void)state;
    for (int i = 0; i < METHODS; i++) {
        struct shared *shared = share();
        pid_t *forked = mproc_calloc(400, sizeof *forked);
        pid_t pid = fork();
        if (pid == 0)
            start_beside_forks(methods[i], shared, forked);
        int status;
        waitpid(pid, &status, 0);
        assert_int_equal(status, SIGKILL);
        for (int j = 0; j < 20; j++)
            wait_gone(shared->numbers[j]);
        for (int j = 0; j < 400; j++)
            if (forked[j] > 0)
                kill(forked[j], SIGKILL);
        mproc_free(forked);
        mproc_free(shared);
    }
}

/* ---- what a process's function may do */

static int fork_and_both_return(struct shared *shared)
{
    pid_t pid = fork();
    if (pid != 0)
        shared->pids[0] = pid;
    else
        while (!mproc_event_is_set(&shared->go))
            usleep(1000);
    return 3;
}
MPROC_PROCESS(fork_and_both_return);

static void a_grandchild_that_returns_changes_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < METHODS; i++) {
        enum mproc_start_method method = methods[i];
        struct shared *shared = share();
        mproc_process *process = NULL;
        START(&process, fork_and_both_return, shared);
        assert_int_equal(finish(process).code, 3);
        assert_int_not_equal(harness_process_state(shared->pids[0]), 0); /* its parent's end is not its own */
        mproc_event_set(&shared->go);
        wait_gone(shared->pids[0]);
        mproc_free(shared);
    }
    assert_int_equal(mproc_heap_check(), 0);
}

static int become_sleep(struct shared *shared)
{
    shared->pids[0] = getpid();
    mproc_event_set(&shared->there);
    execl("/bin/sleep", "sleep", "1000", (char *)NULL);
    return 1;
}
MPROC_PROCESS(become_sleep);

static void a_process_that_becomes_another_program_stays_tied(void **state)
{
    (void)state;
    for (int i = 0; i < METHODS; i++) {
        struct shared *shared = share();
        pid_t pid = fork();
        if (pid == 0) {
            mproc_process *process = NULL;
            if (mproc_process_start(&process, become_sleep, shared, .method = methods[i]) != 0)
                _exit(1);
            char path[64], name[32] = "";
            snprintf(path, sizeof path, "/proc/%d/comm", (int)mproc_process_pid(process));
            while (strcmp(name, "sleep\n") != 0) {
                FILE *file = fopen(path, "r");
                if (file && !fgets(name, sizeof name, file))
                    name[0] = '\0';
                if (file)
                    fclose(file);
            }
            kill(getpid(), SIGKILL);
        }
        int status;
        waitpid(pid, &status, 0);
        assert_int_equal(status, SIGKILL);
        wait_gone(shared->pids[0]);
        mproc_free(shared);
    }
}

/* As system("sleep 1000 &") does: executed, in the process group, and holding what is not close-on-exec. */
static int leave_one_behind(struct shared *shared)
{
    pid_t pid = vfork();
    if (pid == 0) {
        execl("/bin/sleep", "sleep", "1000", (char *)NULL);
        _exit(1);
    }
    shared->pids[0] = pid;
    return 0;
}
MPROC_PROCESS(leave_one_behind);

static void what_a_process_leaves_behind_is_left_alone(void **state)
{
    (void)state;
    for (int i = 0; i < METHODS; i++) {
        enum mproc_start_method method = methods[i];
        struct shared *shared = share();
        mproc_process *process = NULL;
        START(&process, leave_one_behind, shared);
        finish_well(process);
        /* It would be killed now, and seen to be gone. */
        for (int j = 0; j < 50 || harness_process_state(shared->pids[0]) != 'S'; j++) {
            assert_int_not_equal(harness_process_state(shared->pids[0]), 0);
            assert_int_not_equal(harness_process_state(shared->pids[0]), 'Z');
            harness_sleep_ms(1);
        }
        kill(shared->pids[0], SIGKILL);
        wait_gone(shared->pids[0]);
        mproc_free(shared);
    }
}

/* Its child leaves the process group when the process is asked to stop. */
static int have_a_child_that_leaves(struct shared *shared)
{
    pid_t pid = fork();
    if (pid == 0) {
        while (!mproc_event_is_set(&shared->go))
            usleep(500);
        setsid();
        mproc_event_clear(&shared->go);
        for (;;)
            pause();
    }
    shared->pids[0] = pid;
    mproc_event_set(&shared->there);
    mproc_stop_wait(MPROC_FOREVER);
    mproc_event_set(&shared->go);
    while (mproc_event_is_set(&shared->go))
        usleep(500);
    return 0;
}
MPROC_PROCESS(have_a_child_that_leaves);

static void a_descendant_that_leaves_the_group_is_stopped_too(void **state)
{
    (void)state;
    for (int i = 0; i < METHODS; i++) {
        enum mproc_start_method method = methods[i];
        struct shared *shared = share();
        mproc_process *process = NULL;
        START(&process, have_a_child_that_leaves, shared);
        assert_int_equal(mproc_event_wait(&shared->there, MPROC_FOREVER), 0);
        assert_int_equal(mproc_process_stop(process, MPROC_FOREVER, MPROC_FOREVER, MPROC_FOREVER), 0);
        finish_well(process);
        wait_gone(shared->pids[0]);
        mproc_free(shared);
    }
}

static void stopping_works_without_descriptors(void **state)
{
    (void)state;
    enum mproc_start_method method = MPROC_FORK;
    struct shared *shared = share();
    struct rlimit limit, before;
    mproc_process *process = NULL;
    START(&process, run_until_go, shared);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = (struct rlimit) { 3, before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(mproc_process_stop(process, 0, MPROC_FOREVER, MPROC_FOREVER), -EMFILE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(finish(process).signal, SIGTERM);
    mproc_free(shared);
}

/* ---- the caller's surroundings */

static void a_program_without_environment_can_be_spawned(void **state)
{
    (void)state;
    if (OS_ADDRESS_SANITIZER)
        harness_skip("a sanitizer has its options there");
    enum mproc_start_method method = MPROC_SPAWN;
    mproc_process *process = NULL;
    clearenv();
    START(&process, do_nothing, NULL);
    finish_well(process);
}

static void a_small_limit_on_files_is_an_error_and_no_signal(void **state)
{
    (void)state;
    struct rlimit before, limit;
    mproc_process *process = NULL;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit) { 16, before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int err = mproc_process_start(&process, do_nothing, NULL, .method = MPROC_SPAWN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(err, -EFBIG);
}

static int tell_surroundings(struct shared *shared)
{
    cpu_set_t cpus;
    struct rlimit limit;
    EXPECT(sched_getaffinity(0, sizeof cpus, &cpus) == 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0);
    shared->numbers[0] = CPU_COUNT(&cpus);
    shared->numbers[1] = getpriority(PRIO_PROCESS, 0);
    shared->numbers[2] = (int)limit.rlim_cur;
    return 0;
}
MPROC_PROCESS(tell_surroundings);

static void priority_and_cpus_are_the_callers_of_now(void **state)
{
    (void)state;
    struct shared *shared = share();
    cpu_set_t one;
    struct rlimit limit;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    int nice_now = getpriority(PRIO_PROCESS, 0) + 2;
    nice_now = nice_now > 18 ? 18 : nice_now;
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(setpriority(PRIO_PROCESS, 0, nice_now), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 777;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (int i = 0; i < METHODS; i++) {
        enum mproc_start_method method = methods[i];
        mproc_process *process = NULL;
        START(&process, tell_surroundings, shared, .nice = 1);
        finish_well(process);
        assert_int_equal(shared->numbers[0], 1);
        assert_int_equal(shared->numbers[1], nice_now + 1);
        assert_int_equal(shared->numbers[2], 777);
    }
    mproc_free(shared);
}

static int write_to_file(const char *path)
{
    FILE *file = fopen(path, "w");
    EXPECT(file);
    fputs("the process's", file);
    return 0; /* flushed at the end */
}
MPROC_PROCESS(write_to_file);

static void what_the_caller_had_not_written_does_not_get_into_others_files(void **state)
{
    (void)state;
    for (int i = 0; i < METHODS; i++) {
        enum mproc_start_method method = methods[i];
        char path[] = "/tmp/mproc-hazard-XXXXXX", log_path[] = "/tmp/mproc-hazard-XXXXXX", text[64] = "";
        close(mkstemp(log_path));
        close(mkstemp(path));
        FILE *log = fopen(log_path, "w");
        fputs("the caller's", log);
        mproc_process *process = NULL;
        START(&process, write_to_file, path);
        finish_well(process);
        fclose(log);
        FILE *file = fopen(path, "r");
        assert_non_null(fgets(text, sizeof text, file));
        assert_string_equal(text, "the process's");
        fclose(file);
        file = fopen(log_path, "r");
        assert_non_null(fgets(text, sizeof text, file));
        assert_string_equal(text, "the caller's");
        fclose(file);
        unlink(path);
        unlink(log_path);
    }
}

static struct shared *at_exit_shared;

static void start_at_exit(void)
{
    mproc_process *process = NULL;
    if (mproc_process_start(&process, run_until_go, at_exit_shared) == 0)
        mproc_event_set(&at_exit_shared->go);
}

static void a_process_started_by_an_exit_handler_is_waited_for(void **state)
{
    (void)state;
    at_exit_shared = share();
    pid_t pid = fork();
    if (pid == 0) {
        mproc_process *process = NULL;
        atexit(start_at_exit);
        if (mproc_process_start(&process, do_nothing, NULL) != 0)
            _exit(1);
        exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(mproc_event_is_set(&at_exit_shared->there), 1);
    assert_int_equal(harness_process_state(at_exit_shared->pids[0]), 0);
    mproc_free(at_exit_shared);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_stopped_server_is_not_waited_for_for_ever),
    cmocka_unit_test(a_dead_server_can_be_replaced),
    cmocka_unit_test(more_processes_than_descriptors),
    cmocka_unit_test(the_limit_is_low),
    cmocka_unit_test(children_forked_beside_a_start_keep_nobody_alive),
    cmocka_unit_test(a_grandchild_that_returns_changes_nothing),
    cmocka_unit_test(a_process_that_becomes_another_program_stays_tied),
    cmocka_unit_test(what_a_process_leaves_behind_is_left_alone),
    cmocka_unit_test(a_descendant_that_leaves_the_group_is_stopped_too),
    cmocka_unit_test(stopping_works_without_descriptors),
    cmocka_unit_test(a_program_without_environment_can_be_spawned),
    cmocka_unit_test(a_small_limit_on_files_is_an_error_and_no_signal),
    cmocka_unit_test(priority_and_cpus_are_the_callers_of_now),
    cmocka_unit_test(what_the_caller_had_not_written_does_not_get_into_others_files),
    cmocka_unit_test(a_process_started_by_an_exit_handler_is_waited_for),
};

HARNESS_MAIN_WITH_INIT(tests)
