/* What becomes of a process's processes when it ends by itself. SPDX-License-Identifier: MIT */
#ifndef PROCESS_EXIT_H
#define PROCESS_EXIT_H

/* Has exit() end this process's processes. */
void exit_watch(void);

/* Terminates daemons, and waits for the others. */
void exit_end_processes(void);

#endif
