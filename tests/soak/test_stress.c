/* Many processes that allocate, free, lock and wait, and are killed at random, for as long as is wished:
 * MPROC_SOAK_SECONDS. SPDX-License-Identifier: MIT
 *
 * Checked all the time: mutual exclusion, that data are whole or said not to be, that blocks hold what was written into
 * them, that everybody gets on. Checked at the end: no block, unit or lock is left.
 */
#include "harness.h"

#include "memory/heap.h"

#include <errno.h>
#include <mproc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PLAYERS = 8, SLOTS = 64, HELD = 16, UNITS = 3, PARTIES = 3 };

/* In the heap. */
struct world {
    mproc_lock lock, table_lock;
    mproc_rlock rlock;
    mproc_rwlock rwlock;
    mproc_semaphore semaphore;
    mproc_condition condition;
    mproc_event event;
    mproc_barrier barrier;
    _Atomic long inside, writing; /* who is; 0: nobody */
    long first, second, written, copy;
    char *table[SLOTS];
    _Atomic long operations, deaths_seen;
    int items;
};

static struct world *world;

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            _exit(100);                                                                                                \
        }                                                                                                              \
    } while (0)

static bool held(int result)
{
    if (result == MPROC_E_OWNER_DIED)
        world->deaths_seen++;
    CHECK(result == 0 || result == MPROC_E_OWNER_DIED || result == -ETIMEDOUT);
    return result != -ETIMEDOUT;
}

static void exclude(long me, unsigned *seed)
{
    int result = mproc_lock_acquire(&world->lock, rand_r(seed) % 3 ? MPROC_FOREVER : MPROC_US(rand_r(seed) % 500));
    if (!held(result))
        return;
    CHECK(result != 0 || (atomic_load(&world->inside) == 0 && world->first == world->second));
    atomic_store(&world->inside, me);
    world->second = ++world->first;
    if (rand_r(seed) % 8 == 0)
        sched_yield();
    CHECK(atomic_load(&world->inside) == me && world->first == world->second);
    world->items++;
    mproc_condition_notify(&world->condition, 1 + rand_r(seed) % 2);
    if (rand_r(seed) % 4 == 0) {
        atomic_store(&world->inside, 0);
        if (result != 0)
            mproc_lock_mark_consistent(&world->lock);
        held(mproc_condition_wait(&world->condition, &world->lock, MPROC_US(rand_r(seed) % 2000)));
        mproc_lock_mark_consistent(&world->lock);
        world->second = world->first;
    }
    atomic_store(&world->inside, 0);
    mproc_lock_mark_consistent(&world->lock);
    CHECK(mproc_lock_release(&world->lock) == 0);
}

static void read_or_write(long me, unsigned *seed)
{
    bool writes = rand_r(seed) % 3 == 0;
    int64_t timeout = rand_r(seed) % 2 ? MPROC_FOREVER : MPROC_US(rand_r(seed) % 500);
    int result = writes ? mproc_rwlock_acquire_write(&world->rwlock, timeout)
                        : mproc_rwlock_acquire_read(&world->rwlock, timeout);
    if (!held(result))
        return;
    CHECK(result != 0 || (atomic_load(&world->writing) == 0 && world->written == world->copy));
    if (writes) {
        atomic_store(&world->writing, me);
        world->copy = ++world->written;
        CHECK(atomic_load(&world->writing) == me);
        atomic_store(&world->writing, 0);
        mproc_rwlock_mark_consistent(&world->rwlock);
    }
    CHECK(mproc_rwlock_release(&world->rwlock) == 0);
}

static void use_unit(unsigned *seed)
{
    int result = mproc_semaphore_acquire(&world->semaphore, rand_r(seed) % 2 ? MPROC_FOREVER : 0);
    if (!held(result))
        return;
    if (rand_r(seed) % 4 == 0)
        sched_yield();
    int value = mproc_semaphore_value(&world->semaphore);
    CHECK(value >= 0 && value < UNITS);
    CHECK(mproc_semaphore_release(&world->semaphore) == 0);
}

static void meet(unsigned *seed)
{
    int result = mproc_barrier_wait(&world->barrier, MPROC_US(rand_r(seed) % 3000));
    CHECK((result >= 0 && result < PARTIES) || result == -ETIMEDOUT || result == MPROC_E_BROKEN_BARRIER);
    if (result < 0)
        CHECK(mproc_barrier_reset(&world->barrier) == 0);
}

static void signal_others(unsigned *seed)
{
    if (rand_r(seed) % 2)
        mproc_event_set(&world->event);
    else
        mproc_event_clear(&world->event);
    int result = mproc_event_wait(&world->event, MPROC_US(rand_r(seed) % 300));
    CHECK(result == 0 || result == -ETIMEDOUT);
}

static void publish(unsigned *seed)
{
    if (!held(mproc_lock_acquire(&world->table_lock, MPROC_FOREVER)))
        return;
    int slot = rand_r(seed) % SLOTS;
    if (world->table[slot]) {
        CHECK(world->table[slot][0] == (char)slot);
    } else {
        char *block = mproc_alloc_owned(1 + (size_t)(rand_r(seed) % 5000));
        CHECK(block);
        block[0] = (char)slot;
        CHECK(mproc_publish(&world->table[slot], block) == 0);
    }
    mproc_lock_mark_consistent(&world->table_lock);
    CHECK(mproc_lock_release(&world->table_lock) == 0);
}

struct block {
    unsigned char *bytes;
    size_t size;
};

