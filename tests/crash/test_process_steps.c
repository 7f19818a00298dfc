/* Parent, child and server killed at each machine instruction of starting, joining and stopping a process.
 * SPDX-License-Identifier: MIT */
#include "steps.h"

#include "memory/heap.h"
#include "process/exit.h"

#include <mproc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const method_names[] = { "fork", "forkserver", "spawn" };

/* Seen by all processes of the test, and not by the heap. */
static struct control {
    volatile pid_t child, server;
    volatile int stop_child; /* the process stops itself at its beginning */
    volatile int go, begun;
    volatile int err, kind, signal;
} * control;

static enum mproc_start_method method;
static mproc_process *process;
static size_t bytes_before;

static int do_nothing(const void *nothing)
{
    (void)nothing;
    return 0;
}
MPROC_PROCESS(do_nothing);

static int sleep_for_ever(const void *nothing)
{
    (void)nothing;
    while (pause() != 0) {
    }
    return 0;
}
MPROC_PROCESS(sleep_for_ever);

static void note_child(void *nothing)
{
    (void)nothing;
    if (!control->server && method != MPROC_FORK) {
        control->server = getpid();
        return;
    }
    control->child = getpid();
    if (control->stop_child)
        raise(SIGSTOP);
}

/* ---- looking at what is left: what loses its parent becomes the test's child */

static void expect_nothing_left(const char *name, long k)
{
    double deadline = harness_now() + HARNESS_PATIENCE / 1000.0;
    for (;;) {
        pid_t pid = waitpid(-1, NULL, WNOHANG | __WALL);
        if (pid < 0)
            break;
        if (pid == 0 && harness_now() > deadline)
            fail_msg("%s: a process is left after the kill at instruction %ld", name, k);
        if (pid == 0)
            usleep(100);
    }
    if (heap_bytes_in_use() != bytes_before)
        fail_msg("%s: %zu bytes are left in the heap, there were %zu, after the kill at instruction %ld", name,
                 heap_bytes_in_use(), bytes_before, k);
}

static void begin(void)
{
    static const struct mproc_fork_hooks hooks = { NULL, NULL, note_child, NULL };
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(mproc_fork_hooks_add(&hooks), 0);
    bytes_before = heap_bytes_in_use();
}

/* ---- the parent is killed */

static void prepare(void)
{
    memset(control, 0, sizeof *control);
}

static void get_ready(void)
{
    if (method != MPROC_FORK && mproc_init(NULL, NULL) != 0)
        _exit(1);
}

static void start_and_join(void)
{
    process = NULL;
    if (mproc_process_start(&process, do_nothing, NULL, .method = method) != 0 ||
        mproc_process_join(process, MPROC_FOREVER) != 0 || mproc_process_close(process) != 0)
        _exit(1);
}

static void start_one(void)
{
    process = NULL;
    if (mproc_process_start(&process, sleep_for_ever, NULL, .method = method, .daemon = true) != 0)
        _exit(1);
}

static void start_one_before(void)
{
    get_ready();
    start_one();
}

static void stop_it(void)
{
    if (mproc_process_stop(process, 1, MPROC_FOREVER, MPROC_FOREVER) != 0)
        _exit(1);
}

static long points;

static void check_nothing_left(bool whole)
{
    (void)whole;
    expect_nothing_left("parent", points++);
}

static void kill_parent(const char *what, void (*ready)(void), void (*operation)(void), long stride)
{
    char name[64];
    snprintf(name, sizeof name, "parent, %s, %s", what, method_names[method]);
    const struct steps steps = {
        .name = name, .prepare = prepare, .ready = ready, .operation = operation, .check = check_nothing_left
    };
    steps_run(&steps, stepper_stride(stride));
}

static void the_parent_is_killed_while_it_starts_and_joins(void)
{
    begin();
    kill_parent("start and join", get_ready, start_and_join, 523);
}

