/* Pools: workers that run tasks. SPDX-License-Identifier: MIT
 *
 *     int err = mproc_map(NULL, square, numbers, squares, 1000);
 *
 * runs square(&numbers[i], &squares[i]) for every i, on all usable CPUs, each worker a process of its own. A task that
 * crashes costs its own item: its worker is replaced, every other item is done.
 *
 * A pool is a handle of the process that opened it. It may be used from all of that process's threads. In a forked
 * child every call on it returns MPROC_E_FORKED. A handle that was closed is recognised, however late it is used:
 * MPROC_E_CLOSED. In a task, the pool that runs it (and NULL) may be used too: such calls are done in line, by the
 * calling worker, so that no task ever waits for a worker that it keeps busy itself.
 */
#ifndef MPROC_POOL_H
#define MPROC_POOL_H

#include <mproc/bytes.h>
#include <mproc/cluster.h>
#include <mproc/export.h>
#include <mproc/outcome.h>
#include <mproc/process.h>
#include <mproc/progress.h>
#include <mproc/task.h>
#include <mproc/time.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct mproc_pool mproc_pool;
typedef struct mproc_future mproc_future;

/** What a pool's workers are. */
enum mproc_backend {
    MPROC_PROCESSES = 0, /**< processes: a crash costs one item */
    MPROC_THREADS,       /**< threads of this process: cheap to open, and a crash ends the program */
    MPROC_SERIAL,        /**< no workers: the calling thread runs one item after the other; for debugging */
    MPROC_CLUSTER        /**< processes on other machines; what .cluster makes of the default */
};

enum {
    MPROC_WORKERS_MAX = 1024,        /**< workers of a pool */
    MPROC_FAMILY_WORKERS_MAX = 4096, /**< workers of all pools of a program, those that tasks open included */
    MPROC_POOL_DEPTH_MAX = 8,        /**< how deep tasks may open pools whose tasks open pools */
    MPROC_POOLS_MAX = 1024,          /**< pools that a process can have open at a time */
    MPROC_BACKLOG_MAX = 4096,        /**< calls that a pool can have waiting or running at a time */
    MPROC_FUTURES_MAX = 1 << 20,     /**< futures that a process can have at a time */
    MPROC_PRIORITY_MAX = 3           /**< the highest priority; the lowest is -MPROC_PRIORITY_MAX */
};

/** A task that each worker runs once. Made by MPROC_INITIALIZER and MPROC_FINALIZER. */
struct mproc_worker_task {
    mproc_function *function;
    const char *name;
    const void *input; /**< copied when the pool opens */
    size_t input_size;
    size_t state_size;
};

#ifndef __cplusplus
/* clang-format off */
/** MPROC_INITIALIZER(open_model, &config, struct model): for .initializer. The task, `int open_model(const struct config
 * *config, struct model *state)`, registered with MPROC_TASK, is run by each worker before its first item; state is the
 * worker's own, zeroed, and what mproc_worker_state returns to tasks. config is copied when the pool opens. Since 0.1. */
#define MPROC_INITIALIZER(task, config, State)                                                                         \
    ((struct mproc_worker_task) { (mproc_function *)(task), #task, (config), sizeof(*(config)),                        \
                                  MPROC_WORKER_TASK_SIZE_(task, config, State) })

/** MPROC_FINALIZER(close_model, &config, struct model): for .finalizer. A task of the same type, which each worker runs
 * with its state before it ends: when the pool closes, or the worker is replaced or not needed any more; not when it is
 * killed. What it returns does not matter. Since 0.1. */
#define MPROC_FINALIZER(task, config, State) MPROC_INITIALIZER(task, config, State)
/* clang-format on */
#define MPROC_WORKER_TASK_SIZE_(task, config, State)                                                                   \
    __extension__({                                                                                                    \
        _Static_assert(__builtin_types_compatible_p(__typeof__(*(task)), int(const __typeof__(*(config)) *, State *)), \
                       "the task has to be int task(const Config *, State *)");                                        \
        sizeof(State);                                                                                                 \
    })
#endif

