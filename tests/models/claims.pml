/* src/channel/claims.c with take_copy_slowly, borrow and release of queue_get.c, and what of segments.c and parcels.c
 * uses memory again. SPDX-License-Identifier: MIT
 *
 * Process 1 puts MESSAGES messages, in the record or in a parcel; it lives. The others get: each takes messages as
 * often as it likes, as a copy or borrowed, or finds that it cannot (claims_return), and stops when it likes. When
 * nobody of them is left, process 1 takes the rest. Whoever takes may first recover what ended processes had, and does
 * so if there is nothing to take. Each access to shared memory is one step.
 *
 * Checked:
 * - what is read is the message that was taken, in its record and its parcel, for as long as it is had; also by who
 *   finishes for a dead owner
 * - a parcel is given back once, and not while a living process reads there
 * - each message is taken once; again only if its consumer died, and at most if the queue delivers again (REDELIVER);
 *   it is lost only with a consumer that died after its call had returned or had come to release it
 * - a message is borrowed with a number of deliveries that is not too low, and too high by one for each death at most
 * - in the end nothing is claimed or returned, and no parcel holds a message
 *
 * Abstracted:
 * - get_lock is an ideal lock, which is free and inconsistent when its owner dies (see lock.pml). put_lock is left
 *   out: one process puts.
 * - There is one record in a segment, and a segment may be used again as soon as `head` is past its record. In the
 *   code `head` must have come to the next segment. Segments are not in a list.
 * - There are SEGMENTS, which are used in turn, one parcel and two claims, and no more: who does not find one tries
 *   again later, or puts in the record. Claims' owner and record are read in one step: none can come to name the
 *   segment that is looked for when `head` is past it.
 * - Stamps and the order of claims are the numbers of the messages.
 * - Nobody else reads or writes what is changed under get_lock but a claim's owner and record, and `head`, so reads
 *   there are part of the step of the next write. So are those of what only the owner of a claim or parcel changes,
 *   and of a message's bytes, which do not become the right ones again.
 * - The memory of a parcel is given back in one step (see memory/condemn.h).
 * - Counters, limits of them (.deliveries), and sleeping are left out. Messages that were taken and are not done yet
 *   (CLAIM_TAKEN) fare as those that are borrowed, and mproc_queue_get_block as what gets a copy.
 * - A claim's number of deliveries is counted when a call delivers it. (MUTANT_DELIVERIES_APART: when it is taken, and back
 *   when it is returned.)
 *
 * Options: MESSAGES, SEGMENTS, DEATHS (of consumers), REDELIVER. TASKS is 3. MUTANT_...: errors that must be found. */
#ifndef MESSAGES
#define MESSAGES 3
#endif
#ifndef SEGMENTS
#define SEGMENTS 2
#endif
#define CLAIMS 2

#define BORROWED 0
#define READING 1
#define RELEASING 3
#define RETURNED 1 /* process 0 */
#define PHASE(owner) ((owner) & 3)
#define PROCESS(owner) ((owner) >> 2)

byte get_lock; /* owner */
bool broken;
byte published, head; /* how many messages there ever were, and were taken from the front */

/* Of each segment, with its record: the number of the message (from 1 on; 0: none yet), and if it is in the parcel. */
byte holds[SEGMENTS];
bool in_parcel[SEGMENTS];
byte place[MESSAGES + 1]; /* segment of each message that is put, but is not in front of `head` */

#define NOTHING 0
#define RESERVED 100
#define EMPTYING(p) (101 + (p))
#define IS_EMPTYING(word) ((word) > RESERVED)
byte parcel;       /* its word: the message that is queued there, or one of these */
byte parcel_bytes; /* the message that was written there last */

byte owner[CLAIMS], record[CLAIMS] /* segment */, number[CLAIMS], deliveries[CLAIMS];
byte returned;

/* Ghosts. */
byte taken[MESSAGES + 1];    /* how often calls returned it */
bool went[MESSAGES + 1];     /* with one who died */
bool given_back[MESSAGES + 1];
byte reads[4];               /* what the process may read, in place */

#define COUNT_RETURNED ((owner[0] == RETURNED) + (owner[1] == RETURNED))
#define FIRST_RETURNED (owner[0] != RETURNED -> 1 : (owner[1] != RETURNED -> 0 : (number[0] < number[1] -> 0 : 1)))

inline goes_with(dead, c)
{
    if
    :: PROCESS(owner[c]) == dead && PHASE(owner[c]) != READING -> went[number[c]] = true
    :: else
    fi
}

inline on_death(dead)
{
    goes_with(dead, 0);
    goes_with(dead, 1);
    reads[dead] = 0;
    if
    :: get_lock == dead -> get_lock = 0; broken = true
    :: else
    fi
}

#include "kernel.pml"

inline check_bytes(message)
{
    assert(holds[record[c]] == message);
    assert(!in_parcel[record[c]] || (parcel == message && parcel_bytes == message))
}

/* A parcel's message is given up in this step. */
inline gives_back(message)
{
    assert(!given_back[message]);
    assert(reads[1] != message && reads[2] != message && reads[3] != message);
    given_back[message] = true
}

