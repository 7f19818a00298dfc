/* Tasks: the functions that workers can run. SPDX-License-Identifier: MIT
 *
 * A task is an ordinary function with a pointer to its input and a pointer to its result:
 *
 *     static int square(const int *number, long *result)
 *     {
 *         *result = (long)*number * *number;
 *         return 0;                             // 0: done. Anything else: failed, with that code.
 *     }
 *     MPROC_TASK(square);
 *
 * It can still be called like any other function. A worker is a process of its own: what the task changes other than
 * *result stays in that worker.
 */
#ifndef MPROC_TASK_H
#define MPROC_TASK_H

#include <mproc/export.h>
#include <stddef.h>

/** Any function, whatever its type: only ever cast to, compared, and cast back. */
typedef void mproc_function(void);

/** What a registered function is for. */
enum mproc_kind {
    MPROC_KIND_TASK = 0, /**< MPROC_TASK: an item of a map */
    MPROC_KIND_PROCESS   /**< MPROC_PROCESS: a process of its own; `call` gets NULL as its output */
};

/** One registered task. MPROC_TASK makes it, static and writable. The library owns the last two fields from
 * registration until the module that holds the struct is unloaded. */
struct mproc_task {
    const char *name;                             /**< unique in the program */
    mproc_function *function;                     /**< the task itself, as it is passed to mproc_map */
    int (*call)(const void *input, void *output); /**< calls the task with its own types */
    size_t input_size, output_size;               /**< bytes, or 0, 0 if they were not stated */
    const char *file;                             /**< where it was registered, for messages */
    int line;
    enum mproc_kind kind;
    unsigned long order;     /**< the library's: the how-manyeth registration this was */
    struct mproc_task *next; /**< the library's */
};

MPROC_BEGIN_DECLARATIONS

/** Registers a task. MPROC_TASK does this when the program or the shared library is loaded; call it for a language
 * that has no constructors.
 *
 * - `task`: filled but for its last two fields; it must stay where it is until mproc_task_unregister. Not copied.
 *
 * Returns 0; or -EINVAL if task, its name, its function or its call is NULL, or if it is registered already. A name
 * that is taken is found when a pool opens or is used, since a constructor has nobody to tell: the call then returns
 * MPROC_E_DUPLICATE_TASK and names both places.
 * Waits at most for other such calls; may be called from any thread, not in a signal handler. In a forked child it
 * registers in that child only. Since 0.1. */
MPROC_API int mproc_task_register(struct mproc_task *task);

/** Takes a task out of the registry; MPROC_TASK does this when its shared library is unloaded. No map that uses it may
 * be running. A task that is not registered, or NULL, is left alone. Threads and fork as mproc_task_register.
 * Since 0.1. */
MPROC_API void mproc_task_unregister(struct mproc_task *task);

/** mproc_task_fail(code, format, ...) sets the message of the task that is running, and the place in the source, and
 * returns code, so that a task can end with one line:
 *
 *     return mproc_task_fail(errno, "cannot open %s: %s", path, strerror(errno));
 *
 * - `code`: what the task will return. If the task returns 0 in the end, the message is dropped.
 * - `format`: as printf; a message of more than MPROC_MESSAGE_SIZE - 1 bytes is cut and ends in "...".
 *
 * Called outside a task (the function was called directly, or from a thread that the task started) it only returns
 * code. Does not block; may be called from any thread, not in a signal handler. Never fails. Since 0.1. */
#define mproc_task_fail(...) mproc_task_fail_at(__FILE__, __LINE__, __VA_ARGS__)