static void allocate(struct block *block, long me, unsigned *seed)
{
    for (size_t at = 0; block->bytes && at < block->size; at += 97)
        CHECK(block->bytes[at] == (unsigned char)me);
    CHECK(!block->bytes || mproc_free(block->bytes) == 0);
    block->size = (size_t)rand_r(seed) % (rand_r(seed) % 32 == 0 ? 300000 : 2000);
    block->bytes = mproc_alloc_owned(block->size);
    CHECK(block->bytes);
    memset(block->bytes, (int)me, block->size);
}

static void *play(void *argument)
{
    unsigned seed = *(unsigned *)argument;
    long me = (long)seed + 1;
    struct block blocks[HELD] = { { NULL, 0 } };
    for (;;) {
        switch (rand_r(&seed) % 8) {
        case 0: exclude(me, &seed); break;
        case 1: read_or_write(me, &seed); break;
        case 2: use_unit(&seed); break;
        case 3: meet(&seed); break;
        case 4: signal_others(&seed); break;
        case 5: publish(&seed); break;
        default: allocate(&blocks[rand_r(&seed) % HELD], me, &seed);
        }
        atomic_fetch_add(&world->operations, 1);
    }
    return NULL;
}

static pid_t start_player(unsigned number)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    unsigned seeds[2] = { 2 * number, 2 * number + 1 };
    pthread_t thread;
    if (number % 3 == 0)
        pthread_create(&thread, NULL, play, &seeds[1]);
    play(&seeds[0]);
    _exit(0);
}

/* What was published is known to the table alone; the one who clears it is not killed. */
static void clear_table(void)
{
    int result = mproc_lock_acquire(&world->table_lock, MPROC_MS(HARNESS_PATIENCE));
    assert_true(result == 0 || result == MPROC_E_OWNER_DIED);
    for (int i = 0; i < SLOTS; i++) {
        char *block = world->table[i];
        world->table[i] = NULL;
        assert_int_equal(mproc_free(block), 0);
    }
    mproc_lock_mark_consistent(&world->table_lock);
    assert_int_equal(mproc_lock_release(&world->table_lock), 0);
}

static void expect_free(int result)
{
    assert_true(result == 0 || result == MPROC_E_OWNER_DIED);
}

static void check_end(void)
{
    clear_table();
    expect_free(mproc_lock_acquire(&world->lock, MPROC_MS(HARNESS_PATIENCE)));
    assert_int_equal(mproc_lock_release(&world->lock), 0);
    expect_free(mproc_rwlock_acquire_write(&world->rwlock, MPROC_MS(HARNESS_PATIENCE)));
    assert_int_equal(mproc_rwlock_release(&world->rwlock), 0);
    assert_int_equal(mproc_semaphore_value(&world->semaphore), UNITS);
    for (int i = 0; i < UNITS; i++)
        assert_int_equal(mproc_semaphore_acquire(&world->semaphore, MPROC_MS(HARNESS_PATIENCE)), 0);
    assert_int_equal(mproc_semaphore_acquire(&world->semaphore, 0), -ETIMEDOUT);
    mproc_barrier_reset(&world->barrier);
    assert_int_equal(mproc_barrier_waiting(&world->barrier), 0);
    mproc_semaphore_destroy(&world->semaphore);
    mproc_barrier_destroy(&world->barrier);
    mproc_rwlock_destroy(&world->rwlock);
    mproc_free(world);
    assert_int_equal(heap_bytes_in_use(), 0);
}

static void processes_that_lock_and_allocate_are_killed_at_random(void **state)
{
    (void)state;
    const char *text = getenv("MPROC_SOAK_SECONDS");
    double end = harness_now() + (text ? atof(text) : 60), progress = harness_now();
    unsigned seed = (unsigned)time(NULL), number = 0;
    pid_t players[PLAYERS];
    long kills = 0, operations = 0;
    printf("seed %u\n", seed);
    world = mproc_calloc(1, sizeof *world);
    assert_non_null(world);
    mproc_bounded_semaphore_init(&world->semaphore, UNITS);
    mproc_barrier_init(&world->barrier, PARTIES);
    for (int i = 0; i < PLAYERS; i++)
        players[i] = start_player(number++);
    while (harness_now() < end || kills <= 10 || operations <= 1000) {
        int status, victim = rand_r(&seed) % PLAYERS;
        usleep((useconds_t)(rand_r(&seed) % 3000));
        kill(players[victim], SIGKILL);
        waitpid(players[victim], &status, 0);
        assert_true(WIFSIGNALED(status)); /* it found nothing wrong */
        players[victim] = start_player(number++);
        if (kills++ % 32 == 0)
            clear_table();
        if (atomic_load(&world->operations) != operations)
            progress = harness_now();
        operations = atomic_load(&world->operations);
        assert_true(harness_now() - progress < HARNESS_PATIENCE / 1000.0);
    }
    for (int i = 0; i < PLAYERS; i++) {
        int status;
        kill(players[i], SIGKILL);
        waitpid(players[i], &status, 0);
        assert_true(WIFSIGNALED(status));
    }
    printf("%ld processes killed, %ld operations, %ld times told that a holder had died\n", kills, operations,
           atomic_load(&world->deaths_seen));
    check_end();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(processes_that_lock_and_allocate_are_killed_at_random),
};

HARNESS_MAIN_SECONDS(tests, 300 + (getenv("MPROC_SOAK_SECONDS") ? atoi(getenv("MPROC_SOAK_SECONDS")) : 60))
