/* src/sync/semaphore.c with src/sync/holders.c and src/sync/wait.c. SPDX-License-Identifier: MIT
 *
 * Each process acquires units, releases units (its own, or another's), and asks for the value (VALUE_TOO) as often as
 * it likes, and stops when it likes, also while it holds some.
 *
 * Checked:
 * - whenever the monitor is left, or entered without a death in it, left == total - what is held, the living are held
 *   to have what they have acquired, and no unit is there twice
 * - a bounded semaphore's value does not exceed its bound
 * - units are taken back from ended processes only
 * - when nothing moves any more, no living process sleeps while there is a unit, be it with an ended process
 *
 * Abstracted:
 * - The monitor is an ideal lock, which is free and inconsistent when its owner dies (see lock.pml).
 * - Nobody else reads or writes what is changed inside the monitor, so reads there are part of the step of the next
 *   write. Each write is a step, after which its process may be killed. The walk that looks for ended processes is a
 *   step for each entry.
 * - The number of changes is only ever compared with one read before: a bit for each process says "still the same".
 * - An entry's id is 0 when its count is. In the code it is whatever it was, and nobody looks at it.
 * - There is an entry for each process, so that the list of holders need not grow.
 * - monitor_enter that fails changes nothing, and is left out.
 * - Whether a sleep may end with -ETIMEDOUT or -EINTR is chosen when it begins, as in lock.pml.
 *
 * A process's end comes in two steps, as in the kernel: its thread's life word, which wakes those who watch it; and,
 * with PROCESSES_END_LATER, some time after that, the process (member_process_is_alive). Everybody looks again after
 * each of the two.
 *
 * Options: TASKS, DEATHS, KIND, UNITS, VALUE_MAX; VALUE_TOO: also mproc_semaphore_value. MUTANT_...: errors that must
 * be found. */
#ifndef TASKS
#define TASKS 3
#endif
#define COUNTED 1
#define BOUNDED 2
#define SIGNAL 3
#ifndef KIND
#define KIND COUNTED
#endif
#ifndef UNITS
#define UNITS 1
#endif
#ifndef VALUE_MAX
#define VALUE_MAX 2
#endif
#define SLOTS TASKS

byte monitor; /* owner */
bool inconsistent;
byte sleepers;
byte total = UNITS;
byte left = UNITS;
byte holder_id[SLOTS], holder_count[SLOTS];
bool same_changes[4]; /* a change clears them */

byte held[4]; /* ghost: what living processes have acquired */

#if TASKS > 2
#define SUM (holder_count[0] + holder_count[1] + holder_count[2])
#define UNUSED (holder_count[0] == 0 -> 0 : (holder_count[1] == 0 -> 1 : 2))
#define FIND(p) (HOLDS(0, p) -> 0 : (HOLDS(1, p) -> 1 : (HOLDS(2, p) -> 2 : NONE)))
#define IN_USE (holder_count[0] -> 0 : (holder_count[1] -> 1 : (holder_count[2] -> 2 : NONE)))
#define HOLDERS (HOLDER_BIT(0) | HOLDER_BIT(1) | HOLDER_BIT(2))
#define OF_GONE (GONE(0) + GONE(1) + GONE(2))
#else
#define SUM (holder_count[0] + holder_count[1])
#define UNUSED (holder_count[0] == 0 -> 0 : 1)
#define FIND(p) (HOLDS(0, p) -> 0 : (HOLDS(1, p) -> 1 : NONE))
#define IN_USE (holder_count[0] -> 0 : (holder_count[1] -> 1 : NONE))
#define HOLDERS (HOLDER_BIT(0) | HOLDER_BIT(1))
#define OF_GONE (GONE(0) + GONE(1))
#endif
#define LIVES(p) (life[p] != DEAD -> BIT(p) : 0)
#define LIVING (LIVES(1) | LIVES(2) | LIVES(TASKS))
#define NONE 9
#define HOLDS(slot, p) (holder_count[slot] && holder_id[slot] == p)
#define HOLDER_BIT(slot) (holder_count[slot] && holder_id[slot] != me -> BIT(holder_id[slot]) : 0)
#define GONE(slot) (gone[holder_id[slot]] -> holder_count[slot] : 0)
#define COUNT_OF(p) (FIND(p) == NONE -> 0 : holder_count[FIND(p)])

