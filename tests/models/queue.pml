/* src/channel/queue.c, queue_put.c, queue_get.c and waiters.c with src/sync/wait.c. SPDX-License-Identifier: MIT
 *
 * Producers put, consumers get, each as often as it likes and until MESSAGES were put, waiting, with a timeout or
 * polling; the queue holds at most LIMIT messages; with CLOSES a producer may close it. Each access to shared memory
 * is one step.
 *
 * Checked:
 * - a record is written once, only where there is none, and taken once, in order, and what was copied is what was
 *   written there
 * - there are never more than LIMIT messages in the queue, and never less than none
 * - whenever a lock is released, what is derived from the records and `head` on its side is what it should be
 * - when nothing moves any more, no consumer sleeps while there is a message, no producer while there is room, and
 *   nobody in a closed queue. So without a death no wake-up is lost; after one, a sleeper looks again once.
 *
 * Abstracted:
 * - Both locks are ideal ones, which are free and inconsistent when their owner dies (see lock.pml); who gets one then
 *   repairs. A wait for one always gets it.
 * - Records have numbers and not addresses. The bytes of one lie where those of the one LIMIT before it lay, so that
 *   they are overwritten as soon as they may be (see claims.pml for when that is), and say which message it is.
 * - The first attempts without waiting, and spin(), are left out. They do what begin_waiting does, with fewer steps.
 * - Nobody else reads or writes what is changed under a lock, but for what the header says, so reads there are part of
 *   the step of the next write.
 * - The number of the last news is only ever compared with one read before: a bit for each process says "still the
 *   same". It does not come round to the same value.
 * - A loop around compare-and-swap on one word, which either changes what it saw or leaves because of it, is one step;
 *   so is waiters_tell's look before it.
 * - Roles, and whom a sleeper watches, are left out: after a death everybody looks again anyway.
 * - Claims, parcels and several segments are in claims.pml.
 * - Whether a sleep may end with -ETIMEDOUT or -EINTR is chosen when it begins, as in lock.pml.
 *
 * Options: PRODUCERS, LIMIT, MESSAGES, DEATHS (of consumers first; with PRODUCERS_DIE of producers first), CLOSES.
 * REFUSALS: how often in a run a message may not be taken though it is there. IN_ORDER: the kernel wakes those first
 * that have slept longest, as Linux does among sleepers of one priority. TASKS is 3. MUTANT_...: errors that must be
 * found; in one of them it is looked whether the queue is closed before the announcement, in another one who was woken
 * takes its announcement back, although the wake-up may have been another one's, in another one who does not take a
 * message that is there tells nobody. */
#ifndef PRODUCERS
#define PRODUCERS 1
#endif
#ifndef LIMIT
#define LIMIT 1
#endif
#ifndef MESSAGES
#define MESSAGES 3
#endif

#define READERS 0
#define WRITERS 1
#ifdef PRODUCERS_DIE
#define CONSUMES(p) ((p) <= 3 - PRODUCERS)
#else
#define CONSUMES(p) ((p) > PRODUCERS)
#endif
#define SIDE(p) (CONSUMES(p) -> READERS : WRITERS)

byte put_lock, get_lock; /* owner */
bool put_broken, get_broken;
bool closed;
byte word[MESSAGES + 1]; /* of each record; 0: it is not there. What is not 0 stands for the length, and says which */
byte bytes[LIMIT];
byte tail, put_messages, got_seen;
byte head, got_messages;
byte sleepers[2];   /* the waiters' words; the news' numbers are in the bits below */
bool same_news[4];  /* news clear it */
bool slept_later[4]; /* than another one on the same word, that still sleeps */

/* Ghosts. */
#ifdef REFUSALS
byte refusals;
#endif
byte begun;   /* how often a put was begun, but for those that failed */
byte written; /* how often bytes were written */

#define BYTES(record) bytes[(record) % LIMIT]
#define THERE (word[0] == 0 -> 0 : (word[1] == 0 -> 1 : (word[2] == 0 -> 2 : MESSAGES)))

inline on_death(dead)
{
    same_news[dead] = false;
    slept_before_none(dead);
    if
    :: put_lock == dead -> put_lock = 0; put_broken = true
    :: else
    fi;
    if
    :: get_lock == dead -> get_lock = 0; get_broken = true
    :: else
    fi
}

/* It does not sleep any more. (There are at most two on a word.) */
inline slept_before_none(p)
{
    slept_later[p] = false;
    slept_later[1] = slept_later[1] && SIDE(1) != SIDE(p);
    slept_later[2] = slept_later[2] && SIDE(2) != SIDE(p);
    slept_later[3] = slept_later[3] && SIDE(3) != SIDE(p)
}

#include "kernel.pml"

#define SLEEPS_ON(p, side) (on_word[p] && SIDE(p) == (side))

inline fall_asleep()
{
#ifdef IN_ORDER
    slept_later[me] = SLEEPS_ON(1, SIDE(me)) || SLEEPS_ON(2, SIDE(me)) || SLEEPS_ON(3, SIDE(me));
#endif
    on_word[me] = true
}

