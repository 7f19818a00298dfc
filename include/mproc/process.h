/* Processes: a function in a process of its own. SPDX-License-Identifier: MIT
 *
 *     static int count_words(const char *path)
 *     {
 *         ...
 *         return 0;                                   // the process's exit status
 *     }
 *     MPROC_PROCESS(count_words);
 *
 *     mproc_process *process = NULL;
 *     int err = mproc_process_start(&process, count_words, "book.txt");
 *     ...
 *     mproc_process_join(process, MPROC_FOREVER);
 *     mproc_process_close(process);
 *
 * A process ends at the latest when the process that started it does, however that happens: at its exit it waits for
 * its processes (those with .daemon = true are terminated), and if it is killed, the kernel kills them.
 *
 * A handle belongs to the process that started the process, and may be used from all of its threads. In a forked child
 * every call on it returns MPROC_E_FORKED. A handle that was closed is recognised, however late it is used:
 * MPROC_E_CLOSED; NULL is -EINVAL. Unless said otherwise, calls do not block, may be made from any thread, and not in a
 * signal handler.
 */
#ifndef MPROC_PROCESS_H
#define MPROC_PROCESS_H

#include <mproc/export.h>
#include <mproc/outcome.h>
#include <mproc/task.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct mproc_process mproc_process;
struct mproc_queue; /* mproc/queue.h */

enum {
    MPROC_PROCESSES_MAX = 8192 /**< handles that a process can have open at a time */
};
enum { MPROC_KEEP_FDS_MAX = 200 }; /**< descriptors that a process can be given */
enum { MPROC_NAME_SIZE = 64 };     /**< bytes of a process's name, with the terminating NUL; a longer one is cut */

/** How a process comes to be. The manual has a table of what each kind inherits. */
enum mproc_start_method {
    MPROC_FORK = 0,   /**< a copy of the caller as it is now, with all its memory. Not in a process with threads */
    MPROC_FORKSERVER, /**< a copy of the program as it was in mproc_init: small, quick, and safe beside threads */
    MPROC_SPAWN /**< the same program, executed anew; it takes over in mproc_init. Nothing is inherited that is not
                   asked for */
};

/** What a standard stream of the new process is. Use the macros below rather than the fields. */
enum mproc_stream_kind {
    MPROC_STREAM_DEFAULT = 0, /**< standard input: nothing (/dev/null); standard output and error: the caller's */
    MPROC_STREAM_INHERIT,     /**< the caller's */
    MPROC_STREAM_NULL,        /**< /dev/null */
    MPROC_STREAM_PIPE,        /**< a pipe whose other end the caller gets */
    MPROC_STREAM_FILE,        /**< a file: read, or created and emptied */
    MPROC_STREAM_APPEND,      /**< a file: created if need be, and written to at its end */
    MPROC_STREAM_DESCRIPTOR   /**< a descriptor of the caller's */
};

struct mproc_stream {
    enum mproc_stream_kind kind;
    const char *path; /**< MPROC_STREAM_FILE, MPROC_STREAM_APPEND */
    int *pipe;        /**< MPROC_STREAM_PIPE: where the caller's end goes, which the caller closes; close-on-exec */
    int descriptor;   /**< MPROC_STREAM_DESCRIPTOR; stays the caller's */
};

#ifndef __cplusplus
/** Values for .standard_input, .standard_output and .standard_error of mproc_process_start. Since 0.1. */
/* clang-format off */
#define MPROC_TO_PARENT ((struct mproc_stream) { .kind = MPROC_STREAM_INHERIT })
#define MPROC_TO_NULL ((struct mproc_stream) { .kind = MPROC_STREAM_NULL })
#define MPROC_TO_PIPE(fd_address) ((struct mproc_stream) { .kind = MPROC_STREAM_PIPE, .pipe = (fd_address) })
#define MPROC_TO_FILE(file_path) ((struct mproc_stream) { .kind = MPROC_STREAM_FILE, .path = (file_path) })
#define MPROC_TO_END_OF_FILE(file_path) ((struct mproc_stream) { .kind = MPROC_STREAM_APPEND, .path = (file_path) })
#define MPROC_TO_DESCRIPTOR(fd) ((struct mproc_stream) { .kind = MPROC_STREAM_DESCRIPTOR, .descriptor = (fd) })
/* clang-format on */
#endif