inline on_death(dead)
{
    held[dead] = 0;
    same_changes[dead] = false;
#ifndef PROCESSES_END_LATER
    gone[dead] = true;
#endif
    if
    :: monitor == dead -> monitor = 0; inconsistent = true
    :: else
    fi
}

#include "kernel.pml"

inline check()
{
    assert(KIND == SIGNAL || left == total - SUM);
    assert(KIND != BOUNDED || (total == UNITS && left <= UNITS));
    assert(KIND == SIGNAL || life[1] == DEAD || held[1] == COUNT_OF(1));
    assert(KIND == SIGNAL || life[2] == DEAD || held[2] == COUNT_OF(2));
#if TASKS > 2
    assert(KIND == SIGNAL || life[3] == DEAD || held[3] == COUNT_OF(3))
#endif
}

inline derive()
{
#if KIND == SIGNAL
    skip
#else
#ifdef MUTANT_DERIVE_FORGETS_ONE
    left = total - SUM + holder_count[0]
#else
    left = total - SUM
#endif
#endif
}

inline change()
{
    same_changes[1] = false;
    same_changes[2] = false;
    same_changes[3] = false
}

proctype task(byte me)
{
    byte slot, watched, wake;
    bool any, err, patient, slept, value;
    {
        goto idle;
idle:
        atomic {
            if
            :: monitor == 0
            :: life[me] = QUIT; goto finished
            fi;
enter:
            monitor == 0;
            monitor = me;
            if
            :: inconsistent
            :: else -> check(); goto entered
            fi
        }
        atomic { /* repair */
#ifdef MUTANT_NO_REPAIR
            skip
#else
            derive();
#ifdef MUTANT_REPAIR_FORGETS_SLEEPERS
            sleepers = 0
#endif
#endif
        }
        atomic { inconsistent = false }
entered:
        atomic {
            if
            :: slept ->
                slept = false;
                sleepers = (sleepers > 0 -> sleepers - 1 : 0)
            :: !slept -> goto give
            :: !slept
#ifdef VALUE_TOO
            :: !slept -> value = true; goto give_back_of_dead
#endif
            fi;
            if
            :: left > 0 -> goto take
            :: else
            fi
        }
give_back_of_dead:
        atomic {
            if
            :: holder_count[slot] == 0
#ifdef MUTANT_GIVE_BACK_OF_LIVING
            :: holder_count[slot] != 0 ->
#else
            :: holder_count[slot] != 0 && !gone[holder_id[slot]]
            :: holder_count[slot] != 0 && gone[holder_id[slot]] ->
#endif
                holder_count[slot] = 0;
                holder_id[slot] = 0;
                any = true;
                wake = TASKS
            fi;
            slot++;
            if
            :: slot < SLOTS -> goto give_back_of_dead
            :: else -> slot = 0
            fi;
            if
            :: any -> any = false
            :: else -> goto looked
            fi
        }
        atomic { derive() }
looked:
        atomic {
            if
            :: value -> value = false; goto leave
            :: !value && left > 0 -> goto take
            :: !value && left == 0 && err -> goto leave
            :: !value && left == 0 && !err -> goto sleep_outside
            fi
        }

        /* take_unit */
take:
        atomic {
#if KIND == SIGNAL
            goto take_left;
#endif
            slot = FIND(me);
            if
            :: slot != NONE -> goto take_count
            :: else -> slot = UNUSED; assert(holder_count[slot] == 0); holder_id[slot] = me
            fi
        }
take_count:
        atomic { holder_count[slot] = holder_count[slot] + 1; held[me] = held[me] + 1 }
take_left:
        atomic { assert(left > 0); left--; slot = 0; goto leave }

        /* sleep_outside */
sleep_outside:
        atomic {
            watched = HOLDERS;
            same_changes[me] = true;
            sleepers++
        }
        atomic { check(); monitor = 0 }
        /* wait_sleep; what gather sees of a death after this step is seen in the next one as well */
        atomic {
            if
            :: same_changes[me] -> on_word[me] = true
            :: same_changes[me] -> on_word[me] = true; patient = true
            :: same_changes[me] -> err = true; goto slept_outside /* the time was up before */
            :: !same_changes[me] -> goto slept_outside
            fi;
            same_changes[me] = false;
            watched = watched & LIVING;
            if
            :: watched == 0 -> goto end_asleep
            :: else
            fi
        }
        atomic {
            if
            :: (watched & ~(LIVING)) != 0 -> goto slept_outside
            :: else -> on_life[me] = watched; watched = 0
            fi
        }
end_asleep:
        atomic {
            if
            :: woken[me] != 0
            :: woken[me] == 0 && !patient -> err = true
            :: woken[me] == 0 && look_again[me] -> look_again[me] = false
            fi;
            watched = woken[me] & ~1;
            leave_queues(me);
            if
            :: watched & BIT(1) -> watched = 1
            :: watched & BIT(2) -> watched = 2
            :: watched & BIT(3) -> watched = 3
            :: watched == 0 -> goto slept_outside
            fi
        }
        atomic { wake_all_watching(watched); goto slept_outside }
slept_outside:
        atomic {
            leave_queues(me);
            watched = 0;
            patient = false;
            same_changes[me] = false;
            slept = true;
            goto enter
        }

        /* give_unit */
give:
        atomic {
            if
            :: left >= VALUE_MAX -> goto leave
            :: else
            fi;
#if KIND != SIGNAL
            slot = FIND(me);
            if
            :: slot == NONE -> slot = IN_USE
            :: else
            fi;
            if
            :: slot != NONE -> holder_count[slot] = holder_count[slot] - 1;
                if
                :: held[holder_id[slot]] > 0 -> held[holder_id[slot]] = held[holder_id[slot]] - 1
                :: else -> assert(!is_alive(holder_id[slot]))
                fi;
                holder_id[slot] = (holder_count[slot] > 0 -> holder_id[slot] : 0)
            :: slot == NONE && KIND == BOUNDED -> slot = 0; goto leave
            :: slot == NONE && KIND != BOUNDED -> total++
            fi;
            slot = 0
#endif
        }
        atomic { left++; wake = 1 }

leave:
        atomic {
            err = false;
            if
            :: wake > 0 && sleepers > 0
            :: else -> wake = 0; goto unlock
            fi;
#ifndef MUTANT_NO_CHANGE
            change()
#endif
        }
unlock:
        atomic {
            check();
            monitor = 0;
            if
            :: wake > 0
            :: else -> goto idle
            fi
        }
        atomic {
#ifdef MUTANT_WAKE_FORGOTTEN
            skip;
#else
            if
            :: wake == 1 -> wake_one()
            :: else -> wake_all()
            fi;
#endif
            wake = 0;
            goto idle
        }
finished:
        skip
    } unless {
        atomic {
            life[me] == DEAD;
            slot = 0;
            watched = 0;
            wake = 0;
            any = false;
            err = false;
            patient = false;
            slept = false;
            value = false
        }
    }
}

#define SLEEPS(p) (life[p] == ALIVE && on_word[p])

/* When nothing moves any more. */
active proctype checker()
{
    timeout;
    assert(left + OF_GONE == 0 || !(SLEEPS(1) || SLEEPS(2) || SLEEPS(TASKS)))
}

init
{
    atomic {
        run task(1);
        run task(2);
#if TASKS > 2
        run task(3)
#endif
    }
}
