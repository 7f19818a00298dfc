/* What a process and the one that started it share. SPDX-License-Identifier: MIT */
#ifndef PROCESS_RECORD_H
#define PROCESS_RECORD_H

#include "memory/member.h"

#include <mproc/outcome.h>
#include <mproc/process.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct role_reservation;

/* With MPROC_FORK in memory that the new process inherits. Otherwise in the heap, owned by the starting process, and
 * the started one lodges there. The starting process fills it before the other exists, and frees it when the other has
 * ended. */
struct process_record {
    _Atomic uint32_t stop;     /* futex; by the starting process: 1 once the other is asked to stop */
    _Atomic uint32_t finished; /* by the started process, last of these: its function has returned */
    int value;
    char message[MPROC_MESSAGE_SIZE];

    pid_t owner_pid;
    member_id owner;
    char name[MPROC_NAME_SIZE], owner_name[MPROC_NAME_SIZE];
    struct role_reservation *queues; /* in front of the argument's copy */
    size_t queues_count;
    void *argument; /* in the heap: behind this struct, or the caller's; with MPROC_FORK anywhere */
    size_t argument_size;
    char function[]; /* its name; then, aligned, its queues and the argument's copy */
};

/* Memory for a record, zeroed but for what comes behind the struct. NULL if there is none. */
struct process_record *record_allocate(size_t size, bool by_inheritance);
void record_free(struct process_record *record);

/* True if the memory is kept only as long as who uses it lodges with the owner. */
bool record_needs_lodging(const struct process_record *record);

#endif