/** The plain function under mproc_task_fail. `file` is copied; NULL: no place. Since 0.1. */
MPROC_API int mproc_task_fail_at(const char *file, int line, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/** Number of the worker that runs the calling task, from 0 on; 0 in line; -1 outside tasks. Does not block; may be
 * called anywhere. Since 0.1. */
MPROC_API int mproc_worker_index(void);

/** What the pool's initializer has filled in this worker (mproc_pool_open, .initializer); NULL outside tasks and
 * without an initializer. It is the worker's: nobody else uses it. (With MPROC_SERIAL it is the pool's; threads that
 * call at the same time share it.) A call that a task makes in line has the task's. Does not block; may be called
 * anywhere. Since 0.1. */
MPROC_API void *mproc_worker_state(void);

/** How often the item that the calling task works on was started, with this time: 1, or more with .retries. 0 outside
 * tasks. Does not block; may be called anywhere. Since 0.1. */
MPROC_API int mproc_task_attempt(void);

MPROC_END_DECLARATIONS

/** MPROC_TASK(function) registers a function under its own name; MPROC_TASK(function, In, Out) also states its types,
 * which the compiler checks against the function, so that mproc_map_with, too, can refuse arrays of another size.
 * (mproc_map needs no types: it has the compiler check the arrays themselves.)
 *
 * Write it once, after the function's definition, in a source file, followed by a semicolon. The function may be
 * static. Two functions of one name in one program, shared libraries included, are MPROC_E_DUPLICATE_TASK. Since 0.1.
 */
#define MPROC_TASK(...)                                                                                                \
    MPROC_TASK_CHOOSE_(__VA_ARGS__, MPROC_TASK_TYPED_, MPROC_TASK_BAD_, MPROC_TASK_PLAIN_, 0)(__VA_ARGS__)

#define MPROC_TASK_CHOOSE_(a, b, c, macro, ...) macro
#define MPROC_TASK_PLAIN_(f)                                                                                           \
    MPROC_TASK_CALL_(f)                                                                                                \
    MPROC_REGISTER_(f, 0, 0, MPROC_KIND_TASK)
#define MPROC_TASK_BAD_(...)                                                                                           \
    _Static_assert(0, "MPROC_TASK takes a function, or a function and the types of its input and its output")

#ifndef __cplusplus

#define MPROC_TASK_TYPED_(f, In, Out)                                                                                  \
    _Static_assert(__builtin_types_compatible_p(__typeof__(f), int(const In *, Out *)),                                \
                   "MPROC_TASK: the function is not of the type int (const In *, Out *)");                             \
    MPROC_TASK_CALL_(f)                                                                                                \
    MPROC_REGISTER_(f, sizeof(In), sizeof(Out), MPROC_KIND_TASK)
#define MPROC_TASK_CALL_(f)                                                                                            \
    static int mproc_task_call_##f(const void *mproc_input, void *mproc_output)                                        \
    {                                                                                                                  \
        return f(mproc_input, mproc_output);                                                                           \
    }

#else

namespace mproc_detail
{
template <typename In, typename Out>
inline int call(int (*function)(const In *, Out *), const void *input, void *output)
{
    return function(static_cast<const In *>(input), static_cast<Out *>(output));
}
template <typename In, typename Out> constexpr bool has_type(int (*)(const In *, Out *))
{
    return true;
}
} // namespace mproc_detail

#define MPROC_TASK_TYPED_(f, In, Out)                                                                                  \
    static_assert(mproc_detail::has_type<In, Out>(f), "");                                                             \
    MPROC_TASK_CALL_(f)                                                                                                \
    MPROC_REGISTER_(f, sizeof(In), sizeof(Out), MPROC_KIND_TASK)
#define MPROC_TASK_CALL_(f)                                                                                            \
    static int mproc_task_call_##f(const void *mproc_input, void *mproc_output)                                        \
    {                                                                                                                  \
        return mproc_detail::call(f, mproc_input, mproc_output);                                                       \
    }

#endif

/* Takes the semicolon; in C++ a declaration of the struct would be one of another struct in a namespace. */
#ifdef __cplusplus
#define MPROC_REGISTER_END_ static_assert(true, "")
#else
#define MPROC_REGISTER_END_ struct mproc_task
#endif

#define MPROC_REGISTER_(f, in_bytes, out_bytes, kind)                                                                  \
    static struct mproc_task mproc_task_##f = {                                                                        \
        #f, (mproc_function *)(f), mproc_task_call_##f, in_bytes, out_bytes, __FILE__, __LINE__, kind, 0, NULL         \
    };                                                                                                                 \
    __attribute__((constructor)) static void mproc_task_load_##f(void)                                                 \
    {                                                                                                                  \
        mproc_task_register(&mproc_task_##f);                                                                          \
    }                                                                                                                  \
    __attribute__((destructor)) static void mproc_task_unload_##f(void)                                                \
    {                                                                                                                  \
        mproc_task_unregister(&mproc_task_##f);                                                                        \
    }                                                                                                                  \
    MPROC_REGISTER_END_

#endif
