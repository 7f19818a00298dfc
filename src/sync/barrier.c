/* Barrier. SPDX-License-Identifier: MIT
 *
 * Truth: the round, who has arrived in it (entries that carry its number), who attends, and whether it is broken. A
 * round ends in this order: each of those who have arrived is told how it ended, in its own place in the table of
 * members; the round's number goes up, which makes all entries of arrival void; the sleepers are woken. Nobody looks at
 * what he was told before the number has gone up, so that whoever comes after a death in the middle can tell them anew.
 */
#include "memory/member.h"
#include "os/futex.h"
#include "sync/holders.h"
#include "sync/monitor.h"

#include <errno.h>
#include <limits.h>
#include <mproc/sync.h>
#include <string.h>

enum { INITIALISED = 0x42415252, PARTIES_MOST = 65534 };
enum { ARRIVED = 1, ATTENDS = 2 }; /* counts of entries */

/* Everything is changed inside the monitor only. */
struct barrier {
    lock_word monitor;
    _Atomic uint32_t round; /* what sleepers sleep on */
    _Atomic uint32_t broken;
    _Atomic uint64_t acting; /* thread that runs the action; 0: none */
    uint32_t initialised, parties;
    uint32_t nonce; /* 14 bits, so that a thread is not told of another barrier's round */
    int (*action)(void *);
    void *argument;
    struct holders entries; /* by thread; `mark` is the round of an arrival */
};

_Static_assert(sizeof(mproc_barrier) >= sizeof(struct barrier), "it fits");

/* What a thread is told: how the round ended that it waits in, and its number in it.
 *   bits 0-1 how; bits 2-17 number; bits 18-49 round; bits 50-63 nonce */
enum ending { PENDING = 1, COMPLETE = 2, BROKEN = 3 };
#define TOLD_NUMBER_SHIFT 2
#define TOLD_ROUND_SHIFT 18

static uint64_t told(struct barrier *it, uint32_t round, enum ending ending, uint32_t number)
{
    return (uint64_t)it->nonce << 50 | (uint64_t)round << TOLD_ROUND_SHIFT | (uint64_t)number << TOLD_NUMBER_SHIFT |
           (uint64_t)ending;
}

static struct barrier *of(mproc_barrier *barrier)
{
    struct barrier *it = (struct barrier *)(void *)barrier;
    return it && it->initialised == INITIALISED ? it : NULL;
}

int mproc_barrier_init_action(mproc_barrier *barrier, int parties, int (*action)(void *), void *argument)
{
    if (!barrier || parties < 1 || parties > PARTIES_MOST)
        return -EINVAL;
    memset(barrier, 0, sizeof *barrier);
    struct barrier *it = (struct barrier *)(void *)barrier;
    it->parties = (uint32_t)parties;
    it->action = action;
    it->argument = argument;
    it->nonce = (uint32_t)(os_now() >> 4 ^ (int64_t)((uintptr_t)barrier >> 4)) & 0x3fff;
    it->initialised = INITIALISED;
    return 0;
}

int mproc_barrier_init(mproc_barrier *barrier, int parties)
{
    return mproc_barrier_init_action(barrier, parties, NULL, NULL);
}

/* ---- inside the monitor */

static bool has_arrived(struct barrier *it, struct holder *entry)
{
    return atomic_load(&entry->count) == ARRIVED && atomic_load(&entry->mark) == atomic_load(&it->round);
}

static uint32_t count_arrived(struct barrier *it)
{
    uint32_t count = 0;
    struct holders_walk walk = { &it->entries, NULL, 0 };
    for (struct holder *entry; (entry = holders_next(&walk));)
        count += has_arrived(it, entry);
    return count;
}

/* Tells one who waits in the current round; overwrites what a dead one began to tell. */
static void tell(struct barrier *it, member_id id, enum ending ending, uint32_t number)
{
    struct member *member = member_at(member_place(id));
    uint32_t round = atomic_load(&it->round);
    uint64_t any = told(it, round, 0, 0) >> TOLD_ROUND_SHIFT, seen = atomic_load(&member->round);
    while (seen >> TOLD_ROUND_SHIFT == any &&
           !atomic_compare_exchange_weak(&member->round, &seen, told(it, round, ending, number))) {
    }
}

static void end_round(struct barrier *it, enum ending ending)
{
    uint32_t number = 0;
    struct holders_walk walk = { &it->entries, NULL, 0 };
    for (struct holder *entry; (entry = holders_next(&walk));)
        if (has_arrived(it, entry))
            tell(it, atomic_load(&entry->id), ending, number++);
    atomic_store(&it->acting, 0);
    atomic_fetch_add(&it->round, 1);
    os_futex_wake(&it->round, INT_MAX);
}

static void break_round(struct barrier *it)
{
    atomic_store(&it->broken, 1);
    end_round(it, BROKEN);
}

