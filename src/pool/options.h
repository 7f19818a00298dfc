/* What a pool is opened with. SPDX-License-Identifier: MIT */
#ifndef POOL_OPTIONS_H
#define POOL_OPTIONS_H

#include "pool/shared.h"

#include <mproc/pool.h>

struct backend;

int options_find_backend(enum mproc_backend name, const struct backend **backend);

/* Checks the arguments of mproc_pool_open, and fills in defaults. Returns 0 or an error code, with the error filled. */
int options_check(struct mproc_pool_open_arguments *arguments);

/* Bytes that the inputs of initializer and finalizer need behind the slots. */
size_t options_extra_size(const struct mproc_pool_open_arguments *arguments);

/* What workers and supervisor get of it. `extra`: memory of that size, aligned. */
void options_write(struct pool_options *options, const struct mproc_pool_open_arguments *arguments, char *extra);

#endif
