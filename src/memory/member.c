/* Who a thread is to the rest of its family. SPDX-License-Identifier: MIT */
#include "memory/member.h"

#include "memory/region.h"
#include "memory/sweep.h"
#include "os/clock.h"
#include "os/map.h"
#include "os/process.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

_Thread_local struct member_thread member_thread __attribute__((tls_model("initial-exec")));

/* Words of the guard page: behind the stamp, the id that stands for this process, or 0. */
enum { GUARD_STAMP, GUARD_PROCESS };

static _Atomic uint64_t no_guard_yet;
_Atomic(_Atomic uint64_t *) member_guard = &no_guard_yet;

struct member *member_at(uint32_t place)
{
    return &region_existing()->geometry.members[place];
}

static member_id make_id(uint32_t place, uint64_t use)
{
    return use << MEMBER_USE_SHIFT | (uint64_t)place << MEMBER_PLACE_SHIFT;
}

/* A place can be taken if it was never used, or if its thread has ended and nothing names it any more. */
static bool can_be_taken(struct member *member, enum os_life_state state)
{
    if (state == OS_LIFE_NEVER)
        return true;
    return state != OS_LIFE_ALIVE && atomic_load(&member->swept) == atomic_load(&member->use);
}

static bool raise_members_used(struct region *region, uint32_t end)
{
    uint32_t seen = atomic_load(&region->members_used);
    if (seen >= end)
        return true;
    if (os_map_populate((void *)((uintptr_t)&region->geometry.members[end - 1] & ~(os_page_size() - 1)),
                        os_page_size()) != 0)
        return false;
    while (seen < end && !atomic_compare_exchange_weak(&region->members_used, &seen, end)) {
    }
    return true;
}

static struct member *take_place(struct region *region, uint32_t *place)
{
    for (uint32_t i = 1; i < region->geometry.members_most; i++) {
        struct member *member = &region->geometry.members[i];
        if (!raise_members_used(region, i + 1))
            return NULL;
        enum os_life_state state = os_life_state(&member->life);
        if (can_be_taken(member, state) && os_life_begin(&member->life, state)) {
            *place = i;
            return member;
        }
    }
    return NULL;
}

/* The first thread of a process to come stands for it. */
static member_id stand_for_process(_Atomic uint64_t *guard, member_id mine)
{
    uint64_t first = 0;
    return atomic_compare_exchange_strong(&guard[GUARD_PROCESS], &first, mine) ? mine : first;
}

static void fill(struct member *self, uint32_t place, _Atomic uint64_t *guard)
{
    /* From here on, ids of the place's earlier uses are those of ended threads. */
    uint64_t use = atomic_fetch_add(&self->use, 1) + 1;
    memset(self->cache, 0, sizeof self->cache);
    self->spans = self->fresh_spans = 0;
    atomic_store_explicit(&self->publishing, NULL, memory_order_relaxed);
    atomic_store_explicit(&self->pid, (int)getpid(), memory_order_relaxed);
    atomic_store_explicit(&self->thread, (int)syscall(SYS_gettid), memory_order_relaxed);
    atomic_store_explicit(&self->start_time, os_process_start_time(getpid()), memory_order_relaxed);
    self->id = make_id(place, use);
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

bool member_process_is_alive(member_id process_id)
{
    struct member *member = member_at(member_place(process_id));
    if (atomic_load(&member->use) != process_id >> MEMBER_USE_SHIFT)
        return false;
    if (os_life_state(&member->life) == OS_LIFE_ALIVE)
        return true;
    return os_process_is_alive(atomic_load(&member->pid), atomic_load(&member->start_time)) &&
           atomic_load(&member->use) == process_id >> MEMBER_USE_SHIFT;
}

bool member_is_alive(member_id id)
{
    struct member *member = member_at(member_place(id));
    enum os_life_state state = os_life_state(&member->life);
    if (atomic_load(&member->use) != id >> MEMBER_USE_SHIFT)
        return false;
    if (state == OS_LIFE_UNKNOWN)
        return os_process_is_alive(atomic_load(&member->pid), atomic_load(&member->start_time));
    return state == OS_LIFE_ALIVE;
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
