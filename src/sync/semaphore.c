/* Semaphores. SPDX-License-Identifier: MIT
 *
 * Truth: how many units there are in all, and how many each process holds; each changes by one store. Derived: how many
 * are left. A unit is acquired by the store into its holder's entry.
 */
#include "memory/member.h"
#include "os/futex.h"
#include "sync/holders.h"
#include "sync/monitor.h"

#include <errno.h>
#include <limits.h>
#include <mproc/sync.h>
#include <string.h>

enum kind { NOT_INITIALISED = 0, COUNTED = 0x53454d31, BOUNDED, SIGNAL };

/* Everything is changed inside the monitor only. */
struct semaphore {
    lock_word monitor;
    _Atomic uint32_t changes;  /* what sleepers sleep on */
    _Atomic uint32_t sleepers; /* at least as many as there are; dead ones may stay counted */
    _Atomic uint32_t total;    /* units in all, those held included */
    _Atomic uint32_t left;     /* derived, but in a SIGNAL semaphore, where it is the truth */
    uint32_t kind;
    struct holders holders; /* by process */
};

_Static_assert(sizeof(mproc_semaphore) >= sizeof(struct semaphore), "it fits");

static struct semaphore *of(mproc_semaphore *semaphore)
{
    struct semaphore *it = (struct semaphore *)(void *)semaphore;
    return it && it->kind >= COUNTED && it->kind <= SIGNAL ? it : NULL;
}

static int initialise(mproc_semaphore *semaphore, int value, enum kind kind)
{
    if (!semaphore || value < 0)
        return -EINVAL;
    memset(semaphore, 0, sizeof *semaphore);
    struct semaphore *it = (struct semaphore *)(void *)semaphore;
    it->kind = kind;
    atomic_store(&it->total, (uint32_t)value);
    atomic_store(&it->left, (uint32_t)value);
    return 0;
}

int mproc_semaphore_init(mproc_semaphore *semaphore, int value)
{
    return initialise(semaphore, value, COUNTED);
}

int mproc_bounded_semaphore_init(mproc_semaphore *semaphore, int value)
{
    return initialise(semaphore, value, BOUNDED);
}

int mproc_signal_semaphore_init(mproc_semaphore *semaphore, int value)
{
    return initialise(semaphore, value, SIGNAL);
}

static void derive(struct semaphore *it)
{
    if (it->kind != SIGNAL)
        atomic_store(&it->left, atomic_load(&it->total) - holders_sum(&it->holders));
}

static void repair(struct semaphore *it, member_id self)
{
    derive(it);
    lock_word_mark_consistent(&it->monitor, self);
}

static int enter(struct semaphore *it, member_id self, int64_t deadline)
{
    int result = monitor_enter(&it->monitor, self, deadline);
    if (result == MPROC_E_OWNER_DIED)
        repair(it, self);
    return result == MPROC_E_OWNER_DIED ? 0 : result;
}

static void enter_surely(struct semaphore *it, member_id self)
{
    if (lock_word_acquire_surely(&it->monitor, self) == MPROC_E_OWNER_DIED)
        repair(it, self);
}

/* Leaves, and wakes that many. The change of `changes` comes first, so that one that is about to sleep does not. */
static void leave(struct semaphore *it, member_id self, int wake)
{
    bool sleepers = wake > 0 && atomic_load(&it->sleepers) > 0;
    if (sleepers)
        atomic_fetch_add(&it->changes, 1);
    monitor_leave(&it->monitor, self);
    if (sleepers)
        os_futex_wake(&it->changes, wake);
}

/* Takes back what ended processes held. */
static bool give_back_of_dead(struct semaphore *it)
{
    bool any = false;
    struct holders_walk walk = { &it->holders, NULL, 0 };
    for (struct holder *holder; (holder = holders_next(&walk));) {
        if (atomic_load(&holder->count) == 0 || member_process_is_alive(atomic_load(&holder->id)))
            continue;
        atomic_store(&holder->count, 0);
        any = true;
    }
    if (any)
        derive(it);
    return any;
}

static int take_unit(struct semaphore *it, member_id process)
{
    if (it->kind != SIGNAL) {
        struct holder *mine = holders_find(&it->holders, process);
        if (!mine) {
            mine = holders_unused(&it->holders);
            if (!mine)
                return -ENOMEM;
            atomic_store(&mine->id, process);
        }
        atomic_fetch_add(&mine->count, 1);
    }
    atomic_fetch_sub(&it->left, 1);
    return 0;
}