static bool has_dead_party(struct barrier *it)
{
    struct holders_walk walk = { &it->entries, NULL, 0 };
    for (struct holder *entry; (entry = holders_next(&walk));)
        if ((has_arrived(it, entry) || atomic_load(&entry->count) == ATTENDS) &&
            !member_is_alive(atomic_load(&entry->id)))
            return true;
    return false;
}

static void notice_deaths(struct barrier *it)
{
    if (!atomic_load(&it->broken) && has_dead_party(it))
        break_round(it);
}

/* One who died inside may have begun to end the round, or have ended it without waking. */
static void repair(struct barrier *it, member_id self)
{
    if (atomic_load(&it->broken) && count_arrived(it) > 0)
        end_round(it, BROKEN);
    notice_deaths(it);
    os_futex_wake(&it->round, INT_MAX);
    lock_word_mark_consistent(&it->monitor, self);
}

static int enter(struct barrier *it, member_id self, int64_t deadline)
{
    int result = monitor_enter(&it->monitor, self, deadline);
    if (result == MPROC_E_OWNER_DIED)
        repair(it, self);
    return result == MPROC_E_OWNER_DIED ? 0 : result;
}

static void enter_surely(struct barrier *it, member_id self)
{
    if (lock_word_acquire_surely(&it->monitor, self) == MPROC_E_OWNER_DIED)
        repair(it, self);
}

/* An entry that is unused or of an earlier round, set to unused. */
static struct holder *fresh_entry(struct barrier *it)
{
    struct holders_walk walk = { &it->entries, NULL, 0 };
    for (struct holder *entry; (entry = holders_next(&walk));) {
        if (atomic_load(&entry->count) == ARRIVED && !has_arrived(it, entry))
            atomic_store(&entry->count, 0);
        if (atomic_load(&entry->count) == 0)
            return entry;
    }
    return holders_unused(&it->entries);
}

static int enter_entry(struct barrier *it, member_id id, uint32_t count)
{
    struct holder *entry = fresh_entry(it);
    if (!entry)
        return -ENOMEM;
    atomic_store(&entry->id, id);
    atomic_store(&entry->mark, atomic_load(&it->round));
    atomic_store(&entry->count, count);
    return 0;
}

static struct holder *find_entry(struct barrier *it, member_id id, uint32_t count)
{
    struct holders_walk walk = { &it->entries, NULL, 0 };
    for (struct holder *entry; (entry = holders_next(&walk));)
        if (atomic_load(&entry->id) == id && atomic_load(&entry->count) == count &&
            (count == ATTENDS || has_arrived(it, entry)))
            return entry;
    return NULL;
}

/* ---- waiting */

/* Leaves, sleeps until the round is another one or somebody may have died, enters. */
static int sleep_outside(struct barrier *it, member_id self, uint32_t round, int64_t deadline)
{
    struct wait wait = { .word = &it->round, .expected = round, .deadline = deadline };
    struct holders_walk walk = { &it->entries, NULL, 0 };
    for (struct holder *entry; wait.watched < WAIT_WATCHED_MOST && (entry = holders_next(&walk));) {
        member_id id = atomic_load(&entry->id);
        if (id != self && (has_arrived(it, entry) || atomic_load(&entry->count) == ATTENDS))
            wait.watch[wait.watched++] = id;
    }
    monitor_leave(&it->monitor, self);
    int err = wait_sleep(&wait);
    enter_surely(it, self);
    notice_deaths(it);
    return err;
}

/* Everybody has arrived, and the calling thread is the last. Runs the action outside of the monitor. */
static void act(struct barrier *it, struct member *self, uint32_t round)
{
    int failed = 0;
    if (it->action) {
        atomic_store(&it->acting, self->id);
        monitor_leave(&it->monitor, self->id);
        failed = it->action(it->argument);
        enter_surely(it, self->id);
        /* The action may have waited at another barrier. */
        bool over = atomic_load(&it->round) != round;
        atomic_store(&self->round, told(it, round, over ? BROKEN : PENDING, 0));
    }
    if (atomic_load(&it->round) != round)
        return;
    if (failed)
        break_round(it);
    else
        end_round(it, COMPLETE);
}

static int wait_for_round(struct barrier *it, struct member *self, uint32_t round, int64_t deadline)
{
    while (atomic_load(&it->round) == round) {
        int err = sleep_outside(it, self->id, round, deadline);
        if (atomic_load(&it->round) != round || err == 0)
            continue;
        if (err == -ETIMEDOUT) {
            break_round(it);
            return err;
        }
        struct holder *mine = find_entry(it, self->id, ARRIVED);
        if (mine && !atomic_load(&it->acting)) {
            atomic_store(&mine->count, 0);
            return err;
        }
    }
    return 0;
}

