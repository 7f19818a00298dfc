/* What travels between a pool and the agents. SPDX-License-Identifier: MIT */
#include "cluster/messages.h"

#include <mproc/bytes.h>
#include <stdlib.h>
#include <string.h>

/* The last byte is the version. */
#define DESCRIPTION_MARK UINT32_C(0x44504d01)
#define BATCH_MARK UINT32_C(0x42504d01)
#define RESULT_MARK UINT32_C(0x52504d01)

static void write_flag(struct writer *writer, bool flag)
{
    write_number(writer, flag, 1);
}

static bool read_flag(struct reader *reader)
{
    uint64_t flag = read_number(reader, 1);
    if (flag > 1)
        reader->failed = true;
    return flag == 1;
}

/* ---- a pool */

static void write_worker_task(struct writer *writer, const struct worker_task_message *task)
{
    write_text(writer, task->name);
    write_number(writer, task->state_size, 8);
    write_number(writer, task->input_size, 8);
    write_raw(writer, task->input, task->input_size);
}

static void read_worker_task(struct reader *reader, struct worker_task_message *task)
{
    read_text(reader, task->name, sizeof task->name);
    task->state_size = read_number(reader, 8);
    task->input_size = read_number(reader, 8);
    task->input = read_raw(reader, task->input_size);
}

void description_write(struct writer *writer, const struct description *description)
{
    write_number(writer, DESCRIPTION_MARK, 4);
    write_number(writer, description->digest, 8);
    write_number(writer, description->family, 8);
    write_text(writer, description->program);
    write_text(writer, description->name);
    write_number(writer, description->workers_most, 4);
    write_number(writer, description->workers_least, 4);
    write_number(writer, (uint64_t)description->idle_timeout, 8);
    write_number(writer, description->items_per_worker, 8);
    write_number(writer, description->memory_limit, 8);
    write_number(writer, description->memory_kill, 8);
    write_number(writer, (uint64_t)description->ask_grace, 8);
    write_number(writer, (uint64_t)description->terminate_grace, 8);
    write_number(writer, (uint32_t)description->nice, 4);
    write_number(writer, (uint32_t)description->start_failures, 4);
    write_flag(writer, description->pin);
    write_worker_task(writer, &description->initializer);
    write_worker_task(writer, &description->finalizer);
}

bool description_read(struct description *description, const void *data, size_t size)
{
    struct reader reader = { .data = data, .left = size };
    *description = (struct description) { 0 };
    if (read_number(&reader, 4) != DESCRIPTION_MARK)
        return false;
    description->digest = read_number(&reader, 8);
    description->family = read_number(&reader, 8);
    read_text(&reader, description->program, sizeof description->program);
    read_text(&reader, description->name, sizeof description->name);
    description->workers_most = (uint32_t)read_number(&reader, 4);
    description->workers_least = (uint32_t)read_number(&reader, 4);
    description->idle_timeout = (int64_t)read_number(&reader, 8);
    description->items_per_worker = read_number(&reader, 8);
    description->memory_limit = read_number(&reader, 8);
    description->memory_kill = read_number(&reader, 8);
    description->ask_grace = (int64_t)read_number(&reader, 8);
    description->terminate_grace = (int64_t)read_number(&reader, 8);
    description->nice = (int32_t)read_number(&reader, 4);
    description->start_failures = (int32_t)read_number(&reader, 4);
    description->pin = read_flag(&reader);
    read_worker_task(&reader, &description->initializer);
    read_worker_task(&reader, &description->finalizer);
    return reader_is_done(&reader);
}

/* ---- items */

void batch_write_head(struct writer *writer, const struct batch_message *batch)
{
    write_number(writer, BATCH_MARK, 4);
    write_text(writer, batch->task);
    write_number(writer, batch->n, 4);
    write_number(writer, batch->input_size, 8);
    write_number(writer, batch->output_size, 8);
    write_flag(writer, batch->input_is_bytes);
    write_flag(writer, batch->output_is_bytes);
    write_flag(writer, batch->usage);
    write_flag(writer, batch->detailed);
    write_flag(writer, batch->has_addresses);
    write_number(writer, batch->retries, 1);
    write_number(writer, batch->retry_on, 1);
    write_number(writer, (uint8_t)batch->priority, 1);
    write_number(writer, (uint64_t)batch->timeout, 8);
}

