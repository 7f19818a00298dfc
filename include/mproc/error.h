/* Error codes and their texts. SPDX-License-Identifier: MIT
 *
 * Every call that can fail returns an int: 0 or a count on success; on failure a negative number, which is either
 * -errno (-ENOMEM, -EINVAL, -EINTR, ...) or one of the MPROC_E_ codes below, all smaller than -4095.
 */
#ifndef MPROC_ERROR_H
#define MPROC_ERROR_H

#include <mproc/export.h>

/** The one list of mproc's own codes: name, value, text. */
#define MPROC_ERROR_MAP(X)                                                                                             \
    X(MPROC_E_UNREGISTERED, -4096,                                                                                     \
      "the function is not registered: write MPROC_TASK(function); or, for a process, MPROC_PROCESS(function); after " \
      "its definition")                                                                                                \
    X(MPROC_E_DUPLICATE_TASK, -4097, "two tasks are registered under one name: rename one of them")                    \
    X(MPROC_E_REGISTERED_LATE, -4098,                                                                                  \
      "the task was registered after the pool had opened, so its workers do not have it: load the library first, or "  \
      "open the pool again")                                                                                           \
    X(MPROC_E_TYPE_MISMATCH, -4099,                                                                                    \
      "the sizes of what is passed are not those that the function was registered with: pass what it takes")           \
    X(MPROC_E_TYPE_UNKNOWN, -4100,                                                                                     \
      "a size is not known: for mproc_map_with write MPROC_TASK(function, In, Out); for a process state "              \
      ".argument_size")                                                                                                \
    X(MPROC_E_THREADED_FORK, -4101,                                                                                    \
      "the process has other threads (a pool of MPROC_THREADS has some), and forking it is unsafe: call mproc_init "   \
      "and open pools before starting threads, or use .backend = MPROC_THREADS, or .method = MPROC_FORKSERVER, or "    \
      "accept the risk with .fork_with_threads = true")                                                                \
    X(MPROC_E_FORKED, -4102,                                                                                           \
      "the handle belongs to the process that opened the pool or started the process, not to its forked child: open "  \
      "one here, or start one")                                                                                        \
    X(MPROC_E_CLOSED, -4103,                                                                                           \
      "the handle is closed, or never was one: open the pool, the shared memory or the connection, or start the "      \
      "process, again; or the queue is closed for writing, and has no more messages")                                  \
    X(MPROC_E_TERMINATED, -4104, "the pool was terminated while the call was in progress")                             \
    X(MPROC_E_SUPERVISOR_DIED, -4105,                                                                                  \
      "the pool's supervisor process was killed, and its workers ended with it: close the pool and open a new one")    \
    X(MPROC_E_NO_WORKERS, -4106,                                                                                       \
      "the pool could not start a single worker process: look at the limits on processes and memory")                  \
    X(MPROC_E_STRUCT_SIZE, -4107,                                                                                      \
      "an argument struct has no size or is of a newer version than the library: fill .size, or update the library")   \
    X(MPROC_E_NOT_ALLOCATED, -4108,                                                                                    \
      "the address is not that of a block of the shared heap, or the block was freed already: start the program with " \
      "MPROC_HEAP_DEBUG=1 to learn more")                                                                              \
    X(MPROC_E_OWNER_DIED, -4109,                                                                                       \
      "the lock is acquired, but a holder before died, so what it guards may be half changed: repair it and mark the " \
      "lock consistent")                                                                                               \
    X(MPROC_E_NOT_LOCKED, -4110, "the lock is not held by anybody: release only what was acquired")                    \
    X(MPROC_E_NOT_OWNER, -4111, "the calling thread does not hold the lock: acquire it first")                         \
    X(MPROC_E_RELEASED_TOO_OFTEN, -4112,                                                                               \
      "released more often than acquired: the bounded semaphore has all its units already, or the process is done "    \
      "with "                                                                                                          \
      "all that it took from the queue")                                                                               \
    X(MPROC_E_BROKEN_BARRIER, -4113,                                                                                   \
      "the barrier is broken: a party died or gave up, its action failed, or it was aborted or reset; use "            \
      "mproc_barrier_reset to begin anew")                                                                             \
    X(MPROC_E_NOT_INITIALISED, -4114,                                                                                  \
      "the object was not initialised: call its init function, or, where all zeroes are ready for use, zero it")       \
    X(MPROC_E_FAMILY, -4115,                                                                                           \
      "the program could not join the family that it was started in: the heap's descriptor is closed, its place in "   \
      "the "                                                                                                           \
      "address space is taken, or the other program has another version of mproc")                                     \
    X(MPROC_E_ALREADY_STARTED, -4116,                                                                                  \
      "the handle is that of a process that was started already: use another variable, set to NULL, or close it "      \
      "first")                                                                                                         \
    X(MPROC_E_INIT_MISSING, -4117, "the start method needs mproc_init: call it first thing in main")                   \
    X(MPROC_E_FORKSERVER_DIED, -4118,                                                                                  \
      "the server that mproc_init had started was killed: call mproc_init again, in a process without other threads, " \
      "or use MPROC_FORK")                                                                                             \
    X(MPROC_E_FUNCTION_MISSING, -4119,                                                                                 \
      "the new process has no such function: load the library that holds it before main calls mproc_init")             \
    X(MPROC_E_NOT_STARTED, -4120, "the process ended before it got to its function")                                   \
    X(MPROC_E_NO_WRITERS, -4121,                                                                                       \
      "the queue is empty, and no process is left that could put: all writers have ended or detached")                 \
    X(MPROC_E_NO_READERS, -4122,                                                                                       \
      "no process is left that could take from the queue: all readers have ended or detached")                         \
    X(MPROC_E_MESSAGES_LOST, -4123,                                                                                    \
      "messages were lost with the processes that had taken them and were not done: create the queue with .redeliver " \
      "to have such messages delivered again")                                                                         \
    X(MPROC_E_END_OF_STREAM, -4124, "the other side has closed the connection, or has ended")                          \
    X(MPROC_E_STREAM_BROKEN, -4125,                                                                                    \
      "the stream broke off in the midst of a message, so that the connection is of no more use: close it")            \
    X(MPROC_E_WORKERS_FAIL, -4126,                                                                                     \
      "too many workers in a row ended before they were ready: look at the pool's initializer, then close the pool "   \
      "and open a new one")                                                                                            \
    X(MPROC_E_JOBLOG, -4127, "the job log is not one, or is of another task: name another file, or remove it")         \
    X(MPROC_E_ENGINE_MISSING, -4128,                                                                                   \
      "the library of the cluster's engine cannot be loaded: build mproc with the packages that it needs, or set "     \
      "MPROC_ENGINE_PATH to its folder")                                                                               \
    X(MPROC_E_SERVER_GONE, -4129,                                                                                      \
      "the cluster's server could not be reached, or was full, for as long as .patience says: look at the server")     \
    X(MPROC_E_SERVER_REFUSES, -4130,                                                                                   \
      "the cluster's server, or its certificate, is refused, or refuses this client: look at user, password and "      \
      "certificates")                                                                                                  \
    X(MPROC_E_NO_MACHINES, -4131,                                                                                      \
      "no machine that runs this build of the program has served the cluster for as long as .patience says: start "    \
      "agents, prog --mproc-agent URL")                                                                                \
    X(MPROC_E_WIRE, -4132,                                                                                             \
      "what came over the wire cannot be understood: it is of another version of mproc, or not of mproc at all")       \
    X(MPROC_E_HEAP_ADDRESS, -4133,                                                                                     \
      "the input holds an address of the shared heap, which other machines do not see: pass the data itself")

enum mproc_error_code {
#define MPROC_ERROR_CODE_(name, value, text) name = (value),
    MPROC_ERROR_MAP(MPROC_ERROR_CODE_)
#undef MPROC_ERROR_CODE_
};

MPROC_BEGIN_DECLARATIONS

/** Text of a return value: what was wrong and, for mproc's own codes, what to do.
 *
 * - `code`: any value that an mproc call returned. 0 and positive values have a text too.
 *
 * The text is constant and never freed. Does not block; may be called from any thread and in a forked child, not in a
 * signal handler. Never fails: an unknown code has a text that says so. Since 0.1. */
MPROC_API const char *mproc_strerror(int code);

/** Name of a return value, such as "MPROC_E_CLOSED" or "ENOMEM"; "success" for 0, "unsuccessful items" for a count,
 * "unknown" for any other number.
 *
 * - `code`: any value that an mproc call returned. As mproc_strerror otherwise. Since 0.1. */
MPROC_API const char *mproc_error_name(int code);

MPROC_END_DECLARATIONS

#endif
