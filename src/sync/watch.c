/* Telling processes that poll a descriptor. SPDX-License-Identifier: MIT */
#include "sync/watch.h"

#include "memory/member.h"
#include "memory/region.h"
#include "os/file.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int watch_open(struct watch_name *name)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    socklen_t length = sizeof address;
    int fd = os_fd_above_standard(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (fd < 0)
        return fd == -1 ? -errno : fd;
    /* No name: the kernel makes one up. */
    if (bind(fd, (struct sockaddr *)&address, sizeof address.sun_family) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) != 0 ||
        length - offsetof(struct sockaddr_un, sun_path) > WATCH_NAME) {
        int err = errno ? -errno : -ENOSYS;
        close(fd);
        return err;
    }
    name->length = (uint32_t)(length - offsetof(struct sockaddr_un, sun_path));
    memcpy(name->bytes, address.sun_path, name->length);
    return fd;
}

void watch_send(const struct watch_name *name)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    uint32_t length = name->length <= WATCH_NAME ? name->length : WATCH_NAME;
    memcpy(address.sun_path, name->bytes, length);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    /* If its buffer is full, it is told already. */
    sendto(fd, "", 0, MSG_NOSIGNAL, (struct sockaddr *)&address,
           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
    close(fd);
}

bool watch_drain(int socket)
{
    char byte;
    bool any = false;
    while (recv(socket, &byte, 1, MSG_DONTWAIT) >= 0)
        any = true;
    return any;
}

/* Makes a place the calling process's; NULL if none is left. */
static struct region_watch *claim(struct region *region, struct member *self)
{
    for (uint32_t i = 0; i < REGION_WATCHES; i++) {
        uint32_t used = atomic_load(&region->watches_used);
        while (used <= i && !atomic_compare_exchange_weak(&region->watches_used, &used, i + 1))
            ;
        uint64_t owner = atomic_load(&region->watches[i].owner);
        if ((owner == 0 || !member_process_is_alive(owner)) &&
            atomic_compare_exchange_strong(&region->watches[i].owner, &owner, self->process_id))
            return &region->watches[i];
    }
    return NULL;
}

struct region_watch *watch_begin(const void *object, const struct watch_name *name)
{
    struct member *self = member_self();
    struct region_watch *watch = self ? claim(region_existing(), self) : NULL;
    if (!watch)
        return NULL;
    atomic_store(&watch->armed, 0);
    memcpy(watch->name, name->bytes, WATCH_NAME);
    watch->name_length = name->length;
    atomic_store(&watch->object, object);
    return watch;
}

void watch_end(struct region_watch *watch)
{
    atomic_store(&watch->armed, 0);
    atomic_store(&watch->object, NULL);
    atomic_store(&watch->owner, 0);
}

void watch_arm(struct region_watch *watch)
{
    watch->armings = watch->armings + 1 ? watch->armings + 1 : 1;
    atomic_store(&watch->armed, watch->armings);
    atomic_thread_fence(memory_order_seq_cst);
}

bool watch_is_armed(struct region_watch *watch)
{
    return atomic_load(&watch->armed) != 0;
}

void watch_tell(const void *object)
{
    struct region *region = region_existing();
    uint32_t used = region ? atomic_load(&region->watches_used) : 0;
    for (uint32_t i = 0; i < used; i++) {
        struct region_watch *watch = &region->watches[i];
        uint32_t armed = atomic_load(&watch->armed);
        if (armed == 0 || atomic_load(&watch->object) != object)
            continue;
        struct watch_name name = { .length = watch->name_length };
        memcpy(name.bytes, watch->name, WATCH_NAME);
        watch_send(&name);
        atomic_compare_exchange_strong(&watch->armed, &armed, 0);
    }
}