static void watch_holders(struct semaphore *it, struct wait *wait)
{
    struct holders_walk walk = { &it->holders, NULL, 0 };
    for (struct holder *holder; wait->watched < WAIT_WATCHED_MOST && (holder = holders_next(&walk));)
        if (atomic_load(&holder->count) != 0)
            wait->watch[wait->watched++] = atomic_load(&holder->id);
}

/* Leaves, sleeps, enters. */
static int sleep_outside(struct semaphore *it, member_id self, int64_t deadline)
{
    struct wait wait = { .word = &it->changes, .expected = atomic_load(&it->changes), .deadline = deadline };
    watch_holders(it, &wait);
    atomic_fetch_add(&it->sleepers, 1);
    monitor_leave(&it->monitor, self);
    int err = wait_sleep(&wait);
    enter_surely(it, self);
    if (atomic_load(&it->sleepers) > 0)
        atomic_fetch_sub(&it->sleepers, 1);
    return err;
}

int mproc_semaphore_acquire(mproc_semaphore *semaphore, int64_t timeout)
{
    struct semaphore *it = of(semaphore);
    if (!it)
        return semaphore ? MPROC_E_NOT_INITIALISED : -EINVAL;
    struct member *self = member_self();
    if (!self)
        return -ENOMEM;
    int64_t deadline = os_deadline(timeout);
    int err = enter(it, self->id, deadline), wake = 0;
    if (err < 0)
        return err;
    for (;;) {
        if (atomic_load(&it->left) == 0 && give_back_of_dead(it))
            wake = INT_MAX;
        if (atomic_load(&it->left) > 0) {
            err = take_unit(it, self->process_id);
            break;
        }
        if (err < 0)
            break;
        err = sleep_outside(it, self->id, deadline);
    }
    leave(it, self->id, wake);
    return err;
}

/* Whose unit is given back when that process releases one: its own, else somebody else's, else nobody's. */
static struct holder *giver(struct semaphore *it, member_id process)
{
    struct holder *mine = holders_find(&it->holders, process);
    struct holders_walk walk = { &it->holders, NULL, 0 };
    for (struct holder *holder; !mine && (holder = holders_next(&walk));)
        if (atomic_load(&holder->count) != 0)
            mine = holder;
    return mine;
}

static int give_unit(struct semaphore *it, member_id process)
{
    if (atomic_load(&it->left) == MPROC_SEMAPHORE_VALUE_MAX)
        return -EOVERFLOW;
    struct holder *holder = it->kind == SIGNAL ? NULL : giver(it, process);
    if (!holder && it->kind == BOUNDED)
        return MPROC_E_RELEASED_TOO_OFTEN;
    if (holder)
        atomic_fetch_sub(&holder->count, 1);
    else
        atomic_fetch_add(&it->total, 1);
    atomic_fetch_add(&it->left, 1);
    return 0;
}

int mproc_semaphore_release(mproc_semaphore *semaphore)
{
    struct semaphore *it = of(semaphore);
    if (!it)
        return semaphore ? MPROC_E_NOT_INITIALISED : -EINVAL;
    struct member *self = member_self();
    if (!self)
        return -ENOMEM;
    enter_surely(it, self->id);
    int err = give_unit(it, self->process_id);
    leave(it, self->id, err == 0);
    return err;
}

int mproc_semaphore_value(mproc_semaphore *semaphore)
{
    struct semaphore *it = of(semaphore);
    if (!it)
        return semaphore ? MPROC_E_NOT_INITIALISED : -EINVAL;
    struct member *self = member_self();
    if (!self)
        return -ENOMEM;
    enter_surely(it, self->id);
    bool freed = give_back_of_dead(it);
    int value = (int)atomic_load(&it->left);
    leave(it, self->id, freed ? INT_MAX : 0);
    return value;
}

int mproc_semaphore_held(mproc_semaphore *semaphore)
{
    struct semaphore *it = of(semaphore);
    if (!it)
        return semaphore ? MPROC_E_NOT_INITIALISED : -EINVAL;
    struct member *self = member_self();
    if (!self)
        return -ENOMEM;
    enter_surely(it, self->id);
    struct holder *mine = holders_find(&it->holders, self->process_id);
    int held = mine ? (int)atomic_load(&mine->count) : 0;
    leave(it, self->id, 0);
    return held;
}

int mproc_semaphore_destroy(mproc_semaphore *semaphore)
{
    struct semaphore *it = of(semaphore);
    if (!it)
        return semaphore ? MPROC_E_NOT_INITIALISED : -EINVAL;
    it->kind = NOT_INITIALISED;
    holders_destroy(&it->holders);
    return 0;
}
