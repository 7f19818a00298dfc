/* Memory with a name, for processes that have nothing else in common. SPDX-License-Identifier: MIT
 *
 *     mproc_shared_memory *memory;
 *     int err = mproc_shared_memory_create(&memory, "prices", 4096);         one program
 *     int err = mproc_shared_memory_attach(&memory, "prices");               any other one
 *     double *prices = mproc_shared_memory_address(memory);
 *     mproc_shared_memory_close(memory);                                     each of them
 *     mproc_shared_memory_unlink("prices");                                  whoever owns it
 *
 * Only mproc_shared_memory_unlink removes a name: neither attaching, nor closing, nor the end of any process does. The
 * memory itself stays until it has no name any more and the last process has closed it, or has ended.
 *
 * Names are those of shm_open, and of Python's multiprocessing.shared_memory: "prices" and "/prices" are one name, of 1
 * to 255 bytes without the leading slash, in which there is no other slash, and which is not "." or "..".
 *
 * A handle belongs to a process, and may be used from all of its threads. A forked child inherits handles and mappings,
 * at the same addresses; each process closes its own. A handle that was closed is recognised, however late it is used.
 */
#ifndef MPROC_SHARED_MEMORY_H
#define MPROC_SHARED_MEMORY_H

#include <mproc/export.h>
#include <stddef.h>

typedef struct mproc_shared_memory mproc_shared_memory;

enum {
    MPROC_SHARED_MEMORY_MAX = 4096 /**< handles that a process can have open at a time */
};

MPROC_BEGIN_DECLARATIONS

/** Creates memory under a name that nobody has, and maps it.
 *
 * The name appears when the memory is complete: zeroed, of its full size, and reserved, so that touching it cannot fail
 * later. A process that is killed in this call leaves all of it or nothing. (Where the file system of /dev/shm has no
 * unnamed files, a killed process may leave one called .mproc_ and 16 digits. tmpfs has them.) Other processes of the
 * same user, and root, can attach: the permissions are 0600, less the umask.
 *
 * - `memory`: where the handle goes; the caller ends it with mproc_shared_memory_close.
 * - `name`: copied. NULL has a name made up that no other memory has; mproc_shared_memory_name tells it.
 * - `size`: in bytes, above 0; not rounded up.
 *
 * Blocks while the kernel clears the memory; signals do not break that off. May be called from any thread, from a task
 * and in a forked child; not in a signal handler. On failure *memory is untouched, and nothing is left behind.
 *
 * Returns 0, or
 * - `-EEXIST`: the name is in use
 * - `-EINVAL`: memory is NULL, size is 0, or the name is not one
 * - `-ENAMETOOLONG`: the name has more than 255 bytes
 * - `-ENOSPC`: /dev/shm has no room for it
 * - `-ENOMEM`: there is less memory, or less address space
 * - `-EFBIG`: the process may not make a file of that size (RLIMIT_FSIZE)
 * - `-EMFILE`, `-ENFILE`: no file descriptor left, or MPROC_SHARED_MEMORY_MAX handles are open
 * - `-EACCES`, `-EROFS`, `-ENOENT`: the process may not write to /dev/shm, or there is none
 *
 * Since 0.1. */
MPROC_API int mproc_shared_memory_create(mproc_shared_memory **memory, const char *name, size_t size);

/** Maps the memory of a name, to read and to write, whichever program or library created it.
 *
 * What mproc did not create need not be reserved: touching it raises SIGBUS if /dev/shm is full. And whoever may attach
 * may make it shorter with ftruncate, which turns what is beyond the new end into a SIGBUS for everybody. mproc does
 * not do that, and cannot prevent it.
 *
 * - `memory`: where the handle goes; the caller ends it with mproc_shared_memory_close.
 * - `name`: as in mproc_shared_memory_create, but for NULL.
 *
 * Does not block. Threads, forks and signal handlers: as mproc_shared_memory_create. On failure *memory is untouched.
 *
 * Returns 0, or
 * - `-ENOENT`: nothing has that name
 * - `-EAGAIN`: the memory has no size yet: it is being created by another library, which does that in two steps, or was
 *   abandoned between them. Try again, but not for ever
 * - `-EINVAL`: memory or name is NULL, the name is not one, or what bears it is no memory (but a folder, say)
 * - `-ENAMETOOLONG`: the name has more than 255 bytes
 * - `-EACCES`: it belongs to another user
 * - `-ENOMEM`: no address space, or too many mappings
 * - `-EMFILE`, `-ENFILE`: no file descriptor left, or MPROC_SHARED_MEMORY_MAX handles are open
 *
 * Since 0.1. */
MPROC_API int mproc_shared_memory_attach(mproc_shared_memory **memory, const char *name);

/** Where the memory is in this process: at the start of a page, until it is closed. It is elsewhere in other processes,
 * so memory that is shared holds distances rather than pointers.
 *
 * - `memory`: from mproc_shared_memory_create or _attach.
 *
 * Never NULL, unless memory is NULL or closed. Does not block; may be called from any thread, in a forked child and in
 * a signal handler. Since 0.1. */
MPROC_API void *mproc_shared_memory_address(const mproc_shared_memory *memory);

/** Size in bytes, as it was when this process created the memory or attached to it; 0 if memory is NULL or closed. As
 * mproc_shared_memory_address otherwise. Since 0.1. */
MPROC_API size_t mproc_shared_memory_size(const mproc_shared_memory *memory);

/** The name, without a leading slash, whether or not the memory still has it; NULL if memory is NULL or closed. The
 * text is the library's, and good until the handle is closed. As mproc_shared_memory_address otherwise. Since 0.1. */
MPROC_API const char *mproc_shared_memory_name(const mproc_shared_memory *memory);

/** Takes the memory out of this process's address space, and leaves the name alone. Other processes, forked children
 * and other handles of this process keep the memory.
 *
 * - `memory`: NULL does nothing. The handle and the address are invalid afterwards; that no other thread is using them
 *   is up to the caller.
 *
 * Does not block. Threads, forks and signal handlers: as mproc_shared_memory_create.
 *
 * Returns 0, or
 * - `MPROC_E_CLOSED`: it was closed before
 *
 * Since 0.1. */
MPROC_API int mproc_shared_memory_close(mproc_shared_memory *memory);

/** Takes the name away: nobody can attach from now on, and the name is free to be given again. Processes that have the
 * memory mapped keep it. Any process that may write to the memory may do this; none does it unasked.
 *
 * - `name`: as in mproc_shared_memory_attach.
 *
 * Does not block. Threads, forks and signal handlers: as mproc_shared_memory_create.
 *
 * Returns 0, or
 * - `-ENOENT`: nothing has that name
 * - `-EINVAL`: name is NULL or not one, or what bears it is no memory
 * - `-ENAMETOOLONG`: the name has more than 255 bytes
 * - `-EACCES`, `-EPERM`, `-EROFS`: it belongs to another user, or /dev/shm may not be written to
 *
 * Since 0.1. */
MPROC_API int mproc_shared_memory_unlink(const char *name);

MPROC_END_DECLARATIONS

#endif
