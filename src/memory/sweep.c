/* What dead threads and processes left in the heap. SPDX-License-Identifier: MIT
 *
 * One thread sweeps at a time. Each step can be done twice, so whoever takes over from a sweeper that was killed begins
 * anew. The place of an ended member is not used again before it was swept, so that a place that is named in the heap,
 * by the owner of a unit, means one thread or process only.
 */
#include "memory/sweep.h"

#include "memory/block.h"
#include "memory/member.h"
#include "memory/publish.h"
#include "memory/units.h"

enum verdict { LIVES, THREAD_ENDED, PROCESS_ENDED };

static bool become_sweeper(struct region *region, member_id self)
{
    uint64_t holder = atomic_load(&region->sweeper);
    if (holder != 0 && (holder == self || member_is_alive(holder)))
        return false;
    return atomic_compare_exchange_strong(&region->sweeper, &holder, self);
}

/* A place whose life has ended and that is not swept cannot be taken, so that what is found here stays true. */
static enum verdict judge_one(struct region *region, uint32_t place, struct member *member, uint64_t use)
{
    enum os_life_state state = os_life_state(&member->life);
    uint32_t process = atomic_load(&member->process);
    if (state == OS_LIFE_NEVER || state == OS_LIFE_ALIVE || atomic_load(&member->swept) == use)
        return LIVES;
    if (process == place && !member_process_is_kept(member_make_id(place, use)))
        return PROCESS_ENDED;
    if (process != place && process != 0 && atomic_load(&region->geometry.members[process].verdict) == PROCESS_ENDED)
        return PROCESS_ENDED;
    return process == place && atomic_load(&member->disowned) == use ? LIVES : THREAD_ENDED;
}

static bool judge_place(struct region *region, uint32_t place)
{
    struct member *member = &region->geometry.members[place];
    uint64_t use = atomic_load(&member->use);
    enum verdict verdict = judge_one(region, place, member, use);
    atomic_store(&member->judged, use);
    atomic_store(&member->verdict, verdict);
    return verdict != LIVES;
}

/* Places that stand for processes come first: if one of them is found ended, then all its threads are marked already,
 * and the second pass finds them so. The first pass says of all others that they live, in place of what was said of
 * earlier uses: one may be joining just now, and look like none of the two kinds in its turn. Returns true if anyone
 * has ended. */
static bool judge(struct region *region, uint32_t end)
{
    bool any = false;
    for (uint32_t place = 1; place < end; place++) {
        struct member *member = &region->geometry.members[place];
        if (atomic_load(&member->process) == place)
            any |= judge_place(region, place);
        else
            atomic_store(&member->verdict, LIVES);
    }
    for (uint32_t place = 1; place < end; place++)
        if (atomic_load(&region->geometry.members[place].process) != place)
            any |= judge_place(region, place);
    return any;
}

/* Several may settle the same at once. One of them goes on, and the block is freed and its memory allocated anew, while
 * another one is about to publish it: that one must not publish somebody else's block, nor write where there is no span
 * any more. It does not, as the word of a large block that it has read names the ended process, and the span of a small
 * one is the ended thread's: neither has another meaning before the sweep, which waits; see leave_to_settlers. */
static void settle(struct region *region, member_id ended)
{
    struct member *member = member_at(member_place(ended));
    uint64_t use = ended >> MEMBER_USE_SHIFT;
    uintptr_t publishing = atomic_load(&member->publishing);
    if (publishing == 0 || (publishing & 15) != (use & 15) || atomic_load(&member->use) != use)
        return;
    void *address = (void *)(publishing & ~(uintptr_t)15);
    _Atomic(void *) *at = atomic_load(&member->publishing_at);
    struct block block;
    bool found = memory_find_block(address, &block); /* before it is seen that this is still to be done */
    if (found && at && atomic_load(at) == address && atomic_load(&member->publishing) == publishing)
        block_publish(region, &block);
    atomic_compare_exchange_strong(&member->publishing, &publishing, 0);
}

void sweep_publishing(struct region *region, member_id ended)
{
    struct member *self = member_current();
    atomic_store(&self->settling, ended);
    settle(region, ended);
    atomic_store(&self->settling, 0);
}

/* Processes with threads that somebody is settling are left to the next sweep. Who begins to settle after this finds
 * that the sweeper has. */
