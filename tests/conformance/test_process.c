/* Processes, in each start method: METHOD. SPDX-License-Identifier: MIT */
#include "process_shared.h"

#include "os/sanitizer.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>

struct numbers {
    int first, second;
    char word[12];
};

static int add(struct numbers *numbers)
{
    EXPECT(strcmp(numbers->word, "hello") == 0);
    numbers->word[0] = 'j'; /* its own copy */
    return numbers->first + numbers->second;
}
MPROC_PROCESS(add, struct numbers);

static int sum_of_five(const int *five)
{
    return five[0] + five[1] + five[2] + five[3] + five[4];
}
MPROC_PROCESS(sum_of_five);

static int length(const char *text)
{
    return (int)strlen(text);
}
MPROC_PROCESS(length);

static int is_null(const void *nothing)
{
    return nothing == NULL ? 0 : 1;
}
MPROC_PROCESS(is_null);

static int answer(const int *what)
{
    return *what;
}
MPROC_PROCESS(answer, int);

static void the_function_gets_a_copy_of_its_argument(void **state)
{
    (void)state;
    struct numbers numbers = { 40, 2, "hello" };
    mproc_process *process = NULL;
    START(&process, add, &numbers);
    numbers.first = 0;
    struct mproc_outcome outcome = finish(process);
    assert_int_equal(outcome.kind, MPROC_FAILED);
    assert_int_equal(outcome.code, 42);
    assert_string_equal(numbers.word, "hello");
}

static void arrays_strings_and_nothing_are_arguments_too(void **state)
{
    (void)state;
    int five[5] = { 1, 2, 3, 4, 5 };
    char *string = strdup("a string of 27 characters..");
    mproc_process *process = NULL;
    START(&process, sum_of_five, five);
    assert_int_equal(finish(process).code, 15);
    START(&process, length, "literal");
    assert_int_equal(finish(process).code, 7);
    START(&process, length, string);
    assert_int_equal(finish(process).code, 27);
    free(string);
    START(&process, is_null, NULL);
    finish_well(process);
    void *untyped = five;
    START(&process, sum_of_five, untyped, .argument_size = sizeof five);
    assert_int_equal(finish(process).code, 15);
}

static int write_there(struct shared *shared)
{
    shared->numbers[0] = 4711;
    char *block = mproc_alloc(100);
    EXPECT(block);
    strcpy(block, "from the process");
    memcpy(shared->text, &block, sizeof block);
    return 0;
}
MPROC_PROCESS(write_there);

static void what_lies_in_the_heap_is_shared(void **state)
{
    (void)state;
    struct shared *shared = share();
    mproc_process *process = NULL;
    START(&process, write_there, shared);
    finish_well(process);
    char *block;
    memcpy(&block, shared->text, sizeof block);
    assert_int_equal(shared->numbers[0], 4711);
    assert_string_equal(block, "from the process");
    mproc_free(block);
    mproc_free(shared);
}

static void all_of_the_result_comes_back(void **state)
{
    (void)state;
    static const int results[] = { 1, 255, 256, 300, -1, INT_MAX, INT_MIN };
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        mproc_process *process = NULL;
        START(&process, answer, &results[i]);
        struct mproc_outcome outcome = finish(process);
        assert_int_equal(outcome.kind, MPROC_FAILED);
        assert_int_equal(outcome.code, results[i]);
    }
}

static int end_somehow(const int *how)
{
    switch (*how) {
    case 1: exit(3);
    case 2: exit(0);
    case 3: _exit(4);
    case 4: abort();
    case 5: raise(SIGSEGV); break;
    case 6: return mproc_task_fail(7, "seven of %s", "nine");
    case 7: raise(SIGKILL);
    }
    return 0;
}
MPROC_PROCESS(end_somehow);

