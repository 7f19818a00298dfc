/* Inputs and results of any length. SPDX-License-Identifier: MIT */
#include <errno.h>
#include <mproc/bytes.h>
#include <mproc/memory.h>
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

int mproc_bytes_free(struct mproc_bytes *result)
{
    void *block = result ? result->data : NULL;
    if (!block)
        return 0;
    struct mproc_bytes before = *result;
    /* First, so that a survivor does not free it, too. */
    *result = (struct mproc_bytes) { NULL, 0 };
    int err = mproc_free(block);
    if (err)
        *result = before;
    return err;
}