/** Arguments of mproc_pool_open. Zero means the default. */
struct mproc_pool_open_arguments {
    size_t size;                    /**< sizeof(struct mproc_pool_open_arguments); the macro fills it */
    mproc_pool **pool;              /**< where the handle goes */
    enum mproc_backend backend;     /**< default MPROC_PROCESSES */
    enum mproc_start_method method; /**< how processes come to be; default MPROC_FORK. With MPROC_FORKSERVER and
                                       MPROC_SPAWN (after mproc_init) the process may have threads, and workers see
                                       nothing of what the program did since; their tasks are found by name */
    int workers;                    /**< 1 to MPROC_WORKERS_MAX; default mproc_cpu_count(), within a task 1 */
    int workers_least;    /**< begin with so many, start more, up to .workers, when there is work that no worker is idle
                             for, and end them again when they were idle for .idle_timeout; default: .workers */
    int64_t idle_timeout; /**< nanoseconds; default 10 s */
    const char *name;     /**< shown by ps and top as the processes' and threads' name; copied; default "mproc" */
    bool fork_with_threads; /**< fork although the process has other threads. Their locks stay as they are at that
                               instant in the workers, for ever: only for programs that know what that means */
    struct mproc_worker_task initializer; /**< called in each new worker: see MPROC_INITIALIZER */
    struct mproc_worker_task finalizer;   /**< called in each worker before it ends: see MPROC_FINALIZER */
    size_t items_per_worker;              /**< a worker that has run so many items is replaced; default: never */
    size_t memory_limit; /**< bytes of a worker's own memory (not the shared heap). A worker above it is replaced when
                            it is between items; default: none. Processes only */
    size_t memory_kill;  /**< bytes above which it is killed in the midst of an item, which ends as
                            MPROC_OVER_MEMORY; default: twice .memory_limit */
    bool pin;            /**< keep each worker on one CPU, workers being spread over those that are usable */
    int nice;            /**< added to the caller's nice value in the workers; below 0 takes privileges */
    size_t backlog;      /**< calls that may be waiting or running before another one waits, or returns -EAGAIN; at
                            most MPROC_BACKLOG_MAX, which is the default */
    int start_failures;  /**< workers in a row that may end before they are ready (an initializer that crashes, say)
                            until the pool breaks: MPROC_E_WORKERS_FAIL; default 10 */
    int64_t ask_grace;   /**< nanoseconds from asking an item that is to stop (mproc_stop_requested) to SIGTERM;
                            default 0.1 s */
    int64_t terminate_grace; /**< nanoseconds from SIGTERM to SIGKILL; default 1 s. MPROC_FOREVER: never */
    const char *cluster;     /**< URL of what connects the machines whose workers are the pool's: redis://HOST/FARM,
                                rediss://HOST/FARM (with TLS) or mpi:. See mproc/cluster.h. .workers then limits the workers
                                on each machine; default: those that its agent has */
    struct mproc_cluster_options cluster_options; /**< user, password, certificates, patience */
    const char *trace; /**< path of a file that is written as calls end: each item, in the Trace Event format that
                          Perfetto, Chrome and mproc-timeline read. Emptied when the pool opens */
    struct mproc_error *error; /**< filled when the call fails; may be NULL */
};

/** When an item is started again, up to .retries times. Values can be combined with |. */
enum mproc_retry {
    MPROC_RETRY_CRASHED = 1,    /**< its worker crashed, or was lost; the default */
    MPROC_RETRY_FAILED = 2,     /**< the task returned something other than 0 */
    MPROC_RETRY_TIMED_OUT = 4,  /**< it ran longer than .timeout */
    MPROC_RETRY_OVER_MEMORY = 8 /**< after its worker was killed for its memory */
};

/** Called once when all items of a call have ended, with the results delivered. See mproc_map_async. */
typedef void mproc_done_function(mproc_future *future, void *context);

/** Fills the next item of mproc_imap. Returns 1; 0 if there are no more; or a negative number, with which the iteration
 * ends once all that came before has been returned. */
typedef int mproc_next_function(void *context, void *item);

/** Arguments of mproc_map, mproc_apply, mproc_map_async, mproc_submit and mproc_imap. Zero means the default. */
struct mproc_map_arguments {
    size_t size;              /**< sizeof(struct mproc_map_arguments); the macro fills it */
    mproc_function *function; /**< the task; or NULL to find it by its name */
    const char *name;         /**< the task's name, for finding it and for messages */
    const void *input;        /**< n elements of input_size bytes each, one behind the other */
    size_t input_size;
    void *output; /**< n elements of output_size bytes each */
    size_t output_size;
    bool types_checked; /**< the macro sets it, having had the compiler compare the types; leave it false otherwise, and
                           the sizes are compared with those in the registry */
    bool input_is_bytes;  /**< elements of the input are struct mproc_bytes (mproc/bytes.h); the macro sets it */
    bool output_is_bytes; /**< likewise of the output */
    size_t n;             /**< number of items */

