/* Memory for records. SPDX-License-Identifier: MIT */
#include "process/record.h"

#include "memory/heap.h"
#include "os/fork.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { SLOT_BYTES = 1024, SLOTS = 64 };

/* Memory that is shared by inheritance alone, so that a forked process has nothing to do for it to be kept. The
 * bookkeeping is the starting process's own. A forked child leaves the chunks that it inherited alone, as its record is
 * in one of them, and begins anew. */
struct chunk {
    struct chunk *next;
    char *memory;
    uint64_t used; /* a bit for each slot */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct chunk *chunks, *inherited;

static void begin_anew(void)
{
    mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    inherited = chunks ? chunks : inherited; /* for leak checkers */
    chunks = NULL;
}

__attribute__((constructor)) static void watch_forks(void)
{
    os_at_fork_child(begin_anew);
}

static struct chunk *add_chunk(void)
{
    struct chunk *chunk = calloc(1, sizeof *chunk);
    void *memory = mmap(NULL, (size_t)SLOT_BYTES * SLOTS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!chunk || memory == MAP_FAILED) {
        free(chunk);
        if (memory != MAP_FAILED)
            munmap(memory, (size_t)SLOT_BYTES * SLOTS);
        return NULL;
    }
    *chunk = (struct chunk) { .next = chunks, .memory = memory };
    chunks = chunk;
    return chunk;
}

static void *take_slot(void)
{
    pthread_mutex_lock(&mutex);
    struct chunk *chunk = chunks;
    while (chunk && chunk->used == UINT64_MAX)
        chunk = chunk->next;
    if (!chunk)
        chunk = add_chunk();
    char *slot = NULL;
    if (chunk) {
        int free_bit = __builtin_ctzll(~chunk->used);
        chunk->used |= UINT64_C(1) << free_bit;
        slot = chunk->memory + (size_t)free_bit * SLOT_BYTES;
    }
    pthread_mutex_unlock(&mutex);
    return slot;
}

/* False if it is no slot. */
static bool give_slot_back(char *slot)
{
    pthread_mutex_lock(&mutex);
    struct chunk *chunk = chunks;
    while (chunk && (size_t)(slot - chunk->memory) >= (size_t)SLOT_BYTES * SLOTS)
        chunk = chunk->next;
    if (chunk)
        chunk->used &= ~(UINT64_C(1) << ((size_t)(slot - chunk->memory) / SLOT_BYTES));
    pthread_mutex_unlock(&mutex);
    return chunk != NULL;
}

struct process_record *record_allocate(size_t size, bool by_inheritance)
{
    struct process_record *record = by_inheritance && size <= SLOT_BYTES ? take_slot() : heap_allocate(size, false);
    if (record)
        memset(record, 0, sizeof *record);
    return record;
}

void record_free(struct process_record *record)
{
    if (record && !give_slot_back((char *)record))
        heap_free(record);
}

bool record_needs_lodging(const struct process_record *record)
{
    return heap_contains(record, sizeof *record);
}
