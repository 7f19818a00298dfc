/* Pools: workers that run tasks over arrays. SPDX-License-Identifier: MIT
 *
 *     int err = mproc_map(NULL, square, numbers, squares, 1000);
 *
 * runs square(&numbers[i], &squares[i]) for every i, on all usable CPUs, each worker a process of its own. A task that
 * crashes costs its own item: its worker is replaced, every other item is done.
 *
 * A pool is a handle of the process that opened it. It may be used from all of that process's threads. In a forked
 * child every call on it returns MPROC_E_FORKED. A handle that was closed is recognised, however late it is used:
 * MPROC_E_CLOSED.
 */
#ifndef MPROC_POOL_H
#define MPROC_POOL_H

#include <mproc/export.h>
#include <mproc/outcome.h>
#include <mproc/task.h>
#include <stdbool.h>

typedef struct mproc_pool mproc_pool;

/** What a pool's workers are. */
enum mproc_backend {
    MPROC_PROCESSES = 0, /**< processes, forked when the pool opens: a crash costs one item */
    MPROC_THREADS,       /**< threads of this process: cheap to open, and a crash ends the program */
    MPROC_SERIAL         /**< no workers: the calling thread runs one item after the other; for debugging */
};

enum { MPROC_WORKERS_MAX = 1024 };
enum { MPROC_POOLS_MAX = 1024 }; /**< pools that a process can have open at a time */

/** Arguments of mproc_pool_open. Zero means the default. */
struct mproc_pool_open_arguments {
    size_t size;                /**< sizeof(struct mproc_pool_open_arguments); the macro fills it */
    mproc_pool **pool;          /**< where the handle goes */
    enum mproc_backend backend; /**< default MPROC_PROCESSES */
    int workers;                /**< 1 to MPROC_WORKERS_MAX; default mproc_cpu_count() */
    const char *name;           /**< shown by ps and top as the processes' and threads' name; copied; default "mproc" */
    bool fork_with_threads;     /**< fork although the process has other threads. Their locks stay as they are at that
                                   instant in the workers, for ever: only for programs that know what that means */
    struct mproc_error *error;  /**< filled when the call fails; may be NULL */
};

/** Arguments of mproc_map. Zero means the default. */
struct mproc_map_arguments {
    size_t size;              /**< sizeof(struct mproc_map_arguments); the macro fills it */
    mproc_function *function; /**< the task; or NULL to find it by its name */
    const char *name;         /**< the task's name, for finding it and for messages */
    const void *input;        /**< n elements of input_size bytes each, one behind the other */
    size_t input_size;
    void *output; /**< n elements of output_size bytes each */
    size_t output_size;
    bool types_checked;             /**< the macro sets it, having had the compiler compare the types; leave it false
                                       otherwise, and the sizes are compared with those in the registry */
    size_t n;                       /**< number of items */
    size_t chunk;                   /**< items that a worker takes at once; default: as many as take it about 20 us */
    struct mproc_outcome *outcomes; /**< n outcomes, filled unless the arguments were wrong; may be NULL */
    struct mproc_error *error;      /**< filled when the call returns anything but 0; may be NULL */
};

MPROC_BEGIN_DECLARATIONS

/** mproc_pool_open(&pool, .workers = 4, .name = "render", ...) opens a pool and starts its workers.
 *
 * The options are the fields of struct mproc_pool_open_arguments from `backend` on, as designated initialisers; none is
 * needed. With MPROC_PROCESSES a supervisor process is forked from the caller, and the workers from it: they see the
 * program's memory as it is now, keep its open files, start with default signal dispositions (SIGINT ignored, so that
 * Ctrl-C is the caller's to handle) and an empty signal mask. No thread is started in the caller and none of its signal
 * handling is touched; wait() in the caller does not see the supervisor (except with fork_with_threads). If the caller
 * ends, in whatever way, supervisor and workers end. With MPROC_THREADS the threads are started with all signals
 * blocked.
 *
 * The caller owns the pool and ends it with mproc_pool_close or mproc_pool_terminate.
 * Blocks until the workers are started. May be called from any thread, from a task, and in a forked child; not in a
 * signal handler. On failure *pool is untouched, and nothing is left behind.
 *
 * Returns 0, or
 * - `-EINVAL`: pool is NULL, an unknown backend, or a number of workers outside 1 to MPROC_WORKERS_MAX
 * - `-EMFILE`, `-ENFILE`: no file descriptors left, or MPROC_POOLS_MAX pools are open
 * - `-ENOMEM`, `-EAGAIN`: no memory, or no process or thread can be started (a limit of the user or the system)
 * - `MPROC_E_THREADED_FORK`: the process has other threads
 * - `MPROC_E_SUPERVISOR_DIED`: the supervisor was killed before the pool was open
 * - `MPROC_E_DUPLICATE_TASK`: two tasks have one name; the message names both places
 * - `MPROC_E_STRUCT_SIZE`: the arguments' size is 0, or of a newer library
 *
 * Since 0.1. */
#ifndef __cplusplus
#define mproc_pool_open(...)                                                                                           \
    mproc_pool_open_with(&(const struct mproc_pool_open_arguments) { .size = sizeof(struct mproc_pool_open_arguments), \
                                                                     .pool = __VA_ARGS__ })
#endif

/** The plain function under mproc_pool_open, for C++ and other languages. The arguments are only read during the call,
 * and stay the caller's. Since 0.1. */
MPROC_API int mproc_pool_open_with(const struct mproc_pool_open_arguments *arguments);