static void read_bytes(struct reader *reader, struct batch_message *batch)
{
    const char *lengths = read_raw(reader, (uint64_t)batch->n * 8);
    batch->bytes = lengths ? calloc(batch->n, sizeof *batch->bytes) : NULL;
    if (!batch->bytes) {
        reader->failed = true;
        return;
    }
    for (uint32_t i = 0; i < batch->n; i++) {
        struct reader length = { .data = lengths + (size_t)i * 8, .left = 8 };
        uint64_t size = read_number(&length, 8);
        batch->bytes[i] = (struct mproc_bytes) { (void *)(uintptr_t)read_raw(reader, size), (size_t)size };
    }
}

bool batch_read(struct batch_message *batch, const void *data, size_t size)
{
    struct reader reader = { .data = data, .left = size };
    *batch = (struct batch_message) { .n = 0 };
    if (read_number(&reader, 4) != BATCH_MARK)
        return false;
    read_text(&reader, batch->task, sizeof batch->task);
    batch->n = (uint32_t)read_number(&reader, 4);
    batch->input_size = read_number(&reader, 8);
    batch->output_size = read_number(&reader, 8);
    batch->input_is_bytes = read_flag(&reader);
    batch->output_is_bytes = read_flag(&reader);
    batch->usage = read_flag(&reader);
    batch->detailed = read_flag(&reader);
    batch->has_addresses = read_flag(&reader);
    batch->retries = (uint8_t)read_number(&reader, 1);
    batch->retry_on = (uint8_t)read_number(&reader, 1);
    batch->priority = (int8_t)read_number(&reader, 1);
    batch->timeout = (int64_t)read_number(&reader, 8);
    uint64_t input_bytes, output_bytes;
    if (reader.failed || batch->n == 0 || batch->timeout < 0 || batch->retries > 100 ||
        __builtin_mul_overflow(batch->n, batch->input_size, &input_bytes) ||
        __builtin_mul_overflow(batch->n, batch->output_size, &output_bytes) || output_bytes > SIZE_MAX / 4)
        return false;
    if (batch->input_is_bytes)
        read_bytes(&reader, batch);
    else
        batch->input = read_raw(&reader, input_bytes);
    if (reader_is_done(&reader))
        return true;
    free(batch->bytes);
    batch->bytes = NULL;
    return false;
}

/* ---- results */

void result_write_head(struct writer *writer, const struct result_head *head)
{
    write_number(writer, RESULT_MARK, 4);
    write_number(writer, head->n, 4);
    write_number(writer, (uint32_t)head->failure, 4);
    write_text(writer, head->reason);
    write_number(writer, (uint64_t)head->ran, 8);
    write_number(writer, (uint64_t)head->took, 8);
    write_text(writer, head->machine);
    write_flag(writer, head->output_is_bytes);
    write_flag(writer, head->all_are_ok);
    write_number(writer, head->output_size, 8);
}

enum { ITEM_HAS_DETAIL = 0x40, ITEM_KIND = 0x3f };

static void write_detail(struct writer *writer, const struct item_message *item)
{
    const struct mproc_outcome *outcome = &item->outcome;
    write_number(writer, (uint32_t)outcome->code, 4);
    write_number(writer, (uint32_t)outcome->signal, 4);
    write_number(writer, (uint32_t)outcome->exit_status, 4);
    write_number(writer, (uint32_t)outcome->pid, 4);
    write_number(writer, (uint32_t)outcome->attempts, 4);
    write_flag(writer, outcome->out_of_memory);
    write_number(writer, (uint32_t)outcome->line, 4);
    write_text(writer, outcome->file);
    write_text(writer, outcome->message);
    write_flag(writer, item->has_times);
    write_number(writer, (uint64_t)item->started, 8);
    write_number(writer, (uint64_t)outcome->ran, 8);
    write_number(writer, (uint64_t)outcome->cpu_time, 8);
    write_number(writer, (uint64_t)outcome->peak_memory, 8);
}

