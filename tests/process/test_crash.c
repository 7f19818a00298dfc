/* Crashing tasks, killed workers, supervisors and callers. SPDX-License-Identifier: MIT */
#include "gate.h"
#include "harness.h"

#include <errno.h>
#include <mproc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- tasks */

enum deed { WORK, DIVIDE_BY_ZERO, USE_NULL, ABORT, EXIT, KILL_ITSELF, EXIT_GROUP, SLEEP, KILL_SUPERVISOR };

static volatile int zero, sink;
static int *volatile null_pointer;

__attribute__((no_sanitize("undefined"))) /* on purpose */
static int
do_deed(const int *deed, int *result)
{
    switch ((enum deed) * deed) {
    case WORK: break;
    case DIVIDE_BY_ZERO: sink = 7 / zero; break;
    case USE_NULL: sink = *null_pointer; break;
    case ABORT: abort();
    case EXIT: exit(3);
    case KILL_ITSELF: kill(getpid(), SIGKILL); break;
    case EXIT_GROUP: _exit(0);
    case SLEEP: harness_sleep_ms(100000); break;
    case KILL_SUPERVISOR:
        kill(getppid(), SIGKILL);
        harness_sleep_ms(100000);
        break;
    }
    *result = getpid();
    return 0;
}
MPROC_TASK(do_deed);

static struct gate *gate;

static int work(const int *at_gate, int *pid)
{
    if (*at_gate)
        gate_pass(gate);
    *pid = getpid();
    return 0;
}
MPROC_TASK(work);

static int identity(const uint32_t *in, uint32_t *out)
{
    *out = *in + 1;
    return 0;
}
MPROC_TASK(identity);

/* ---- helpers */

static mproc_pool *open_pool(int workers)
{
    mproc_pool *pool;
    assert_int_equal(mproc_pool_open(&pool, .workers = workers), 0);
    return pool;
}

/* The newest child: pools are children of the test. */
static int supervisor_pid(void)
{
    int children[8];
    int count = harness_children(getpid(), children, 8);
    assert_true(count > 0);
    return children[count - 1];
}

static void check_pool_works(mproc_pool *pool)
{
    enum { N = 1000 };
    uint32_t in[N], out[N];
    for (uint32_t i = 0; i < N; i++)
        in[i] = i;
    memset(out, 0, sizeof out);
    assert_int_equal(mproc_map(pool, identity, in, out, N), 0);
    for (uint32_t i = 0; i < N; i++)
        assert_int_equal(out[i], i + 1);
}

/* ---- crashing tasks */

