/* How processes are ended, by others and with others. SPDX-License-Identifier: MIT */
#define METHOD method
#include "../conformance/process_shared.h"

#include <errno.h>
#include <pthread.h>

static const enum mproc_start_method methods[] = { MPROC_FORK, MPROC_FORKSERVER, MPROC_SPAWN };

enum { METHODS = 3, GONE_MS = 20000 };

static void expect_gone(pid_t pid)
{
    assert_true(pid > 0);
    if (!harness_wait_gone(pid, GONE_MS))
        fail_msg("process %d is still there", (int)pid);
}

/* ---- stop */

static int stop_when_asked(struct shared *shared)
{
    EXPECT(!mproc_stop_requested());
    EXPECT(mproc_stop_wait(0) == -ETIMEDOUT && mproc_stop_wait(MPROC_MS(5)) == -ETIMEDOUT);
    mproc_event_set(&shared->there);
    EXPECT(mproc_stop_wait(MPROC_FOREVER) == 0);
    EXPECT(mproc_stop_requested() && mproc_stop_wait(0) == 0);
    return 11;
}
MPROC_PROCESS(stop_when_asked);

static void a_process_that_is_asked_can_end_by_itself(void **state)
{
    (void)state;
    assert_false(mproc_stop_requested());
    assert_int_equal(mproc_stop_wait(0), -ECHILD);
    for (int i = 0; i < METHODS; i++) {
        enum mproc_start_method method = methods[i];
        struct shared *shared = share();
        mproc_process *process = NULL;
        START(&process, stop_when_asked, shared);
        assert_int_equal(mproc_event_wait(&shared->there, MPROC_FOREVER), 0);
        assert_int_equal(mproc_process_stop(process, 0, 0, 0), -ETIMEDOUT); /* does nothing */
        assert_int_equal(mproc_process_stop(process, MPROC_FOREVER, MPROC_FOREVER, MPROC_FOREVER), 0);
        assert_int_equal(mproc_process_stop(process, MPROC_FOREVER, MPROC_FOREVER, MPROC_FOREVER), 0);
        assert_int_equal(finish(process).code, 11);
        mproc_free(shared);
    }
}

static void sleep_for_ever(void)
{
    for (;;)
        pause();
}

/* Forks one that stays in the process group, one that leaves it, and one that has lost its parent; `stubborn`: they
 * ignore SIGTERM, and so does the process itself. */
static int have_descendants(struct shared *shared)
{
    if (shared->numbers[0])
        signal(SIGTERM, SIG_IGN);
    for (int i = 0; i < 3; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            if (i == 1)
                setsid();
            if (i == 2 && (pid = fork()) != 0) {
                shared->pids[2] = pid;
                _exit(0);
            }
            mproc_semaphore_release(NULL); /* the library is there in them too: an error, no crash */
            __atomic_fetch_add(&shared->count, 1, __ATOMIC_SEQ_CST);
            sleep_for_ever();
        }
        if (i < 2)
            shared->pids[i] = pid;
        else
            waitpid(pid, NULL, 0);
    }
    while (__atomic_load_n(&shared->count, __ATOMIC_SEQ_CST) < 3)
        usleep(100);
    mproc_event_set(&shared->there);
    if (shared->numbers[1])
        return 0;
    sleep_for_ever();
    return 0;
}
MPROC_PROCESS(have_descendants);

static void stopping_reaches_all_that_a_process_has_forked(void **state)
{
    (void)state;
    for (int i = 0; i < METHODS * 3; i++) {
        enum mproc_start_method method = methods[i % METHODS];
        struct shared *shared = share();
        mproc_process *process = NULL;
        bool stubborn = i / METHODS == 1, ended = i / METHODS == 2;
        shared->numbers[0] = stubborn;
        shared->numbers[1] = ended;
        START(&process, have_descendants, shared);
        assert_int_equal(mproc_event_wait(&shared->there, MPROC_FOREVER), 0);
        while (ended && mproc_process_fd(process) > 0 && harness_process_state(mproc_process_pid(process)) != 'Z')
            harness_sleep_ms(1);
        if (stubborn) {
            assert_int_equal(mproc_process_stop(process, MPROC_MS(5), MPROC_MS(20), 0), -ETIMEDOUT);
            assert_true(mproc_process_is_alive(process));
        }
        assert_int_equal(mproc_process_stop(process, 0, stubborn ? MPROC_MS(20) : MPROC_SEC(30), MPROC_FOREVER), 0);
        struct mproc_outcome outcome = finish(process);
        if (!ended) {
            assert_int_equal(outcome.kind, MPROC_CRASHED);
            assert_int_equal(outcome.signal, stubborn ? SIGKILL : SIGTERM);
        }
        expect_gone(shared->pids[0]);
        expect_gone(shared->pids[2]);
        /* What has lost its parent and left the group cannot be found. */
        if (ended)
            kill(shared->pids[1], SIGKILL);
        expect_gone(shared->pids[1]);
        mproc_free(shared);
    }
}