static void read_detail(struct reader *reader, struct item_message *item)
{
    struct mproc_outcome *outcome = &item->outcome;
    outcome->code = (int32_t)read_number(reader, 4);
    outcome->signal = (int32_t)read_number(reader, 4);
    outcome->exit_status = (int32_t)read_number(reader, 4);
    outcome->pid = (int32_t)read_number(reader, 4);
    outcome->attempts = (int32_t)read_number(reader, 4);
    outcome->out_of_memory = read_flag(reader);
    outcome->line = (int32_t)read_number(reader, 4);
    read_text(reader, outcome->file, sizeof outcome->file);
    read_text(reader, outcome->message, sizeof outcome->message);
    item->has_times = read_flag(reader);
    item->started = (int64_t)read_number(reader, 8);
    outcome->ran = (int64_t)read_number(reader, 8);
    outcome->cpu_time = (int64_t)read_number(reader, 8);
    outcome->peak_memory = (int64_t)read_number(reader, 8);
}

void result_write_item(struct writer *writer, const struct result_head *head, const struct item_message *item,
                       bool detailed)
{
    enum mproc_outcome_kind kind = item->outcome.kind;
    bool has_detail = detailed || kind != MPROC_OK;
    write_number(writer, (unsigned)kind | (has_detail ? ITEM_HAS_DETAIL : 0u), 1);
    if (has_detail)
        write_detail(writer, item);
    if (kind != MPROC_OK)
        return;
    if (head->output_is_bytes)
        write_number(writer, item->output_size, 8);
    write_raw(writer, item->output, item->output_size);
}

bool result_read_head(struct reader *reader, struct result_head *head)
{
    *head = (struct result_head) { .n = 0 };
    if (read_number(reader, 4) != RESULT_MARK)
        return false;
    head->n = (uint32_t)read_number(reader, 4);
    head->failure = (int32_t)read_number(reader, 4);
    read_text(reader, head->reason, sizeof head->reason);
    head->ran = (int64_t)read_number(reader, 8);
    head->took = (int64_t)read_number(reader, 8);
    read_text(reader, head->machine, sizeof head->machine);
    head->output_is_bytes = read_flag(reader);
    head->all_are_ok = read_flag(reader);
    head->output_size = read_number(reader, 8);
    return !reader->failed && head->ran >= 0 && head->took >= 0 && !(head->all_are_ok && head->output_is_bytes);
}

bool result_read_item(struct reader *reader, const struct result_head *head, struct item_message *item)
{
    *item = (struct item_message) { .output = NULL };
    unsigned first = (unsigned)read_number(reader, 1);
    unsigned kind = first & ITEM_KIND;
    if (reader->failed || kind > MPROC_LOST || first > (ITEM_HAS_DETAIL | ITEM_KIND))
        return false;
    item->outcome.kind = (enum mproc_outcome_kind)kind;
    if (first & ITEM_HAS_DETAIL)
        read_detail(reader, item);
    if (kind == MPROC_OK) {
        item->output_size = head->output_is_bytes ? read_number(reader, 8) : head->output_size;
        item->output = read_raw(reader, item->output_size);
    }
    return !reader->failed;
}

bool result_is_whole(const struct reader *reader, const struct result_head *head)
{
    struct reader rest = *reader;
    struct item_message item;
    size_t all;
    if (head->all_are_ok)
        return !__builtin_mul_overflow(head->n, head->output_size, &all) && rest.left == all;
    for (uint32_t i = 0; i < head->n; i++)
        if (!result_read_item(&rest, head, &item))
            return false;
    return reader_is_done(&rest);
}
