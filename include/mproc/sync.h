/* Locks and what is made of them, for processes and threads alike. SPDX-License-Identifier: MIT
 *
 *     struct account { mproc_lock lock; long cents; } *account = mproc_calloc(1, sizeof *account);
 *     ...
 *     mproc_lock_acquire(&account->lock, MPROC_FOREVER);
 *     account->cents += 100;
 *     mproc_lock_release(&account->lock);
 *
 * These are plain structs. They lie in the shared heap or in any memory that the threads and processes concerned share,
 * as members of the program's own structs; nothing is registered and nothing is opened. They must not be copied or
 * moved once in use. A lock, recursive lock, condition, event and reader-writer lock that is all zeroes is ready for
 * use; a semaphore and a barrier have to be initialised. They work between the processes of one family: a program and
 * the processes that it starts through mproc, or forks.
 *
 * DEATH. Whoever holds, waits or is in the middle of a call may be killed at any instruction. What it held is passed
 * on: the next one to acquire a lock gets it with MPROC_E_OWNER_DIED and knows that the data may be half changed; units
 * of a semaphore come back; a barrier is broken for all. Who waits learns of it within a tenth of a second, on
 * Linux 5.16 and newer mostly at once. That long at most it takes, too, until a wake-up that was on its way to or from
 * a thread that was killed reaches another one. The holder is a thread: one that ends without releasing has died, even
 * if its process lives on. (Only semaphores count by process.)
 *
 * COMMON TO ALL CALLS. `timeout` is in nanoseconds from now on, 0 polls, MPROC_FOREVER waits without limit
 * (mproc/time.h). They may be called from any thread and in a forked child, where the caller is a new thread that holds
 * nothing; not in a signal handler, but for mproc_event_set, mproc_event_clear and mproc_event_is_set. They are no
 * cancellation points for the lock's sake: a thread that is cancelled while it holds a lock has died. Besides what is
 * listed, those that wait return
 * - `-ETIMEDOUT`: the time is up
 * - `-EINTR`: a signal handler ran while the caller slept; nothing was acquired. (Handlers installed with SA_RESTART
 * may let the wait go on)
 * - `-ENOMEM`: the calling thread could not be registered with the heap: no memory, or 65,534 threads are
 * and all that return an error code return
 * - `-EINVAL`: the object is NULL
 * - `MPROC_E_NOT_INITIALISED`: it was not initialised, or not zeroed, as far as that can be seen
 *
 * PROGRESS. Acquiring what is free, and releasing, takes no system call and is lock-free for locks, recursive locks and
 * events. Semaphores, barriers and reader-writer locks guard their own few words with a lock inside; a process that is
 * stopped (SIGSTOP, a debugger) just there holds up others until it goes on, one that is killed there does not. Nobody
 * is starved for ever, but there is no order: a thread that comes just in time may overtake one that waits.
 */
#ifndef MPROC_SYNC_H
#define MPROC_SYNC_H

#include <mproc/export.h>
#include <mproc/time.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/** The largest value of a semaphore. */
#define MPROC_SEMAPHORE_VALUE_MAX INT32_MAX

/** What waits for mutual exclusion. Zeroed: free. */
typedef struct mproc_lock {
    uint64_t state_[1]; /**< private */
} mproc_lock;

/** A lock that its holder may acquire again. Zeroed: free. */
typedef struct mproc_rlock {
    uint64_t state_[2]; /**< private */
} mproc_rlock;

/** What waits for news under a lock. Zeroed: nobody waits. */
typedef struct mproc_condition {
    uint64_t state_[2]; /**< private */
} mproc_condition;

/** A flag to wait for. Zeroed: not set. */
typedef struct mproc_event {
    uint64_t state_[1]; /**< private */
} mproc_event;

/** A number of units to be acquired and released. */
typedef struct mproc_semaphore {
    uint64_t state_[16]; /**< private */
} mproc_semaphore;

/** A place where a number of threads wait for each other. */
typedef struct mproc_barrier {
    uint64_t state_[24]; /**< private */
} mproc_barrier;

/** A lock for many readers or one writer. Zeroed: free. */
typedef struct mproc_rwlock {
    uint64_t state_[16]; /**< private */
} mproc_rwlock;

MPROC_BEGIN_DECLARATIONS

/* ---- lock ---- */

/** Acquires a lock. As in Python, a thread that holds it already waits, since another one may release it.
 *
 * Returns 0 with the lock held, or
 * - `MPROC_E_OWNER_DIED`: **the lock is held**, but a holder before died, so what it guards may be half changed. Repair
 *   it and call mproc_lock_mark_consistent. Until somebody does, everyone who acquires the lock is told so
 * - what all return that wait
 *
 * Algorithm: Ulrich Drepper, Futexes Are Tricky, with the holder's identity in the word. Since 0.1. */