static void leave_to_settlers(struct region *region)
{
    uint32_t end = atomic_load(&region->members_used);
    struct member *members = region->geometry.members;
    for (uint32_t settler = 1; settler < end; settler++) {
        member_id ended = atomic_load(&members[settler].settling);
        if (ended == 0 || os_life_state(&members[settler].life) != OS_LIFE_ALIVE)
            continue;
        uint32_t process = atomic_load(&members[member_place(ended)].process);
        for (uint32_t place = 1; place < end; place++)
            if (atomic_load(&members[place].process) == process)
                atomic_store(&members[place].verdict, LIVES);
    }
}

static bool replace(struct region *region, uint32_t unit, uint64_t word, uint64_t by)
{
    return atomic_compare_exchange_strong(&region->table[unit], &word, by);
}

static void sweep_span(struct region *region, uint32_t unit, uint64_t word, enum verdict verdict, uint32_t sweeper)
{
    if (verdict == LIVES)
        return;
    uint32_t process = atomic_load(&region->geometry.members[unit_owner(word)].process);
    uint64_t orphan = unit_word(UNIT_SPAN, (word & UNIT_PRESENT) | UNIT_ORPHAN, unit_class(word),
                                verdict == PROCESS_ENDED ? 0 : process, unit_count(word));
    if (verdict == THREAD_ENDED && (word & UNIT_ORPHAN))
        return;
    if (verdict == PROCESS_ENDED && span_sweep(region, unit, word) == 0) {
        units_free(region, unit, word, sweeper);
        return;
    }
    atomic_store(&region->orphans, 1);
    replace(region, unit, word, orphan);
}

static void sweep_block(struct region *region, uint32_t unit, uint64_t word, enum verdict verdict, uint32_t sweeper)
{
    if (verdict != PROCESS_ENDED)
        return;
    if (word & UNIT_OWNED)
        units_free(region, unit, word, sweeper);
    else
        replace(region, unit, word, unit_word(UNIT_BLOCK, word & UNIT_PRESENT, unit_class(word), 0, unit_count(word)));
}

/* Sweeps what begins at a unit; returns how many units that is. */
static uint32_t sweep_unit(struct region *region, uint32_t unit, uint32_t sweeper)
{
    uint64_t word = atomic_load(&region->table[unit]);
    uint32_t owner = unit_owner(word);
    enum verdict verdict = owner ? (enum verdict)atomic_load(&region->geometry.members[owner].verdict) : LIVES;
    switch (unit_state(word)) {
    case UNIT_CLAIMED:
        if (verdict != LIVES && !units_is_part(region, unit, word))
            replace(region, unit, word, UNIT_FREE | (word & UNIT_PRESENT) | UNIT_DIRTY);
        return 1;
    case UNIT_BLOCK: sweep_block(region, unit, word, verdict, sweeper); return unit_count(word);
    case UNIT_SPAN: sweep_span(region, unit, word, verdict, sweeper); return unit_count(word);
    case UNIT_FREEING:
        if (verdict != LIVES)
            units_free_rest(region, unit, word);
        return 1; /* the others may have been claimed again */
    default: return 1;
    }
}

static void settle_members(struct region *region, uint32_t end)
{
    for (uint32_t place = 1; place < end; place++) {
        struct member *member = &region->geometry.members[place];
        enum verdict verdict = (enum verdict)atomic_load(&member->verdict);
        uint64_t judged = atomic_load(&member->judged);
        if (verdict == LIVES)
            continue;
        atomic_store(&member->disowned, judged);
        /* A place that stands for a process is kept as long as that lives. */
        if (verdict == PROCESS_ENDED || atomic_load(&member->process) != place)
            atomic_store(&member->swept, judged);
    }
}

void sweep_dead(struct region *region, struct member *self)
{
    if (!become_sweeper(region, self->id))
        return;
    uint32_t end = atomic_load(&region->members_used);
    if (judge(region, end)) {
        for (uint32_t place = 1; place < end; place++) {
            struct member *member = &region->geometry.members[place];
            if (atomic_load(&member->verdict) != LIVES)
                settle(region, member_make_id(place, atomic_load(&member->judged)));
        }
        leave_to_settlers(region);
        uint32_t used = atomic_load(&region->used_end);
        for (uint32_t unit = region->geometry.first_unit; unit < used;)
            unit += sweep_unit(region, unit, member_place(self->id));
        atomic_store(&region->free_hint, region->geometry.first_unit);
        settle_members(region, end);
    }
    atomic_store(&region->sweeper, 0);
}
