/* A map in which one process is killed at each machine instruction in turn. SPDX-License-Identifier: MIT
 *
 * The processes under test are a caller, which is a child of this test, its supervisor and its workers. The test steps
 * one of them through its part of a map, kills it, and has the others prove that nothing hangs and nothing is lost.
 */
#include "harness.h"
#include "stepper.h"

#include <mproc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ITEMS = 5, PATIENCE = 200 };

enum { FUTEX_WAITV = 449 }; /* how a caller waits for a job and watches the supervisor */

static int add_one(const int *in, int *out)
{
    *out = *in + 1;
    return 0;
}
MPROC_TASK(add_one);

/* A task that waits, so that its worker can be found in the middle of an item. */
static int wait_for_kill(const int *in, int *out)
{
    if (*in == 0)
        harness_sleep_ms(100000);
    *out = *in + 1;
    return 0;
}
MPROC_TASK(wait_for_kill);

/* Between the test and the caller. */
struct control {
    _Atomic int wanted, done;                     /* maps */
    _Atomic int wrong;                            /* line of the check that failed, or 0 */
    _Atomic int result;                           /* of the last map */
    _Atomic int victim, victim_has_item, stepped; /* the worker that is stepped, and whether that is over */
    int workers, chunk;
    enum task { ADD_ONE, NAP, WAIT_FOR_KILL, BYTES } task;
    size_t heap_bytes; /* between calls, at most */
};

static struct control *control;

/* A task that takes a moment, so that a worker that is stepped gets some of the items; the first one surely. */
static int nap(const int *in, int *out)
{
    if (getpid() == control->victim)
        control->victim_has_item = 1;
    while (!control->victim_has_item && !control->stepped)
        usleep(100);
    usleep(2000);
    *out = *in + 1;
    return 0;
}
MPROC_TASK(nap);

/* A result of memory of its own, larger than what a call itself leaves until the next one. */
enum { REPEATS = 1000, CALL_BYTES = 2048 };

static int repeat(const struct mproc_bytes *in, struct mproc_bytes *out)
{
    char *text = mproc_bytes_allocate(out, REPEATS * in->size);
    for (int i = 0; text && i < REPEATS; i++)
        memcpy(text + (size_t)i * in->size, in->data, in->size);
    return text ? 0 : -1;
}
MPROC_TASK(repeat);

static bool check(bool right, int line)
{
    if (!right)
        control->wrong = line;
    return right;
}

#define CHECK(condition) check(condition, __LINE__)

/* Each item has exactly one outcome, and it is the right one. `crashes`: how many may be charged with a kill. */
static void check_map(int result, const int *out, const struct mproc_outcome *outcomes, int crashes)
{
    int ok = 0, crashed = 0;
    for (int i = 0; i < ITEMS; i++) {
        if (outcomes[i].kind == MPROC_OK && CHECK(out[i] == i + 1))
            ok++;
        if (outcomes[i].kind == MPROC_CRASHED && CHECK(outcomes[i].signal == SIGKILL && out[i] == 0))
            crashed++;
    }
    if (result >= 0) {
        CHECK(ok + crashed == ITEMS);
        CHECK(crashed == result && crashed <= crashes);
    } else {
        CHECK(result == MPROC_E_SUPERVISOR_DIED);
    }
}

static int map_once(mproc_pool *pool, int crashes)
{
    int in[ITEMS] = { 0, 1, 2, 3, 4 }, out[ITEMS] = { 0 };
    struct mproc_outcome outcomes[ITEMS];
    int (*const tasks[])(const int *, int *) = { add_one, nap, wait_for_kill };
    int result =
        mproc_map(pool, tasks[control->task], in, out, ITEMS, .chunk = (size_t)control->chunk, .outcomes = outcomes);
    check_map(result, out, outcomes, crashes);
    return result;
}

static size_t heap_bytes(void)
{
    struct mproc_heap_statistics statistics = { .size = sizeof statistics };
    CHECK(mproc_heap_statistics(&statistics) == 0);
    return statistics.bytes_in_use;
}

