/* Who a thread is to the rest of its family. SPDX-License-Identifier: MIT */
#include "memory/member.h"

#include "memory/region.h"
#include "memory/sweep.h"
#include "os/clock.h"
#include "os/fork.h"
#include "os/map.h"
#include "os/sanitizer.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

_Thread_local struct member_thread member_thread __attribute__((tls_model("initial-exec")));

/* Words of the guard page: behind the stamp, the id that stands for this process, or 0. */
enum { GUARD_STAMP, GUARD_PROCESS };

static _Atomic uint64_t no_guard_yet;
_Atomic(_Atomic uint64_t *) member_guard = &no_guard_yet;

/* What the parent had freed it may allocate again, and pass to this child, whose AddressSanitizer would not know. */
static void forget_poison(void)
{
    struct region *region = region_existing();
    if (region)
        asan_unpoison(region_unit_address(region, region->geometry.first_unit),
                      (atomic_load(&region->used_end) - region->geometry.first_unit) * UNIT_BYTES);
}

struct member *member_at(uint32_t place)
{
    return &region_existing()->geometry.members[place];
}

static bool is_settled(struct member *member)
{
    return atomic_load(&member->swept) == atomic_load(&member->use);
}

/* Whether it was settled is looked at again once the place is held: in between, another thread may have come and gone.
 */
static bool take(struct member *member)
{
    enum os_life_state state = os_life_state(&member->life);
    if (state == OS_LIFE_ALIVE || !is_settled(member) || os_life_begin(&member->life, state) != 0)
        return false;
    atomic_store(&member->settling, 0);
    if (is_settled(member))
        return true;
    os_life_end(&member->life);
    return false;
}

static bool raise_members_used(struct region *region, uint32_t end)
{
    uint32_t seen = atomic_load(&region->members_used);
    if (seen >= end)
        return true;
    if (os_map_populate(&region->geometry.members[end - 1], MEMBER_BYTES) != 0)
        return false;
    while (seen < end && !atomic_compare_exchange_weak(&region->members_used, &seen, end)) {
    }
    return true;
}

static struct member *take_place(struct region *region, uint32_t *place)
{
    for (uint32_t i = 1; i < region->geometry.members_most - 1; i++) {
        struct member *member = &region->geometry.members[i];
        if (!raise_members_used(region, i + 1))
            return NULL;
        if (take(member)) {
            *place = i;
            return member;
        }
    }
    return NULL;
}

/* All places are taken, maybe by threads that have ended. Only a member can sweep, so the last place is for this. */
static void sweep_as_guest(struct region *region)
{
    uint32_t place = region->geometry.members_most - 1;
    struct member *guest = &region->geometry.members[place];
    if (os_map_populate(guest, MEMBER_BYTES) != 0 || !take(guest))
        return;
    guest->id = member_make_id(place, atomic_fetch_add(&guest->use, 1) + 1);
    sweep_dead(region, guest);
    atomic_store(&guest->swept, atomic_load(&guest->use));
    os_life_end(&guest->life);
}

/* The first thread of a process to come stands for it; also one that comes when all before it have ended. */
static member_id stand_for_process(_Atomic uint64_t *guard, member_id mine)
{
    uint64_t first = atomic_load(&guard[GUARD_PROCESS]);
    while (first == 0 || !member_process_is_alive(first))
        if (atomic_compare_exchange_weak(&guard[GUARD_PROCESS], &first, mine))
            return mine;
    return first;
}

#if OS_THREAD_SANITIZER
/* It does not see that the kernel, which marks a thread's end, orders what the thread did before what the next one in
 * its place does. */
void __tsan_acquire(void *address);
void __tsan_release(void *address);

static pthread_key_t ending;
static pthread_once_t ending_once = PTHREAD_ONCE_INIT;

static void make_ending_key(void)
{
    pthread_key_create(&ending, __tsan_release);
}

static void tell_sanitizer(struct member *self)
{
    pthread_once(&ending_once, make_ending_key);
    __tsan_acquire(self);
    pthread_setspecific(ending, self);
}
#else
static void tell_sanitizer(struct member *self)
{
    (void)self;
}
#endif

static void fill(struct member *self, uint32_t place, _Atomic uint64_t *guard)
{
    tell_sanitizer(self);
    atomic_store(&self->process, 0);
    atomic_store(&self->lodger, 0);
    /* From here on, ids of the place's earlier uses are those of ended threads. */
    uint64_t use = atomic_fetch_add(&self->use, 1) + 1;
    memset(self->cache, 0, sizeof self->cache);
    self->spans = self->fresh_spans = 0;
    atomic_store(&self->workers, 0);
    atomic_store(&self->publishing, 0);
    atomic_store(&self->pid, (int)getpid());
    self->id = member_make_id(place, use);
    self->process_id = stand_for_process(guard, self->id);
    atomic_store(&self->process, member_place(self->process_id));
}