static void a_crash_costs_its_item_and_says_what_happened(void **state)
{
    (void)state;
    static const struct {
        enum deed deed;
        int signal, exit_status;
    } crashes[] = { { DIVIDE_BY_ZERO, SIGFPE, 0 }, { USE_NULL, SIGSEGV, 0 }, { ABORT, SIGABRT, 0 }, { EXIT, 0, 3 },
                    { KILL_ITSELF, SIGKILL, 0 },   { EXIT_GROUP, 0, 0 } };
    enum { N = 1000, CRASHES = sizeof crashes / sizeof crashes[0] };
    int deeds[N] = { 0 }, results[N] = { 0 };
    struct mproc_outcome outcomes[N];
    for (int i = 0; i < CRASHES; i++)
        deeds[i * 150 + 7] = crashes[i].deed;
    mproc_pool *pool = open_pool(2);
    assert_int_equal(mproc_map(pool, do_deed, deeds, results, N, .outcomes = outcomes), CRASHES);
    for (int i = 0; i < N; i++) {
        if (deeds[i] == WORK) {
            assert_int_equal(outcomes[i].kind, MPROC_OK);
            assert_true(results[i] > 0);
            continue;
        }
        int c = (i - 7) / 150;
        assert_int_equal(outcomes[i].kind, MPROC_CRASHED);
        assert_int_equal(outcomes[i].signal, crashes[c].signal);
        assert_int_equal(outcomes[i].exit_status, crashes[c].exit_status);
        assert_true(outcomes[i].pid > 0 && outcomes[i].pid != getpid());
        assert_int_equal(results[i], 0);
    }
    check_pool_works(pool);
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void all_items_may_crash(void **state)
{
    (void)state;
    enum { N = 200 };
    int deeds[N], results[N];
    struct mproc_outcome outcomes[N];
    for (int i = 0; i < N; i++)
        deeds[i] = i % 2 ? KILL_ITSELF : EXIT;
    mproc_pool *pool = open_pool(3);
    assert_int_equal(mproc_map(pool, do_deed, deeds, results, N, .outcomes = outcomes), N);
    for (int i = 0; i < N; i++) {
        assert_int_equal(outcomes[i].kind, MPROC_CRASHED);
        assert_int_equal(outcomes[i].signal, i % 2 ? SIGKILL : 0);
    }
    check_pool_works(pool);
    assert_int_equal(mproc_pool_close(pool), 0);
}

/* Workers die holding large chunks: more ranges come back than a job has places for. */
static void crashes_in_large_chunks_lose_nothing(void **state)
{
    (void)state;
    enum { N = 20000, EVERY = 100 };
    int *deeds = calloc(N, sizeof *deeds), *results = calloc(N, sizeof *results);
    for (int i = 0; i < N; i += EVERY)
        deeds[i] = KILL_ITSELF;
    mproc_pool *pool = open_pool(40);
    assert_int_equal(mproc_map(pool, do_deed, deeds, results, N, .chunk = 150), N / EVERY);
    for (int i = 0; i < N; i++)
        assert_int_equal(results[i] > 0, i % EVERY != 0);
    assert_int_equal(mproc_pool_close(pool), 0);
    free(deeds);
    free(results);
}

static void a_crash_without_outcomes_is_counted(void **state)
{
    (void)state;
    int deeds[3] = { WORK, ABORT, WORK }, results[3];
    struct mproc_error error;
    mproc_pool *pool = open_pool(2);
    assert_int_equal(mproc_map(pool, do_deed, deeds, results, 3), 1);
    assert_int_equal(mproc_map(pool, do_deed, deeds, results, 3, .error = &error), 1);
    assert_int_equal(error.item, 1);
    assert_int_equal(error.outcome.signal, SIGABRT);
    assert_non_null(strstr(error.message,
                           "1 of 3 items of 'do_deed' did not succeed; the first is item 1, which crashed: "
                           "Aborted (signal 6) in process "));
    assert_int_equal(mproc_pool_close(pool), 0);
}

/* ---- killed workers */

struct map_in_thread {
    mproc_pool *pool;
    int n, result;
    int quick; /* so many items are done at once, the others wait at the gate */
    int pids[200];
    struct mproc_outcome outcomes[200];
    pthread_t thread;
};

static void *run_map(void *argument)
{
    struct map_in_thread *map = argument;
    int at_gate[200];
    for (int i = 0; i < map->n; i++)
        at_gate[i] = i >= map->quick;
    memset(map->pids, 0, sizeof map->pids);
    map->result = mproc_map(map->pool, work, at_gate, map->pids, (size_t)map->n, .outcomes = map->outcomes);
    return NULL;
}

static void start_map(struct map_in_thread *map)
{
    assert_int_equal(pthread_create(&map->thread, NULL, run_map, map), 0);
}

static void a_worker_killed_in_a_map_costs_one_item(void **state)
{
    (void)state;
    gate = gate_make();
    struct map_in_thread map = { .pool = open_pool(2), .n = 20 };
    int workers[4];
    int supervisor = supervisor_pid();
    start_map(&map);
    gate_wait_arrived(gate, 2);
    assert_int_equal(harness_children(supervisor, workers, 4), 2);
    kill(workers[0], SIGKILL);
    gate_open(gate);
    pthread_join(map.thread, NULL);
    assert_int_equal(map.result, 1);
    for (int i = 0; i < map.n; i++) {
        if (map.outcomes[i].kind == MPROC_OK)
            continue;
        assert_int_equal(map.outcomes[i].kind, MPROC_CRASHED);
        assert_int_equal(map.outcomes[i].signal, SIGKILL);
        assert_int_equal(map.outcomes[i].pid, workers[0]);
    }
    assert_int_equal(mproc_pool_close(map.pool), 0);
}

static void idle_workers_that_are_killed_are_replaced(void **state)
{
    (void)state;
    mproc_pool *pool = open_pool(2);
    int supervisor = supervisor_pid(), workers[4];
    for (int round = 0; round < 20; round++) {
        int count = harness_children(supervisor, workers, 4);
        for (int i = 0; i < count; i++)
            kill(workers[i], SIGKILL);
        if (round % 2)
            harness_sleep_ms(1);
        check_pool_works(pool);
    }
    assert_true(harness_wait_children(supervisor, 2, HARNESS_PATIENCE));
    assert_int_equal(mproc_pool_close(pool), 0);
}

struct killer {
    int supervisor;
    _Atomic int kills, stop;
};

static void *kill_workers_now_and_then(void *argument)
{
    struct killer *killer = argument;
    unsigned seed = 1;
    int workers[8];
    while (!killer->stop) {
        int count = harness_children(killer->supervisor, workers, 8);
        if (count > 0 && kill(workers[rand_r(&seed) % count], SIGKILL) == 0)
            killer->kills++;
        usleep((useconds_t)(rand_r(&seed) % 3000));
    }
    return NULL;
}

static void maps_survive_a_hail_of_kills(void **state)
{
    (void)state;
    enum { N = 20000, ROUNDS = 500, KILLS = 20 };
    uint32_t *in = malloc(N * sizeof *in), *out = malloc(N * sizeof *out);
    struct mproc_outcome *outcomes = malloc(N * sizeof *outcomes);
    mproc_pool *pool;
    /* Those that are hit before they are ready, one after the other, are none that cannot start. */
    assert_int_equal(mproc_pool_open(&pool, .workers = 3, .start_failures = 1000000), 0);
    struct killer killer = { .supervisor = supervisor_pid() };
    pthread_t thread;
    for (uint32_t i = 0; i < N; i++)
        in[i] = i;
    assert_int_equal(pthread_create(&thread, NULL, kill_workers_now_and_then, &killer), 0);
    int crashed = 0;
    for (int round = 0; round < ROUNDS || killer.kills <= KILLS; round++) {
        memset(out, 0, N * sizeof *out);
        int count = mproc_map(pool, identity, in, out, N, .chunk = round % 3 * 7, .outcomes = outcomes);
        assert_true(count >= 0);
        for (uint32_t i = 0; i < N; i++) {
            assert_true(outcomes[i].kind == MPROC_OK || outcomes[i].kind == MPROC_CRASHED);
            assert_int_equal(out[i], outcomes[i].kind == MPROC_OK ? i + 1 : 0);
            count -= outcomes[i].kind == MPROC_CRASHED;
            crashed += outcomes[i].kind == MPROC_CRASHED;
        }
        assert_int_equal(count, 0);
    }
    killer.stop = 1;
    pthread_join(thread, NULL);
    printf("%d workers killed, %d items charged\n", killer.kills, crashed);
    assert_true(crashed <= killer.kills);
    assert_int_equal(mproc_pool_close(pool), 0);
    free(in);
    free(out);
    free(outcomes);
}

/* ---- a killed supervisor */

static void check_broken(mproc_pool *pool, int supervisor)
{
    uint32_t in[2] = { 1, 2 }, out[2];
    assert_true(harness_wait_gone(supervisor, HARNESS_PATIENCE));
    assert_int_equal(mproc_map(pool, identity, in, out, 2), MPROC_E_SUPERVISOR_DIED);
    assert_int_equal(mproc_pool_close(pool), MPROC_E_SUPERVISOR_DIED);
    int children[8];
    assert_int_equal(harness_children(getpid(), children, 8), 0);
}

static void a_killed_supervisor_ends_the_map_with_an_error(void **state)
{
    (void)state;
    gate = gate_make();
    struct map_in_thread map = { .pool = open_pool(2), .n = 40, .quick = 4 };
    int supervisor = supervisor_pid(), workers[4];
    start_map(&map);
    gate_wait_arrived(gate, 2);
    int count = harness_children(supervisor, workers, 4);
    kill(supervisor, SIGKILL);
    pthread_join(map.thread, NULL);
    assert_int_equal(map.result, MPROC_E_SUPERVISOR_DIED);
    int kinds[MPROC_SKIPPED + 1] = { 0 };
    for (int i = 0; i < map.n; i++) {
        kinds[map.outcomes[i].kind]++;
        assert_int_equal(map.pids[i] != 0, map.outcomes[i].kind == MPROC_OK);
    }
    assert_true(kinds[MPROC_OK] == 4 && kinds[MPROC_CANCELLED] > 0 && kinds[MPROC_LOST] > 0);
    assert_int_equal(kinds[MPROC_OK] + kinds[MPROC_CANCELLED] + kinds[MPROC_LOST], map.n);
    assert_int_equal(count, 2);
    for (int i = 0; i < count; i++)
        assert_true(harness_wait_gone(workers[i], HARNESS_PATIENCE));
    check_broken(map.pool, supervisor);
}

static void a_supervisor_killed_while_idle_is_noticed(void **state)
{
    (void)state;
    mproc_pool *pool = open_pool(2);
    check_pool_works(pool);
    int supervisor = supervisor_pid();
    kill(supervisor, SIGKILL);
    check_broken(pool, supervisor);
}

/* More maps than a pool has places for: those that wait for one find out, too. */
static void a_killed_supervisor_ends_maps_that_are_about_to_begin(void **state)
{
    (void)state;
    enum { THREADS = 70 };
    static struct map_in_thread maps[THREADS];
    gate = gate_make();
    mproc_pool *pool = open_pool(2);
    int supervisor = supervisor_pid();
    for (int i = 0; i < THREADS; i++) {
        maps[i] = (struct map_in_thread) { .pool = pool, .n = 20 };
        start_map(&maps[i]);
    }
    harness_sleep_ms(30);
    kill(supervisor, SIGKILL);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(maps[i].thread, NULL);
        assert_int_equal(maps[i].result, MPROC_E_SUPERVISOR_DIED);
    }
    check_broken(pool, supervisor);
}