/** Arguments of mproc_process_start. Zero means the default. */
struct mproc_process_start_arguments {
    size_t size;               /**< sizeof(struct mproc_process_start_arguments); the macro fills it */
    mproc_process **process;   /**< where the handle goes; holds NULL, or a handle that was closed */
    mproc_function *function;  /**< the function; or NULL to find it by its name */
    const char *function_name; /**< its name, for finding it and for messages */
    const void *argument;      /**< what it is called with; may be NULL. In the shared heap: passed as it is. Elsewhere:
                                  a copy is passed */
    size_t argument_type_size; /**< bytes of what it points to; the macro fills it. SIZE_MAX: a string. 0: not known */
    size_t argument_size;      /**< bytes to copy; default: argument_type_size */
    enum mproc_start_method method; /**< default MPROC_FORK */
    const char *name;               /**< copied; default: the function's name, a dash, and a number */
    bool daemon;                    /**< terminate it when this process ends, instead of waiting for it */
    bool fork_with_threads;         /**< MPROC_FORK although the process has other threads. Their locks stay as they are
                                       at that instant, for ever: only for programs that know what that means */
    const char *const *environment; /**< MPROC_SPAWN: "NAME=value" strings and a NULL; default: the caller's */
    const char *directory;          /**< working directory; default: the caller's */
    struct mproc_stream standard_input, standard_output, standard_error;
    const int *keep_fds; /**< descriptors that stay open, under their numbers; all but these and the standard ones are
                            closed */
    size_t keep_fds_count;
    const int *cpus; /**< numbers of the CPUs that it may run on, below 1024; default: the caller's */
    size_t cpus_count;
    int nice;            /**< added to the caller's nice value; below 0 takes privileges */
    size_t memory_limit; /**< bytes of private memory (RLIMIT_DATA); beyond, malloc returns NULL. The shared heap does
                            not count */
    int64_t cpu_time_limit; /**< nanoseconds of CPU time, rounded up to seconds (RLIMIT_CPU): then SIGXCPU, and a second
                               later SIGKILL */
    int open_files_limit;   /**< the highest descriptor, plus one (RLIMIT_NOFILE) */
    struct mproc_queue *const *reads_from; /**< queues that it reads from: it is one of their readers from now on, and
                                              not only from its first call on (mproc/queue.h) */
    size_t reads_from_count;
    struct mproc_queue *const *writes_to; /**< queues that it writes to, likewise */
    size_t writes_to_count;
    struct mproc_error *error; /**< filled when the call fails; may be NULL */
};

MPROC_BEGIN_DECLARATIONS

/** mproc_process_start(&process, function, argument, .name = "reader", ...) runs function(argument) in a new process.
 *
 * - `process`: address of a handle, which must hold NULL, or a handle that was closed.
 * - `function`: `int function(Argument *argument)` or `int function(const Argument *argument)`, registered with
 *   MPROC_PROCESS. What it returns is the process's exit status, and all of the int reaches the caller.
 * - `argument`: a pointer to one value, an array (all of it is passed), a string, or NULL. What lies in the shared heap
 *   is passed as it is, so that both processes see it change; anything else is copied, so that it may be gone when the
 *   call returns. What it points to is not copied. The compiler checks the type.
 *
 * Options are the fields of struct mproc_process_start_arguments from `argument_size` on, as designated initialisers.
 *
 * The new process has default signal dispositions, an empty signal mask, a process group of its own (so Ctrl-C goes to
 * the caller, which decides), and no descriptors but the standard ones and those asked for. wait() in the caller does
 * not see it, and its end raises no SIGCHLD (except with fork_with_threads). When the function returns, streams
 * are flushed; exit handlers run only with MPROC_SPAWN. The caller's streams are flushed before a fork.
 *
 * The caller owns the handle and ends it with mproc_process_close. On failure *process is untouched, and nothing is
 * left behind. Blocks until the process exists (with MPROC_FORKSERVER, MPROC_SPAWN and limits: until it is about to
 * call the function). May be called from any thread, from a task, and in a forked child; not in a signal handler.
 *
 * Returns 0, or
 * - `-EINVAL`: process or function is NULL, an unknown method, a CPU number or descriptor that cannot be, an option
 * that the method has not; the message names it
 * - `MPROC_E_ALREADY_STARTED`: *process is open
 * - `MPROC_E_UNREGISTERED`, `MPROC_E_DUPLICATE_TASK`: the function cannot be found, or not for sure
 * - `MPROC_E_TYPE_MISMATCH`, `MPROC_E_TYPE_UNKNOWN`: the argument's size is not the one that the function was
 * registered with; or it is a `void *` to memory outside the shared heap, and .argument_size is not given
 * - `MPROC_E_THREADED_FORK`: MPROC_FORK, and the process has other threads
 * - `MPROC_E_INIT_MISSING`: MPROC_FORKSERVER or MPROC_SPAWN, and main has not called mproc_init
 * - `MPROC_E_FORKSERVER_DIED`: the server was killed
 * - `MPROC_E_FUNCTION_MISSING`: the new process has no function of that name, because a library was loaded after
 * mproc_init (MPROC_FORKSERVER), or is not loaded when the program reaches mproc_init (MPROC_SPAWN)
 * - `MPROC_E_NOT_STARTED`: the process ended before it got to the function; the message says how
 * - `-EAGAIN`: a limit on processes is reached; `-ENOMEM`; `-EMFILE`, `-ENFILE`: no descriptors left, or
 *   MPROC_PROCESSES_MAX handles are open
 * - `-EPERM`, `-EACCES`, `-ENOENT`, ...: an option could not be carried out, or the program not be executed; the
 * message names which
 * - `MPROC_E_NOT_INITIALISED`: what is to be read from or written to is not a queue
 * - `MPROC_E_STRUCT_SIZE`: the arguments' size is 0, or of a newer library
 *
 * Since 0.1. */