/* A future of bytes, tried again after a crash. What killed workers had allocated is freed: in the end, there is no
 * more in the heap than there was. */
static int bytes_once(mproc_pool *pool)
{
    struct mproc_bytes in = { (void *)"abc", 3 }, out = { NULL, 0 };
    mproc_future *future = NULL;
    CHECK(mproc_submit(&future, pool, repeat, &in, &out, .retries = 1) == 0);
    int result = mproc_future_wait(future, MPROC_FOREVER);
    CHECK(result == 0 && out.size == 3 * REPEATS && memcmp(out.data, "abcabcabc", 9) == 0);
    CHECK(mproc_future_free(future) == 0 && mproc_bytes_free(&out) == 0);
    if (control->heap_bytes == 0)
        control->heap_bytes = heap_bytes();
    for (int attempt = 0; attempt < 1000 && heap_bytes() > control->heap_bytes + CALL_BYTES; attempt++)
        usleep(1000); /* what the dead owned goes with them */
    CHECK(heap_bytes() <= control->heap_bytes + CALL_BYTES);
    return result;
}

static _Noreturn void be_caller(void)
{
    mproc_pool *pool;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    CHECK(mproc_pool_open(&pool, .workers = control->workers) == 0);
    control->done = 0;
    for (int round = 1;; round++) {
        while (control->wanted < round)
            usleep(20);
        control->result = control->task == BYTES ? bytes_once(pool) : map_once(pool, 1);
        control->done = round;
    }
}

static pid_t start_caller(int workers, int chunk, enum task task)
{
    *control = (struct control) { .done = -1, .workers = workers, .chunk = chunk, .task = task };
    pid_t pid = fork();
    if (pid == 0)
        be_caller();
    while (control->done != 0)
        usleep(100);
    return pid;
}

static void end_caller(pid_t caller)
{
    kill(caller, SIGKILL);
    waitpid(caller, NULL, 0);
}

static int only_child(pid_t pid)
{
    int children[2];
    return harness_children(pid, children, 2) == 1 ? children[0] : 0;
}

static void wait_for_map(int round)
{
    double deadline = harness_now() + HARNESS_PATIENCE / 1000.0;
    while (control->done < round && harness_now() < deadline)
        usleep(20);
    if (control->done < round)
        fail_msg("the map does not end");
    if (control->wrong)
        fail_msg("check in line %d failed, map returned %d", control->wrong, control->result);
}

/* Returns when nothing more comes from the caller by itself, so that a worker that sleeps then has nothing to do. */
static void begin_map(pid_t caller, int round)
{
    control->wanted = round;
    while (control->done < round && !stepper_wait_in_call(caller, FUTEX_WAITV, 1) &&
           !stepper_wait_in_call(caller, SYS_futex, 1)) {
    }
}