MPROC_API int mproc_lock_acquire(mproc_lock *lock, int64_t timeout);

/** Releases a lock and wakes one that waits for it. Any thread of any process may release it, not only its holder.
 *
 * If its holder has died, whoever acquires it next is told so all the same.
 * Returns 0, or
 * - `MPROC_E_NOT_LOCKED`: nobody holds it
 *
 * Since 0.1. */
MPROC_API int mproc_lock_release(mproc_lock *lock);

/** Says that what the lock guards is in order again, after MPROC_E_OWNER_DIED. Does not release the lock.
 *
 * Returns 0, or
 * - `MPROC_E_NOT_OWNER`: the calling thread does not hold the lock
 * - `-EINVAL`: no holder had died
 *
 * Since 0.1. */
MPROC_API int mproc_lock_mark_consistent(mproc_lock *lock);

/** Pid of the process whose thread holds the lock; 0 if it is free or its holder is dead. A snapshot. Since 0.1. */
MPROC_API pid_t mproc_lock_owner(const mproc_lock *lock);

/* ---- recursive lock ---- */

/** Acquires a recursive lock, once more if the calling thread holds it. As mproc_lock_acquire otherwise, and
 *
 * - `-EOVERFLOW`: it is held 2^32 - 1 times
 *
 * Since 0.1. */
MPROC_API int mproc_rlock_acquire(mproc_rlock *lock, int64_t timeout);

/** Releases a recursive lock once. It is free when it was released as often as acquired. Only its holder may do so.
 *
 * Returns 0, or
 * - `MPROC_E_NOT_OWNER`: another thread holds it
 * - `MPROC_E_NOT_LOCKED`: nobody does
 *
 * Since 0.1. */
MPROC_API int mproc_rlock_release(mproc_rlock *lock);

/** As mproc_lock_mark_consistent. Since 0.1. */
MPROC_API int mproc_rlock_mark_consistent(mproc_rlock *lock);

/** As mproc_lock_owner. Since 0.1. */
MPROC_API pid_t mproc_rlock_owner(const mproc_rlock *lock);

/* ---- semaphore ---- */

/** Initialises a semaphore with so many units, which it keeps account of by process: when a process ends, in whatever
 * way, the units that it held come back.
 *
 * - `value`: 0 to MPROC_SEMAPHORE_VALUE_MAX.
 *
 * Nobody may use it during the call. Returns 0 or -EINVAL. Since 0.1. */
MPROC_API int mproc_semaphore_init(mproc_semaphore *semaphore, int value);

/** The same, and releasing more than were acquired is an error. Since 0.1. */
MPROC_API int mproc_bounded_semaphore_init(mproc_semaphore *semaphore, int value);

/** Initialises a semaphore that nobody's units are counted in: for signals from those who release to those who acquire,
 * where a dead process has nothing to give back. Since 0.1. */
MPROC_API int mproc_signal_semaphore_init(mproc_semaphore *semaphore, int value);

/** Acquires a unit. If there is none, units of processes that have ended are given back first.
 *
 * Returns 0, what all return that wait, or
 * - `-ENOMEM`: also if the semaphore has no place for one more process that holds units. Nothing was acquired
 *
 * Since 0.1. */
MPROC_API int mproc_semaphore_acquire(mproc_semaphore *semaphore, int64_t timeout);

/** Releases a unit and wakes one that waits for it. Any process may: it gives back a unit that it holds itself; if it
 * holds none, one that another process holds, in its place; and if nobody holds one, the semaphore has one more than
 * before, unless it is bounded.
 *
 * Blocks only as long as others are inside a call. Returns 0, or
 * - `MPROC_E_RELEASED_TOO_OFTEN`: the semaphore is bounded and all its units are there
 * - `-EOVERFLOW`: it has MPROC_SEMAPHORE_VALUE_MAX units
 * - `-ENOMEM`, `-EINVAL`
 *
 * Since 0.1. */
MPROC_API int mproc_semaphore_release(mproc_semaphore *semaphore);

/** Number of units that can be acquired now, or a negative error. A snapshot. Since 0.1. */
MPROC_API int mproc_semaphore_value(mproc_semaphore *semaphore);

/** Number of units that the calling process holds, or a negative error. Since 0.1. */
MPROC_API int mproc_semaphore_held(mproc_semaphore *semaphore);