static void each_kind_of_end_is_told(void **state)
{
    (void)state;
    static const struct {
        int how, kind, code, signal;
        const char *message;
    } ends[] = {
        { 0, MPROC_OK, 0, 0, "" },
        { 1, MPROC_FAILED, 3, 0, "" },
        { 2, MPROC_OK, 0, 0, "" },
        { 3, MPROC_FAILED, 4, 0, "" },
        { 4, MPROC_CRASHED, 0, SIGABRT, "" },
        { 5, MPROC_CRASHED, 0, SIGSEGV, "" },
        { 6, MPROC_FAILED, 7, 0, "seven of nine" },
        { 7, MPROC_CRASHED, 0, SIGKILL, "" },
    };
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        mproc_process *process = NULL;
        START(&process, end_somehow, &ends[i].how);
        pid_t pid = mproc_process_pid(process);
        struct mproc_outcome outcome = finish(process);
        if (ends[i].how == 5 && outcome.signal == 0)
            continue; /* a sanitizer's handler */
        assert_int_equal(outcome.kind, ends[i].kind);
        assert_int_equal(outcome.code, ends[i].code);
        assert_int_equal(outcome.signal, ends[i].signal);
        assert_int_equal(outcome.pid, pid);
        assert_string_equal(outcome.message, ends[i].message);
    }
}

static int wait_for_go(struct shared *shared)
{
    mproc_event_set(&shared->there);
    return mproc_event_wait(&shared->go, MPROC_FOREVER);
}
MPROC_PROCESS(wait_for_go);

static void a_running_process_can_be_waited_for(void **state)
{
    (void)state;
    struct shared *shared = share();
    mproc_process *process = NULL, *active[3];
    struct mproc_outcome outcome;
    assert_int_equal(mproc_active_children(NULL, 0), 0);
    START(&process, wait_for_go, shared);
    assert_int_equal(mproc_process_join(process, 0), -ETIMEDOUT);
    assert_int_equal(mproc_process_join(process, MPROC_MS(20)), -ETIMEDOUT);
    assert_true(mproc_process_is_alive(process));
    assert_int_equal(mproc_process_outcome(process, &outcome), -EAGAIN);
    assert_int_equal(mproc_process_close(process), -EBUSY);
    assert_int_equal(mproc_active_children(active, 3), 1);
    assert_ptr_equal(active[0], process);
    struct pollfd end = { .fd = mproc_process_fd(process), .events = POLLIN };
    assert_true(end.fd > 2);
    assert_int_equal(poll(&end, 1, 0), 0);
    mproc_event_set(&shared->go);
    assert_int_equal(poll(&end, 1, -1), 1);
    assert_int_equal(end.revents & POLLIN, POLLIN);
    assert_false(mproc_process_is_alive(process));
    assert_int_equal(mproc_active_children(active, 3), 0);
    assert_int_equal(mproc_process_join(process, MPROC_FOREVER), 0);
    finish_well(process);
    mproc_free(shared);
}

static void *join_it(void *process)
{
    return (void *)(intptr_t)mproc_process_join(process, MPROC_FOREVER);
}

static void several_threads_can_wait_for_one(void **state)
{
    (void)state;
    struct shared *shared = share();
    mproc_process *process = NULL;
    pthread_t threads[4];
    START(&process, wait_for_go, shared);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, join_it, process), 0);
    mproc_event_set(&shared->go);
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_null(result);
    }
    finish_well(process);
    mproc_free(shared);
}

static int tell_who(struct shared *shared)
{
    mproc_process *self = mproc_current_process(), *parent = mproc_parent_process();
    EXPECT(parent && mproc_process_is_alive(parent) && mproc_process_is_alive(self));
    EXPECT(mproc_process_pid(self) == getpid());
    EXPECT(mproc_process_join(self, 0) == -EDEADLK && mproc_process_stop(self, 0, 0, 0) == -EDEADLK);
    EXPECT(mproc_process_join(parent, 0) == -ETIMEDOUT && mproc_process_fd(parent) > 2);
    EXPECT(mproc_process_kill(self) == -ECHILD && mproc_process_kill(parent) == -ECHILD);
    EXPECT(mproc_process_close(self) == -ECHILD && mproc_process_close(parent) == -ECHILD);
    EXPECT(mproc_active_children(NULL, 0) == 0);
    shared->pids[0] = mproc_process_pid(parent);
    shared->pids[1] = getpid();
    snprintf(shared->text, sizeof shared->text, "%s of %s", mproc_process_name(self), mproc_process_name(parent));
    return 0;
}
MPROC_PROCESS(tell_who);