static void begin(void)
{
    if (!stepper_is_possible())
        harness_skip("this machine does not allow ptrace");
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* ---- a worker */

/* Waits until all workers are idle. One that was just killed is still listed until the supervisor has reaped it. */
static int asleep_worker(pid_t supervisor, int count, int index)
{
    int workers[8], asleep = 0, listed = 0;
    for (int attempt = 0; asleep < count && attempt < HARNESS_PATIENCE; attempt++) {
        if (attempt > 0)
            harness_sleep_ms(1);
        listed = harness_children(supervisor, workers, 8);
        for (asleep = 0; asleep < listed && listed == count; asleep++)
            if (!stepper_wait_in_call(workers[asleep], SYS_futex, 1))
                break;
    }
    if (asleep < count) {
        for (int i = 0; i < listed; i++)
            printf("worker %d of %d: process %d, state %c\n", i, listed, workers[i], harness_process_state(workers[i]));
        fail_msg("the workers do not come to rest; the supervisor is in state %c", harness_process_state(supervisor));
    }
    return workers[index];
}

static long kill_worker_at_each_step(int workers, int chunk, enum task task, long stride)
{
    pid_t caller = start_caller(workers, chunk, task);
    pid_t supervisor = only_child(caller);
    long points = 0;
    int round = 0;
    for (long k = 0;; k += stride) {
        int victim = asleep_worker(supervisor, workers, 0);
        assert_true(stepper_attach(victim));
        control->victim = victim;
        control->victim_has_item = control->stepped = 0;
        begin_map(caller, ++round);
        bool whole = stepper_step(victim, k, PATIENCE) < k;
        if (whole)
            stepper_detach(victim);
        else
            stepper_kill(victim);
        control->stepped = 1;
        wait_for_map(round);
        control->wanted = ++round; /* the pool works on */
        wait_for_map(round);
        if (whole)
            break;
        points++;
    }
    end_caller(caller);
    return points;
}

static void the_only_worker_is_killed_at_every_instruction_of_a_map(void **state)
{
    (void)state;
    begin();
    long points = kill_worker_at_each_step(1, 0, ADD_ONE, stepper_stride(499));
    points += kill_worker_at_each_step(1, 2, ADD_ONE, stepper_stride(499));
    printf("points: %ld\n", points);
    assert_true(points > 50);
}

static void one_of_two_workers_is_killed_at_every_instruction_of_a_map(void **state)
{
    (void)state;
    begin();
    long points = kill_worker_at_each_step(2, 1, NAP, stepper_stride(151));
    printf("points: %ld\n", points);
    assert_true(points > 50);
}

static void the_only_worker_is_killed_at_every_instruction_of_a_result_of_bytes(void **state)
{
    (void)state;
    begin();
    long points = kill_worker_at_each_step(1, 0, BYTES, stepper_stride(1999));
    printf("points: %ld\n", points);
    assert_true(points > 10);
}

/* Both workers are stepped; one stops after j instructions and waits there while the other one is killed after k. */
static void a_worker_is_killed_while_another_stands_still_at_every_instruction(void **state)
{
    (void)state;
    begin();
    pid_t caller = start_caller(2, 2, ADD_ONE);
    pid_t supervisor = only_child(caller);
    long points = 0, stride = getenv("MPROC_CRASH_ALL") ? 97 : 3001, longest = 1;
    int round = 0;
    for (long j = 1; longest >= j; j += stride) {
        for (long k = 1;; k += stride) {
            int still = asleep_worker(supervisor, 2, 0), victim = asleep_worker(supervisor, 2, 1);
            assert_true(stepper_attach(still) && stepper_attach(victim));
            begin_map(caller, ++round);
            long did = stepper_step(still, j, PATIENCE);
            long got = stepper_step(victim, k, PATIENCE);
            longest = did < j ? did : longest > j ? longest : j + stride;
            if (got < k)
                stepper_detach(victim);
            else
                stepper_kill(victim);
            usleep(got < k ? 0 : 2000); /* the supervisor looks while the other stands still */
            stepper_detach(still);
            wait_for_map(round);
            if (got < k || did < j)
                break;
            points++;
        }
    }
    end_caller(caller);
    printf("points: %ld\n", points);
    assert_true(points > 20);
}

/* ---- the supervisor */

/* The one that waits in item 0. */
static int busy_worker(const int workers[2])
{
    for (int i = 0;; i = !i)
        if (stepper_wait_in_call(workers[i], SYS_clock_nanosleep, 1))
            return workers[i];
}

/* Steps the supervisor from the death of a worker on, until it is idle again. */
static void the_supervisor_is_killed_at_every_instruction_of_replacing_a_worker(void **state)
{
    (void)state;
    begin();
    long points = 0, stride = stepper_stride(499);
    for (long k = 0;; k += stride) {
        pid_t caller = start_caller(2, 1, WAIT_FOR_KILL);
        pid_t supervisor = only_child(caller);
        int workers[8];
        assert_true(harness_wait_children(supervisor, 2, HARNESS_PATIENCE));
        harness_children(supervisor, workers, 8);
        assert_true(stepper_attach(supervisor));
        control->wanted = 1;
        int victim = busy_worker(workers);
        kill(victim, SIGKILL);
        assert_true(harness_wait_gone(victim, HARNESS_PATIENCE)); /* so that the supervisor is about to hear of it */
        bool whole = stepper_step(supervisor, k, PATIENCE) < k;
        if (whole)
            stepper_detach(supervisor);
        else
            stepper_kill(supervisor);
        wait_for_map(1);
        for (int i = 0; i < 2 && !whole; i++)
            assert_true(harness_wait_gone(workers[i], HARNESS_PATIENCE));
        end_caller(caller);
        assert_true(harness_wait_gone(supervisor, HARNESS_PATIENCE));
        if (whole)
            break;
        points++;
    }
    printf("points: %ld\n", points);
    assert_true(points > 20);
}

/* ---- the caller */

enum phase { OPEN, MAP, CLOSE };

/* Stops itself where the stepping begins and where it ends. */
static _Noreturn void open_map_close(enum phase phase)
{
    mproc_pool *pool;
    for (enum phase now = OPEN; now <= CLOSE; now++) {
        if (now == phase)
            raise(SIGSTOP);
        if (now == OPEN)
            CHECK(mproc_pool_open(&pool, .workers = 2) == 0);
        else if (now == MAP)
            CHECK(map_once(pool, 0) == 0);
        else
            CHECK(mproc_pool_close(pool) == 0);
        if (now == phase)
            raise(SIGSTOP);
    }
    _exit(0);
}

/* Kills the caller after k instructions of a phase; what it started must vanish. Returns false when it got to the end.
 */
static bool kill_caller_after(enum phase phase, long k)
{
    int status, supervisor[1], workers[8], count = 0;
    *control = (struct control) { .chunk = 1 };
    pid_t caller = fork();
    if (caller == 0)
        open_map_close(phase);
    waitpid(caller, &status, WUNTRACED);
    assert_true(WIFSTOPPED(status) && stepper_attach(caller));
    kill(caller, SIGCONT);
    bool whole = stepper_step(caller, k, HARNESS_PATIENCE) < k;
    int supervisors = harness_children(caller, supervisor, 1);
    if (supervisors == 1)
        count = harness_children(supervisor[0], workers, 8);
    stepper_kill(caller);
    if (supervisors == 1)
        assert_true(harness_wait_gone(supervisor[0], HARNESS_PATIENCE));
    for (int i = 0; i < count; i++)
        assert_true(harness_wait_gone(workers[i], HARNESS_PATIENCE));
    if (control->wrong)
        fail_msg("check in line %d failed", control->wrong);
    return !whole;
}

static void kill_caller_at_each_step(enum phase phase, long stride)
{
    begin();
    long points = 0;
    while (kill_caller_after(phase, points * stride))
        points++;
    printf("points: %ld\n", points);
    assert_true(points > 10);
}

static void the_caller_is_killed_at_every_instruction_of_open(void **state)
{
    (void)state;
    /* Most of its 40,000 instructions read and parse text from /proc and /sys. */
    kill_caller_at_each_step(OPEN, stepper_stride(1601) == 1 ? 7 : 1601);
}

static void the_caller_is_killed_at_every_instruction_of_a_map(void **state)
{
    (void)state;
    kill_caller_at_each_step(MAP, stepper_stride(149));
}

static void the_caller_is_killed_at_every_instruction_of_close(void **state)
{
    (void)state;
    kill_caller_at_each_step(CLOSE, stepper_stride(149));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_only_worker_is_killed_at_every_instruction_of_a_map),
    cmocka_unit_test(one_of_two_workers_is_killed_at_every_instruction_of_a_map),
    cmocka_unit_test(the_only_worker_is_killed_at_every_instruction_of_a_result_of_bytes),
    cmocka_unit_test(a_worker_is_killed_while_another_stands_still_at_every_instruction),
    cmocka_unit_test(the_supervisor_is_killed_at_every_instruction_of_replacing_a_worker),
    cmocka_unit_test(the_caller_is_killed_at_every_instruction_of_open),
    cmocka_unit_test(the_caller_is_killed_at_every_instruction_of_a_map),
    cmocka_unit_test(the_caller_is_killed_at_every_instruction_of_close),
};

HARNESS_MAIN_SECONDS(tests, getenv("MPROC_CRASH_ALL") ? 7200 : 600)