#ifndef __cplusplus
#define mproc_process_start(process_address, function_, ...)                                                           \
    MPROC_PROCESS_START_(process_address, function_, __VA_ARGS__, .size = MPROC_PROCESS_START_SIZE_)
#define MPROC_PROCESS_START_SIZE_ sizeof(struct mproc_process_start_arguments)
#define MPROC_PROCESS_START_(process_address, function_, argument_, ...)                                               \
    mproc_process_start_with(&(const struct mproc_process_start_arguments) {                                           \
        .process = (process_address),                                                                                  \
        .function = (mproc_function *)(function_),                                                                     \
        .function_name = #function_,                                                                                   \
        .argument = (argument_),                                                                                       \
        .argument_type_size = MPROC_ARGUMENT_SIZE_(argument_) * MPROC_ARGUMENT_FITS_(function_, argument_),            \
        __VA_ARGS__ })
#endif

/** The plain function under mproc_process_start, for C++ and other languages. The arguments are only read during the
 * call, and stay the caller's. Since 0.1. */
MPROC_API int mproc_process_start_with(const struct mproc_process_start_arguments *arguments);

/** Waits until a process has ended.
 *
 * - `timeout`: nanoseconds; 0 polls, MPROC_FOREVER sets no limit.
 *
 * Several threads may wait for one process; joining again returns at once.
 * Returns 0, or -ETIMEDOUT; -EINTR after a signal; -EDEADLK for the calling process itself; -EINVAL, MPROC_E_CLOSED,
 * MPROC_E_FORKED. Since 0.1. */
MPROC_API int mproc_process_join(mproc_process *process, int64_t timeout);

/** True as long as a process runs; false once it has ended, and for a handle that is not good. Since 0.1. */
MPROC_API bool mproc_process_is_alive(mproc_process *process);

/** How a process ended:
 *
 * - MPROC_OK: its function returned 0, or it called exit(0)
 * - MPROC_FAILED: its function returned something else, or it called exit: `code`; and `message`, if the function ended
 *   with mproc_task_fail
 * - MPROC_CRASHED: a signal ended it: `signal`
 * - MPROC_LOST: it has ended, but how is not known: the program reaped it itself by a wait for every kind of child
 *   (__WALL), or the server that it was started by was killed
 *
 * - `outcome`: filled; `pid` is set in every case.
 *
 * May wait up to ten seconds for the server, if that was stopped.
 * Returns 0; -EAGAIN if it is still running, or how it ended is not known yet; -EINVAL, MPROC_E_CLOSED, MPROC_E_FORKED;
 * -ECHILD if the handle is not of a child. Since 0.1. */
MPROC_API int mproc_process_outcome(mproc_process *process, struct mproc_outcome *outcome);

/** Its process id; 0 for a handle that is not good. Once the process is joined, the number may be another one's.
 * Since 0.1. */
MPROC_API pid_t mproc_process_pid(mproc_process *process);

/** Its name, good until the handle is closed; "" for a handle that is not good. Since 0.1. */
MPROC_API const char *mproc_process_name(mproc_process *process);

/** A descriptor that polls readable (POLLIN) once the process has ended, for poll, epoll and event loops. It is the
 * handle's: do not close it. Returns it, or -EINVAL, -ECHILD, MPROC_E_CLOSED, MPROC_E_FORKED. Since 0.1. */