/* ---- with the parent */

struct family {
    struct shared *shared;
    enum mproc_start_method method;
    bool daemon, through_exit;
};

static int run_system(struct shared *shared)
{
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sleep", "sleep", "1000", (char *)NULL);
        _exit(1);
    }
    shared->pids[1] = pid;
    shared->pids[0] = getpid();
    mproc_event_set(&shared->there);
    mproc_event_wait(&shared->go, MPROC_FOREVER);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    shared->numbers[5] = 5;
    return 0;
}
MPROC_PROCESS(run_system);

static int have_child(const struct family *family)
{
    enum mproc_start_method method = family->method;
    struct shared *shared = family->shared;
    mproc_process *process = NULL;
    struct mproc_error error;
    if (mproc_process_start(&process, run_system, shared, .method = method, .daemon = family->daemon, .error = &error))
        return mproc_task_fail(1, "%s", error.message);
    mproc_event_wait(&shared->there, MPROC_FOREVER);
    if (shared->numbers[0])
        sleep_for_ever();
    if (family->through_exit)
        exit(0);
    return 0;
}
MPROC_PROCESS(have_child);

static void processes_are_killed_when_their_parent_is(void **state)
{
    (void)state;
    for (int i = 0; i < METHODS * METHODS * 2; i++) {
        enum mproc_start_method method = methods[i % METHODS];
        struct family family = { share(), methods[i / METHODS % METHODS], i >= METHODS * METHODS, false };
        family.shared->numbers[0] = 1;
        mproc_process *process = NULL;
        START(&process, have_child, &family);
        assert_int_equal(mproc_event_wait(&family.shared->there, MPROC_FOREVER), 0);
        mproc_process_kill(process);
        assert_int_equal(finish(process).signal, SIGKILL);
        expect_gone(family.shared->pids[0]);
        expect_gone(family.shared->pids[1]);
        mproc_free(family.shared);
    }
}

static void a_process_waits_for_its_own_at_its_end(void **state)
{
    (void)state;
    for (int i = 0; i < METHODS * METHODS * 2; i++) {
        enum mproc_start_method method = methods[i % METHODS];
        struct family family = { share(), methods[i / METHODS % METHODS], false, i >= METHODS * METHODS };
        mproc_process *process = NULL;
        START(&process, have_child, &family);
        assert_int_equal(mproc_event_wait(&family.shared->there, MPROC_FOREVER), 0);
        assert_int_equal(mproc_process_join(process, MPROC_MS(20)), -ETIMEDOUT);
        mproc_event_set(&family.shared->go);
        finish_well(process);
        assert_int_equal(family.shared->numbers[5], 5);
        mproc_free(family.shared);
    }
}

static void daemons_are_terminated_at_the_end(void **state)
{
    (void)state;
    for (int i = 0; i < METHODS * METHODS * 2; i++) {
        enum mproc_start_method method = methods[i % METHODS];
        struct family family = { share(), methods[i / METHODS % METHODS], true, i >= METHODS * METHODS };
        mproc_process *process = NULL;
        START(&process, have_child, &family);
        finish_well(process);
        expect_gone(family.shared->pids[0]);
        assert_int_equal(family.shared->numbers[5], 0);
        kill(family.shared->pids[1], SIGKILL); /* not mproc's, and SIGTERM is for the process itself */
        expect_gone(family.shared->pids[1]);
        mproc_free(family.shared);
    }
}

static int ignore_terminate(struct shared *shared)
{
    signal(SIGTERM, SIG_IGN);
    shared->pids[0] = getpid();
    mproc_event_set(&shared->there);
    sleep_for_ever();
    return 0;
}
MPROC_PROCESS(ignore_terminate);

