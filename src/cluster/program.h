/* What this program is, for those of other machines. SPDX-License-Identifier: MIT */
#ifndef CLUSTER_PROGRAM_H
#define CLUSTER_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of the names and sizes of its tasks. Programs with the same digest may run each other's. */
uint64_t program_digest(void);

/* Its family, whose heap it shares with some processes of this machine; 0: it has none. */
uint64_t program_family(void);

/* True if an aligned word of the bytes is an address of the family's heap. */
bool program_has_addresses(const void *data, size_t size);

#endif
