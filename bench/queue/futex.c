/* The limit for round trips of those who sleep: a futex each way, and nothing else. SPDX-License-Identifier: MIT */
#include "channel.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct way {
    _Alignas(128) uint32_t bell;
    uint64_t word;
} * ways, *out, *in;

static uint32_t heard;

static int create(const struct load *load)
{
    (void)load;
    ways = mmap(NULL, 2 * sizeof *ways, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return ways == MAP_FAILED ? -errno : 0;
}

static int open_end(const struct load *load, enum side side, int number)
{
    (void)load, (void)number;
    out = &ways[side];
    in = &ways[1 - (int)side];
    return 0;
}

static int put(const void *data, size_t size)
{
    memcpy(&out->word, data, size);
    __atomic_store_n(&out->bell, out->bell + 1, __ATOMIC_RELEASE);
    return syscall(SYS_futex, &out->bell, FUTEX_WAKE, 1, NULL, NULL, 0) < 0 ? -1 : 0;
}

static int get(void *buffer, size_t size)
{
    while (__atomic_load_n(&in->bell, __ATOMIC_ACQUIRE) == heard)
        syscall(SYS_futex, &in->bell, FUTEX_WAIT, heard, NULL, NULL, 0);
    heard++;
    memcpy(buffer, &in->word, size);
    return 0;
}

static void destroy(void)
{
    if (ways != MAP_FAILED)
        munmap(ways, 2 * sizeof *ways);
}

const struct channel futex_channel = {
    .create = create,
    .open = open_end,
    .put = put,
    .get = get,
    .destroy = destroy,
};
