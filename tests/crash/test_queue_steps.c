/* Queues, with a process killed at each machine instruction of a call. SPDX-License-Identifier: MIT
 *
 * After each kill: what was put by a call that returned is taken exactly once, in order; what was put by the dead one's
 * call at most once; what it took is gone or there, and there as long as its call had not come to the one store that
 * takes; whoever waited goes on; and when the queue is freed the heap is as before.
 */
#include "channel/segments.h"
#include "memory/heap.h"
#include "steps.h"

#include <errno.h>
#include <mproc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    NUMBERS = 1000,
    FILLED = 1,    /* numbers of what is in the queue before */
    VICTIMS = 101, /* of what the victim puts */
    SURVIVORS = 201,
    LAST = 999,
    LARGE = 20000,
};

/* A call, and what there is before it. */
struct scene {
    const char *name;
    void (*operation)(void); /* in the victim */
    void (*nudge)(void);     /* the victim waits for this */
    int (*survive)(void);    /* a process that waits meanwhile */
    int filled;              /* messages in the queue before */
    int puts, takes;         /* what the victim does to the end */
    int taken_before;        /* by the victim, before the stepping */
    bool borrows_before;     /* likewise */
    bool large;              /* the messages before */
    bool in_blocks;          /* they were handed over */
    bool at_the_end;         /* of a segment, with many behind it that are to be used again or freed */
    bool comes_back;         /* what the victim takes is always delivered again */
    bool leaves_block;       /* one that was taken and whose owner has ended */
    bool held;               /* the test holds a message in a segment in front of those */
    bool unused;             /* the queue has no memory yet for large messages and claims */
    struct mproc_queue_arguments options;
};

/* In the heap. */
static struct world {
    mproc_queue *queue;
    _Atomic int returned; /* the victim's call */
    _Atomic int received[NUMBERS];
    _Atomic int survived;
    void *block;
    struct mproc_message message, held;
} * world;

static const int64_t limit = MPROC_MS(STEPS_LIMIT);
static size_t in_use;

static int64_t large_bytes[LARGE / sizeof(int64_t)];

static int put(int64_t number, bool large)
{
    large_bytes[0] = number;
    return mproc_queue_put(world->queue, large_bytes, large ? LARGE : sizeof number, limit);
}

static int64_t get(int64_t timeout)
{
    static int64_t bytes[LARGE / sizeof(int64_t)];
    int err = mproc_queue_get(world->queue, bytes, sizeof bytes, NULL, timeout);
    return err < 0 ? err : bytes[0];
}

static void *make_block(int64_t number, bool owned)
{
    int64_t *block = owned ? mproc_alloc_owned(LARGE) : mproc_alloc(LARGE);
    block[0] = number;
    return block;
}

/* ---- the victim's calls */

static void victim_puts(void)
{
    if (put(VICTIMS, false) == 0)
        atomic_store(&world->returned, 1);
}

static void victim_puts_large(void)
{
    if (put(VICTIMS, true) == 0)
        atomic_store(&world->returned, 1);
}

static void victim_puts_many(void)
{
    static int64_t numbers[3] = { VICTIMS, VICTIMS + 1, VICTIMS + 2 };
    struct iovec parts[3] = { { &numbers[0], 8 }, { large_bytes, LARGE }, { &numbers[2], 8 } };
    large_bytes[0] = VICTIMS + 1;
    if (mproc_queue_put_many(world->queue, parts, 3, limit) == 3)
        atomic_store(&world->returned, 1);
}

static void victim_puts_block(void)
{
    if (mproc_queue_put_block(world->queue, world->block, LARGE, limit) == 0)
        atomic_store(&world->returned, 1);
}

static void victim_puts_owned_block(void)
{
    void *block = make_block(VICTIMS, true);
    if (mproc_queue_put_block(world->queue, block, LARGE, limit) == 0)
        atomic_store(&world->returned, 1);
}

static void victim_writes_in_place(void)
{
    struct mproc_message message;
    if (mproc_queue_reserve(world->queue, LARGE, &message) != 0)
        return;
    *(int64_t *)message.data = VICTIMS;
    if (mproc_queue_commit(world->queue, &message, limit) == 0)
        atomic_store(&world->returned, 1);
}