static void a_process_knows_itself_and_its_parent(void **state)
{
    (void)state;
    struct shared *shared = share();
    mproc_process *process = NULL;
    assert_null(mproc_parent_process());
    assert_string_equal(mproc_process_name(mproc_current_process()), "main");
    START(&process, tell_who, shared);
    assert_int_equal(strncmp(mproc_process_name(process), "tell_who-", 9), 0);
    pid_t pid = mproc_process_pid(process);
    finish_well(process);
    assert_int_equal(shared->pids[0], getpid());
    assert_int_equal(shared->pids[1], pid);
    char longer[100];
    memset(longer, 'x', 99);
    longer[99] = '\0';
    START(&process, tell_who, shared, .name = longer);
    finish_well(process);
    assert_int_equal(strspn(shared->text, "x"), MPROC_NAME_SIZE - 1);
    assert_string_equal(shared->text + MPROC_NAME_SIZE - 1, " of main");
    mproc_free(shared);
}

static void signals_can_be_sent(void **state)
{
    (void)state;
    static int (*const send[])(mproc_process *) = { mproc_process_terminate, mproc_process_interrupt,
                                                    mproc_process_kill };
    static const int signals[] = { SIGTERM, SIGINT, SIGKILL };
    for (int i = 0; i < 3; i++) {
        struct shared *shared = share();
        mproc_process *process = NULL;
        START(&process, wait_for_go, shared);
        assert_int_equal(mproc_event_wait(&shared->there, MPROC_FOREVER), 0);
        assert_int_equal(send[i](process), 0);
        assert_int_equal(mproc_process_join(process, MPROC_FOREVER), 0);
        assert_int_equal(send[i](process), 0); /* no matter */
        struct mproc_outcome outcome = finish(process);
        assert_int_equal(outcome.kind, MPROC_CRASHED);
        assert_int_equal(outcome.signal, signals[i]);
        mproc_free(shared);
    }
}

static int look_at_signals(const void *nothing)
{
    (void)nothing;
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    for (int signal = 1; signal < NSIG; signal++) {
        struct sigaction action;
        EXPECT(sigismember(&mask, signal) != 1);
        if (sigaction(signal, NULL, &action) == 0 && action.sa_handler != SIG_DFL && !getenv("SANITIZED"))
            return mproc_task_fail(signal, "signal %d is not at its default", signal);
    }
    EXPECT(getpgrp() == getpid());
    return 0;
}
MPROC_PROCESS(look_at_signals);

static void handle(int signal)
{
    (void)signal;
}

static void a_process_begins_with_clean_signals(void **state)
{
    (void)state;
#if OS_ADDRESS_SANITIZER
    setenv("SANITIZED", "1", 1);
#endif
    sigset_t some;
    sigemptyset(&some);
    sigaddset(&some, SIGTERM);
    sigaddset(&some, SIGRTMAX);
    sigprocmask(SIG_BLOCK, &some, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGRTMIN + 3, SIG_IGN);
    signal(SIGHUP, handle);
    signal(SIGCHLD, handle);
    mproc_process *process = NULL;
    START(&process, look_at_signals, NULL);
    finish_well(process);
    struct sigaction action;
    sigaction(SIGHUP, NULL, &action);
    assert_ptr_equal(action.sa_handler, handle);
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    assert_int_equal(sigismember(&mask, SIGTERM), 1);
}

static int start_another(struct shared *shared)
{
    mproc_process *process = NULL;
    struct mproc_error error;
    if (mproc_process_start(&process, write_there, shared, .method = METHOD, .error = &error) != 0)
        return mproc_task_fail(1, "%s", error.message);
    struct mproc_outcome outcome;
    EXPECT(mproc_process_join(process, MPROC_FOREVER) == 0);
    EXPECT(mproc_process_outcome(process, &outcome) == 0 && outcome.kind == MPROC_OK);
    EXPECT(mproc_process_close(process) == 0);
    return 0;
}
MPROC_PROCESS(start_another);

static void processes_can_start_processes(void **state)
{
    (void)state;
    struct shared *shared = share();
    mproc_process *process = NULL;
    START(&process, start_another, shared);
    finish_well(process);
    char *block;
    memcpy(&block, shared->text, sizeof block);
    assert_string_equal(block, "from the process");
    mproc_free(block);
    mproc_free(shared);
}

static int square(const int *number, int *result)
{
    *result = *number * *number;
    return 0;
}
MPROC_TASK(square);

static int map_squares(const void *nothing)
{
    (void)nothing;
    int in[3] = { 1, 2, 3 }, out[3] = { 0 };
    struct mproc_error error;
    if (mproc_map(NULL, square, in, out, 3, .error = &error) != 0)
        return mproc_task_fail(1, "%s", error.message);
    return out[2] == 9 ? 0 : 1;
}
MPROC_PROCESS(map_squares);