static void the_parent_is_killed_while_one_runs(void)
{
    begin();
    kill_parent("start", get_ready, start_one, 997);
}

static void stop_in_small_world(void)
{
    begin();
    kill_parent("stop", start_one_before, stop_it, 30011);
}

/* Stopping looks through /proc, which takes millions of instructions where there are many processes. In a world of its
 * own the test is process 1, and nearly alone. */
static void the_parent_is_killed_while_it_stops_one(void)
{
    if (unshare(CLONE_NEWPID) != 0)
        harness_skip("needs a world of its own, which takes root");
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("proc", "/proc", "proc", 0, NULL) != 0)
            _exit(HARNESS_SKIPPED);
        stop_in_small_world();
        fflush(stdout);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == HARNESS_SKIPPED)
        harness_skip("/proc cannot be mounted here");
    assert_int_equal(status, 0);
}

static void the_parent_is_killed_at_its_end(void)
{
    begin();
    kill_parent("exit", start_one_before, exit_end_processes, 307);
}

/* ---- the child, or the server, is killed: the parent tells what it saw */

static _Noreturn void be_parent(void)
{
    struct mproc_outcome outcome = { .kind = MPROC_CANCELLED };
    get_ready();
    control->begun = 1;
    while (!control->go)
        usleep(20);
    process = NULL;
    control->err = mproc_process_start(&process, do_nothing, NULL, .method = method);
    if (control->err == 0 && (mproc_process_join(process, MPROC_FOREVER) != 0 ||
                              mproc_process_outcome(process, &outcome) != 0 || mproc_process_close(process) != 0))
        _exit(2);
    control->kind = (int)outcome.kind;
    control->signal = outcome.signal;
    _exit(control->err != 0 && process ? 3 : 0);
}

static void wait_until(volatile int *flag)
{
    double deadline = harness_now() + HARNESS_PATIENCE / 1000.0;
    while (!*flag && harness_now() < deadline)
        usleep(20);
    assert_true(*flag);
}

static pid_t start_parent(bool stop_child)
{
    memset(control, 0, sizeof *control);
    control->stop_child = stop_child;
    if (stop_child)
        setenv("STOP_CHILD", "1", 1);
    else
        unsetenv("STOP_CHILD");
    pid_t pid = fork();
    if (pid == 0)
        be_parent();
    wait_until(&control->begun);
    return pid;
}

/* That it is told nothing wrong, and in time. */
static void expect_parent_ends(pid_t parent, const char *name, long k)
{
    int status;
    if (!harness_wait_gone(parent, HARNESS_PATIENCE)) {
        kill(parent, SIGKILL);
        fail_msg("%s: the parent hangs after the kill at instruction %ld", name, k);
    }
    waitpid(parent, &status, 0);
    if (status != 0)
        fail_msg("%s: the parent ended with %#x after the kill at instruction %ld", name, (unsigned)status, k);
    expect_nothing_left(name, k);
}

/* The new process, stopped where it begins: after the fork, or before it calls mproc_init. */
static pid_t wait_for_child(void)
{
    double deadline = harness_now() + HARNESS_PATIENCE / 1000.0;
    for (;;) {
        int child = control->child;
        if (method == MPROC_SPAWN && control->server)
            harness_children(control->server, &child, 1);
        if (child > 0 && harness_process_state(child) == 'T')
            return child;
        if (harness_now() > deadline)
            fail_msg("the process does not begin");
        usleep(20);
    }
}

static bool kill_child_at(const char *name, long k)
{
    pid_t parent = start_parent(true);
    control->go = 1;
    pid_t child = wait_for_child();
    assert_true(stepper_attach(child));
    kill(child, SIGCONT);
    bool whole = stepper_step(child, k, STEPS_PATIENCE) < k;
    stepper_kill(child);
    expect_parent_ends(parent, name, k);
    bool told = control->err == 0
                    ? control->kind == MPROC_OK || (control->kind == MPROC_CRASHED && control->signal == SIGKILL)
                    : control->err == MPROC_E_NOT_STARTED;
    if (!told)
        fail_msg("%s: error %d, outcome %d, signal %d after the kill at instruction %ld", name, control->err,
                 control->kind, control->signal, k);
    return !whole;
}

