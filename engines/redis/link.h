/* A stream of bytes to the server, with TLS or without. SPDX-License-Identifier: MIT */
#ifndef REDIS_LINK_H
#define REDIS_LINK_H

#include "address.h"

#include <mproc/engine.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct link {
    int fd; /* -1: none */
    SSL_CTX *context;
    SSL *tls; /* NULL: none */
};

/* Nanoseconds. */
int64_t link_now(void);

/* Connects. Returns 0, or a negative error with `message` filled: MPROC_E_SERVER_REFUSES where it makes no sense to try
 * again. */
int link_open(struct link *link, const struct address *address, const struct mproc_engine_options *options,
              int64_t deadline, char *message, size_t size);

void link_close(struct link *link);

/* Writes all, or returns a negative error. */
int link_write(struct link *link, const char *data, size_t size, int64_t deadline);

/* The same of several pieces, whose vector is changed. Without TLS only. */
int link_write_pieces(struct link *link, struct iovec *pieces, int count, int64_t deadline);

/* Reads what there is. Returns how much; -EAGAIN when there is nothing until the deadline (0: now); another negative
 * error when the stream has ended. */
ssize_t link_read(struct link *link, char *data, size_t size, int64_t deadline);

#endif
