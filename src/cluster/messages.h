/* What travels between a pool and the agents: see wire.h. SPDX-License-Identifier: MIT
 *
 *   description  a pool: its program, and its options
 *   batch        items of a call: the task's name, how to run it, the inputs
 *   result       how the items of a batch ended, and their results
 */
#ifndef CLUSTER_MESSAGES_H
#define CLUSTER_MESSAGES_H

#include "cluster/wire.h"

#include <mproc/outcome.h>
#include <mproc/pool.h>

enum { TASK_NAME_SIZE = 1024, PROGRAM_NAME_SIZE = 256 };

/* ---- a pool */

/* A worker task of the pool; name "": none. */
struct worker_task_message {
    char name[TASK_NAME_SIZE];
    const void *input; /* in the message */
    uint64_t input_size, state_size;
};

struct description {
    uint64_t digest;
    uint64_t family; /* 0, or whose shared heap addresses in its inputs may be of */
    char program[PROGRAM_NAME_SIZE];
    char name[64];         /* the pool's */
    uint32_t workers_most; /* on each machine; 0: as many as it has */
    uint32_t workers_least;
    int64_t idle_timeout;
    uint64_t items_per_worker, memory_limit, memory_kill;
    int64_t ask_grace, terminate_grace;
    int32_t nice, start_failures;
    bool pin;
    struct worker_task_message initializer, finalizer;
};

void description_write(struct writer *writer, const struct description *description);

/* False if it is not one of this version. What it points to is in `data`. */
bool description_read(struct description *description, const void *data, size_t size);

/* ---- items */

struct batch_message {
    char task[TASK_NAME_SIZE];
    uint32_t n;
    uint64_t input_size, output_size; /* of an item; of struct mproc_bytes not looked at */
    bool input_is_bytes, output_is_bytes;
    bool usage, detailed;
    bool has_addresses; /* of the family's heap, it seems */
    uint8_t retries, retry_on;
    int8_t priority;
    int64_t timeout;
    const char *input;         /* n of input_size, in the message; not aligned */
    struct mproc_bytes *bytes; /* n, malloc's; their data in the message, not aligned */
};

/* The inputs follow: n of input_size each; or n lengths of 8 bytes each, and then the bytes of each. */
void batch_write_head(struct writer *writer, const struct batch_message *batch);

/* False if it is not one. batch->bytes is to be freed. */
bool batch_read(struct batch_message *batch, const void *data, size_t size);

/* ---- results */

/* How an item ended; what it points to is in the message. */
struct item_message {
    struct mproc_outcome outcome;
    int64_t started; /* nanoseconds after the agent had got the batch; with has_times */
    bool has_times;
    const void *output; /* of an item that is ok */
    uint64_t output_size;
};

struct result_head {
    uint32_t n;
    int32_t failure; /* not 0: the machine cannot run this pool's items, and n is 0 */
    char reason[MPROC_ERROR_MESSAGE_SIZE];
    int64_t ran;  /* nanoseconds that workers took for all items together */
    int64_t took; /* from the batch's arrival to its end */
    char machine[64];
    bool output_is_bytes;
    bool all_are_ok; /* and not bytes, and there is nothing more to say of them: their outputs follow, and no more */
    uint64_t output_size;
};

void result_write_head(struct writer *writer, const struct result_head *head);
void result_write_item(struct writer *writer, const struct result_head *head, const struct item_message *item,
                       bool detailed);

/* False if it is not one. Items follow, to be read one by one, unless all_are_ok. */
bool result_read_head(struct reader *reader, struct result_head *head);
/* True if what follows the head is all items, and nothing else: it is looked at before anything is believed. */
bool result_is_whole(const struct reader *reader, const struct result_head *head);

bool result_read_item(struct reader *reader, const struct result_head *head, struct item_message *item);

#endif
