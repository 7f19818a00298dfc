/* src/sync/event.c with src/sync/wait.c. SPDX-License-Identifier: MIT
 *
 * Each process waits, sets and clears as often as it likes, and stops when it likes. Each access to shared memory is
 * one step.
 *
 * Checked:
 * - a wait returns 0 only if the event was set when it began or has been since
 * - when nothing moves any more, nobody sleeps whose event was set since it began to wait, also if it was cleared
 *   again
 *
 * Abstracted:
 * - How often the event was set is only ever compared with what was read before: bits for each process say "still the
 *   same". It does not come round to the same value.
 * - mproc_event_set's loop around compare-and-swap, which either changes what it saw or leaves because of it, is one
 *   step.
 * - Whether a sleep may end with -ETIMEDOUT or -EINTR is chosen when it begins, as in lock.pml. A wait with no timeout
 *   left does not differ from one whose time is up at once.
 *
 * Options: TASKS, DEATHS. MUTANT_...: errors that must be found. */
bool is_set, has_sleepers;
bool same_times[4]; /* as when the wait began; a set clears it */
bool same_seen[4];  /* as in `seen`; a set clears it */

/* Ghosts. */
bool waits[4];
bool was_set[4]; /* when the wait began, or since */

inline forget(p)
{
    same_times[p] = false;
    same_seen[p] = false;
    was_set[p] = false
}

inline on_death(dead)
{
    forget(dead)
}

#include "kernel.pml"

inline set()
{
    is_set = true;
    same_times[1] = false;
    same_times[2] = false;
    same_times[3] = false;
    same_seen[1] = false;
    same_seen[2] = false;
    same_seen[3] = false;
    was_set[1] = waits[1];
    was_set[2] = waits[2];
    was_set[3] = waits[3]
}

proctype task(byte me)
{
    bool seen_sleepers, err, patient;
    {
        goto idle;
idle:
        atomic {
            if
            :: goto wait
            :: is_set -> is_set = false; goto idle /* mproc_event_clear */
            :: !is_set /* mproc_event_set */
            :: life[me] = QUIT; goto finished
            fi;
            seen_sleepers = has_sleepers;
            has_sleepers = false;
            set();
            if
            :: seen_sleepers -> seen_sleepers = false
            :: else -> goto idle
            fi
        }
        atomic {
#ifndef MUTANT_WAKE_ONE
            wake_all();
#else
            wake_one();
#endif
            goto idle
        }

        /* mproc_event_wait */
wait:
        atomic {
            waits[me] = true;
            was_set[me] = is_set;
            same_times[me] = true;
load:
            seen_sleepers = has_sleepers;
            same_seen[me] = true;
            if
            :: is_set -> goto returns
#ifndef MUTANT_ONLY_THE_FLAG
            :: !is_set && !same_times[me] -> goto returns
            :: !is_set && same_times[me]
#else
            :: !is_set
#endif
            fi;
            if
            :: err -> goto gives_up
            :: seen_sleepers -> goto sleep
            :: else
            fi
        }
        atomic {
            if
            :: !is_set && !has_sleepers && same_seen[me] ->
#ifndef MUTANT_FLAG_FORGOTTEN
                has_sleepers = true
#endif
            :: else -> goto load
            fi
        }

        /* wait_sleep */
sleep:
        atomic {
            seen_sleepers = false;
            if
            :: patient = true
            :: skip
            :: err = true; goto load /* the time was up before */
            fi;
            if
#ifdef MUTANT_FLAG_FORGOTTEN
            :: !is_set && same_seen[me] -> on_word[me] = true
#else
            :: !is_set && has_sleepers && same_seen[me] -> on_word[me] = true
#endif
            :: else -> patient = false; goto load
            fi;
            same_seen[me] = false
        }
end_asleep:
        atomic {
            if
            :: woken[me] != 0
            :: woken[me] == 0 && !patient -> err = true
            :: woken[me] == 0 && look_again[me] -> look_again[me] = false
            fi;
            patient = false;
            leave_queues(me)
        }
        goto load;

returns:
        atomic {
            assert(was_set[me]);
gives_up:
            err = false;
            seen_sleepers = false;
            waits[me] = false;
            forget(me);
            goto idle
        }
finished:
        skip
    } unless {
        atomic {
            life[me] == DEAD;
            waits[me] = false;
            seen_sleepers = false;
            err = false;
            patient = false
        }
    }
}

#define MISSED(p) (life[p] == ALIVE && on_word[p] && was_set[p])

/* When nothing moves any more. */
active proctype checker()
{
    timeout;
    assert(!MISSED(1) && !MISSED(2) && !MISSED(TASKS))
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
