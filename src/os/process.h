/* Starting and watching processes. SPDX-License-Identifier: MIT */
#ifndef OS_PROCESS_H
#define OS_PROCESS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A descriptor that polls readable once the process has ended. Returns it, close-on-exec and above the standard
 * descriptors, or -errno. */
int os_pidfd_open(pid_t pid);

/* Waits until the process behind a pidfd has ended, at most `timeout` nanoseconds (negative: for ever), whatever
 * signals come. Returns 0 or -ETIMEDOUT. */
int os_pidfd_wait(int pidfd, int64_t timeout);

/* Sends a signal to the process behind a pidfd. Returns 0 or -errno. */
int os_pidfd_kill(int pidfd, int signal);

/* Takes an ended child out of the process table, whichever way it was started. Returns its status, as of waitpid, or
 * -ECHILD if someone else did it or it is no child. Blocks if it has not ended. */
int os_reap(pid_t pid);

/* The same for a child that is on its way out; one that has not ended after a tenth of a second is left alone. */
void os_reap_ending(pid_t pid);

/* Has this process killed when its parent's thread ends; returns false if the parent is gone already. */
bool os_die_with_parent(pid_t parent);

/* True if processes that lose their parent become children of this one: process 1 of a container, and subreapers. */
bool os_adopts_orphans(void);

/* Name for ps and top, cut to 15 bytes. */
void os_set_name(const char *name);

/* Blocks every signal; `saved` receives the mask for os_signals_restore. */
void os_signals_block(sigset_t *saved);
void os_signals_restore(const sigset_t *saved);

/* Default disposition for every signal, as after exec with nothing ignored. */
void os_signals_reset(void);
void os_signals_reset_but(int except);

/* Empties the mask. */
void os_signals_unblock(void);

void os_signal_ignore(int signal);

#endif