    size_t chunk;      /**< items that a worker takes at once; default: as many as take it about 20 us */
    int64_t timeout;   /**< nanoseconds that one item may run; default: any time. See mproc_map */
    int retries;       /**< how often an item may be started again, 0 to 100 */
    unsigned retry_on; /**< enum mproc_retry; default MPROC_RETRY_CRASHED */
    int priority;      /**< -MPROC_PRIORITY_MAX to MPROC_PRIORITY_MAX; items of a higher one are taken first */
    bool usage;        /**< fill cpu_time and peak_memory in the outcomes, which costs a system call or two an item */
    bool no_wait;      /**< return -EAGAIN instead of waiting while the backlog is full */
    struct mproc_outcome *outcomes;    /**< n outcomes, filled unless the arguments were wrong; may be NULL */
    mproc_progress_function *progress; /**< called while results are waited for; see mproc/progress.h */
    void *progress_context;            /**< what .progress gets as it is */
    const char *joblog; /**< path of a job log, to which a line is added for each item that has ended, in the format of
                           GNU parallel's --joblog */
    bool resume;        /**< do not run the items that .joblog lists as done: they are MPROC_SKIPPED */
    mproc_done_function *on_done; /**< asynchronous calls: see mproc_map_async */
    void *on_done_context;        /**< what .on_done gets as it is */
    mproc_next_function *next;    /**< mproc_imap: where items come from, instead of an array */
    void *next_context;           /**< what .next gets as it is */
    bool unordered;               /**< mproc_imap: results as they come */
    size_t window;             /**< mproc_imap: most items that are on their way; default: as many as keep the workers
                                  busy */
    struct mproc_error *error; /**< filled when the call returns anything but 0 (asynchronous calls: when that is
                                  delivered); may be NULL */
};

MPROC_BEGIN_DECLARATIONS

/* ---- pools */

/** mproc_pool_open(&pool, .workers = 4, .name = "render", ...) opens a pool and starts its workers.
 *
 * The options are the fields of struct mproc_pool_open_arguments from `backend` on, as designated initialisers; none is
 * needed. With MPROC_PROCESSES and MPROC_FORK a supervisor process is forked from the caller, and the workers from it:
 * they see the program's memory as it is now and keep its open files. The other start methods have the supervisor
 * started by that method, and the workers forked from it. Workers start with default signal dispositions (SIGINT
 * ignored, so that Ctrl-C is the caller's to handle) and an empty signal mask. A task should leave both as it found
 * them; a worker puts them right when it has been idle for a moment, and after an item that took a millisecond or more;
 * after shorter ones now and then. No thread is started in the caller and none of its signal handling is touched;
 * wait() in the caller does not see the supervisor (except with fork_with_threads). If the caller ends, in whatever
 * way, supervisor and workers end. With MPROC_THREADS the threads are started with all signals blocked.
 *
 * The caller owns the pool and ends it with mproc_pool_close or mproc_pool_terminate.
 * Blocks until the workers are started, not until their initializers have run. May be called from any thread, from a
 * task, and in a forked child; not in a signal handler. On failure *pool is untouched, and nothing is left behind.
 *
 * Returns 0, or
 * - `-EINVAL`: pool is NULL, an unknown backend or start method, or an option out of its range; the message names it
 * - `-EMFILE`, `-ENFILE`: no file descriptors left, or MPROC_POOLS_MAX pools are open
 * - `-ENOMEM`, `-EAGAIN`: no memory, or no process or thread can be started (a limit of the user or the system), or the
 *   program's pools have MPROC_FAMILY_WORKERS_MAX workers
 * - `MPROC_E_THREADED_FORK`: the process has other threads
 * - `MPROC_E_INIT_MISSING`, `MPROC_E_FORKSERVER_DIED`, `MPROC_E_NOT_STARTED`: as mproc_process_start, with
 *   MPROC_FORKSERVER and MPROC_SPAWN
 * - `MPROC_E_SUPERVISOR_DIED`: the supervisor was killed before the pool was open
 * - `MPROC_E_DUPLICATE_TASK`: two tasks have one name; the message names both places
 * - `MPROC_E_UNREGISTERED`: the initializer or finalizer is not a task
 * - `MPROC_E_STRUCT_SIZE`: the arguments' size is 0, or of a newer library
 * - `-ENOENT`, `-EACCES`, ...: the trace cannot be written; `-EPERM`: .nice is below what the user may have
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

/** Waits until everything that was submitted has ended, delivers it, and calls the callbacks of what nobody else has
 * waited for. The pool stays open; what is submitted meanwhile is waited for, too.
 *
 * - `timeout`: nanoseconds; 0 polls, MPROC_FOREVER sets no limit.
 *
 * - `pool`: not NULL: nobody knows what the program's other parts have submitted to the default pool.
 *
 * Returns 0, or -EINVAL for NULL, -ETIMEDOUT, -EINTR, -EDEADLK in a task of the pool, MPROC_E_CLOSED, MPROC_E_FORKED.
 * If the pool breaks, everything ends, and it returns 0. Since 0.1. */
