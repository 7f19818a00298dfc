/* Copying this process. SPDX-License-Identifier: MIT */
#ifndef OS_FORK_H
#define OS_FORK_H

#include <stdbool.h>
#include <sys/types.h>

/* Number of threads in this process, or -errno where /proc cannot be read. */
int os_thread_count(void);

/* 1 if other threads are running, 0 if not, -errno where it cannot be found out. Threads that were joined do not
 * count, though the kernel may still have them for a moment. */
int os_has_other_threads(void);

/* A child that the caller's own wait(), waitpid(-1) and SIGCHLD handling do not see: its end sends no signal, and it
 * waits for os_reap. Where libc's idea of the thread's own id can be found, it is set right, so that the child may do
 * what a child of fork may do, and its forks are ordinary ones; elsewhere (musl) the child is one of fork, which wait()
 * sees. Handlers of pthread_atfork do not run, but those of os_at_fork_child do. For processes without other threads
 * only. Returns as fork does, or -errno. */
pid_t os_fork_quiet(void);

/* The same through fork, which also works beside threads, and is seen by wait(). */
pid_t os_fork_loud(void);

/* Has a function called in each child that this process forks, in whatever way but by a bare system call. At most
 * twelve; to be called from constructors. */
void os_at_fork_child(void (*handler)(void));

#endif