/* The test's process itself: it ends by exit, and the harness looks at what is left. */
static void nothing_is_left_of_this_program(void **state)
{
    (void)state;
    for (int i = 0; i < METHODS; i++) {
        enum mproc_start_method method = methods[i];
        pid_t pid = fork();
        if (pid == 0) {
            struct shared *shared = share();
            mproc_process *process = NULL;
            if (mproc_process_start(&process, ignore_terminate, shared, .method = method, .daemon = true) != 0)
                _exit(1);
            mproc_event_wait(&shared->there, MPROC_FOREVER);
            pid = shared->pids[0];
            mproc_free(shared);
            exit(pid > 0 ? 0 : 2);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
}

/* A thread that starts a process and ends, in a program that goes on: the process goes on too. */
struct in_thread {
    enum mproc_start_method method;
    struct shared *shared;
    mproc_process *process;
    int err;
};

static int run_until_go(struct shared *shared)
{
    mproc_event_set(&shared->there);
    return mproc_event_wait(&shared->go, MPROC_FOREVER);
}
MPROC_PROCESS(run_until_go);

static void *start_and_end(void *argument)
{
    struct in_thread *in_thread = argument;
    in_thread->err =
        mproc_process_start(&in_thread->process, run_until_go, in_thread->shared, .method = in_thread->method,
                            .fork_with_threads = in_thread->method == MPROC_FORK);
    return NULL;
}

static void a_process_outlives_the_thread_that_started_it(void **state)
{
    (void)state;
    for (int i = 0; i < METHODS; i++) {
        struct in_thread in_thread = { methods[i], share(), NULL, 0 };
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, start_and_end, &in_thread), 0);
        pthread_join(thread, NULL);
        assert_int_equal(in_thread.err, 0);
        assert_int_equal(mproc_event_wait(&in_thread.shared->there, MPROC_FOREVER), 0);
        assert_int_equal(mproc_process_join(in_thread.process, MPROC_MS(50)), -ETIMEDOUT);
        mproc_event_set(&in_thread.shared->go);
        finish_well(in_thread.process);
        mproc_free(in_thread.shared);
    }
}

static void one_that_the_program_forked_does_not_keep_others_alive(void **state)
{
    (void)state;
    for (int i = 0; i < METHODS; i++) {
        enum mproc_start_method method = methods[i];
        struct shared *shared = share();
        pid_t pid = fork();
        if (pid == 0) {
            mproc_process *process = NULL;
            if (mproc_process_start(&process, ignore_terminate, shared, .method = method) != 0)
                _exit(1);
            if ((pid = fork()) == 0)
                sleep_for_ever();
            shared->pids[1] = pid;
            mproc_event_wait(&shared->there, MPROC_FOREVER);
            kill(getpid(), SIGKILL);
        }
        waitpid(pid, NULL, 0);
        expect_gone(shared->pids[0]);
        assert_int_equal(harness_process_state(shared->pids[1]) == 0, 0);
        kill(shared->pids[1], SIGKILL);
        expect_gone(shared->pids[1]);
        mproc_free(shared);
    }
}

/* ---- the server */

static bool is_server(pid_t pid)
{
    char path[64], name[32] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    bool is_one = fgets(name, sizeof name, file) && strcmp(name, "mproc:server\n") == 0;
    fclose(file);
    return is_one;
}

/* It gets its name when it first runs. */
static pid_t find_server(void)
{
    for (int attempt = 0; attempt < GONE_MS; attempt++) {
        int children[16], count = harness_children(getpid(), children, 16);
        for (int i = 0; i < count; i++)
            if (is_server(children[i]))
                return children[i];
        harness_sleep_ms(1);
    }
    return 0;
}

static void without_the_server_processes_go_on(void **state)
{
    (void)state;
    struct shared *shared[4] = { share(), share(), share(), share() };
    mproc_process *processes[4] = { NULL }, *another = NULL;
    for (int i = 0; i < 4; i++) {
        enum mproc_start_method method = methods[1 + i % 2];
        START(&processes[i], run_until_go, shared[i]);
        assert_int_equal(mproc_event_wait(&shared[i]->there, MPROC_FOREVER), 0);
    }
    pid_t server = find_server();
    assert_true(server > 0);
    kill(server, SIGKILL);
    expect_gone(server);
    struct mproc_error error;
    assert_int_equal(mproc_process_start(&another, run_until_go, NULL, .method = MPROC_FORKSERVER, .error = &error),
                     MPROC_E_FORKSERVER_DIED);
    assert_non_null(strstr(error.message, "mproc_init"));
    assert_int_equal(mproc_process_start(&another, run_until_go, NULL, .method = MPROC_SPAWN, .error = &error),
                     MPROC_E_FORKSERVER_DIED);
    for (int i = 0; i < 4; i++) {
        assert_true(mproc_process_is_alive(processes[i]));
        if (i < 2)
            mproc_event_set(&shared[i]->go);
        else
            mproc_process_kill(processes[i]);
        struct mproc_outcome outcome = finish(processes[i]);
        /* What it returned it said itself; how it was killed only its parent could have told. */
        assert_int_equal(outcome.kind, i < 2 ? MPROC_OK : MPROC_LOST);
        mproc_free(shared[i]);
    }
}