inline wake_up(p)
{
    on_word[p] = false;
    woken[p] = 1;
    slept_before_none(p)
}

/* futex_wake(word, how_many) */
inline wake(side)
{
    if
    :: how_many > 0 && SLEEPS_ON(1, side) && !slept_later[1] -> how_many--; wake_up(1)
    :: how_many > 0 && SLEEPS_ON(2, side) && !slept_later[2] -> how_many--; wake_up(2)
    :: how_many > 0 && SLEEPS_ON(3, side) && !slept_later[3] -> how_many--; wake_up(3)
    :: else
    fi;
    if
    :: how_many > 0 && SLEEPS_ON(1, side) -> wake_up(1)
    :: how_many > 0 && SLEEPS_ON(2, side) -> wake_up(2)
    :: how_many > 0 && SLEEPS_ON(3, side) -> wake_up(3)
    :: else
    fi;
    how_many = 0
}

/* waiters_tell_slowly up to the system call */
inline tell(side, most)
{
    how_many = (sleepers[side] < most -> sleepers[side] : most);
    sleepers[side] = sleepers[side] - how_many;
    same_news[1] = same_news[1] && (how_many == 0 || SIDE(1) != side);
    same_news[2] = same_news[2] && (how_many == 0 || SIDE(2) != side);
    same_news[3] = same_news[3] && (how_many == 0 || SIDE(3) != side)
}

/* waiters_announce */
inline announce()
{
    sleepers[SIDE(me)] = sleepers[SIDE(me)] + 1;
    same_news[me] = true;
    announced = true
}

/* waiters_withdraw */
inline withdraw()
{
#ifdef MUTANT_WITHDRAW_AFTER_NEWS
    sleepers[SIDE(me)] = (sleepers[SIDE(me)] > 0 -> sleepers[SIDE(me)] - 1 : 0);
#else
    sleepers[SIDE(me)] = (same_news[me] && sleepers[SIDE(me)] > 0 -> sleepers[SIDE(me)] - 1 : sleepers[SIDE(me)]);
#endif
    same_news[me] = false;
    announced = false
}

#define check_put() assert(tail == THERE && put_messages == tail)
#define check_get() assert(got_messages == head)