/* A process that adopts orphans, as the first one of a container does, would be left with the workers. */
static void no_zombies_are_left_to_a_process_that_adopts_orphans(void **state)
{
    (void)state;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (int round = 0; round < 10; round++) {
        mproc_pool *pool = open_pool(3);
        kill(supervisor_pid(), SIGKILL);
        if (round % 2)
            harness_sleep_ms(5);
        int err = mproc_pool_close(pool);
        assert_true(err == MPROC_E_SUPERVISOR_DIED || err == 0);
        assert_int_equal(waitpid(-1, NULL, __WALL), -1);
        assert_int_equal(errno, ECHILD);
    }
}

static int become_another_group(const int *milliseconds, int *pid)
{
    if (setegid(65534) != 0)
        return 1;
    harness_sleep_ms(*milliseconds);
    *pid = getpid();
    return 0;
}
MPROC_TASK(become_another_group);

/* The kernel forgets PDEATHSIG when a process changes its group. */
static void a_worker_that_changed_its_group_still_ends_with_its_supervisor(void **state)
{
    (void)state;
    if (geteuid() != 0)
        harness_skip("root is needed to change the group");
    int milliseconds[1] = { 1 }, pids[1];
    mproc_pool *pool = open_pool(1);
    assert_int_equal(mproc_map(pool, become_another_group, milliseconds, pids, 1), 0);
    harness_sleep_ms(50);
    int supervisor = supervisor_pid();
    kill(supervisor, SIGKILL);
    assert_true(harness_wait_gone(pids[0], HARNESS_PATIENCE));
    assert_true(harness_wait_gone(supervisor, HARNESS_PATIENCE));
    assert_int_equal(mproc_pool_close(pool), MPROC_E_SUPERVISOR_DIED);
}