static void kill_at_each(const char *who, bool (*kill_at)(const char *name, long k), long first, long stride)
{
    begin();
    if (!stepper_is_possible())
        harness_skip("this machine does not allow ptrace");
    char name[64];
    snprintf(name, sizeof name, "%s, %s", who, method_names[method]);
    long count = 0;
    for (long k = first; kill_at(name, k); k += stepper_stride(stride))
        count++;
    printf("%-52s %6ld points\n", name, count);
}

static void a_child_is_killed_on_its_way(void)
{
    kill_at_each("child", kill_child_at, 0, 131);
}

/* It sleeps in poll, and finds what it is asked for when it is stepped. */
static bool kill_server_at(const char *name, long k)
{
    pid_t parent = start_parent(false);
    wait_until(&control->server);
    pid_t server = control->server;
    assert_true(stepper_wait_in_call(server, SYS_poll, HARNESS_PATIENCE));
    assert_true(stepper_attach(server));
    control->go = 1;
    stepper_wait_in_call(parent, SYS_recvmsg, STEPS_PATIENCE);
    bool whole = stepper_step(server, k, STEPS_PATIENCE) < k;
    stepper_kill(server);
    expect_parent_ends(parent, name, k);
    if (control->err == 0 ? control->kind != MPROC_OK : control->err != MPROC_E_FORKSERVER_DIED)
        fail_msg("%s: error %d, outcome %d after the kill at instruction %ld", name, control->err, control->kind, k);
    return !whole;
}

static void the_server_is_killed_while_it_serves(void)
{
    kill_at_each("server", kill_server_at, 1, 173);
}

/* Each for a method. */
#define WITH(test, suffix, the_method)                                                                                 \
    static void test##_##suffix(void **state)                                                                          \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        method = (the_method);                                                                                         \
        test();                                                                                                        \
    }
#define WITH_EACH(test)                                                                                                \
    WITH(test, fork, MPROC_FORK)                                                                                       \
    WITH(test, forkserver, MPROC_FORKSERVER)                                                                           \
    WITH(test, spawn, MPROC_SPAWN)

WITH_EACH(the_parent_is_killed_while_it_starts_and_joins)
WITH_EACH(the_parent_is_killed_while_one_runs)
WITH_EACH(the_parent_is_killed_while_it_stops_one)
WITH_EACH(the_parent_is_killed_at_its_end)
WITH_EACH(a_child_is_killed_on_its_way)
WITH(the_server_is_killed_while_it_serves, forkserver, MPROC_FORKSERVER)
WITH(the_server_is_killed_while_it_serves, spawn, MPROC_SPAWN)

#define EACH(test) cmocka_unit_test(test##_fork), cmocka_unit_test(test##_forkserver), cmocka_unit_test(test##_spawn)

static const struct CMUnitTest tests[] = {
    EACH(the_parent_is_killed_while_it_starts_and_joins),
    EACH(the_parent_is_killed_while_one_runs),
    EACH(the_parent_is_killed_while_it_stops_one),
    EACH(the_parent_is_killed_at_its_end),
    EACH(a_child_is_killed_on_its_way),
    cmocka_unit_test(the_server_is_killed_while_it_serves_forkserver),
    cmocka_unit_test(the_server_is_killed_while_it_serves_spawn),
};

int main(int argc, char **argv)
{
    if (getenv("STOP_CHILD"))
        raise(SIGSTOP);
    if (argc == 3 && strcmp(argv[1], "--run") != 0)
        mproc_init(&argc, &argv);
    return harness_main(argc, argv, tests, sizeof tests / sizeof tests[0], 7200);
}