static void victim_cancels(void)
{
    struct mproc_message message;
    if (mproc_queue_reserve(world->queue, LARGE, &message) == 0 && mproc_queue_cancel(world->queue, &message) == 0)
        atomic_store(&world->returned, 1);
}

static void victim_gets(void)
{
    if (get(limit) > 0)
        atomic_store(&world->returned, 1);
}

static void victim_gets_many(void)
{
    int64_t numbers[3];
    struct iovec parts[3] = { { &numbers[0], 8 }, { &numbers[1], 8 }, { &numbers[2], 8 } };
    if (mproc_queue_get_many(world->queue, parts, 3, limit) == 3)
        atomic_store(&world->returned, 1);
}

static void victim_gets_block(void)
{
    if (mproc_queue_get_block(world->queue, &world->block, NULL, limit) == 0)
        atomic_store(&world->returned, 1);
}

static void victim_borrows(void)
{
    if (mproc_queue_borrow(world->queue, &world->message, limit) == 0)
        atomic_store(&world->returned, 1);
}

static void victim_borrows_and_releases(void)
{
    if (mproc_queue_borrow(world->queue, &world->message, limit) == 0 &&
        mproc_queue_release(world->queue, &world->message) == 0)
        atomic_store(&world->returned, 1);
}

static void victim_releases(void)
{
    if (mproc_queue_release(world->queue, &world->message) == 0)
        atomic_store(&world->returned, 1);
}

static void victim_is_done(void)
{
    if (mproc_queue_task_done(world->queue) == 0)
        atomic_store(&world->returned, 1);
}

static void victim_gets_and_is_done(void)
{
    if (get(limit) > 0)
        victim_is_done();
}

static void victim_looks(void)
{
    mproc_queue_size(world->queue);
    get(0);
    mproc_queue_detach(world->queue, MPROC_QUEUE_READER);
    mproc_queue_attach(world->queue, MPROC_QUEUE_WRITER_AND_READER);
    atomic_store(&world->returned, 1);
}

/* ---- what others do */

static void put_one(void)
{
    assert_int_equal(put(SURVIVORS, false), 0);
}

static void get_one(void)
{
    int64_t number = get(limit);
    assert_in_range(number, 1, NUMBERS - 1);
    atomic_fetch_add(&world->received[number], 1);
}

/* Takes until it is told that this was the last one. */
static int take_all(void)
{
    for (;;) {
        int64_t number = get(limit);
        if (number <= 0)
            return 1;
        atomic_fetch_add(&world->received[number], 1);
        mproc_queue_task_done(world->queue); /* if the queue is joinable */
        if (number == LAST)
            break;
    }
    atomic_store(&world->survived, 1);
    return 0;
}

static int take_next(void)
{
    get_one();
    mproc_queue_task_done(world->queue); /* if the queue is joinable */
    atomic_store(&world->survived, 1);
    return 0;
}

static int borrow_all(void)
{
    for (int64_t number = 0; number != LAST;) {
        struct mproc_message message;
        if (mproc_queue_borrow(world->queue, &message, limit) != 0)
            return 1;
        number = *(int64_t *)message.data;
        atomic_fetch_add(&world->received[number], 1);
        if (mproc_queue_release(world->queue, &message) != 0)
            return 2;
    }
    atomic_store(&world->survived, 1);
    return 0;
}

/* Waits for room. */
static int put_two(void)
{
    for (int i = 0; i < 2; i++)
        if (put(SURVIVORS + i, i == 1) != 0)
            return 1;
    atomic_store(&world->survived, 1);
    return 0;
}

/* ---- before and after */

static void fill(const struct scene *scene)
{
    for (int i = 0; i < scene->filled; i++) {
        if (scene->in_blocks)
            assert_int_equal(mproc_queue_put_block(world->queue, make_block(FILLED + i, false), LARGE, 0), 0);
        else
            assert_int_equal(put(FILLED + i, scene->large), 0);
    }
}

/* So that the next message begins a segment, and others are drained. */
static void go_to_the_end(const struct scene *scene)
{
    enum { SEGMENTS = 6, RECORD = 16, BIG = INLINE_MOST - RECORD };
    int messages = SEGMENTS * (SEGMENT_BYTES / INLINE_MOST);
    for (int i = 0; i < messages; i++)
        assert_int_equal(mproc_queue_put(world->queue, large_bytes, BIG, 0), 0);
    if (scene->held)
        assert_int_equal(mproc_queue_borrow(world->queue, &world->held, 0), 0);
    for (int i = scene->held; i < messages; i++)
        assert_true(get(0) >= 0);
    while (segments_have_room(world->queue, (size_t)RECORD * (1 + (size_t)scene->filled))) {
        assert_int_equal(put(LAST, false), 0);
        assert_int_equal(get(0), LAST);
    }
}