MPROC_API int mproc_pool_join(mproc_pool *pool, int64_t timeout);

/** Delivers what has ended of the calls with a callback, and calls those, and of the calls that nobody has a handle of.
 * For event loops: see mproc_pool_fd.
 *
 * Does not block (but for the callbacks). Returns how many callbacks were called; -EINVAL for NULL; MPROC_E_CLOSED,
 * MPROC_E_FORKED. Since 0.1. */
MPROC_API int mproc_pool_dispatch(mproc_pool *pool);

/** A descriptor that polls readable (POLLIN) when a call with a callback may have ended: then call mproc_pool_dispatch,
 * which makes it unreadable again. It may be readable ten times a second without that, so that nothing is missed. It is
 * the pool's: do not close it. Returns it, or -EINVAL for NULL, -EMFILE, -ENFILE, -ENOMEM, MPROC_E_CLOSED,
 * MPROC_E_FORKED. Since 0.1. */
MPROC_API int mproc_pool_fd(mproc_pool *pool);

/** Closes a pool: waits until all calls on it have ended, as mproc_pool_join, then ends its workers and frees it.
 * Workers that don't end within five seconds are killed. Futures stay good, and have their results. Other threads' new
 * calls are refused from the beginning, with MPROC_E_CLOSED; callbacks of what is waited for may still submit.
 *
 * - `pool`: NULL does nothing. The handle is invalid afterwards, whatever is returned (except MPROC_E_FORKED and
 *   -EDEADLK). To wait no longer than some time, call mproc_pool_join first, and mproc_pool_terminate if it says
 *   -ETIMEDOUT.
 *
 * May be called from any thread, not in a signal handler; not from a task that runs on this very pool's threads, which
 * would wait for itself: -EDEADLK.
 *
 * Returns 0, or
 * - `MPROC_E_CLOSED`: the pool is closed, or being closed by another thread
 * - `MPROC_E_FORKED`: this process is a forked child of the one that opened it
 * - `MPROC_E_SUPERVISOR_DIED`, `MPROC_E_NO_WORKERS`, `MPROC_E_WORKERS_FAIL`: it was closed, but had been broken before
 * - `-EDEADLK`: called from one of the pool's own tasks (threads and serial), or from .on_done or .progress of a call
 *   on it
 * - `-EIO`, `-ENOSPC`, ...: it was closed, but the trace could not be written whole
 *
 * Since 0.1. */
MPROC_API int mproc_pool_close(mproc_pool *pool);

/** Ends a pool now: kills its workers, whatever they are doing, and frees it. Calls that other threads have running
 * return MPROC_E_TERMINATED, and so do futures; what was done is in their outcomes as MPROC_OK, what was running as
 * MPROC_LOST, the rest as MPROC_CANCELLED. Threads cannot be killed: with MPROC_THREADS and MPROC_SERIAL it waits for
 * the items that are running, having asked them to stop, and no other starts.
 *
 * Otherwise as mproc_pool_close. Since 0.1. */
MPROC_API int mproc_pool_terminate(mproc_pool *pool);

/** Changes the number of workers, while the pool works: more are started, surplus ones end between items. Of a pool
 * with .workers_least, the most; the least is lowered to it if need be.
 *
 * - `workers`: 1 to MPROC_WORKERS_MAX.
 *
 * Does not wait until it is so. Returns 0; -EINVAL; -ENOTSUP with MPROC_SERIAL; -EAGAIN: the program's pools have
 * MPROC_FAMILY_WORKERS_MAX workers; MPROC_E_CLOSED, MPROC_E_FORKED. Since 0.1. */
