/* Threads of the library's own. SPDX-License-Identifier: MIT */
#include "os/thread.h"

#include "os/process.h"

int os_thread_start(pthread_t *thread, void *(*run)(void *), void *argument)
{
    sigset_t mask;
    os_signals_block(&mask);
    int err = pthread_create(thread, NULL, run, argument);
    os_signals_restore(&mask);
    return -err;
}
