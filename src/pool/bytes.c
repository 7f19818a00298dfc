/* Inputs and results of any length. SPDX-License-Identifier: MIT */
#include "memory/condemn.h"
#include "memory/publish.h"

#include <errno.h>
#include <mproc/bytes.h>
#include <mproc/memory.h>
#include <stdint.h>
#include <string.h>

/* From its allocation on, the block is named by the result, which lies in the heap where workers are processes: whoever
 * settles the item of a worker that was killed finds it there. */
void *mproc_bytes_allocate(struct mproc_bytes *result, size_t size)
{
    if (!result) {
        errno = EINVAL;
        return NULL;
    }
    mproc_bytes_free(result);
    void *block = mproc_alloc_owned(size);
    if (!block)
        return NULL;
    if (mproc_publish_at(&result->data, block) != 0) {
        mproc_disown(block);
        result->data = block;
    }
    result->size = size;
    return block;
}

int mproc_bytes_copy(struct mproc_bytes *result, const void *data, size_t size)
{
    if (!result || (!data && size > 0))
        return -EINVAL;
    void *block = mproc_bytes_allocate(result, size);
    if (!block)
        return -ENOMEM;
    if (size > 0)
        memcpy(block, data, size);
    return 0;
}

/* In the lowest bit of a result's address: its block is condemned. */
enum { BYTES_CONDEMNED = 1 };

static void set_address(struct mproc_bytes *result, uintptr_t address)
{
    __atomic_store_n(&result->data, (void *)address, __ATOMIC_SEQ_CST);
}

/* What lies in the heap others will find there if this process is killed, and they free what it points to: with the
 * steps of memory/condemn.h. */
static int free_for_survivors(struct mproc_bytes *result)
{
    uintptr_t address = (uintptr_t)result->data;
    void *block = (void *)(address & ~(uintptr_t)BYTES_CONDEMNED);
    if (!(address & BYTES_CONDEMNED)) {
        if (!memory_is_block(block, 0))
            return mproc_free(block);
        memory_condemn(block);
        set_address(result, address | BYTES_CONDEMNED);
    }
    memory_free_condemned(block);
    set_address(result, 0);
    result->size = 0;
    return 0;
}

int mproc_bytes_free(struct mproc_bytes *result)
{
    if (!result || !result->data)
        return 0;
    if (mproc_is_shared(result) && mproc_is_shared(result->data))
        return free_for_survivors(result);
    int err = mproc_free(result->data);
    if (!err)
        *result = (struct mproc_bytes) { NULL, 0 };
    return err;
}