static void a_task_that_kills_the_supervisor_ends_the_map(void **state)
{
    (void)state;
    int deeds[3] = { WORK, KILL_SUPERVISOR, WORK }, results[3];
    mproc_pool *pool = open_pool(2);
    int supervisor = supervisor_pid();
    assert_int_equal(mproc_map(pool, do_deed, deeds, results, 3), MPROC_E_SUPERVISOR_DIED);
    check_broken(pool, supervisor);
}

static void a_pool_whose_supervisor_was_killed_can_be_closed_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        mproc_pool *pool = open_pool(2);
        kill(supervisor_pid(), SIGKILL);
        int err = mproc_pool_close(pool);
        assert_true(err == MPROC_E_SUPERVISOR_DIED || err == 0);
    }
}

static void a_stopped_supervisor_or_worker_does_not_hold_up_terminate(void **state)
{
    (void)state;
    int workers[2];
    mproc_pool *pool = open_pool(2);
    assert_int_equal(harness_children(supervisor_pid(), workers, 2), 2);
    kill(workers[0], SIGSTOP);
    assert_int_equal(mproc_pool_terminate(pool), 0);
    pool = open_pool(2);
    kill(supervisor_pid(), SIGSTOP);
    assert_int_equal(mproc_pool_terminate(pool), 0);
}

/* ---- a killed caller */