MPROC_API int mproc_process_fd(mproc_process *process);

/** Send SIGTERM, SIGKILL, SIGINT to a process, and to it alone: see mproc_process_stop for what it has started.
 *
 * Return 0, also if it has ended already; or -ECHILD if the handle is not of a child, -EPERM if it has changed its
 * user, -EINVAL, MPROC_E_CLOSED, MPROC_E_FORKED. Since 0.1. */
MPROC_API int mproc_process_terminate(mproc_process *process);
MPROC_API int mproc_process_kill(mproc_process *process);
MPROC_API int mproc_process_interrupt(mproc_process *process);

/** Stops a process and all that it has started: first asks it (mproc_stop_requested), then sends SIGTERM, then SIGKILL,
 * each to be followed by the next when its time is over.
 *
 * - `ask`, `terminate`: nanoseconds to wait for the end after asking, and after SIGTERM; 0 leaves that step out.
 *   MPROC_FOREVER waits for ever.
 * - `kill`: nanoseconds to wait after SIGKILL: it takes a moment, more in the kernel's hands. 0 does not send it.
 *
 * Signals go to the process, its process group and its descendants, so to what it ran with system() or fork() too; only
 * what has lost its parent and left the process group is not found. What is left when the process itself has ended goes
 * on to the next step. Processes that it started through mproc end with it in any case.
 *
 * Blocks as long as the times say. It does not close the handle.
 * Returns 0 when all that were found are gone; -errno if so, but /proc could not be read, for want of descriptors say,
 * so that only the process group was found; -ETIMEDOUT if some are left; -EINTR after a signal, with the step under way
 * left undone; -EDEADLK for the calling process itself; -ECHILD if the handle is not of a child; -EINVAL,
 * MPROC_E_CLOSED, MPROC_E_FORKED. Since 0.1. */
MPROC_API int mproc_process_stop(mproc_process *process, int64_t ask, int64_t terminate, int64_t kill);

/** Frees a handle.
 *
 * - `process`: one that has ended. NULL does nothing.
 *
 * Returns 0; -EBUSY if the process is running: join or stop it first; -ECHILD if the handle is not of a child,
 * MPROC_E_CLOSED, MPROC_E_FORKED. Since 0.1. */
MPROC_API int mproc_process_close(mproc_process *process);

/** True in a process that has been asked to stop (mproc_process_stop); and in a pool's task that is to stop because it
 * ran longer than its .timeout, its call was cancelled, or its pool terminated. For long loops: a load or two, and with
 * a timeout a look at the clock. Since 0.1. */
MPROC_API bool mproc_stop_requested(void);

/** Waits until this process is asked to stop.
 *
 * Returns 0 when it has been, -ETIMEDOUT, -EINTR; -ECHILD if no handle can ask it, since it was not started with
 * mproc_process_start. Since 0.1. */
MPROC_API int mproc_stop_wait(int64_t timeout);

/** The handles of this process's children that are running.
 *
 * - `processes`: filled with at most `most` handles; may be NULL if `most` is 0.
 *
 * Returns how many there are, or -EINVAL. Since 0.1. */
MPROC_API int mproc_active_children(mproc_process **processes, int most);

/** A handle of the calling process, good for pid, name and is_alive. Never NULL, never to be closed. Since 0.1. */
MPROC_API mproc_process *mproc_current_process(void);

/** A handle of the process that started this one with mproc_process_start, good for pid, name, is_alive, join and fd;
 * NULL if there is none. Never to be closed. Since 0.1. */
MPROC_API mproc_process *mproc_parent_process(void);

MPROC_END_DECLARATIONS

/** MPROC_PROCESS(function) registers a function of the type `int (Argument *)` or `int (const Argument *)`, so that it
 * can be run in a process; MPROC_PROCESS(function, Argument) also states the type, and a process that is given an
 * argument of another size is refused. Names are shared with MPROC_TASK. As MPROC_TASK otherwise. Since 0.1. */
#define MPROC_PROCESS(...)                                                                                             \
    MPROC_PROCESS_CHOOSE_(__VA_ARGS__, MPROC_PROCESS_TYPED_, MPROC_PROCESS_PLAIN_, 0)(__VA_ARGS__)
#define MPROC_PROCESS_CHOOSE_(a, b, macro, ...) macro
#define MPROC_PROCESS_PLAIN_(f)                                                                                        \
    MPROC_PROCESS_CALL_(f)                                                                                             \
    MPROC_REGISTER_(f, 0, 0, MPROC_KIND_PROCESS)
