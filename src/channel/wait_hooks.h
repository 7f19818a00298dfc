/* How mproc_wait waits for what a higher layer brings. SPDX-License-Identifier: MIT */
#ifndef CHANNEL_WAIT_HOOKS_H
#define CHANNEL_WAIT_HOOKS_H

#include <stdatomic.h>
#include <stdint.h>

struct wait_hooks {
    /* 1, 0 or a negative error. */
    int (*look)(void *handle);
    /* What tells of news (sync/watch.h), and the word that has others look for whom to tell; NULL: not good any more.
     */
    const void *(*object)(void *handle, _Atomic uint32_t **polled);
};

void wait_for_futures_by(const struct wait_hooks *hooks);

#endif