static const struct scene *current;

static void prepare(void)
{
    memset(world, 0, sizeof *world);
    struct mproc_queue_arguments options = current->options;
    options.size = sizeof options;
    assert_int_equal(mproc_queue_create_with(&world->queue, &options), 0);
    if (!current->unused) {
        struct mproc_message message;
        assert_int_equal(put(LAST, true), 0);
        assert_int_equal(mproc_queue_borrow(world->queue, &message, 0), 0);
        assert_int_equal(mproc_queue_release(world->queue, &message), 0);
    }
    if (current->at_the_end)
        go_to_the_end(current);
    fill(current);
    if (current->operation == victim_puts_block)
        world->block = make_block(VICTIMS, false);
}

static void survivor_ready(void)
{
    mproc_free(mproc_alloc(8));
    mproc_free(mproc_alloc(LARGE));
    mproc_queue_attach(world->queue, MPROC_QUEUE_WRITER_AND_READER);
}

static void ready(void)
{
    survivor_ready();
    for (int i = 0; i < current->taken_before; i++)
        if (get(limit) <= 0)
            _exit(1);
    if (current->borrows_before && mproc_queue_borrow(world->queue, &world->message, limit) != 0)
        _exit(1);
}

static void operate(void)
{
    current->operation();
}

static void drain(void)
{
    int64_t before = 0, number;
    while ((number = get(0)) > 0) {
        assert_true(number > before || number >= VICTIMS);
        before = number;
        atomic_fetch_add(&world->received[number], 1);
    }
    assert_int_equal(number, -ETIMEDOUT);
    if (current->options.joinable || current->options.redeliver)
        while (mproc_queue_task_done(world->queue) == 0) {
        }
}

static int received(int first, int count)
{
    int sum = 0;
    for (int i = first; i < first + count; i++) {
        assert_in_range(atomic_load(&world->received[i]), 0, 1);
        sum += atomic_load(&world->received[i]);
    }
    return sum;
}

/* What is missing is the first ones, which the victim took. */
static void check_taken(void)
{
    int missing = current->filled - received(FILLED, current->filled);
    int most = current->comes_back ? 0 : current->takes;
    assert_in_range(missing, 0, most);
    for (int i = 0; i < missing; i++)
        assert_int_equal(atomic_load(&world->received[FILLED + i]), 0);
    if (atomic_load(&world->returned) && (!current->survive || current->borrows_before))
        assert_int_equal(missing, most);
}

static void check_put(void)
{
    int put = received(VICTIMS, current->puts);
    for (int i = put; i < current->puts; i++)
        assert_int_equal(atomic_load(&world->received[VICTIMS + i]), 0);
    if (atomic_load(&world->returned))
        assert_int_equal(put, current->puts);
    if (current->operation == victim_puts_block && put == 0)
        assert_int_equal(mproc_free(world->block), 0); /* still the program's */
}

/* It can be used on, to its limits and over several segments. */
static void check_use(void)
{
    struct mproc_message message;
    assert_int_equal(mproc_queue_size(world->queue), 0);
    assert_int_equal(mproc_queue_bytes(world->queue), 0);
    int most = current->options.messages ? (int)current->options.messages : 80;
    for (int i = 0; i < most; i++)
        assert_int_equal(i % 40 == 1 ? put(LAST, true) : mproc_queue_put(world->queue, large_bytes, INLINE_MOST, 0), 0);
    assert_int_equal(mproc_queue_size(world->queue), most);
    if (current->options.messages)
        assert_int_equal(mproc_queue_put(world->queue, "", 0, 0), -ETIMEDOUT);
    for (int i = 0; i < most; i++) {
        assert_int_equal(mproc_queue_borrow(world->queue, &message, 0), 0);
        assert_int_equal(mproc_queue_release(world->queue, &message), 0);
    }
    if (current->options.joinable || current->options.redeliver)
        assert_int_not_equal(mproc_queue_join(world->queue, 0), -ETIMEDOUT);
}