MPROC_API int mproc_pool_resize(mproc_pool *pool, int workers);

/* ---- one task, and many */

/** mproc_map(pool, task, in, out, n, .outcomes = outcomes, ...) runs a task for each of n items and waits for all:
 * task(&in[i], &out[i]), i from 0 to n - 1, in no particular order.
 *
 * - `pool`: from mproc_pool_open; or NULL: the default pool, with one worker process per usable CPU, which is opened at
 *   first use and ends with the program. Inside a task NULL means MPROC_SERIAL: the CPUs are busy already.
 * - `task`: the function itself, registered with MPROC_TASK.
 * - `in`, `out`: arrays (or pointers to the first element) whose element types are those of the task's parameters; the
 *   compiler checks it. What out[i] holds when the task is called is unspecified: a task writes all of its result. With
 *   processes the input is copied to the workers and the results are copied back; out[i] is written if item i
 *   succeeded, and otherwise left alone. Arrays that lie wholly in the shared heap are used in place, without a copy
 *   (and so are all arrays with threads and serial): there, what a task has written stays if it does not succeed.
 *   Elements of type struct mproc_bytes: see mproc/bytes.h.
 * - `n`: number of items; 0 is fine and does nothing.
 *
 * Options are the fields of struct mproc_map_arguments from `chunk` on, as designated initialisers.
 *
 * .timeout: an item that runs longer is asked to stop (mproc_stop_requested returns true in it), then its worker gets
 * SIGTERM, then SIGKILL, each after its grace period, and is replaced. Threads can only be asked. Whatever such a task
 * does then, the item ends as MPROC_TIMED_OUT.
 *
 * Blocks until every item has ended. May be called from any thread, by several at a time on one pool, and from a task;
 * not in a signal handler; its thread must not be cancelled with pthread_cancel. A signal whose handler was installed
 * without SA_RESTART, and that arrives while the call sleeps, breaks the wait: items that have not started are
 * cancelled, the results of those that are running are dropped (threads: waited for), and the pool stays usable. With
 * MPROC_SERIAL there is no wait to break.
 *
 * Returns the number of items that did not succeed (at most INT_MAX; skipped ones have succeeded before): 0 if all is
 * well. Or
 * - `-EINVAL`: an array is NULL, the size of an element is 0, neither function nor name is given, or an option is out
 *   of its range; the message names it
 * - `-EOVERFLOW`: n elements are more than the address space holds
 * - `-ENOMEM`: no memory left for the arrays
 * - `-EAGAIN`: .no_wait, and the backlog is full
 * - `-EINTR`: a signal interrupted the wait
 * - `-ENOENT`, `-EACCES`, ...: the job log cannot be read or written
 * - `MPROC_E_UNREGISTERED`, `MPROC_E_DUPLICATE_TASK`, `MPROC_E_REGISTERED_LATE`: the task cannot be found, or not for
 *   sure
 * - `MPROC_E_TYPE_MISMATCH`, `MPROC_E_TYPE_UNKNOWN`: (plain function) sizes are not the task's, or cannot be compared
 * - `MPROC_E_CLOSED`, `MPROC_E_FORKED`, `MPROC_E_TERMINATED`, `MPROC_E_STRUCT_SIZE`
 * - `MPROC_E_SUPERVISOR_DIED`: the supervisor was killed; items that were done are in the outcomes as MPROC_OK, what
 *   was running as MPROC_LOST, the others as MPROC_CANCELLED
 * - `MPROC_E_NO_WORKERS`: all workers are gone and no new one can be started
 * - `MPROC_E_WORKERS_FAIL`: too many workers in a row ended before they were ready
 * - and, with pool NULL, what mproc_pool_open returns.
 *
 * Since 0.1. */
#ifndef __cplusplus
#define mproc_map(pool, task, in, out, ...)                                                                            \
    mproc_map_with((pool), MPROC_MAP_ARGUMENTS_(task, in, out, .n = __VA_ARGS__))
#endif

/** The plain function under mproc_map and mproc_apply, for C++ and other languages. It compares the element sizes with
 * those that the task was registered with. The arguments are only read during the call, and stay the caller's.
 * Since 0.1. */
MPROC_API int mproc_map_with(mproc_pool *pool, const struct mproc_map_arguments *arguments);

/** mproc_apply(pool, task, &in, &out, .timeout = MPROC_SEC(5), ...) runs a task once, and waits: mproc_map of one item.
 *
 * Returns 0; 1 if it did not succeed; or a negative error, as mproc_map. Since 0.1. */
