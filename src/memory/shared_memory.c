/* Named shared memory: names and handles. SPDX-License-Identifier: MIT
 *
 * As with pools, a handle looks like a pointer but is a place in a table and the how-manyeth use of that place, so that
 * a handle that was closed is recognised as such and never followed.
 */
#include "os/named_memory.h"

#include <errno.h>
#include <mproc/error.h>
#include <mproc/shared_memory.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

/* A place's word: bits 0-1 its state, bits 2-32 its use. FREE becomes BUSY and LIVE becomes BUSY by compare-and-swap,
 * and whoever did that owns the other fields until it stores the next state. A child that is forked while another
 * thread owns a place never gets that place to use, and loses nothing else. */
enum { FREE = 0, BUSY = 1, LIVE = 2, STATE = 3, USE_SHIFT = 2 };
#define USE_MASK UINT64_C(0x7fffffff)

static struct place {
    _Atomic uint64_t word;
    void *address;
    size_t size;
    char name[OS_NAMED_MEMORY_LONGEST + 1];
} places[MPROC_SHARED_MEMORY_MAX];

/* Odd, so that it is not NULL and no address of a struct. */
static mproc_shared_memory *encode(const struct place *place, uint64_t use)
{
    return (mproc_shared_memory *)(uintptr_t)(use << 16 | (uint64_t)(place - places) << 1 | 1);
}

/* The place of a handle, and the word that it has while the handle is good. */
static struct place *decode(const mproc_shared_memory *handle, uint64_t *live)
{
    uintptr_t value = (uintptr_t)handle;
    size_t index = value >> 1 & 0x7fff;
    *live = (uint64_t)(value >> 16) << USE_SHIFT | LIVE;
    return (value & 1) && index < MPROC_SHARED_MEMORY_MAX ? &places[index] : NULL;
}

static const struct place *find(const mproc_shared_memory *handle)
{
    uint64_t live;
    const struct place *place = decode(handle, &live);
    return place && atomic_load_explicit(&place->word, memory_order_acquire) == live ? place : NULL;
}

static struct place *place_take(void)
{
    for (size_t i = 0; i < MPROC_SHARED_MEMORY_MAX; i++) {
        uint64_t seen = atomic_load_explicit(&places[i].word, memory_order_relaxed);
        uint64_t use = ((seen >> USE_SHIFT) + 1) & USE_MASK;
        if ((seen & STATE) == FREE && atomic_compare_exchange_strong(&places[i].word, &seen, use << USE_SHIFT | BUSY))
            return &places[i];
    }
    return NULL;
}

/* The only one who may change a place that is BUSY is its owner. */
static uint64_t place_leave(struct place *place, uint64_t state)
{
    uint64_t use = atomic_load_explicit(&place->word, memory_order_relaxed) >> USE_SHIFT;
    atomic_store_explicit(&place->word, use << USE_SHIFT | state, memory_order_release);
    return use;
}

static int check_name(const char *name, const char **plain)
{
    if (!name)
        return -EINVAL;
    if (name[0] == '/')
        name++;
    if (name[0] == '\0' || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return -EINVAL;
    if (strlen(name) > OS_NAMED_MEMORY_LONGEST)
        return -ENAMETOOLONG;
    *plain = name;
    return 0;
}

static int create_somewhere(struct place *place)
{
    int err;
    do {
        err = os_named_memory_invent(place->name);
        if (!err)
            err = os_named_memory_create(place->name, place->size, &place->address);
    } while (err == -EEXIST);
    return err;
}

/* Creates it if size is above 0, else attaches to it. */
static int open_memory(mproc_shared_memory **memory, const char *name, size_t size)
{
    struct place *place = place_take();
    int err;
    if (!place)
        return -EMFILE;
    place->size = size;
    if (name)
        memcpy(place->name, name, strlen(name) + 1);
    if (!name)
        err = create_somewhere(place);
    else if (size > 0)
        err = os_named_memory_create(name, size, &place->address);
    else
        err = os_named_memory_attach(name, &place->address, &place->size);
    uint64_t use = place_leave(place, err ? FREE : LIVE);
    if (!err)
        *memory = encode(place, use);
    return err;
}

int mproc_shared_memory_create(mproc_shared_memory **memory, const char *name, size_t size)
{
    int err = name ? check_name(name, &name) : 0;
    if (err)
        return err;
    return memory && size > 0 ? open_memory(memory, name, size) : -EINVAL;
}

int mproc_shared_memory_attach(mproc_shared_memory **memory, const char *name)
{
    int err = check_name(name, &name);
    if (err)
        return err;
    return memory ? open_memory(memory, name, 0) : -EINVAL;
}

void *mproc_shared_memory_address(const mproc_shared_memory *memory)
{
    const struct place *place = find(memory);
    return place ? place->address : NULL;
}

size_t mproc_shared_memory_size(const mproc_shared_memory *memory)
{
    const struct place *place = find(memory);
    return place ? place->size : 0;
}

const char *mproc_shared_memory_name(const mproc_shared_memory *memory)
{
    const struct place *place = find(memory);
    return place ? place->name : NULL;
}

int mproc_shared_memory_close(mproc_shared_memory *memory)
{
    uint64_t seen;
    if (!memory)
        return 0;
    struct place *place = decode(memory, &seen);
    if (!place || !atomic_compare_exchange_strong(&place->word, &seen, seen - LIVE + BUSY))
        return MPROC_E_CLOSED;
    os_named_memory_detach(place->address, place->size);
    place_leave(place, FREE);
    return 0;
}

int mproc_shared_memory_unlink(const char *name)
{
    int err = check_name(name, &name);
    return err ? err : os_named_memory_unlink(name);
}
