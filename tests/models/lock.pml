/* src/sync/lock_word.c with src/sync/wait.c. SPDX-License-Identifier: MIT
 *
 * Each process acquires and releases the lock as often as it likes, polling, with a timeout or without; marks it
 * consistent, or not, if it was told of a death; and stops when it likes. Each access to shared memory is one step.
 *
 * Checked:
 * - nobody holds the lock together with another living one
 * - who acquires it is told of a death if, and only if, a holder died and nobody has marked the lock consistent since
 * - nobody sleeps for ever on a lock that is free or whose owner is dead (invalid end states)
 *
 * Abstracted:
 * - Compare-and-swap does not fail for no reason; all loops around one just try again.
 * - lock_word_try, the first attempt of lock_word_release, and spin() are left out. They do what the slow paths do in
 *   the same state, with fewer steps; a round of spin() that fails only looks.
 * - Ids are not used again, and the lower half of the word, which the kernel compares, tells them apart.
 * - sweep_publishing() concerns the heap.
 * - Whether a sleep may end with -ETIMEDOUT or -EINTR, which are the same to this code, is chosen when it begins.
 *   Those that may not are the ones that a lost wake-up leaves asleep. Who is interrupted and has to go on, in
 *   lock_word_acquire_surely, returns and calls again.
 *
 * - Who releases a lock that another one holds looks whether that one is alive, and releases, in one step.
 *
 * Options: TASKS, DEATHS. OTHERS_RELEASE: who does not hold the lock releases it. AT_ONCE: holders are killed, nobody
 * else is, and nobody looks again, so that who waits has to learn of it from a life word; with three TASKS that fails,
 * as a sleeper watches the owner that it saw, and not the one that the lock was handed to while it slept: it looks again
 * after a slice. NO_PASS_ON: without pass_on all that is checked holds as well. MUTANT_...: errors that must be found. */
#ifdef AT_ONCE
#define NO_SLICE
#define MAY_DIE(p) (holder == p)
#endif

#define SLEEPERS 1
#define INCONSISTENT 2
#define OWNER(w) ((w) >> 2)

byte word; /* owner << 2 | flags */

/* Ghosts. */
byte holder;
bool broken; /* a holder died, and nobody has marked the lock consistent since */

inline on_death(dead)
{
    if
    :: OWNER(word) == dead -> broken = true
    :: else
    fi
}

#include "kernel.pml"

/* The lock was acquired in this step. */
inline acquired(died)
{
    assert(holder == 0 || !is_alive(holder));
    assert(died == broken);
    holder = me;
    told = died;
    seen = 0;
    flag = false;
    err = false
}

/* The lock was released in this step. */
inline released()
{
    holder = 0
}