#ifndef __cplusplus
#define MPROC_PROCESS_TYPED_(f, Argument)                                                                              \
    _Static_assert(__builtin_types_compatible_p(__typeof__(f), int(Argument *)) ||                                     \
                       __builtin_types_compatible_p(__typeof__(f), int(const Argument *)),                             \
                   "MPROC_PROCESS: the function is not of the type int (Argument *) or int (const Argument *)");       \
    MPROC_PROCESS_CALL_(f)                                                                                             \
    MPROC_REGISTER_(f, sizeof(Argument), 0, MPROC_KIND_PROCESS)
#define MPROC_PROCESS_CALL_(f)                                                                                         \
    _Static_assert(__builtin_types_compatible_p(__typeof__(f((void *)0)), int),                                        \
                   "MPROC_PROCESS: the function has to return int, and to take one argument, a pointer");              \
    static int mproc_task_call_##f(const void *mproc_argument, void *mproc_output)                                     \
    {                                                                                                                  \
        (void)mproc_output;                                                                                            \
        return f((void *)(__UINTPTR_TYPE__)mproc_argument);                                                            \
    }

/* A pointer to the first element; to a char in place of void, so that it has a size. */
#define MPROC_POINTER_(argument)                                                                                       \
    _Generic((argument), void * : (char *)0, const void * : (const char *)0, struct mproc_queue * : (char *)0,         \
        default : (argument))
#define MPROC_IS_ARRAY_(argument) (!__builtin_types_compatible_p(__typeof__(argument), __typeof__((void)0, (argument))))
#define MPROC_POINTED_SIZE_(argument)                                                                                  \
    _Generic((argument),                                                                                               \
        void *: (size_t)0,                                                                                             \
        const void *: (size_t)0,                                                                                       \
        struct mproc_queue *: (size_t)0,                                                                               \
        char *: SIZE_MAX,                                                                                              \
        const char *: SIZE_MAX,                                                                                        \
        default: sizeof(*MPROC_POINTER_(argument)))
#define MPROC_ARGUMENT_SIZE_(argument)                                                                                 \
    (MPROC_IS_ARRAY_(argument) ? sizeof(__typeof__(argument)) : MPROC_POINTED_SIZE_(argument))
/* Always 1; does not compile if the function does not take the argument. */
#define MPROC_ARGUMENT_FITS_(f, argument)                                                                                \
    sizeof(struct {                                                                                                      \
        _Static_assert(                                                                                                \
            _Generic((argument),                                                                                       \
                     void *: 1,                                                                                        \
                     const void *: 1,                                                                                  \
                     struct mproc_queue *: __builtin_types_compatible_p(__typeof__(*(f)), int(struct mproc_queue *)),  \
                     default: 0) ||                                                                                    \
                __builtin_types_compatible_p(__typeof__(*(f)), int(__typeof__(*MPROC_POINTER_(argument)) *)) ||        \
                __builtin_types_compatible_p(__typeof__(*(f)), int(const __typeof__(*MPROC_POINTER_(argument)) *)) ||  \
                __builtin_types_compatible_p(__typeof__(*(f)), int(void *)) ||                                         \
                __builtin_types_compatible_p(__typeof__(*(f)), int(const void *)),                                     \
            "mproc_process_start: the function has to be int function(Argument *) or int function(const Argument *), " \
            "and the argument a pointer to such"); \
        char fits;                                                                                                       \
    })
#else
namespace mproc_detail
{
template <typename Argument> inline int call_process(int (*function)(Argument *), const void *argument)
{
    return function(static_cast<Argument *>(const_cast<void *>(argument)));
}
template <typename Argument> constexpr bool takes(int (*)(Argument *))
{
    return true;
}
template <typename Argument> constexpr bool takes(int (*)(const Argument *))
{
    return true;
}
} // namespace mproc_detail
#define MPROC_PROCESS_TYPED_(f, Argument)                                                                              \
    static_assert(mproc_detail::takes<Argument>(f), "");                                                               \
    MPROC_PROCESS_CALL_(f)                                                                                             \
    MPROC_REGISTER_(f, sizeof(Argument), 0, MPROC_KIND_PROCESS)
#define MPROC_PROCESS_CALL_(f)                                                                                         \
    static int mproc_task_call_##f(const void *mproc_argument, void *)                                                 \
    {                                                                                                                  \
        return mproc_detail::call_process(f, mproc_argument);                                                          \
    }
#endif

#endif
