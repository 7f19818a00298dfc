/* Where the server is. SPDX-License-Identifier: MIT */
#ifndef REDIS_ADDRESS_H
#define REDIS_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

struct address {
    bool tls;
    char host[256], port[8], farm[64];
    char user[128], password[512]; /* "": none */
};

/* Reads redis://[USER[:PASSWORD]@]HOST[:PORT][/FARM]; rediss, valkey, valkeys likewise. Returns whether it is one, with
 * what is wrong in `message` if not. */
bool address_read(struct address *address, const char *url, char *message, size_t size);

#endif