/* A caller of its own, which maps for ever; its pids go to shared memory. */
struct caller {
    _Atomic int supervisor, workers[4];
};

static pid_t start_caller(struct caller *caller, int quick)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    mproc_pool *pool = open_pool(2);
    int workers[4];
    caller->workers[1] = 0;
    harness_children(supervisor_pid(), workers, 4);
    caller->workers[0] = workers[0];
    caller->workers[1] = workers[1];
    caller->supervisor = supervisor_pid();
    struct map_in_thread map = { .pool = pool, .n = 100, .quick = quick };
    for (;;)
        run_map(&map);
}

static void all_ends_when_the_caller_is_killed(void **state)
{
    (void)state;
    struct caller *caller = mmap(NULL, sizeof *caller, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    gate = gate_make();
    for (int round = 0; round < 20; round++) {
        memset(caller, 0, sizeof *caller);
        pid_t pid = start_caller(caller, round % 2 ? 0 : 100);
        while (!caller->supervisor)
            harness_sleep_ms(1);
        harness_sleep_ms(round);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        assert_true(harness_wait_gone(caller->supervisor, HARNESS_PATIENCE));
        for (int i = 0; i < 2; i++)
            assert_true(harness_wait_gone(caller->workers[i], HARNESS_PATIENCE));
    }
    munmap(caller, sizeof *caller);
}

static void all_ends_when_caller_and_supervisor_are_killed(void **state)
{
    (void)state;
    struct caller *caller = mmap(NULL, sizeof *caller, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    gate = gate_make();
    pid_t pid = start_caller(caller, 0);
    while (!caller->supervisor)
        harness_sleep_ms(1);
    kill(pid, SIGSTOP);
    kill(caller->supervisor, SIGKILL);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    for (int i = 0; i < 2; i++)
        assert_true(harness_wait_gone(caller->workers[i], HARNESS_PATIENCE));
    munmap(caller, sizeof *caller);
}

static void all_ends_when_the_caller_becomes_another_program(void **state)
{
    (void)state;
    struct caller *caller = mmap(NULL, sizeof *caller, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid = fork();
    if (pid == 0) {
        open_pool(2);
        caller->supervisor = supervisor_pid();
        execlp("sleep", "sleep", "100", (char *)NULL);
        _exit(1);
    }
    while (!caller->supervisor)
        harness_sleep_ms(1);
    assert_true(harness_wait_gone(caller->supervisor, HARNESS_PATIENCE));
    assert_int_equal(kill(pid, 0), 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    munmap(caller, sizeof *caller);
}

static void all_ends_when_the_caller_returns_without_closing(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        open_pool(2);
        exit(0);
    }
    waitpid(pid, NULL, 0);
    int children[8];
    assert_int_equal(harness_children(getpid(), children, 8), 0); /* the harness looks for the rest */
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_crash_costs_its_item_and_says_what_happened),
    cmocka_unit_test(all_items_may_crash),
    cmocka_unit_test(crashes_in_large_chunks_lose_nothing),
    cmocka_unit_test(a_crash_without_outcomes_is_counted),
    cmocka_unit_test(a_worker_killed_in_a_map_costs_one_item),
    cmocka_unit_test(idle_workers_that_are_killed_are_replaced),
    cmocka_unit_test(maps_survive_a_hail_of_kills),
    cmocka_unit_test(a_killed_supervisor_ends_the_map_with_an_error),
    cmocka_unit_test(a_supervisor_killed_while_idle_is_noticed),
    cmocka_unit_test(a_killed_supervisor_ends_maps_that_are_about_to_begin),
    cmocka_unit_test(no_zombies_are_left_to_a_process_that_adopts_orphans),
    cmocka_unit_test(a_worker_that_changed_its_group_still_ends_with_its_supervisor),
    cmocka_unit_test(a_task_that_kills_the_supervisor_ends_the_map),
    cmocka_unit_test(a_pool_whose_supervisor_was_killed_can_be_closed_at_once),
    cmocka_unit_test(a_stopped_supervisor_or_worker_does_not_hold_up_terminate),
    cmocka_unit_test(all_ends_when_the_caller_is_killed),
    cmocka_unit_test(all_ends_when_caller_and_supervisor_are_killed),
    cmocka_unit_test(all_ends_when_the_caller_becomes_another_program),
    cmocka_unit_test(all_ends_when_the_caller_returns_without_closing),
};

HARNESS_MAIN(tests)
