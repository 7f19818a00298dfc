/* A good guest: what a pool does not do to the program that opens it; and wrong use of processes.
 * SPDX-License-Identifier: MIT */
#include "gate.h"
#include "harness.h"

#include "os/sanitizer.h"

#include <errno.h>
#include <fcntl.h>
#include <mproc.h>
#include <pthread.h>
#include <semaphore.h>
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

static struct gate *gate;

static int wait_at_gate(const int *in, int *out)
{
    gate_pass(gate);
    *out = *in;
    return 0;
}
MPROC_TASK(wait_at_gate);

static int print(const int *number, int *out)
{
    printf("task %d\n", *number);
    *out = 0;
    return 0;
}
MPROC_TASK(print);

/* Which signals are not as they should be in a worker. */
static int check_signals(const int *unused, int *wrong)
{
    (void)unused;
    sigset_t mask;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    *wrong = 0;
    for (int signal = 1; signal < SIGRTMIN; signal++) {
        struct sigaction action;
        sigaction(signal, NULL, &action);
        if (sigismember(&mask, signal) || action.sa_handler != (signal == SIGINT ? SIG_IGN : SIG_DFL))
            *wrong = signal;
    }
    return 0;
}
MPROC_TASK(check_signals);

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

/* ---- children and signals */

static volatile sig_atomic_t child_signals, interrupts;

static void count_child_signal(int signal)
{
    (void)signal;
    child_signals++;
}

static void count_interrupt(int signal)
{
    (void)signal;
    interrupts++;
}

static void the_programs_wait_does_not_see_the_pool(void **state)
{
    (void)state;
    struct sigaction action = { .sa_handler = count_child_signal };
    sigaction(SIGCHLD, &action, NULL);
    mproc_pool *pool = open_pool(2);
    check_works(pool);
    assert_int_equal(waitpid(-1, NULL, 0), -1); /* would wait for ever for a child of ours */
    assert_int_equal(errno, ECHILD);
    pid_t child = fork();
    if (child == 0)
        _exit(5);
    int status;
    pid_t got;
    while ((got = wait(&status)) < 0 && errno == EINTR) {
    }
    assert_int_equal(got, child);
    assert_int_equal(WEXITSTATUS(status), 5);
    assert_int_equal(system("exit 3") >> 8, 3);
    int before = child_signals;
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(child_signals, before);
}

static void a_program_that_ignores_its_children_can_have_pools(void **state)
{
    (void)state;
    signal(SIGCHLD, SIG_IGN);
    for (int i = 0; i < 5; i++) {
        mproc_pool *pool = open_pool(2);
        check_works(pool);
        assert_int_equal(mproc_pool_close(pool), 0);
    }
}

static void signal_handling_is_left_alone(void **state)
{
    (void)state;
    struct sigaction before[SIGRTMAX + 1], after;
    sigset_t mask_before, mask_after;
    signal(SIGTERM, count_interrupt);
    sigemptyset(&mask_before);
    sigaddset(&mask_before, SIGUSR2);
    sigprocmask(SIG_SETMASK, &mask_before, NULL);
    sigprocmask(SIG_BLOCK, NULL, &mask_before);
    for (int i = 1; i <= SIGRTMAX; i++)
        sigaction(i, NULL, &before[i]);
    mproc_pool *pool = open_pool(2);
    check_works(pool);
    assert_int_equal(mproc_pool_close(pool), 0);
    for (int i = 1; i <= SIGRTMAX; i++) {
        if (sigaction(i, NULL, &after) == 0)
            assert_ptr_equal(after.sa_handler, before[i].sa_handler);
    }
    sigprocmask(SIG_BLOCK, NULL, &mask_after);
    assert_memory_equal(&mask_before, &mask_after, sizeof(long));
}