inline is_taken()
{
    taken[message] = taken[message] + 1;
    counted = true
}

/* The owner word becomes 0. Nobody looks at the rest then. */
inline free_claim(it)
{
    owner[it] = 0;
    record[it] = 0;
    number[it] = 0;
    deliveries[it] = 0
}

inline check_message(m)
{
    assert(went[m] || taken[m] == 1);
#ifdef REDELIVER
    assert(taken[m] <= 1 + deaths)
#else
    assert(taken[m] <= 1)
#endif
}

proctype task(byte me)
{
    byte c, other, seen, message, segment;
    bool recovered, recovers, gives_up, counted;
    {
        goto idle;
idle:
        atomic {
            recovered = false;
            message = 0;
            if
            :: me == 1 && published < MESSAGES -> goto put
            :: me == 1 && life[2] != ALIVE && life[3] != ALIVE -> goto get
            :: me != 1 -> goto get
            :: me != 1 -> life[me] = QUIT; goto finished
            fi
        }

        /* ---- putting: recycle, start_segment, parcel_commit, publish */
put:
        atomic {
            segment = published % SEGMENTS;
#ifdef MUTANT_CLAIMS_BEFORE_HEAD
            goto claims_name
#endif
        }
head_is_past:
        atomic {
            if
            :: holds[segment] > head -> segment = 0; goto idle
            :: else
            fi;
#ifdef MUTANT_CLAIMS_BEFORE_HEAD
            goto start_segment
#endif
        }
claims_name:
        atomic {
            if
            :: owner[c] != 0 && record[c] == segment && holds[segment] != 0 -> c = 0; segment = 0; goto idle
            :: else
            fi;
            c++;
            if
            :: c < CLAIMS -> goto claims_name
            :: else -> c = 0
            fi;
#ifdef MUTANT_CLAIMS_BEFORE_HEAD
            goto head_is_past
#endif
        }
start_segment:
        atomic {
            holds[segment] = 0;
            in_parcel[segment] = false;
            if
            :: parcel == NOTHING || IS_EMPTYING(parcel) && !is_alive(parcel - EMPTYING(0)) ->
                parcel = RESERVED;
                parcel_bytes = published + 1
            :: goto write_record
            fi
        }
        atomic { parcel = published + 1; in_parcel[segment] = true }
write_record:
        atomic {
            holds[segment] = published + 1;
            place[published + 1] = segment
        }
        atomic {
            published++;
            segment = 0;
            goto idle
        }

        /* ---- getting */
get:
        atomic {
            get_lock == 0;
            get_lock = me;
            if
            :: broken
            :: else -> goto inside
            fi
        }
        /* claims_repair */
repair:
        atomic {
            if
#ifndef MUTANT_REPAIR_FORGETS_HEAD
            :: owner[other] != 0 && head < published && record[other] == place[head + 1] -> free_claim(other)
#endif
            :: else
            fi;
            other++;
            if
            :: other < CLAIMS -> goto repair
            :: else -> other = 0
            fi
        }
        atomic { returned = COUNT_RETURNED }
        atomic { broken = false }
inside:
        atomic {
            if
            :: gives_up -> goto give_up
            :: !gives_up
            :: !gives_up && !recovered && DEATHS > 0 -> goto recover
            fi;
look:
            /* find_offer */
            if
            :: returned > 0 -> c = FIRST_RETURNED; goto take_returned
            :: returned == 0 && head < published -> goto take
            :: returned == 0 && head == published && !recovered && DEATHS > 0 -> goto recover
            :: else -> goto nothing
            fi
        }
nothing:
        atomic {
            get_lock = 0;
            if
            :: me == 1 && published == MESSAGES && recovered -> goto check
            :: me == 1 && published == MESSAGES && deaths == 0 -> goto check
            :: else -> goto idle
            fi
        }

        /* claims_take_returned */
take_returned:
        atomic {
            message = number[c];
#ifdef MUTANT_DELIVERIES_APART
            deliveries[c] = deliveries[c] + 1
        }
        atomic {
#endif
            assert(owner[c] == RETURNED);
            owner[c] = me << 2 | READING
        }
        atomic { returned--; goto unlock }

take:
        atomic {
            if
            :: owner[0] == 0 -> c = 0
            :: owner[0] != 0 && owner[1] == 0 -> c = 1
            :: !in_parcel[place[head + 1]] -> goto copy_under_lock /* is_plain */
            :: else -> goto nothing                                /* no memory for a claim */
            fi;
            message = head + 1;
            record[c] = place[message];
            number[c] = message;
#ifdef MUTANT_DELIVERIES_APART
            deliveries[c] = 1
#else
            deliveries[c] = 0
#endif
        }
#ifdef MUTANT_CLAIM_AFTER_HEAD
        atomic { head++ }
        atomic { owner[c] = me << 2 | READING; goto unlock }
#else
        atomic { owner[c] = me << 2 | READING }
        atomic { head++; goto unlock }
#endif
copy_under_lock:
        atomic { assert(holds[place[head + 1]] == head + 1); head++; taken[head] = taken[head] + 1 }
        atomic { get_lock = 0; goto idle }

unlock:
        atomic {
            get_lock = 0;
            reads[me] = message;
            if
            :: skip
            :: gives_up = true; reads[me] = 0; goto get
            :: goto release
            fi
        }
        /* claim_deliver */
#ifndef MUTANT_DELIVERIES_APART
        atomic { deliveries[c] = deliveries[c] + 1 }
#endif
        atomic {
            check_bytes(message);
            owner[c] = me << 2 | BORROWED;
            is_taken();
            assert(deliveries[c] >= taken[message] && deliveries[c] <= taken[message] + deaths)
        }
        /* claim_release */
release:
        atomic {
            check_bytes(message);
            reads[me] = 0;
#ifdef MUTANT_RELEASED_TOO_EARLY
            owner[c] = 0
#else
            owner[c] = me << 2 | RELEASING
#endif
        }
        /* finish, parcel_finish */
finish:
        atomic {
            assert(holds[record[c]] == number[c]);
            if
            :: !in_parcel[record[c]] -> goto disclaim
            :: else -> seen = parcel
            fi;
            if
            :: seen == number[c]
#ifdef MUTANT_STAMP_NOT_COMPARED
            :: seen != number[c] -> parcel = NOTHING; goto disclaim
#else
            :: seen != number[c] && IS_EMPTYING(seen) && !is_alive(seen - EMPTYING(0))
            :: else -> goto disclaim
#endif
            fi
        }
        atomic {
            if
            :: parcel == seen && seen == number[c] -> gives_back(seen); parcel = NOTHING; goto disclaim /* is kept */
            :: parcel == seen && seen == number[c] -> gives_back(seen); parcel = EMPTYING(me)
            :: parcel == seen && seen != number[c] -> parcel = EMPTYING(me) /* for one who died */
            :: else -> goto disclaim
            fi
        }
        atomic { assert(parcel == EMPTYING(me)); parcel_bytes = 0; parcel = NOTHING }
disclaim:
        atomic {
            seen = 0;
            if
            :: recovers -> free_claim(c); goto recover_next
            :: !recovers && !counted -> is_taken() /* the call returns */
            :: !recovers && counted
            fi;
            free_claim(c);
            counted = false;
            message = 0;
            c = 0;
            goto idle
        }

        /* claims_return, under the lock again */
give_up:
        atomic {
            gives_up = false;
#ifdef MUTANT_DELIVERIES_APART
            deliveries[c] = deliveries[c] - 1
        }
        atomic {
#endif
            owner[c] = RETURNED
        }
        atomic { c = 0; message = 0; returned = COUNT_RETURNED }
        atomic { get_lock = 0; goto idle }

        /* ---- claims_recover, under the lock */
recover:
        atomic {
            recovers = true;
            c = 0;
recover_claim:
            seen = owner[c];
            if
            :: seen == 0 || seen == RETURNED -> goto recover_next
            :: else
            fi
        }
        /* It may have gone on meanwhile, and died then: once it is dead the word stays. */
        atomic {
            if
            :: is_alive(PROCESS(seen)) -> goto recover_next
            :: else
            fi;
#ifndef MUTANT_OWNER_NOT_SEEN_AGAIN
            seen = owner[c];
            if
            :: seen == 0 -> goto recover_next
            :: else
            fi;
#endif
            recovered = true;
            if
            :: PHASE(seen) == READING
#ifdef REDELIVER
            :: PHASE(seen) == BORROWED -> goto give_to_others
#endif
            :: PHASE(seen) == RELEASING -> goto finish
            :: else -> goto lose
            fi;
        }
#ifdef MUTANT_DELIVERIES_APART
        atomic { deliveries[c] = deliveries[c] - 1 }
#endif
give_to_others:
        atomic { owner[c] = RETURNED; goto recover_next }
lose:
        atomic { owner[c] = PROCESS(seen) << 2 | RELEASING; goto finish }
recover_next:
        atomic {
            seen = 0;
            c++;
            if
            :: c < CLAIMS -> goto recover_claim
            :: else -> c = 0
            fi;
            recovers = false
        }
        atomic {
            returned = COUNT_RETURNED;
            recovered = true;
            goto look
        }

        /* Nobody else is left. */
check:
        atomic {
            assert(owner[0] == 0 && owner[1] == 0 && returned == 0);
            assert(parcel == NOTHING || IS_EMPTYING(parcel) && !is_alive(parcel - EMPTYING(0)));
            check_message(1);
            check_message(2);
#if MESSAGES > 2
            check_message(3);
#endif
            life[me] = QUIT
        }
finished:
        skip
    } unless {
        atomic {
            life[me] == DEAD;
            c = 0;
            other = 0;
            seen = 0;
            message = 0;
            segment = 0;
            recovered = false;
            recovers = false;
            counted = false;
            gives_up = false
        }
    }
}

init
{
    atomic {
        run task(1);
        run task(2);
        run task(3)
    }
}
