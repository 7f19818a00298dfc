/* Roles in a queue that a process reserved for another one, and that it is killed before or while they are adopted.
 * SPDX-License-Identifier: MIT
 *
 * The test is the process that adopts. A survivor that looks after the roles of ended processes stands still after each
 * few instructions meanwhile.
 */
#include "channel/roles.h"
#include "os/futex.h"
#include "steps.h"

#include <mproc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the heap. */
static struct world {
    mproc_queue *queue;
    struct role_reservation reservation;
    _Atomic uint32_t tried, survived;
} * world;

static bool adopted;

static void join_heap(void)
{
    mproc_free(mproc_alloc(8));
}

static void reserve(void)
{
    if (!roles_reserve(world->queue, member_self(), MPROC_QUEUE_WRITER, &world->reservation))
        _exit(1);
}

static void prepare(void)
{
    memset(world, 0, sizeof *world);
    adopted = false;
    assert_int_equal(mproc_queue_create_with(&world->queue, NULL), 0);
    assert_int_equal(mproc_queue_detach(world->queue, MPROC_QUEUE_WRITER_AND_READER), 0);
}

/* By a process that is dead before the survivor begins. */
static void prepare_reserved(void)
{
    prepare();
    pid_t pid = fork();
    if (pid == 0) {
        reserve();
        raise(SIGKILL);
    }
    waitpid(pid, NULL, 0);
    assert_non_null(world->reservation.holder);
}

static void wait_for_adoption(void)
{
    while (!atomic_load(&world->tried))
        os_futex_wait(&world->tried, 0, -1);
}

/* When the victim sleeps. */
static void adopt(void)
{
    struct member *self = member_self();
    roles_adopt(&world->reservation, self);
    adopted = atomic_load(&world->reservation.holder->id) == self->process_id;
    atomic_store(&world->tried, 1);
    os_futex_wake(&world->tried, 1);
}

static int attach(void)
{
    if (mproc_queue_attach(world->queue, MPROC_QUEUE_READER) != 0)
        return 1;
    atomic_store(&world->survived, 1);
    return 0;
}

static int look_for_writers(void)
{
    bool alive = roles_alive(world->queue, MPROC_QUEUE_WRITER);
    atomic_store(&world->survived, 1);
    return alive ? 0 : 1;
}

static void check(bool whole)
{
    (void)whole;
    for (int i = 0; i < STEPS_LIMIT && !atomic_load(&world->survived); i++)
        harness_sleep_ms(1);
    if (adopted != roles_alive(world->queue, MPROC_QUEUE_WRITER))
        fail_msg("the role that was adopted is not there");
    assert_int_equal(mproc_queue_free(world->queue), 0);
}

static void attach_alone(void)
{
    attach();
}

/* The dead reader and the dead one who reserved leave entries that are used again. */
static void check_forgotten(bool whole)
{
    (void)whole;
    assert_false(roles_alive(world->queue, MPROC_QUEUE_WRITER_AND_READER));
    assert_int_equal(mproc_queue_attach(world->queue, MPROC_QUEUE_WRITER), 0);
    assert_int_equal(holders_sum(&world->queue->roles), MPROC_QUEUE_WRITER);
    assert_int_equal(mproc_queue_free(world->queue), 0);
}

static void make_world(void)
{
    world = mproc_calloc(1, sizeof *world);
    assert_non_null(world);
}

static void what_was_adopted_stays(void **state)
{
    (void)state;
    static const struct steps all[] = {
        { .name = "forget who reserved, who dies meanwhile",
          .prepare = prepare,
          .ready = reserve,
          .operation = wait_for_adoption,
          .nudge = adopt,
          .survive = attach,
          .check = check },
        { .name = "forget who reserved and was dead",
          .prepare = prepare_reserved,
          .ready = join_heap,
          .operation = wait_for_adoption,
          .nudge = adopt,
          .survive = attach,
          .check = check },
        { .name = "look for writers",
          .prepare = prepare,
          .ready = reserve,
          .operation = wait_for_adoption,
          .nudge = adopt,
          .survive = look_for_writers,
          .check = check },
    };
    long points = 0;
    make_world();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        points += steps_run_to_the_end_beside(&all[i], join_heap, stepper_stride(7));
    printf("points: %ld\n", points);
    assert_true(points > 50);
    mproc_free(world);
}

static void one_who_forgets_the_dead_may_be_killed(void **state)
{
    (void)state;
    const struct steps steps = { .name = "forget who reserved",
                                 .prepare = prepare_reserved,
                                 .ready = join_heap,
                                 .operation = attach_alone,
                                 .check = check_forgotten };
    make_world();
    assert_true(steps_run(&steps, stepper_stride(3)) > 50);
    mproc_free(world);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(one_who_forgets_the_dead_may_be_killed),
    cmocka_unit_test(what_was_adopted_stays),
};

HARNESS_MAIN_SECONDS(tests, getenv("MPROC_CRASH_ALL") ? 7200 : 600)