/** Frees what a semaphore has allocated in the heap, which it has if more than four processes at a time held units of
 * it. Its memory is the caller's. Nobody may use it during the call or afterwards. Returns 0 or -EINVAL. Since 0.1. */
MPROC_API int mproc_semaphore_destroy(mproc_semaphore *semaphore);

/* ---- condition ---- */

/** Releases the lock, waits until notified, and acquires the lock again. The caller holds the lock, and holds it again
 * when the call returns, whatever it returns but -EINVAL, -ENOMEM and MPROC_E_NOT_OWNER, which come before it is
 * released.
 *
 * As long as the lock is not marked consistent after a death, MPROC_E_OWNER_DIED comes in place of what the call would
 * return otherwise. A wait may end without cause after some thread was killed. So what was waited for is to be looked
 * at again, in a loop, or by mproc_condition_wait_for. A notification whose receiver was killed goes to another one
 * that was waiting. Returns 0 when notified, or
 * - `MPROC_E_OWNER_DIED`: the lock's holder died; the lock is held, as in mproc_lock_acquire
 * - `MPROC_E_NOT_OWNER`: the calling thread does not hold the lock
 * - what all return that wait
 *
 * Since 0.1. */
MPROC_API int mproc_condition_wait(mproc_condition *condition, mproc_lock *lock, int64_t timeout);

/** The same with a recursive lock, which is released however often it was acquired, and acquired as often again.
 * Since 0.1. */
MPROC_API int mproc_condition_wait_rlock(mproc_condition *condition, mproc_rlock *lock, int64_t timeout);

/** Waits until a predicate holds. The predicate is called with the lock held.
 *
 * - `predicate`: called with `argument` until it returns true.
 *
 * Returns 0 when it holds, or as mproc_condition_wait. Since 0.1. */
MPROC_API int mproc_condition_wait_for(mproc_condition *condition, mproc_lock *lock, bool (*predicate)(void *),
                                       void *argument, int64_t timeout);

/** Wakes `count` of those that wait, or all if they are fewer. To be called with the lock held, as otherwise one that
 * is just about to wait misses it. Does not block. Returns 0 or -EINVAL (also for a negative count). Since 0.1. */
MPROC_API int mproc_condition_notify(mproc_condition *condition, int count);

/** Wakes all that wait. As mproc_condition_notify. Since 0.1. */
MPROC_API int mproc_condition_notify_all(mproc_condition *condition);

/* ---- event ---- */

/** Sets the flag and wakes all that wait. Wait-free, but for the kernel's waking; may be called in a signal handler,
 * and leaves errno alone. Returns 0 or -EINVAL. Since 0.1. */
MPROC_API int mproc_event_set(mproc_event *event);

/** Clears the flag. Wait-free; may be called in a signal handler. Returns 0 or -EINVAL. Since 0.1. */
MPROC_API int mproc_event_clear(mproc_event *event);

/** True if the flag is set. May be called in a signal handler. Since 0.1. */
MPROC_API bool mproc_event_is_set(const mproc_event *event);

/** Waits until the flag is set. One that is set and cleared again while the caller waits counts.
 *
 * Returns 0, or what all return that wait. Since 0.1. */
MPROC_API int mproc_event_wait(mproc_event *event, int64_t timeout);

/** A descriptor that polls readable (POLLIN) when an event may be set, for poll, epoll and event loops:
 *
 *     when it is readable, call mproc_event_wait with a timeout of 0
 *
 * If that says -ETIMEDOUT, the descriptor is unreadable again. It may turn readable without cause, ten times a second
 * if the loop is idle: a process that was killed in the midst of setting the event is found out that way.
 *
 * - `event`: in the shared heap.
 *
 * The descriptor is the library's: do not close it. It is good in this process, until mproc_event_fd_close, which is to
 * be called before the event's memory is freed. Costs nothing as long as nobody has asked for it; the same one is
 * returned to whoever asks again.
 *
 * Returns the descriptor, or
 * - `-EINVAL`: event is NULL
 * - `-EMFILE`, `-ENFILE`: no descriptor left: it takes three; or 4,096 of queues and events are open in the family
 * - `-ENOMEM`
 *
 * Since 0.1. */
MPROC_API int mproc_event_fd(mproc_event *event);

/** Closes the descriptor, if this process has one. Returns 0 or -EINVAL. Since 0.1. */
MPROC_API int mproc_event_fd_close(mproc_event *event);

/* ---- barrier ---- */

/** Initialises a barrier.
 *
 * - `parties`: how many threads wait for each other, 1 to 65,534.
 *
 * Nobody may use it during the call. Returns 0 or -EINVAL. Since 0.1. */