/** Closes a pool: waits until the maps that other threads have running on it are done, then ends its workers and frees
 * it. Workers that don't end within five seconds are killed.
 *
 * - `pool`: NULL does nothing. The handle is invalid afterwards, whatever is returned (except MPROC_E_FORKED).
 *
 * May be called from any thread, not in a signal handler; not from a task that runs on this very pool's threads, which
 * would wait for itself: -EDEADLK.
 *
 * Returns 0, or
 * - `MPROC_E_CLOSED`: the pool is closed, or being closed by another thread
 * - `MPROC_E_FORKED`: this process is a forked child of the one that opened it
 * - `MPROC_E_SUPERVISOR_DIED`: it was closed, but its supervisor had been killed before
 * - `-EDEADLK`: called from one of the pool's own tasks (threads and serial)
 *
 * Since 0.1. */
MPROC_API int mproc_pool_close(mproc_pool *pool);

/** Ends a pool now: kills its workers, whatever they are doing, and frees it. Maps that other threads have running
 * return MPROC_E_TERMINATED; what was done is in their outcomes as MPROC_OK, what was running as MPROC_LOST, the rest
 * as MPROC_CANCELLED. Threads cannot be killed: with MPROC_THREADS and MPROC_SERIAL it waits for the items that are
 * running, and no other starts.
 *
 * Otherwise as mproc_pool_close. Since 0.1. */
MPROC_API int mproc_pool_terminate(mproc_pool *pool);

/** mproc_map(pool, task, in, out, n, .outcomes = outcomes, ...) runs a task for each of n items and waits for all:
 * task(&in[i], &out[i]), i from 0 to n - 1, in no particular order.
 *
 * - `pool`: from mproc_pool_open; or NULL: the default pool, with one worker process per usable CPU, which is opened at
 *   first use and ends with the program. Inside a task NULL means MPROC_SERIAL: the CPUs are busy already.
 * - `task`: the function itself, registered with MPROC_TASK.
 * - `in`, `out`: arrays (or pointers to the first element) whose element types are those of the task's parameters; the
 *   compiler checks it. What out[i] holds when the task is called is unspecified: a task writes all of its result. With
 *   processes the input is copied to the workers and the results are copied back; out[i]
 *   is written if item i succeeded, and otherwise left alone (threads, serial: what the task wrote there stays).
 * - `n`: number of items; 0 is fine and does nothing.
 *
 * Options are the fields of struct mproc_map_arguments after `n`, as designated initialisers.
 *
 * Blocks until every item has ended. May be called from any thread, by several at a time on one pool, and from a task;
 * not in a signal handler; its thread must not be cancelled with pthread_cancel. A signal whose handler was installed
 * without SA_RESTART, and that arrives while the call sleeps, breaks the wait: items that have not started are
 * cancelled, the results of those that are running are dropped (threads: waited for), and the pool stays usable. With
 * MPROC_SERIAL there is no wait to break. In a task, a map on the pool that runs the task is done in line.
 *
 * Returns the number of items that did not succeed (at most INT_MAX): 0 if all is well. Or
 * - `-EINVAL`: an array is NULL, the size of an element is 0, or neither function nor name is given
 * - `-EOVERFLOW`: n elements are more than the address space holds
 * - `-ENOMEM`: no memory left for the arrays
 * - `-EINTR`: a signal interrupted the wait
 * - `MPROC_E_UNREGISTERED`, `MPROC_E_DUPLICATE_TASK`, `MPROC_E_REGISTERED_LATE`: the task cannot be found, or not for
 * sure
 * - `MPROC_E_TYPE_MISMATCH`, `MPROC_E_TYPE_UNKNOWN`: (plain function) sizes are not the task's, or cannot be compared
 * - `MPROC_E_CLOSED`, `MPROC_E_FORKED`, `MPROC_E_TERMINATED`, `MPROC_E_STRUCT_SIZE`
 * - `MPROC_E_SUPERVISOR_DIED`: the supervisor was killed; items that were done are in the outcomes as MPROC_OK, what
 * may have started as MPROC_LOST, the others as MPROC_CANCELLED
 * - `MPROC_E_NO_WORKERS`: all workers are gone and no new one can be started
 * - and, with pool NULL, what mproc_pool_open returns.
 *
 * Since 0.1. */
#ifndef __cplusplus
#define mproc_map(pool, task, in, out, ...)                                                                            \
    mproc_map_with((pool), &(const struct mproc_map_arguments) { .size = sizeof(struct mproc_map_arguments),           \
                                                                 .function = (mproc_function *)(task),                 \
                                                                 .name = #task,                                        \
                                                                 .input = (in),                                        \
                                                                 .input_size = sizeof(*(in)),                          \
                                                                 .output = (out),                                      \
                                                                 .output_size = sizeof(*(out)),                        \
                                                                 .types_checked = MPROC_TYPES_CHECKED_(task, in, out), \
                                                                 .n = __VA_ARGS__ })
#endif

/** The plain function under mproc_map, for C++ and other languages. It compares the element sizes with those that the
 * task was registered with. The arguments are only read during the call, and stay the caller's. Since 0.1. */
MPROC_API int mproc_map_with(mproc_pool *pool, const struct mproc_map_arguments *arguments);

MPROC_END_DECLARATIONS

#ifndef __cplusplus
/* Always true; does not compile if the arrays are not of the task's types. */
#define MPROC_TYPES_CHECKED_(task, in, out)                                                                            \
    (sizeof(struct {                                                                                                   \
         _Static_assert(                                                                                               \
             __builtin_types_compatible_p(__typeof__(*(task)), int(const __typeof__(*(in)) *, __typeof__(*(out)) *)),  \
             "mproc_map: the task has to be int task(const In *, Out *), and the arrays of In and Out");               \
         char checked;                                                                                                 \
     }) == 1)
#endif

#endif