static void workers_start_with_clean_signals(void **state)
{
    (void)state;
    int in[4] = { 0 }, wrong[4];
    sigset_t all;
    signal(SIGTERM, count_interrupt);
    signal(SIGPIPE, SIG_IGN);
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    mproc_pool *pool = open_pool(2);
    assert_int_equal(mproc_map(pool, check_signals, in, wrong, 4), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(wrong[i], 0);
    assert_int_equal(mproc_pool_close(pool), 0);
}

/* One item has ended, as the third begins, and both workers are in one. */
static void *interrupt_waiting(void *thread)
{
    gate_wait_arrived(gate, 3);
    harness_wait_asleep(getpid(), HARNESS_PATIENCE);
    pthread_kill(*(pthread_t *)thread, SIGUSR1);
    return NULL;
}

static void a_signal_interrupts_the_wait_and_the_pool_stays_usable(void **state)
{
    (void)state;
    struct sigaction action = { .sa_handler = count_interrupt }; /* no SA_RESTART */
    sigaction(SIGUSR1, &action, NULL);
    int in[20], out[20] = { 0 };
    struct mproc_outcome outcomes[20];
    struct mproc_error error;
    for (int i = 0; i < 20; i++)
        in[i] = 60;
    gate = gate_make();
    gate_let(gate, 1);
    mproc_pool *pool = open_pool(2);
    pthread_t thread, self = pthread_self();
    assert_int_equal(pthread_create(&thread, NULL, interrupt_waiting, &self), 0);
    assert_int_equal(mproc_map(pool, wait_at_gate, in, out, 20, .chunk = 1, .outcomes = outcomes, .error = &error),
                     -EINTR);
    pthread_join(thread, NULL);
    gate_open(gate);
    assert_int_equal(interrupts, 1);
    int kinds[MPROC_SKIPPED + 1] = { 0 };
    for (int i = 0; i < 20; i++) {
        kinds[outcomes[i].kind]++;
        assert_int_equal(out[i] == 60, outcomes[i].kind == MPROC_OK);
    }
    assert_true(kinds[MPROC_OK] >= 1 && kinds[MPROC_CANCELLED] >= 10 && kinds[MPROC_LOST] <= 2);
    assert_string_equal(error.message, "mproc_map of 'wait_at_gate': a signal interrupted the wait");
    for (int i = 0; i < 200; i++) /* more than a pool has places for: the one that was left comes back */
        check_works(pool);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void interrupt_from_the_terminal_reaches_the_caller_only(void **state)
{
    (void)state;
    setpgid(0, 0);
    signal(SIGINT, count_interrupt); /* SA_RESTART: the map goes on */
    int in[4] = { 0 }, out[4];
    gate = gate_make();
    mproc_pool *pool = open_pool(2);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGINT, SIG_IGN);
        gate_wait_arrived(gate, 2);
        kill(0, SIGINT); /* as the terminal does: to the whole group */
        gate_open(gate);
        _exit(0);
    }
    assert_int_equal(mproc_map(pool, wait_at_gate, in, out, 4), 0);
    waitpid(pid, NULL, 0);
    assert_int_equal(interrupts, 1);
    assert_int_equal(mproc_pool_close(pool), 0);
}

/* ---- output and descriptors */

static void what_the_program_had_not_flushed_is_printed_once(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    int saved = dup(STDOUT_FILENO), in[3] = { 1, 2, 3 }, out[3];
    fflush(stdout);
    dup2(fileno(file), STDOUT_FILENO);
    setvbuf(stdout, NULL, _IOFBF, 4096);
    printf("before\n");
    mproc_pool *pool = open_pool(2);
    int result = mproc_map(pool, print, in, out, 3);
    int closed = mproc_pool_close(pool);
    printf("after\n");
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    assert_int_equal(result, 0);
    assert_int_equal(closed, 0);

    char line[64];
    int before = 0, after = 0, tasks = 0;
    rewind(file);
    while (fgets(line, sizeof line, file)) {
        before += strcmp(line, "before\n") == 0;
        after += strcmp(line, "after\n") == 0;
        tasks += strncmp(line, "task ", 5) == 0;
    }
    fclose(file);
    assert_int_equal(before, 1);
    assert_int_equal(after, 1);
    assert_int_equal(tasks, 3);
}

static void a_program_without_standard_descriptors_keeps_them_free(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        close(0);
        close(1);
        close(2);
        mproc_pool *pool;
        int in[2] = { 1, 2 }, out[2];
        bool right = mproc_pool_open(&pool, .workers = 2) == 0;
        right = right && fcntl(0, F_GETFD) < 0 && fcntl(1, F_GETFD) < 0 && fcntl(2, F_GETFD) < 0;
        right = right && mproc_map(pool, add_one, in, out, 2) == 0 && out[1] == 3;
        _exit(right && mproc_pool_close(pool) == 0 ? 0 : 1);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
}

static void descriptors_are_closed_on_exec(void **state)
{
    (void)state;
    static const char count[] = "exit $(ls /proc/self/fd | wc -l)";
    int before = system(count);
    mproc_pool *pool = open_pool(2);
    assert_int_equal(system(count), before);
    assert_int_equal(mproc_pool_close(pool), 0);
}

/* ---- forks and threads */

static void *wait_in_thread(void *end)
{
    while (sem_wait(end) != 0) {
    }
    return NULL;
}

static void *end_at_once(void *unused)
{
    (void)unused;
    return NULL;
}

