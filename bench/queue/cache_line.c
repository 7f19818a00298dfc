/* The limit for round trips of those who do not sleep: two processes that write to one cache line in turn.
 * SPDX-License-Identifier: MIT */
#include "channel.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static uint64_t *line, last;

static int create(const struct load *load)
{
    (void)load;
    last = 0;
    line = mmap(NULL, sizeof *line, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return line == MAP_FAILED ? -errno : 0;
}

static int open_end(const struct load *load, enum side side, int number)
{
    (void)load, (void)side, (void)number;
    return 0;
}

static int put(const void *data, size_t size)
{
    memcpy(&last, data, size);
    __atomic_store_n(line, last, __ATOMIC_RELEASE);
    return 0;
}

static int get(void *buffer, size_t size)
{
    uint64_t word;
    while ((word = __atomic_load_n(line, __ATOMIC_ACQUIRE)) == last) {
    }
    memcpy(buffer, &word, size);
    return 0;
}

static void destroy(void)
{
    if (line != MAP_FAILED)
        munmap(line, sizeof *line);
}

const struct channel cache_line_channel = {
    .create = create,
    .open = open_end,
    .put = put,
    .get = get,
    .destroy = destroy,
};
