/* Threads of the library's own. SPDX-License-Identifier: MIT */
#ifndef OS_THREAD_H
#define OS_THREAD_H

#include <pthread.h>

/* Starts a thread in which all signals are blocked: they are for the program's own. Returns 0 or -errno. */
int os_thread_start(pthread_t *thread, void *(*run)(void *), void *argument);

#endif