static _Atomic uint64_t *stamped_guard(void)
{
    _Atomic uint64_t *guard = os_fork_guard();
    if (!guard)
        return NULL;
    uint64_t none = 0;
    atomic_compare_exchange_strong(&guard[GUARD_STAMP], &none, (uint64_t)os_now());
    atomic_store(&member_guard, guard);
    return guard;
}

uint64_t member_process_stamp(void)
{
    _Atomic uint64_t *guard = stamped_guard();
    return guard ? atomic_load(&guard[GUARD_STAMP]) : (uint64_t)getpid();
}

struct member *member_self(void)
{
    struct member *self = member_current();
    if (self)
        return self;
    struct region *region = region_get();
    _Atomic uint64_t *guard = stamped_guard();
    if (!region || !guard)
        return NULL;
    uint32_t place;
    self = take_place(region, &place);
    if (!self) {
        sweep_as_guest(region);
        self = take_place(region, &place);
    }
    if (!self)
        return NULL;
    fill(self, place, guard);
    member_thread = (struct member_thread) { .self = self,
                                             .id = self->id,
                                             .stamp = atomic_load(&guard[GUARD_STAMP]),
                                             .quick = region->geometry.debug ? NULL : self,
                                             .place = place };
    sweep_dead(region, self);
    return self;
}

bool member_is_alive(member_id id)
{
    if (!region_existing())
        return false;
    struct member *member = member_at(member_place(id));
    bool alive = os_life_state(&member->life) == OS_LIFE_ALIVE;
    uint64_t use = id >> MEMBER_USE_SHIFT;
    /* The next one to take the place may have begun its life, and not yet counted its use. */
    return alive && atomic_load(&member->use) == use && atomic_load(&member->swept) < use;
}

bool member_was_ever(member_id id)
{
    struct region *region = region_existing();
    uint32_t place = member_place(id);
    uint64_t use = id >> MEMBER_USE_SHIFT;
    return region && place > 0 && place < atomic_load(&region->members_used) && use > 0 &&
           use <= atomic_load(&member_at(place)->use);
}

static bool has_living(member_id process_id, bool lodgers_too)
{
    uint32_t place = member_place(process_id);
    struct region *region = region_existing();
    if (member_is_alive(process_id))
        return true;
    struct member *first = member_at(place);
    if (atomic_load(&first->use) != process_id >> MEMBER_USE_SHIFT ||
        atomic_load(&first->swept) == atomic_load(&first->use))
        return false;
    for (uint32_t i = 1; i < atomic_load(&region->members_used); i++) {
        struct member *member = member_at(i);
        if (atomic_load(&member->process) == place && (lodgers_too || !atomic_load(&member->lodger)) &&
            os_life_state(&member->life) == OS_LIFE_ALIVE)
            return true;
    }
    return false;
}

bool member_process_is_alive(member_id process_id)
{
    return has_living(process_id, false);
}

bool member_process_is_kept(member_id process_id)
{
    return has_living(process_id, true);
}

uint32_t member_add_workers(int32_t more)
{
    struct region *region = region_existing();
    struct member *self = member_self();
    uint32_t sum = 0;
    if (!self)
        return 0;
    atomic_fetch_add(&member_at(member_place(self->process_id))->workers, (uint32_t)more);
    for (uint32_t i = 1; i < atomic_load(&region->members_used); i++) {
        struct member *member = member_at(i);
        uint32_t workers = atomic_load(&member->workers);
        if (workers > 0 && member_process_is_alive(member_make_id(i, atomic_load(&member->use))))
            sum += workers;
    }
    return sum;
}

bool member_lodge(member_id process_id)
{
    struct region *region = region_existing();
    uint32_t place;
    struct member *lodging = take_place(region, &place);
    if (!lodging)
        return false;
    atomic_store(&lodging->process, 0);
    atomic_store(&lodging->lodger, 1);
    lodging->id = member_make_id(place, atomic_fetch_add(&lodging->use, 1) + 1);
    atomic_store(&lodging->swept, atomic_load(&lodging->use)); /* nothing in the heap will name it */
    atomic_store(&lodging->pid, (int)getpid());
    atomic_store(&lodging->process, member_place(process_id));
    struct member *first = member_at(member_place(process_id));
    uint64_t use = process_id >> MEMBER_USE_SHIFT;
    return atomic_load(&first->use) == use && atomic_load(&first->swept) < use;
}

_Atomic uint32_t *member_life_word(member_id id, uint32_t *seen)
{
    _Atomic uint32_t *word = os_life_word(&member_at(member_place(id))->life);
    *seen = atomic_load(word);
    return word;
}

pid_t member_pid(member_id id)
{
    struct member *member = member_at(member_place(id));
    int pid = atomic_load(&member->pid);
    return atomic_load(&member->use) == id >> MEMBER_USE_SHIFT ? pid : 0;
}

/* Before the program can fork, so that all its children share one heap; and by the main thread, so that it is the one
 * that stands for its process. */
static __attribute__((constructor)) void begin_family(void)
{
    member_self();
    if (asan_is_there())
        os_at_fork_child(forget_poison);
}