proctype task(byte me)
{
    byte how_many, copy;
    bool announced, over, err, patient, was_woken;
    {
        goto idle;
idle:
        atomic {
            over = false;
            err = false;
            if
            :: CONSUMES(me) -> goto get
            :: !CONSUMES(me) && begun < MESSAGES -> begun++; goto put
#ifdef CLOSES
            :: !CONSUMES(me) && !closed -> goto close
#endif
            :: life[me] = QUIT; goto finished
            fi
        }

        /* ---- getting: begin_waiting */
get:
        atomic {
            get_lock == 0;
            get_lock = me;
            if
            :: get_broken
            :: else -> goto look_for_message
            fi
        }
        atomic {
#ifdef MUTANT_NO_REPAIR_OF_GOT
            skip
#else
            got_messages = head
#endif
        }
        atomic { get_broken = false }
look_for_message:
        atomic {
            if
            :: word[head] != 0 && announced
            :: word[head] != 0 && !announced -> goto copy_out
            :: else -> goto no_message
            fi
        }
        atomic { withdraw() }
copy_out:
        atomic {
            if
            :: skip
#ifdef REFUSALS
            :: refusals < REFUSALS -> refusals++; goto refuse
#endif
            fi
        }
#ifdef MUTANT_TAKEN_BEFORE_COPY
        atomic { head++ }
        atomic { got_messages++ }
        atomic { copy = BYTES(head - 1) }
        atomic { assert(copy == word[head - 1]); copy = 0 }
#else
        atomic { copy = BYTES(head) }
        atomic {
            assert(copy == word[head]); /* so all are taken in order, each by one */
            copy = 0;
            head++
        }
        atomic { got_messages++ }
#endif
        atomic { check_get(); get_lock = 0 }
        atomic {
            tell(WRITERS, 1);
            if
            :: how_many == 0 -> goto idle
            :: else
            fi
        }
        atomic { wake(WRITERS); goto idle }

        /* It does not fit, or there is no memory for a claim. Another one may be able to take it. */
refuse:
        atomic { check_get(); get_lock = 0 }
        atomic {
#ifndef MUTANT_REFUSED_UNTOLD
            tell(READERS, 1);
#endif
            if
            :: how_many == 0 -> goto idle
            :: else
            fi
        }
        atomic { wake(READERS); goto idle }

no_message:
        atomic {
            check_get();
            get_lock = 0;
            if
            :: over || err -> goto leave
            :: !over && !err && announced -> goto sleep
            :: !over && !err && !announced
            fi;
#ifdef MUTANT_CLOSED_BEFORE_ANNOUNCED
            over = closed
#else
            announce()
#endif
        }
        atomic {
#ifdef MUTANT_CLOSED_BEFORE_ANNOUNCED
            announce();
#else
            over = closed;
#endif
#ifdef MUTANT_NO_LOOK_AFTER_ANNOUNCED
            if
            :: over -> goto get
            :: else -> goto sleep
            fi
#else
            goto get
#endif
        }

        /* ---- putting: begin_waiting */
put:
        atomic {
            put_lock == 0;
            put_lock = me;
            if
            :: put_broken
            :: else -> goto look_for_room
            fi
        }
        atomic { got_seen = got_messages }
        atomic { /* find_tail */
#ifdef MUTANT_NO_REPAIR_OF_TAIL
            skip
#else
            tail = THERE
#endif
        }
        atomic {
#ifdef MUTANT_NO_REPAIR_OF_PUT
            skip
#else
            put_messages = THERE
#endif
        }
        atomic { put_broken = false }
look_for_room:
        atomic {
            if
            :: closed -> goto no_room
            :: !closed && put_messages - got_seen < LIMIT -> goto room
            :: else -> got_seen = got_messages
            fi;
            if
            :: put_messages - got_seen < LIMIT -> goto room
            :: else -> goto no_room
            fi
        }
no_room:
        atomic {
            check_put();
            put_lock = 0;
            if
            :: closed || err -> goto leave
            :: !closed && !err && announced -> goto sleep
            :: !closed && !err && !announced
            fi;
            /* queue_settle_got */
            if
            :: get_broken
            :: else -> goto settled
            fi
        }
        atomic {
            get_lock == 0;
            get_lock = me;
            if
            :: get_broken
            :: else -> goto settled_inside
            fi
        }
        atomic { got_messages = head }
        atomic { get_broken = false }
settled_inside:
        atomic { check_get(); get_lock = 0 }
settled:
        atomic { announce(); goto put }

room:
        atomic {
            if
            :: announced -> withdraw()
            :: else
            fi
        }
        atomic {
            written++;
            BYTES(tail) = written
        }
#ifdef MUTANT_TELL_BEFORE_PUT
        atomic { tell(READERS, 1) }
#endif
#ifdef MUTANT_COUNT_BEFORE_PUT
        atomic { put_messages++ }
#endif
        atomic { /* publish */
            assert(word[tail] == 0);
            assert(tail + 1 - head <= LIMIT && tail >= head);
            word[tail] = BYTES(tail)
        }
        atomic { tail++ }
#ifndef MUTANT_COUNT_BEFORE_PUT
        atomic { put_messages++ }
#endif
        atomic { check_put(); put_lock = 0 }
        atomic {
#ifndef MUTANT_TELL_BEFORE_PUT
            tell(READERS, 1);
#endif
            if
            :: how_many == 0 -> goto idle
            :: else
            fi
        }
        atomic { wake(READERS); goto idle }

        /* ---- wait_sleep, waiters_sleep */
sleep:
        atomic {
            if
            :: patient = true
            :: skip
            :: err = true; goto slept /* the time was up before */
            :: goto leave             /* it polls */
            fi;
            if
            :: same_news[me] -> fall_asleep()
            :: else -> patient = false; goto slept
            fi
        }
end_asleep:
        atomic {
            if
            :: woken[me] != 0 -> was_woken = true
            :: woken[me] == 0 && !patient -> err = true
            :: woken[me] == 0 && look_again[me] -> look_again[me] = false
            fi;
            patient = false;
            slept_before_none(me);
            leave_queues(me)
        }
slept:
        atomic {
#ifndef MUTANT_WOKEN_WITHDRAWS
            /* The wake-up may be that of one who announced itself before; its announcement is not counted any more. */
            if
            :: was_woken -> was_woken = false; same_news[me] = false; announced = false
            :: else -> withdraw()
            fi;
#else
            was_woken = false;
            withdraw();
#endif
            if
            :: CONSUMES(me) -> goto get
            :: else -> goto put
            fi
        }

        /* Returns an error. */
leave:
        atomic {
            begun = (CONSUMES(me) -> begun : begun - 1);
            if
            :: announced -> withdraw()
            :: else
            fi;
            goto idle
        }

        /* ---- mproc_queue_close */
close:
        atomic {
            put_lock == 0;
            put_lock = me;
            if
            :: put_broken
            :: else -> goto close_inside
            fi
        }
        atomic { tail = THERE }
        atomic { put_messages = THERE }
        atomic { put_broken = false }
close_inside:
        atomic { closed = true }
        atomic { check_put(); put_lock = 0 }
        atomic { tell(READERS, 3) }
        atomic { wake(READERS) }
        atomic { tell(WRITERS, 3) }
        atomic { wake(WRITERS); goto idle }
finished:
        skip
    } unless {
        atomic {
            life[me] == DEAD;
            how_many = 0;
            copy = 0;
            announced = false;
            over = false;
            err = false;
            patient = false;
            was_woken = false
        }
    }
}

#define SLEEPS(p) (life[p] == ALIVE && on_word[p])
#define IN_VAIN(p) (SLEEPS(p) && (closed || (CONSUMES(p) -> word[head] != 0 : THERE - head < LIMIT)))

/* When nothing moves any more. */
active proctype checker()
{
    timeout;
    assert(!IN_VAIN(1) && !IN_VAIN(2) && !IN_VAIN(3))
}

init
{
    atomic {
        run task(1);
        run task(2);
        run task(3)
    }
}