MPROC_API int mproc_barrier_init(mproc_barrier *barrier, int parties);

/** The same with an action that the last thread to arrive runs before all go on. If it returns anything but 0, the
 * barrier is broken. It is called in one of the parties' processes, so the function has to be at the same address in
 * all of them, as it is in forked ones. Since 0.1. */
MPROC_API int mproc_barrier_init_action(mproc_barrier *barrier, int parties, int (*action)(void *), void *argument);

/** Waits until all parties have arrived. The barrier is then ready for the next round.
 *
 * Returns a number from 0 to parties - 1, a different one for each; or
 * - `MPROC_E_BROKEN_BARRIER`: a party died while it waited, or gave up, or the barrier was aborted or reset, or its
 *   action failed
 * - `-ETIMEDOUT`: the time is up, which with a timeout of 0 it is at once; the barrier is then broken for all others,
 * as in Python
 * - `-EINTR`: the caller is not counted as arrived; it may call again
 * - `-ENOMEM`, `-EINVAL`
 *
 * A party that dies before it arrives is noticed if it has called mproc_barrier_attend. Since 0.1. */
MPROC_API int mproc_barrier_wait(mproc_barrier *barrier, int64_t timeout);

/** Says that the calling thread is one of the parties: if it ends before mproc_barrier_leave, the barrier breaks, even
 * when the thread is not waiting. Without this, who else is to come cannot be known.
 *
 * Returns 0, or
 * - `-ENOMEM`: no memory; `-EOVERFLOW`: as many as there are parties attend already
 *
 * Since 0.1. */
MPROC_API int mproc_barrier_attend(mproc_barrier *barrier);

/** Takes mproc_barrier_attend back, if there was one. Returns 0 or an error. Since 0.1. */
MPROC_API int mproc_barrier_leave(mproc_barrier *barrier);

/** Breaks the barrier: all that wait, and all that come, get MPROC_E_BROKEN_BARRIER until mproc_barrier_reset. Returns
 * 0 or an error. Since 0.1. */
MPROC_API int mproc_barrier_abort(mproc_barrier *barrier);

/** Makes the barrier as new. Those that wait get MPROC_E_BROKEN_BARRIER. Returns 0 or an error. Since 0.1. */
MPROC_API int mproc_barrier_reset(mproc_barrier *barrier);

/** Number of threads that wait, or a negative error. A snapshot. Since 0.1. */
MPROC_API int mproc_barrier_waiting(mproc_barrier *barrier);

/** 1 if the barrier is broken, 0 if not, or a negative error. Since 0.1. */
MPROC_API int mproc_barrier_is_broken(mproc_barrier *barrier);

/** Frees what a barrier of many parties has allocated. As mproc_semaphore_destroy. Since 0.1. */
MPROC_API int mproc_barrier_destroy(mproc_barrier *barrier);

/* ---- reader-writer lock ---- */

/** Acquires for reading, beside other readers. A thread may do so several times. A waiting writer comes before readers
 * that arrive later.
 *
 * Returns 0, what all return that wait, or
 * - `MPROC_E_OWNER_DIED`: **the lock is held**, but a writer died, so what it guards may be half changed; a writer is
 * to repair it and call mproc_rwlock_mark_consistent
 * - `-EDEADLK`: the calling thread holds it for writing
 * - `-ENOMEM`: also if there is no place for one more reader
 *
 * Since 0.1. */
MPROC_API int mproc_rwlock_acquire_read(mproc_rwlock *lock, int64_t timeout);

/** Acquires for writing, alone. Dead readers are passed over; a dead writer makes it MPROC_E_OWNER_DIED, with the lock
 * held. `-EDEADLK`: the calling thread holds it already, for reading or writing. As mproc_rwlock_acquire_read
 * otherwise. Since 0.1. */
MPROC_API int mproc_rwlock_acquire_write(mproc_rwlock *lock, int64_t timeout);

/** Releases what the calling thread holds. Returns 0, or
 * - `MPROC_E_NOT_OWNER`: it holds nothing
 * - `-ENOMEM`, `-EINVAL`
 *
 * Since 0.1. */
MPROC_API int mproc_rwlock_release(mproc_rwlock *lock);

/** As mproc_lock_mark_consistent; for the thread that holds it for writing. Since 0.1. */
MPROC_API int mproc_rwlock_mark_consistent(mproc_rwlock *lock);

/** Frees what a lock of many readers has allocated. As mproc_semaphore_destroy. Since 0.1. */
MPROC_API int mproc_rwlock_destroy(mproc_rwlock *lock);

MPROC_END_DECLARATIONS

#endif