static void await_survivor(void)
{
    if (current->survive == take_all || current->survive == borrow_all)
        assert_int_equal(put(LAST, false), 0);
    for (int i = 0; i < STEPS_LIMIT && !atomic_load(&world->survived); i++) {
        if (current->survive == put_two)
            drain();
        harness_sleep_ms(1);
    }
    assert_int_equal(atomic_load(&world->survived), 1);
}

static void check(bool whole)
{
    (void)whole;
    if (current->survive)
        await_survivor();
    drain();
    check_taken();
    check_put();
    if (current->survive == put_two)
        assert_int_equal(received(SURVIVORS, 2), 2);
    if (current->borrows_before && atomic_load(&world->returned))
        assert_int_equal(mproc_queue_lost(world->queue), 0);
    check_use();
    if (current->held)
        assert_int_equal(mproc_queue_release(world->queue, &world->held), 0);
    assert_int_equal(mproc_queue_free(world->queue), 0);
    if (current->leaves_block && received(FILLED, 1) == 0)
        mproc_free(world->block); /* or it was lost with the victim, before that said where it is */
    size_t now = heap_bytes_in_use();
    if (now != in_use && !(current->leaves_block && received(FILLED, 1) == 0 && !atomic_load(&world->returned)))
        fail_msg("%s: %zd bytes too many are left", current->name, (ssize_t)(now - in_use));
    in_use = now;
}

/* clang-format off */
static const struct scene scenes[] = {
    { "put", victim_puts, .puts = 1 },
    { "put, one waits for it", victim_puts, .survive = take_all, .puts = 1 },
    { "put, one waits to borrow it", victim_puts, .survive = borrow_all, .puts = 1 },
    { "put, waiting for room", victim_puts, .nudge = get_one, .filled = 2, .puts = 1, .options = { .messages = 2 } },
    { "put, over the end of a segment", victim_puts, .puts = 1, .filled = 2, .at_the_end = true },
    { "put, over the end of a segment, one before is held", victim_puts, .puts = 1, .filled = 2, .at_the_end = true,
      .held = true },
    { "put a large one", victim_puts_large, .puts = 1 },
    { "put a large one, one waits for it", victim_puts_large, .survive = take_all, .puts = 1 },
    { "put a large one, others before", victim_puts_large, .puts = 1, .filled = 3, .large = true },
    { "put many", victim_puts_many, .puts = 3 },
    { "put many, one waits for them", victim_puts_many, .survive = take_all, .puts = 3 },
    { "put a block", victim_puts_block, .puts = 1 },
    { "put a block of its own", victim_puts_owned_block, .puts = 1 },
    { "reserve and commit", victim_writes_in_place, .puts = 1 },
    { "reserve and commit, one waits for it", victim_writes_in_place, .survive = take_all, .puts = 1 },
    { "reserve and commit, over the end of a segment", victim_writes_in_place, .puts = 1, .at_the_end = true },
    { "reserve and cancel", victim_cancels, .puts = 0 },
    { "get", victim_gets, .filled = 3, .takes = 1 },
    { "get, waiting for it", victim_gets, .nudge = put_one },
    { "get, another one waits", victim_gets, .survive = take_all, .filled = 1, .takes = 1 },
    { "get, one waits for room", victim_gets, .survive = put_two, .filled = 2, .takes = 1, .options = { .messages = 2 } },
    { "get, over the end of a segment", victim_gets, .filled = 2, .takes = 1, .at_the_end = true },
    { "get a large one", victim_gets, .filled = 3, .takes = 1, .large = true },
    { "get a large one, another one waits", victim_gets, .survive = take_all, .filled = 1, .takes = 1, .large = true },
    { "get a large one, one waits for room", victim_gets, .survive = put_two, .filled = 2, .takes = 1, .large = true,
      .options = { .messages = 2 } },
    { "get a block's bytes", victim_gets, .filled = 2, .takes = 1, .in_blocks = true },
    { "get many", victim_gets_many, .filled = 4, .takes = 3 },
    { "get as a block", victim_gets_block, .filled = 2, .takes = 1, .leaves_block = true },
    { "get a block", victim_gets_block, .filled = 2, .takes = 1, .in_blocks = true, .leaves_block = true },
    { "get a large one as a block", victim_gets_block, .filled = 2, .takes = 1, .large = true, .leaves_block = true },
    { "borrow", victim_borrows, .filled = 2, .takes = 1 },
    { "borrow a large one", victim_borrows, .filled = 2, .takes = 1, .large = true },
    { "borrow a block", victim_borrows, .filled = 2, .takes = 1, .in_blocks = true },
    { "borrow, another one waits", victim_borrows, .survive = borrow_all, .filled = 1, .takes = 1 },
    { "borrow and release", victim_borrows_and_releases, .filled = 2, .takes = 1 },
    { "borrow and release a large one", victim_borrows_and_releases, .filled = 2, .takes = 1, .large = true },
    { "borrow and release a block", victim_borrows_and_releases, .filled = 2, .takes = 1, .in_blocks = true },
    { "borrow, to be delivered again", victim_borrows, .filled = 2, .takes = 1, .comes_back = true,
      .options = { .redeliver = true } },
    { "borrow and release, one to be delivered again", victim_borrows_and_releases, .filled = 2, .takes = 1,
      .large = true, .options = { .redeliver = true } },
    { "get, to be delivered again", victim_gets, .filled = 2, .takes = 1, .comes_back = true,
      .options = { .redeliver = true } },
    { "get, to be delivered again to one who waits", victim_gets, .survive = take_all, .filled = 1, .takes = 1,
      .comes_back = true, .large = true, .options = { .redeliver = true } },
    { "get and be done", victim_gets_and_is_done, .filled = 2, .takes = 1, .options = { .joinable = true } },
    { "be done", victim_is_done, .filled = 2, .takes = 1, .taken_before = 1, .options = { .redeliver = true } },
    { "be done with a large one", victim_is_done, .filled = 2, .takes = 1, .taken_before = 1, .large = true,
      .options = { .redeliver = true } },
    { "look, detach, attach", victim_looks, .puts = 0 },
    { "look, detach, attach, another one waits", victim_looks, .survive = take_all },
};
/* clang-format on */