/* Waits as long as the round before is in its action. */
static int wait_for_turn(struct barrier *it, struct member *self, int64_t deadline)
{
    while (!atomic_load(&it->broken) && atomic_load(&it->acting)) {
        int err = sleep_outside(it, self->id, atomic_load(&it->round), deadline);
        if (err < 0)
            return err;
    }
    return 0;
}

static int wait_inside(struct barrier *it, struct member *self, int64_t deadline)
{
    notice_deaths(it);
    int err = wait_for_turn(it, self, deadline);
    if (err == 0 && atomic_load(&it->broken))
        err = MPROC_E_BROKEN_BARRIER;
    if (err < 0)
        return err;
    uint32_t round = atomic_load(&it->round);
    atomic_store(&self->round, told(it, round, PENDING, 0));
    err = enter_entry(it, self->id, ARRIVED);
    if (err < 0)
        return err;
    if (count_arrived(it) == it->parties)
        act(it, self, round);
    else
        err = wait_for_round(it, self, round, deadline);
    if (err < 0)
        return err;
    uint64_t ended = atomic_load(&self->round);
    return (ended & 3) == COMPLETE ? (int)(ended >> TOLD_NUMBER_SHIFT & 0xffff) : MPROC_E_BROKEN_BARRIER;
}

int mproc_barrier_wait(mproc_barrier *barrier, int64_t timeout)
{
    struct barrier *it = of(barrier);
    if (!it)
        return barrier ? MPROC_E_NOT_INITIALISED : -EINVAL;
    struct member *self = member_self();
    if (!self)
        return -ENOMEM;
    int64_t deadline = os_deadline(timeout);
    int result = enter(it, self->id, deadline);
    if (result < 0)
        return result;
    result = wait_inside(it, self, deadline);
    monitor_leave(&it->monitor, self->id);
    return result;
}

/* ---- the rest */

static int attend(struct barrier *it, member_id self)
{
    uint32_t count = 0;
    struct holders_walk walk = { &it->entries, NULL, 0 };
    for (struct holder *entry; (entry = holders_next(&walk));)
        count += atomic_load(&entry->count) == ATTENDS;
    if (find_entry(it, self, ATTENDS))
        return 0;
    return count == it->parties ? -EOVERFLOW : enter_entry(it, self, ATTENDS);
}

static int leave_attended(struct barrier *it, member_id self)
{
    struct holder *mine = find_entry(it, self, ATTENDS);
    if (mine)
        atomic_store(&mine->count, 0);
    return 0;
}

static int abort_round(struct barrier *it, member_id self)
{
    (void)self;
    break_round(it);
    return 0;
}

static int reset(struct barrier *it, member_id self)
{
    (void)self;
    break_round(it);
    struct holders_walk walk = { &it->entries, NULL, 0 };
    for (struct holder *entry; (entry = holders_next(&walk));)
        if (atomic_load(&entry->count) == ATTENDS && !member_is_alive(atomic_load(&entry->id)))
            atomic_store(&entry->count, 0);
    atomic_store(&it->broken, 0);
    return 0;
}

static int count_waiting(struct barrier *it, member_id self)
{
    (void)self;
    notice_deaths(it);
    return (int)count_arrived(it);
}

static int look_broken(struct barrier *it, member_id self)
{
    (void)self;
    notice_deaths(it);
    return (int)atomic_load(&it->broken);
}

static int inside(mproc_barrier *barrier, int (*call)(struct barrier *, member_id))
{
    struct barrier *it = of(barrier);
    if (!it)
        return barrier ? MPROC_E_NOT_INITIALISED : -EINVAL;
    struct member *self = member_self();
    if (!self)
        return -ENOMEM;
    enter_surely(it, self->id);
    int result = call(it, self->id);
    monitor_leave(&it->monitor, self->id);
    return result;
}

int mproc_barrier_attend(mproc_barrier *barrier)
{
    return inside(barrier, attend);
}

int mproc_barrier_leave(mproc_barrier *barrier)
{
    return inside(barrier, leave_attended);
}

int mproc_barrier_abort(mproc_barrier *barrier)
{
    return inside(barrier, abort_round);
}

int mproc_barrier_reset(mproc_barrier *barrier)
{
    return inside(barrier, reset);
}

int mproc_barrier_waiting(mproc_barrier *barrier)
{
    return inside(barrier, count_waiting);
}

int mproc_barrier_is_broken(mproc_barrier *barrier)
{
    return inside(barrier, look_broken);
}

int mproc_barrier_destroy(mproc_barrier *barrier)
{
    struct barrier *it = of(barrier);
    if (!it)
        return barrier ? MPROC_E_NOT_INITIALISED : -EINVAL;
    it->initialised = 0;
    holders_destroy(&it->entries);
    return 0;
}
