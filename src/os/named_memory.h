/* Memory that has a name, in the folder where shm_open keeps it. SPDX-License-Identifier: MIT */
#ifndef OS_NAMED_MEMORY_H
#define OS_NAMED_MEMORY_H

#include <stddef.h>

/* Names are those of files: without a slash, not "." or "..", and no longer than this. */
enum { OS_NAMED_MEMORY_LONGEST = 255, OS_NAMED_MEMORY_INVENTED = sizeof "mproc_0123456789abcdef" };

/* Writes a name that nothing else has: "mproc_" and 16 random digits. Returns 0 or -errno. */
int os_named_memory_invent(char name[OS_NAMED_MEMORY_INVENTED]);

/* Makes zeroed memory whose pages are present, maps it, and gives it the name as its last step. Returns 0 and fills
 * base; or -EEXIST, -ENOSPC, -ENOMEM, -EFBIG or another -errno, with nothing left. */
int os_named_memory_create(const char *name, size_t size, void **base);

/* Maps what has the name. Returns 0 and fills base and size; -EAGAIN if its size is 0, -EINVAL if it is no ordinary
 * file, or another -errno. */
int os_named_memory_attach(const char *name, void **base, size_t *size);

/* Unmaps it. */
void os_named_memory_detach(void *base, size_t size);

/* Removes the name. Returns 0 or -errno; -EINVAL if it is that of a folder. */
int os_named_memory_unlink(const char *name);

#endif
