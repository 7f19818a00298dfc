/* What the models share: processes that can be killed, and the kernel's sleep. SPDX-License-Identifier: MIT
 *
 * DEATH. `killer` kills up to DEATHS processes, each between any two steps of its own. Whoever is killed leaves the
 * queues that it sleeps in, does nothing more (the `unless` around its body) and has a life that everybody can see is
 * over. In a second step the kernel wakes one of those that sleep on its life word, as it does for a robust futex. As
 * all processes do the same, it does not matter who is killed: first the one of the highest number, then the next.
 *
 * SLEEP. There is one word to sleep on, and each process's life word. Going to sleep compares and queues in one step
 * for each word, one word after the other, as futex_waitv does; a sleeper may be woken through each of them, and one
 * that was woken through one of them is in the other queue, and uses up that one's wake-ups, until it runs. Who is
 * woken is chosen nondeterministically. A wake-up of one who is then killed is lost.
 *
 * WAIT_SLICE. In the code a sleeper looks again after a tenth of a second, for ever. Here it looks again only if
 * somebody has died since it last did, and once for each death, at any time after it. So without a death a lost
 * wake-up is a deadlock; and after one, a sleeper that would have to look twice is a deadlock as well.
 *
 * MEMORY. Spin's memory is sequentially consistent. */
#ifndef TASKS
#define TASKS 3
#endif
#ifndef DEATHS
#define DEATHS 0
#endif

mtype = { ALIVE, QUIT, DEAD };
mtype life[TASKS + 1] = ALIVE; /* QUIT: does nothing more, but its process lives */
bool gone[TASKS + 1];    /* the whole process has ended, and not only its thread */
bool look_again[TASKS + 1];
byte deaths;

bool on_word[TASKS + 1]; /* sleeps on the word */
byte on_life[TASKS + 1]; /* a bit for each process whose life word it sleeps on */
byte woken[TASKS + 1];   /* bit 0: through the word; bit p: through p's life word */

#define BIT(p) (1 << (p))
#define is_alive(p) (life[p] != DEAD)

inline leave_queues(p)
{
    on_word[p] = false;
    on_life[p] = 0;
    woken[p] = 0
}

/* futex_wake(word, 1) */
inline wake_one()
{
    atomic {
        if
        :: on_word[1] -> on_word[1] = false; woken[1] = woken[1] | 1
        :: on_word[2] -> on_word[2] = false; woken[2] = woken[2] | 1
#if TASKS > 2
        :: on_word[3] -> on_word[3] = false; woken[3] = woken[3] | 1
#endif
        :: else
        fi
    }
}

inline wake_if(p)
{
    if
    :: on_word[p] -> on_word[p] = false; woken[p] = woken[p] | 1
    :: else
    fi
}

/* futex_wake(word, INT_MAX) */
inline wake_all()
{
    d_step {
        wake_if(1);
        wake_if(2);
#if TASKS > 2
        wake_if(3)
#endif
    }
}

#define watches(p, dead) ((on_life[p] & BIT(dead)) != 0)

inline wake_watcher(p, dead)
{
    on_life[p] = on_life[p] & ~BIT(dead);
    woken[p] = woken[p] | BIT(dead)
}

/* The kernel, for a thread that has ended. */
inline wake_one_watching(dead)
{
    atomic {
        if
        :: watches(1, dead) -> wake_watcher(1, dead)
        :: watches(2, dead) -> wake_watcher(2, dead)
#if TASKS > 2
        :: watches(3, dead) -> wake_watcher(3, dead)
#endif
        :: else
        fi
    }
}

inline wake_if_watching(p, dead)
{
    if
    :: watches(p, dead) -> wake_watcher(p, dead)
    :: else
    fi
}

/* wait_sleep, after it was woken through a life word: the kernel has woken this one only */
inline wake_all_watching(dead)
{
    d_step {
        wake_if_watching(1, dead);
        wake_if_watching(2, dead);
#if TASKS > 2
        wake_if_watching(3, dead)
#endif
    }
}

inline everybody_looks_again()
{
#ifdef NO_SLICE
    skip
#else
    look_again[1] = (life[1] == ALIVE);
    look_again[2] = (life[2] == ALIVE);
#if TASKS > 2
    look_again[3] = (life[3] == ALIVE)
#endif
#endif
}

#if DEATHS > 0
#ifndef MAY_DIE
#define MAY_DIE(p) true
#endif
active proctype killer()
{
    byte dead;
    do
    :: atomic {
            deaths < DEATHS && life[TASKS - deaths] == ALIVE && MAY_DIE(TASKS - deaths);
            dead = TASKS - deaths;
            life[dead] = DEAD;
            look_again[dead] = false;
            deaths++;
            leave_queues(dead);
            on_death(dead);
            everybody_looks_again()
        }
        wake_one_watching(dead);
#ifdef PROCESSES_END_LATER
        atomic {
            gone[dead] = true;
            everybody_looks_again();
            dead = 0
        }
#else
        dead = 0
#endif
    :: break
    od
}
#endif