proctype task(byte me)
{
    byte seen, watched;
    bool told, flag, err, patient;
    {
        goto idle;
idle:
        atomic {
            seen = 0;
            if
            :: goto load
#ifdef OTHERS_RELEASE
            :: goto release_slowly
#endif
            :: life[me] = QUIT; goto finished
            fi
        }

        /* lock_word_acquire_slowly */
load:
        atomic {
            seen = word;
            if
            :: OWNER(seen) == 0 -> goto take
            :: else
            fi
        }
look:
        atomic {
            if
            :: is_alive(OWNER(seen)) -> goto not_taken
            :: else
            fi
        }
take:
        atomic {
            if
            :: word == seen ->
                word = me << 2 | seen & 3 | flag | (OWNER(seen) != 0 -> INCONSISTENT : 0);
#ifdef MUTANT_NOT_TOLD
                word = me << 2 | seen & 3 | flag;
#endif
                acquired((word & INCONSISTENT) != 0);
                goto critical
            :: else -> seen = word
            fi;
            if
            :: OWNER(seen) == 0 -> goto take
            :: else
            fi;
not_taken:
            if
            :: err && flag -> goto pass_on
            :: err && !flag -> err = false; goto idle
            :: !err && !flag -> seen = 0; err = true; goto load /* it polls */
            :: !err
            fi;
#ifndef MUTANT_NO_FLAG_AFTER_SLEEP
            flag = true;
#endif
            if
            :: seen & SLEEPERS -> goto gather
            :: else
            fi
        }

        /* sleep_on */
        atomic {
            if
            :: word == seen -> word = word | SLEEPERS; seen = word
            :: else -> seen = 0; goto load
            fi
        }

        /* wait_sleep */
gather:
        atomic {
            if
            :: is_alive(OWNER(seen)) -> watched = OWNER(seen)
            :: else -> seen = 0; goto load
            fi;
            if
            :: patient = true
            :: skip
            :: watched = 0; seen = 0; err = true; goto load /* the time was up before */
            fi
        }
        atomic {
            if
            :: word == seen -> on_word[me] = true; seen = 0
            :: else -> seen = 0; watched = 0; patient = false; goto load
            fi;
            if
            :: watched == 0 -> goto sleep
            :: else
            fi
        }
        atomic {
            if
            :: is_alive(watched) -> on_life[me] = BIT(watched)
            :: else -> leave_queues(me); watched = 0; patient = false; goto load
            fi
        }
sleep:
        atomic {
            if
            :: woken[me] != 0
            :: woken[me] == 0 && !patient -> err = true
            :: woken[me] == 0 && look_again[me] -> look_again[me] = false
            fi;
            patient = false;
            if
            :: (woken[me] & ~1) != 0 -> leave_queues(me)
            :: else -> leave_queues(me); watched = 0; goto load
            fi
        }
        atomic {
            wake_all_watching(watched);
            watched = 0;
            goto load
        }

pass_on:
#ifdef NO_PASS_ON
        atomic { flag = false; err = false; goto idle }
#endif
        atomic {
            seen = word;
            flag = false;
            err = false;
            if
            :: OWNER(seen) == 0 -> goto wake
            :: else
            fi
        }
set_flag:
        atomic {
            if
            :: word == seen -> word = word | SLEEPERS; goto idle
            :: else -> seen = word
            fi;
            if
            :: OWNER(seen) != 0 -> goto set_flag
            :: else -> goto wake
            fi
        }

critical:
        atomic {
            if
            :: told -> told = false
            :: told -> told = false; goto release_slowly
            :: !told -> goto release_slowly
            fi
        }
        /* lock_word_mark_consistent */
        atomic {
            seen = word;
            if
            :: OWNER(seen) != me -> goto release_slowly
            :: else
            fi
        }
mark:
        atomic {
#ifdef MUTANT_MARK_BY_AND
            word = word & ~INCONSISTENT;
            broken = (OWNER(word) == me -> false : broken);
#else
            if
            :: word == seen -> word = word & ~INCONSISTENT; broken = false
            :: word != seen && OWNER(word) == me -> seen = word; goto mark
            :: word != seen && OWNER(word) != me
            fi;
#endif
            seen = 0
        }

        /* lock_word_release_slowly */
release_slowly:
        atomic {
            seen = word;
not_released:
            if
            :: OWNER(seen) == 0 ->
#ifndef OTHERS_RELEASE
                assert(false);
#endif
                goto idle
            :: else
            fi
        }
        atomic {
            if
            :: word == seen ->
                word = seen & INCONSISTENT | (is_alive(OWNER(seen)) -> 0 : INCONSISTENT);
                released()
            :: else -> seen = word; goto not_released
            fi;
            if
            :: seen & SLEEPERS
            :: else -> goto idle
            fi
        }
wake:
        atomic {
            seen = 0;
#ifndef MUTANT_NO_WAKE
            wake_one();
#endif
            goto idle
        }
finished:
        skip
    } unless {
        atomic {
            life[me] == DEAD;
            seen = 0;
            watched = 0;
            told = false;
            flag = false;
            err = false;
            patient = false
        }
    }
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