#ifndef __cplusplus
#define mproc_apply(pool, task, in, ...) MPROC_APPLY_(pool, task, in, __VA_ARGS__, .n = 1)
#define MPROC_APPLY_(pool, task, in, out, ...) mproc_map_with((pool), MPROC_MAP_ARGUMENTS_(task, in, out, __VA_ARGS__))
#endif

/** mproc_map_async(&future, pool, task, in, out, n, ...) begins what mproc_map does, and returns without waiting.
 *
 * - `future`: address of where the future goes, which the caller ends with mproc_future_free; or NULL: nobody will ask
 *   for the results, but .on_done may have them.
 * - `in`: may be changed or freed once the call has returned, unless it lies in the shared heap.
 * - `out`, .outcomes, .error, progress_context: filled when the results are *delivered*: by the first call of
 *   mproc_future_wait (or one of its kin) that finds the call ended, in its thread. They must stay until then, or until
 *   the future is freed. `out` may be a null pointer of the right type: see mproc_future_value.
 * - .on_done: called once, after delivery, by the thread that delivers: in mproc_future_wait and its kin, in
 *   mproc_pool_dispatch, mproc_pool_join or mproc_pool_close (or, if `future` was NULL, mproc_pool_terminate; in a task
 *   this call itself); never in a signal handler, and with no lock held, so that it may call
 *   anything, but for closing or terminating its pool: -EDEADLK. It gets the
 *   future, also if `future` was NULL: then it is freed after the callback. (NULL if the future was freed before.)
 *
 * With MPROC_SERIAL, and in a task of the pool, all items have ended when the call returns. While the backlog is full
 * it waits, unless .no_wait is set: then it returns -EAGAIN. Otherwise it does not block.
 *
 * Returns 0, or a negative error as mproc_map, with *future untouched; and -EMFILE: there are MPROC_FUTURES_MAX
 * futures. Since 0.1. */
#ifndef __cplusplus
#define mproc_map_async(future, pool, task, in, out, ...)                                                              \
    mproc_map_async_with((future), (pool), MPROC_MAP_ARGUMENTS_(task, in, out, .n = __VA_ARGS__))
#endif

/** The plain function under mproc_map_async and mproc_submit. Since 0.1. */
MPROC_API int mproc_map_async_with(mproc_future **future, mproc_pool *pool,
                                   const struct mproc_map_arguments *arguments);

/** mproc_submit(&future, pool, task, &in, &out, ...) begins one task: mproc_map_async of one item. Since 0.1. */
#ifndef __cplusplus
#define mproc_submit(future, pool, task, in, ...) MPROC_SUBMIT_(future, pool, task, in, __VA_ARGS__, .n = 1)
#define MPROC_SUBMIT_(future, pool, task, in, out, ...)                                                                \
    mproc_map_async_with((future), (pool), MPROC_MAP_ARGUMENTS_(task, in, out, __VA_ARGS__))
#endif

MPROC_END_DECLARATIONS

#ifndef __cplusplus
#define MPROC_MAP_ARGUMENTS_(task, in, out, ...)                                                                       \
    &(const struct mproc_map_arguments)                                                                                \
    {                                                                                                                  \
        .size = sizeof(struct mproc_map_arguments), .function = (mproc_function *)(task), .name = #task,               \
        .input = (in), .input_size = sizeof(*(in)), .output = (out), .output_size = sizeof(*(out)),                    \
        .types_checked = MPROC_TYPES_CHECKED_(task, in, out), .input_is_bytes = MPROC_IS_BYTES_(in),                   \
        .output_is_bytes = MPROC_IS_BYTES_(out), __VA_ARGS__                                                           \
    }
#define MPROC_IS_BYTES_(array) __builtin_types_compatible_p(__typeof__(*(array)), struct mproc_bytes)

/* Always true; does not compile if the arrays are not of the task's types. */
#define MPROC_TYPES_CHECKED_(task, in, out)                                                                            \
    __extension__({                                                                                                    \
        _Static_assert(                                                                                                \
            __builtin_types_compatible_p(__typeof__(*(task)), int(const __typeof__(*(in)) *, __typeof__(*(out)) *)),   \
            "mproc: the task has to be int task(const In *, Out *), and the arrays of In and Out");                    \
        true;                                                                                                          \
    })
#endif

#endif
