/* Messages over a stream of bytes: each has its size in front. SPDX-License-Identifier: MIT */
#ifndef BENCH_QUEUE_FRAMED_H
#define BENCH_QUEUE_FRAMED_H

#include "channel.h"

/* Makes the locks that several writers, and several readers, share. `atomic`: what the kernel writes in one piece. */
int framed_create(const struct load *load, size_t atomic);
void framed_destroy(void);

int framed_put(int fd, const void *data, size_t size);
int framed_get(int fd, void *buffer, size_t size);

#endif
