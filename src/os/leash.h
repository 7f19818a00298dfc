/* Processes that the kernel kills when another one ends. SPDX-License-Identifier: MIT
 *
 * A leash is a pipe that nobody writes to. The process that is to be survived by nobody has the end for writing; the
 * other end is set so that the kernel sends SIGKILL to a process group when something happens to the pipe (fcntl(2),
 * F_SETSIG, F_SETOWN), which can only be that the end for writing was closed: by the end of its process, whatever ends
 * it. Unlike PR_SET_PDEATHSIG it follows a process and not one of its threads, reaches what the group has forked, and
 * cannot be blocked or handled.
 */
#ifndef OS_LEASH_H
#define OS_LEASH_H

/* Puts the process group that the calling process leads, or, if it leads none, the process alone, on the leash whose
 * end for reading is fd, for as long as that is open in some process. Async-signal-safe. Returns 0; -errno; or -EPIPE
 * if the other end is closed already: the caller is then to end, as the signal is not sent for what has happened
 * before. */
int os_leash_take(int fd);

#endif