static void begin(void)
{
    atomic_store(&queue_cpus, 1); /* who waits does not spin: thousands of instructions that only look */
    world = mproc_calloc(1, sizeof *world);
    assert_non_null(world);
    in_use = heap_bytes_in_use();
}

static struct steps steps_of(const struct scene *scene)
{
    current = scene;
    return (struct steps) { scene->name, prepare, ready, operate, scene->nudge, scene->survive, check };
}

static void every_call(void **state)
{
    (void)state;
    long points = 0;
    harness_leaves_memory(); /* blocks that victims had taken, and had not said where: see check */
    begin();
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++) {
        struct steps steps = steps_of(&scenes[i]);
        points += steps_run(&steps, stepper_stride(101));
    }
    printf("points: %ld\n", points);
    assert_true(points > 50);
    mproc_free(world);
}

static void every_call_beside_one_that_stands_still(void **state)
{
    (void)state;
    long points = 0;
    begin();
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++) {
        struct steps steps = steps_of(&scenes[i]);
        if (scenes[i].survive)
            points += steps_run_beside(&steps, getenv("MPROC_CRASH_ALL") ? 23 : 1201);
    }
    printf("points: %ld\n", points);
    assert_true(points > 5);
    mproc_free(world);
}

/* One that looks after what the dead had taken sees that the victim has a message, and then that the victim is dead. In
 * between, it may have released the message, whose memory is used again. */
static void what_was_released_does_not_come_back(void **state)
{
    (void)state;
    static const struct scene releases[] = {
        { "release, beside one who looks", victim_releases, .survive = take_next, .filled = 2, .takes = 1,
          .borrows_before = true },
        { "release one to be delivered again, beside one who looks", victim_releases, .survive = take_next, .filled = 2,
          .takes = 1, .borrows_before = true, .options = { .redeliver = true } },
    };
    long points = 0;
    begin();
    for (size_t i = 0; i < sizeof releases / sizeof *releases; i++) {
        struct steps steps = steps_of(&releases[i]);
        points += steps_run_to_the_end_beside(&steps, survivor_ready, stepper_stride(5));
    }
    printf("points: %ld\n", points);
    assert_true(points > 50);
    mproc_free(world);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_call),
    cmocka_unit_test(every_call_beside_one_that_stands_still),
    cmocka_unit_test(what_was_released_does_not_come_back),
};

HARNESS_MAIN_SECONDS(tests, getenv("MPROC_CRASH_ALL") ? 7200 : 600)