/* A program that is killed has no time to end it. The harness looks for what is left. */
static void the_server_ends_with_the_program(void **state)
{
    (void)state;
    for (int killed = 0; killed < 2; killed++) {
        pid_t pid = fork();
        if (pid == 0) {
            if (killed)
                setenv("KILL_ME", "1", 1);
            execl("/proc/self/exe", "again", "--run", "a_program_with_a_server", (char *)NULL);
            _exit(1);
        }
        int status;
        waitpid(pid, &status, 0);
        assert_int_equal(status, killed ? SIGKILL : 0);
    }
}

static void a_program_with_a_server(void **state)
{
    (void)state;
    assert_true(find_server() > 0);
    if (getenv("KILL_ME"))
        kill(getpid(), SIGKILL);
}

/* ---- statuses that others took */

static void a_status_that_the_program_took_is_known_or_lost(void **state)
{
    (void)state;
    struct shared *shared = share();
    mproc_process *process = NULL;
    int status;
    assert_int_equal(mproc_process_start(&process, run_until_go, shared), 0);
    mproc_event_set(&shared->go);
    pid_t pid = mproc_process_pid(process);
    assert_int_equal(waitpid(pid, &status, __WALL), pid);
    assert_int_equal(finish(process).kind, MPROC_OK);
    process = NULL;
    mproc_event_clear(&shared->go);
    assert_int_equal(mproc_process_start(&process, run_until_go, shared), 0);
    mproc_process_kill(process);
    pid = mproc_process_pid(process);
    assert_int_equal(waitpid(pid, &status, __WALL), pid);
    assert_int_equal(mproc_process_kill(process), 0);
    assert_int_equal(finish(process).kind, MPROC_LOST);
    mproc_free(shared);
}

static void do_nothing(int signal)
{
    (void)signal;
}

static void a_join_that_a_signal_interrupts_says_so(void **state)
{
    (void)state;
    struct shared *shared = share();
    mproc_process *process = NULL;
    struct sigaction action = { .sa_handler = do_nothing };
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    assert_int_equal(mproc_process_start(&process, run_until_go, shared), 0);
    pid_t pid = fork();
    if (pid == 0)
        for (;;) {
            usleep(1000);
            if (kill(getppid(), SIGUSR1) != 0 || __atomic_load_n(&shared->count, __ATOMIC_SEQ_CST))
                _exit(0);
        }
    assert_int_equal(mproc_process_join(process, MPROC_FOREVER), -EINTR);
    __atomic_store_n(&shared->count, 1, __ATOMIC_SEQ_CST);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
    mproc_event_set(&shared->go);
    finish_well(process);
    mproc_free(shared);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_process_that_is_asked_can_end_by_itself),
    cmocka_unit_test(stopping_reaches_all_that_a_process_has_forked),
    cmocka_unit_test(processes_are_killed_when_their_parent_is),
    cmocka_unit_test(a_process_waits_for_its_own_at_its_end),
    cmocka_unit_test(daemons_are_terminated_at_the_end),
    cmocka_unit_test(nothing_is_left_of_this_program),
    cmocka_unit_test(a_process_outlives_the_thread_that_started_it),
    cmocka_unit_test(one_that_the_program_forked_does_not_keep_others_alive),
    cmocka_unit_test(without_the_server_processes_go_on),
    cmocka_unit_test(the_server_ends_with_the_program),
    cmocka_unit_test(a_program_with_a_server),
    cmocka_unit_test(a_status_that_the_program_took_is_known_or_lost),
    cmocka_unit_test(a_join_that_a_signal_interrupts_says_so),
};

HARNESS_MAIN_WITH_INIT(tests)