static void a_threaded_process_is_not_forked_unless_it_is_asked_for(void **state)
{
    (void)state;
    sem_t end;
    pthread_t thread;
    mproc_pool *pool;
    struct mproc_error error;
    sem_init(&end, 0, 0);
    assert_int_equal(pthread_create(&thread, NULL, wait_in_thread, &end), 0);
    assert_int_equal(mproc_pool_open(&pool, .workers = 2, .error = &error), MPROC_E_THREADED_FORK);
    assert_non_null(strstr(error.message, "before starting threads"));
    assert_non_null(strstr(error.message, "MPROC_THREADS"));
    assert_non_null(strstr(error.message, ".fork_with_threads = true"));
    int in[2] = { 1, 2 }, out[2];
    assert_int_equal(mproc_map(NULL, add_one, in, out, 2, .error = &error), MPROC_E_THREADED_FORK);
    assert_int_equal(mproc_pool_open(&pool, .workers = 2, .fork_with_threads = true), 0);
    check_works(pool);
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_open(&pool, .workers = 2, .backend = MPROC_THREADS), 0);
    check_works(pool);
    assert_int_equal(mproc_pool_close(pool), 0);
    sem_post(&end);
    pthread_join(thread, NULL);
    check_works(pool = open_pool(2));
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void threads_that_were_joined_just_now_do_not_count(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        pthread_t threads[4];
        for (int j = 0; j < 4; j++)
            assert_int_equal(pthread_create(&threads[j], NULL, end_at_once, NULL), 0);
        for (int j = 0; j < 4; j++)
            pthread_join(threads[j], NULL);
        mproc_pool *pool = open_pool(1);
        assert_int_equal(mproc_pool_close(pool), 0);
    }
}

static int exit_status_of(pid_t pid)
{
    int status;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_forked_child_cannot_use_its_parents_pool(void **state)
{
    (void)state;
    int in[2] = { 1, 2 }, out[2];
    mproc_pool *pool = open_pool(2);
    pid_t pid = fork();
    if (pid == 0) {
        struct mproc_error error;
        bool right = mproc_map(pool, add_one, in, out, 2, .error = &error) == MPROC_E_FORKED &&
                     strstr(error.message, "one here") && mproc_pool_close(pool) == MPROC_E_FORKED &&
                     mproc_pool_terminate(pool) == MPROC_E_FORKED;
        mproc_pool *own;
        right = right && mproc_pool_open(&own, .workers = 2) == 0 && mproc_map(own, add_one, in, out, 2) == 0 &&
                mproc_pool_close(own) == 0;
        _exit(right ? 0 : 1);
    }
    assert_int_equal(exit_status_of(pid), 0);
    check_works(pool);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void a_forked_child_gets_a_default_pool_of_its_own(void **state)
{
    (void)state;
    harness_uses_default_pool();
    check_works(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        int in[2] = { 1, 2 }, out[2] = { 0 };
        exit(mproc_map(NULL, add_one, in, out, 2) == 0 && out[1] == 3 ? 0 : 1); /* with exit handlers */
    }
    assert_int_equal(exit_status_of(pid), 0);
    check_works(NULL);
}

static void the_default_pool_is_gone_when_the_program_ends(void **state)
{
    (void)state;
    _Atomic int *supervisor = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid = fork();
    if (pid == 0) {
        int in[2] = { 1, 2 }, out[2], children[4];
        int err = mproc_map(NULL, add_one, in, out, 2);
        harness_children(getpid(), children, 4);
        *supervisor = children[0];
        exit(err);
    }
    assert_int_equal(exit_status_of(pid), 0);
    assert_true(*supervisor > 0);
    assert_int_equal(kill(*supervisor, 0), -1); /* gone already, not only soon */
    munmap((void *)supervisor, 4096);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_programs_wait_does_not_see_the_pool),
    cmocka_unit_test(a_program_that_ignores_its_children_can_have_pools),
    cmocka_unit_test(signal_handling_is_left_alone),
    cmocka_unit_test(workers_start_with_clean_signals),
    cmocka_unit_test(a_signal_interrupts_the_wait_and_the_pool_stays_usable),
    cmocka_unit_test(interrupt_from_the_terminal_reaches_the_caller_only),
    cmocka_unit_test(what_the_program_had_not_flushed_is_printed_once),
    cmocka_unit_test(a_program_without_standard_descriptors_keeps_them_free),
    cmocka_unit_test(descriptors_are_closed_on_exec),
    cmocka_unit_test(a_threaded_process_is_not_forked_unless_it_is_asked_for),
    cmocka_unit_test(threads_that_were_joined_just_now_do_not_count),
    cmocka_unit_test(a_forked_child_cannot_use_its_parents_pool),
    cmocka_unit_test(a_forked_child_gets_a_default_pool_of_its_own),
    cmocka_unit_test(the_default_pool_is_gone_when_the_program_ends),
};

HARNESS_MAIN(tests)
