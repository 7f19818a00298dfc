/* src/sync/condition.c with src/sync/wait.c. SPDX-License-Identifier: MIT
 *
 * Each process, under the lock, waits or notifies one or all, as often as it likes, and stops when it likes. Each
 * access to shared memory is one step.
 *
 * Checked:
 * - when nothing moves any more, no wake-up is to be had by a sleeper that was there before the notification: none was
 *   lost, also not one whose taker was killed before it took it
 * - in runs without a death no more return than were notified
 *
 * Ghosts: `waiting`, from the release of the lock until a wake-up is taken or given up on. `owed`: how many of them
 * are still to return. A notification of n makes it n more, but not more than are waiting; one who returns makes it
 * one less; and with one who dies or gives up it becomes at most as many as are left of those who were waiting before
 * it.
 *
 * Abstracted:
 * - The lock is an ideal one, which is free when its owner dies (see lock.pml).
 * - The number of notifications is only ever compared with one read before, so each process has a bit for "still the
 *   same" in place of each that it read. It does not come round to the same value.
 * - A loop around compare-and-swap on one word, which either changes what it saw or leaves because of it, is one step.
 * - Whether a sleep may end with -ETIMEDOUT or -EINTR is chosen when it begins, as in lock.pml.
 *
 * Options: TASKS, DEATHS. NO_GIVING_UP: no sleep ends with an error. RETURNS: how often in a run a sleep may end for
 * no reason, as at the end of a slice. MUTANT_...: errors that must be found; in one of them the number to sleep on is
 * read anew after the look for a wake-up, in another one the number of waiters goes down after the lock was released. */
#ifndef RETURNS
#define RETURNS 0
#endif

byte lock;     /* owner */
byte wake_ups; /* the state's upper half; the lower half is in the bits below */
byte waiters;
byte returns;

bool same_before[4], same_expected[4]; /* a notification clears them */

/* Ghosts. */
bool waiting[4], eligible[4];
byte owed;

#define NOW_WAITING (waiting[1] + waiting[2] + waiting[3])
#define NOW_ELIGIBLE (eligible[1] + eligible[2] + eligible[3])

inline gone_without(p)
{
    waiting[p] = false;
    eligible[p] = false;
    owed = (owed < NOW_ELIGIBLE -> owed : NOW_ELIGIBLE)
}

inline forget(p)
{
    same_before[p] = false;
    same_expected[p] = false
}

inline on_death(dead)
{
    gone_without(dead);
    forget(dead);
    if
    :: lock == dead -> lock = 0
    :: else
    fi
}

#include "kernel.pml"

inline notified(count)
{
    eligible[1] = waiting[1];
    eligible[2] = waiting[2];
    eligible[3] = waiting[3];
    owed = (owed + count < NOW_WAITING -> owed + count : NOW_WAITING);
    same_before[1] = false;
    same_before[2] = false;
    same_before[3] = false;
    same_expected[1] = false;
    same_expected[2] = false;
    same_expected[3] = false
}

inline returned()
{
    assert(deaths > 0 || owed > 0);
    owed = (owed > 0 -> owed - 1 : 0);
    waiting[me] = false;
    eligible[me] = false;
    owed = (owed < NOW_ELIGIBLE -> owed : NOW_ELIGIBLE)
}

proctype task(byte me)
{
    byte seen_waiters, count;
    bool err, patient;
    {
        goto idle;
idle:
        atomic {
            if
            :: lock == 0 -> lock = me
            :: life[me] = QUIT; goto finished
            fi;
            if
            :: count = 1; goto notify
            :: count = TASKS; goto notify
            :: skip
            fi
        }

        /* wait_with */
        atomic { waiters++ }
        atomic { same_before[me] = true; same_expected[me] = true }
        atomic { lock = 0; waiting[me] = true }

        /* sleep_until_notified, wait_sleep */
wait:
        atomic {
            if
            :: !same_before[me] && wake_ups > 0 -> goto acquire
            :: else
            fi;
            same_expected[me] = true
        }
#ifdef MUTANT_EXPECTED_READ_LATE
        atomic { same_expected[me] = true }
#endif
        atomic {
            if
            :: patient = true
#ifndef NO_GIVING_UP
            :: skip
            :: err = true; same_expected[me] = false; goto acquire /* the time was up before */
#endif
            fi;
            if
            :: same_expected[me] -> on_word[me] = true; same_expected[me] = false
            :: else -> patient = false; goto wait
            fi
        }
end_asleep:
        atomic {
            if
            :: woken[me] != 0
            :: woken[me] == 0 && !patient -> err = true
            :: woken[me] == 0 && look_again[me] -> look_again[me] = false
            :: woken[me] == 0 && returns < RETURNS -> returns++
            fi;
            patient = false;
            leave_queues(me);
            if
            :: err
            :: else -> goto wait
            fi
        }

acquire:
        atomic { lock == 0; lock = me }
        /* take_wake_up */
        atomic {
            if
            :: !same_before[me] && wake_ups > 0 -> wake_ups--; returned()
            :: else ->
                if
                :: err -> gone_without(me)
                :: else -> lock = 0; goto wait
                fi
            fi
        }
#ifdef MUTANT_WAITERS_APART
        atomic { lock = 0 }
#endif
        atomic {
            err = false;
            forget(me);
            waiters--
        }
#ifdef MUTANT_WAITERS_APART
        atomic { goto idle }
#endif
        atomic { lock = 0; goto idle }

        /* mproc_condition_notify */
notify:
        atomic {
            seen_waiters = waiters;
            if
            :: seen_waiters == 0 -> goto unlock
            :: else
            fi
        }
        atomic {
            wake_ups = (wake_ups + count < seen_waiters -> wake_ups + count : seen_waiters);
#ifdef MUTANT_ONE_WAKE_UP
            wake_ups = 1;
#endif
            notified(count);
            seen_waiters = 0
        }
        atomic {
#ifdef MUTANT_NO_WAKE
            skip
#else
            if
            :: count == 1 -> wake_one()
            :: else -> wake_all()
            fi
#endif
        }
unlock:
        atomic {
            lock = 0;
            seen_waiters = 0;
            count = 0;
            goto idle
        }
finished:
        skip
    } unless {
        atomic {
            life[me] == DEAD;
            seen_waiters = 0;
            count = 0;
            err = false;
            patient = false
        }
    }
}

/* When nothing moves any more. */
active proctype checker()
{
    timeout;
    assert(owed == 0)
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
