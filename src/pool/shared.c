/* Making what a pool's processes share. SPDX-License-Identifier: MIT */
#include "pool/shared.h"

#include "os/clock.h"
#include "os/cpu.h"
#include "pool/options.h"
#include "pool/pool.h"
#include "pool/worker.h"

#include <string.h>

size_t pool_shared_size(const struct mproc_pool_open_arguments *arguments)
{
    return sizeof(struct pool_shared) + MPROC_WORKERS_MAX * sizeof(struct worker_slot) + options_extra_size(arguments);
}

/* Not all of it is touched: there are many more slots and places than are used. */
void pool_format_shared(struct pool_shared *shared, const struct mproc_pool_open_arguments *arguments)
{
    memset(shared, 0, offsetof(struct pool_shared, jobs));
    options_write(&shared->options, arguments, (char *)&shared->slots[MPROC_WORKERS_MAX]);
    shared->depth = worker_depth + 1;
    shared->cpus = (unsigned)os_cpu_count_of_late();
    shared->spin = shared->cpus > 1 ? POOL_SPIN : 0;
    shared->opened = os_now();
    shared->next_look = INT64_MAX;
    atomic_store(&shared->most, (uint32_t)arguments->workers);
    atomic_store(&shared->least, (uint32_t)arguments->workers_least);
    atomic_store(&shared->wanted, (uint32_t)arguments->workers_least);
}
