/* Who writes to a queue and who reads from it. SPDX-License-Identifier: MIT */
#ifndef CHANNEL_ROLES_H
#define CHANNEL_ROLES_H

#include "channel/queue.h"

/* What a thread has attached its process to lately, so that it need not look. */
struct role_memory {
    const mproc_queue *queue;
    uint64_t epoch;
    member_id process;
    unsigned roles;
};

enum { ROLE_MEMORY = 16 };

extern _Thread_local struct role_memory role_memory[ROLE_MEMORY] __attribute__((tls_model("initial-exec")));

/* Queues that were made one after the other, which one thread is likely to use in turn, have different places. */
static inline struct role_memory *role_memory_of(const mproc_queue *queue)
{
    return &role_memory[(uintptr_t)queue / sizeof *queue % ROLE_MEMORY];
}

/* Returns 0 or -ENOMEM. */
int roles_attach_slowly(mproc_queue *queue, struct member *self, unsigned roles);

/* Makes the calling process a writer or reader, if it is not one. */
static inline int roles_attach(mproc_queue *queue, struct member *self, unsigned roles)
{
    const struct role_memory *memory = role_memory_of(queue);
    if (__builtin_expect(memory->queue == queue &&
                             memory->epoch == atomic_load_explicit(&queue->epoch, memory_order_relaxed) &&
                             memory->process == self->process_id && (memory->roles & roles) == roles,
                         1))
        return 0;
    return roles_attach_slowly(queue, self, roles);
}

int roles_detach(mproc_queue *queue, struct member *self, unsigned roles);

/* True if a process that has that role lives. */
bool roles_alive(mproc_queue *queue, unsigned role);

/* Adds those who have that role to the ones whose end wakes a sleeper. */
void roles_watch(mproc_queue *queue, unsigned role, struct wait *wait);

/* Roles of a process that is being started: the calling process has them in its place until it adopts them (in the new
 * process), or is known to have ended without (roles_drop). */
struct role_reservation {
    mproc_queue *queue;
    struct holder *holder;
    member_id by;
    uint32_t token;
};

/* False if there is no memory. */
bool roles_reserve(mproc_queue *queue, struct member *self, unsigned roles, struct role_reservation *reservation);
void roles_adopt(const struct role_reservation *reservation, struct member *self);
void roles_drop(const struct role_reservation *reservation, struct member *self);

#endif