static void processes_can_have_pools(void **state)
{
    (void)state;
    mproc_process *process = NULL;
    START(&process, map_squares, NULL);
    finish_well(process);
}

static int add_one_to_count(struct shared *shared)
{
    __atomic_fetch_add(&shared->count, 1, __ATOMIC_SEQ_CST);
    return 0;
}
MPROC_PROCESS(add_one_to_count);

static void many_run_at_a_time(void **state)
{
    (void)state;
    enum { MANY = 40 };
    struct shared *shared = share();
    mproc_process *processes[MANY] = { NULL };
    for (int i = 0; i < MANY; i++)
        START(&processes[i], add_one_to_count, shared);
    for (int i = 0; i < MANY; i++)
        finish_well(processes[i]);
    assert_int_equal(shared->count, MANY);
    mproc_free(shared);
}

struct counted_starts {
    struct shared *shared;
    int failures;
};

static void *start_in_thread(void *counted)
{
    struct counted_starts *starts = counted;
    for (int i = 0; i < 10; i++) {
        mproc_process *process = NULL;
        struct mproc_outcome outcome = { .kind = MPROC_LOST };
        int err = mproc_process_start(&process, add_one_to_count, starts->shared, .method = METHOD,
                                      .fork_with_threads = METHOD == MPROC_FORK);
        if (!err)
            err = mproc_process_join(process, MPROC_FOREVER);
        if (!err)
            err = mproc_process_outcome(process, &outcome);
        starts->failures += err || outcome.kind != MPROC_OK || mproc_process_close(process) != 0;
    }
    return NULL;
}

static void threads_can_start_processes(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    struct shared *shared = share();
    struct counted_starts starts[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        starts[i] = (struct counted_starts) { shared, 0 };
        assert_int_equal(pthread_create(&threads[i], NULL, start_in_thread, &starts[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(starts[i].failures, 0);
    }
    assert_int_equal(shared->count, THREADS * 10);
    mproc_free(shared);
}

static void the_programs_own_waits_see_nothing(void **state)
{
    (void)state;
    struct shared *shared = share();
    mproc_process *process = NULL;
    int status;
    START(&process, wait_for_go, shared);
    assert_int_equal(wait(NULL), -1);
    assert_int_equal(errno, ECHILD);
    pid_t pid = fork();
    if (pid == 0)
        _exit(5);
    assert_int_equal(wait(&status), pid);
    assert_int_equal(WEXITSTATUS(status), 5);
    assert_int_equal(WEXITSTATUS(system("exit 6")), 6);
    FILE *command = popen("exit 7", "r");
    assert_int_equal(WEXITSTATUS(pclose(command)), 7);
    mproc_event_set(&shared->go);
    finish_well(process);
    assert_int_equal(wait(NULL), -1);
    mproc_free(shared);
}

static volatile sig_atomic_t children_signals;

static void count_child(int signal)
{
    (void)signal;
    children_signals++;
}

static void the_programs_handler_for_children_is_not_called(void **state)
{
    (void)state;
    signal(SIGCHLD, count_child);
    mproc_process *process = NULL;
    START(&process, is_null, NULL);
    finish_well(process);
    assert_int_equal(children_signals, 0);
    signal(SIGCHLD, SIG_IGN);
    static const int nine = 9;
    START(&process, answer, &nine);
    assert_int_equal(finish(process).code, 9);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_function_gets_a_copy_of_its_argument),
    cmocka_unit_test(arrays_strings_and_nothing_are_arguments_too),
    cmocka_unit_test(what_lies_in_the_heap_is_shared),
    cmocka_unit_test(all_of_the_result_comes_back),
    cmocka_unit_test(each_kind_of_end_is_told),
    cmocka_unit_test(a_running_process_can_be_waited_for),
    cmocka_unit_test(several_threads_can_wait_for_one),
    cmocka_unit_test(a_process_knows_itself_and_its_parent),
    cmocka_unit_test(signals_can_be_sent),
    cmocka_unit_test(a_process_begins_with_clean_signals),
    cmocka_unit_test(processes_can_start_processes),
    cmocka_unit_test(processes_can_have_pools),
    cmocka_unit_test(many_run_at_a_time),
    cmocka_unit_test(threads_can_start_processes),
    cmocka_unit_test(the_programs_own_waits_see_nothing),
    cmocka_unit_test(the_programs_handler_for_children_is_not_called),
};

HARNESS_MAIN_WITH_INIT(tests)
