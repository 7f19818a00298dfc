/* Arbitrary bytes come over the wire of a cluster: messages between pools and agents, URLs, replies of a server.
 * SPDX-License-Identifier: MIT
 *
 * An input: a byte that says what it is, and the rest. What is understood is written again, and has to be the same. As
 * few arbitrary bytes are a message, some inputs say instead how a right one is spoilt.
 */
#include "address.h"
#include "cluster/messages.h"
#include "expect.h"
#include "redis.h"

#include <mproc/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned sum;

static void touch(const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        sum += ((const unsigned char *)data)[i];
}

/* ---- messages */

static void expect_same(struct writer *writer, const void *data, size_t size)
{
    EXPECT(!writer->failed && writer->size == size && memcmp(writer->data, data, size) == 0);
    writer_free(writer);
}

static void read_description(const void *data, size_t size)
{
    static struct description description;
    struct writer writer = { .data = NULL };
    if (!description_read(&description, data, size))
        return;
    description_write(&writer, &description);
    expect_same(&writer, data, size);
}

static void read_batch(const void *data, size_t size)
{
    static struct batch_message batch;
    struct writer writer = { .data = NULL };
    if (!batch_read(&batch, data, size))
        return;
    batch_write_head(&writer, &batch);
    for (uint32_t i = 0; batch.bytes && i < batch.n; i++)
        write_number(&writer, batch.bytes[i].size, 8);
    for (uint32_t i = 0; batch.bytes && i < batch.n; i++)
        write_raw(&writer, batch.bytes[i].data, batch.bytes[i].size);
    if (!batch.bytes)
        write_raw(&writer, batch.input, batch.n * batch.input_size);
    free(batch.bytes);
    expect_same(&writer, data, size);
}

static void read_result(const void *data, size_t size)
{
    static struct result_head head;
    static struct item_message item;
    struct reader reader = { .data = data, .left = size };
    if (!result_read_head(&reader, &head))
        return;
    bool is_whole = result_is_whole(&reader, &head);
    if (is_whole && head.all_are_ok) {
        touch(reader.data, head.n * head.output_size);
        return;
    }
    for (uint32_t i = 0; i < head.n && result_read_item(&reader, &head, &item); i++) {
        touch(item.output, item.output_size);
        touch(item.outcome.message, strlen(item.outcome.message));
        touch(item.outcome.file, strlen(item.outcome.file));
        EXPECT(item.outcome.kind <= MPROC_LOST);
    }
}

static void read_any(unsigned kind, const void *data, size_t size)
{
    if (kind == 0)
        read_description(data, size);
    else if (kind == 1)
        read_batch(data, size);
    else
        read_result(data, size);
}

/* ---- right messages, spoilt */

static void write_result(struct writer *writer, const uint8_t *data, size_t size)
{
    static const int64_t number = 4711;
    struct result_head head = {
        .n = (uint32_t)size, .ran = 5, .took = 6, .machine = "m", .output_size = sizeof number
    };
    head.all_are_ok = size % 3 == 1;
    result_write_head(writer, &head);
    for (size_t i = 0; i < size; i++) {
        if (head.all_are_ok) {
            write_raw(writer, &number, sizeof number);
            continue;
        }
        struct item_message item = { .outcome = { .kind = data[i] % (MPROC_LOST + 1), .code = data[i] },
                                     .output = &number,
                                     .output_size = sizeof number };
        snprintf(item.outcome.message, sizeof item.outcome.message, "%u", data[i]);
        result_write_item(writer, &head, &item, data[i] > 128);
    }
}

static void write_batch(struct writer *writer, const uint8_t *data, size_t size)
{
    static struct batch_message batch;
    batch = (struct batch_message) { .task = "task", .n = (uint32_t)size + 1, .output_size = 8 };
    batch.input_is_bytes = size % 2;
    batch.input_size = 1;
    batch_write_head(writer, &batch);
    for (size_t i = 0; batch.input_is_bytes && i <= size; i++)
        write_number(writer, 1, 8);
    write_raw(writer, data, size);
    write_number(writer, 0, 1);
}

static void write_description(struct writer *writer, const uint8_t *data, size_t size)
{
    static struct description description;
    description = (struct description) { .digest = size, .program = "program", .nice = (int)size };
    snprintf(description.initializer.name, sizeof description.initializer.name, "initializer");
    description.initializer.input = data;
    description.initializer.input_size = size;
    description_write(writer, &description);
}

static void spoil(unsigned kind, const uint8_t *data, size_t size)
{
    struct writer writer = { .data = NULL };
    size_t half = size / 2;
    if (kind == 0)
        write_description(&writer, data, half);
    else if (kind == 1)
        write_batch(&writer, data, half);
    else
        write_result(&writer, data, half);
    EXPECT(!writer.failed);
    read_any(kind, writer.data, writer.size);
    for (size_t i = half; i + 2 < size; i += 3)
        writer.data[(data[i] * 256u + data[i + 1]) % writer.size] = (char)data[i + 2];
    size_t cut = size > 0 && data[size - 1] % 4 == 0 ? writer.size / 2 : writer.size;
    read_any(kind, writer.data, cut);
    writer_free(&writer);
}

/* ---- URLs */

static void read_url(const uint8_t *data, size_t size)
{
    struct address address;
    char url[600], message[MPROC_ENGINE_MESSAGE_SIZE] = "";
    size = size < sizeof url - 1 ? size : sizeof url - 1;
    memcpy(url, data, size);
    url[size] = '\0';
    bool is_one = address_read(&address, url, message, sizeof message);
    EXPECT(is_one ? address.host[0] != '\0' && atoi(address.port) > 0 : message[0] != '\0');
}

/* ---- a server that answers arbitrarily */

static bool opened(void *context, uint64_t pool, const void *description, size_t size)
{
    (void)context;
    touch(description, size);
    return pool % 2;
}

static void take(void *context, uint64_t pool, uint64_t number, const void *data, size_t size)
{
    (void)context;
    sum += (unsigned)(pool + number);
    touch(data, size);
}

static void drop(void *context, uint64_t pool, uint64_t number)
{
    (void)context;
    sum += (unsigned)(pool + number);
}

static void closed(void *context, uint64_t pool)
{
    drop(context, pool, 0);
}

static void completed(void *context, uint64_t number, const void *data, size_t size)
{
    take(context, 0, number, data, size);
}

static void lost(void *context, uint64_t number)
{
    closed(context, number);
}

static void rejected(void *context, uint64_t number, enum mproc_engine_rejection why)
{
    drop(context, number, why);
}

static void forgotten(void *context)
{
    closed(context, 0);
}

static bool take_batch(void *context, uint64_t pool, uint64_t number, const void *data, size_t size)
{
    take(context, pool, number, data, size);
    return number % 8 != 0;
}

static const struct mproc_engine_tasks tasks = { opened, take_batch, drop, closed };
static const struct mproc_engine_results results = { completed, lost, rejected, forgotten };

/* The other end of a link: it has said what there is to say, and is gone. */
static void connect_to(struct resp *resp, const uint8_t *data, size_t size)
{
    int pair[2];
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    EXPECT(size == 0 || write(pair[1], data, size) > 0);
    shutdown(pair[1], SHUT_WR);
    resp->link = (struct link) { .fd = pair[0] };
    resp->reader = redisReaderCreate();
    EXPECT(resp->reader);
    static int others[2] = { -1, -1 }, next;
    if (others[next] >= 0)
        close(others[next]); /* of the input before, so that sending does not fail at once */
    others[next] = pair[1];
    next = !next;
}

static void be_answered(bool as_agent, const uint8_t *data, size_t size)
{
    struct redis *redis = calloc(1, sizeof *redis);
    static char name[] = "agent", description[] = "d";
    size_t half = size / 2;
    EXPECT(redis);
    address_read(&redis->address, "redis://127.0.0.1:1/f", redis->message, sizeof redis->message);
    redis->options = (struct mproc_engine_options) { .lease = 1000000000, .patience = 1000000000 };
    redis->next_connect = INT64_MAX; /* there is no other server */
    redis->name = as_agent ? name : NULL;
    snprintf(redis->prefix, sizeof redis->prefix, "mproc:{f}:");
    redis_pool_keys(redis, &redis->self, 7);
    connect_to(&redis->main, data, half);
    connect_to(&redis->feed, data + half, size - half);
    redis->fed = true;
    redis->fed_at = link_now();
    for (int i = 0; i < 3; i++) {
        struct mproc_engine_machine machines[4];
        if (as_agent) {
            redis_fetch(redis, 4, &tasks, NULL);
            redis_tend_agent(redis);
            continue;
        }
        redis->description = description;
        redis_results(redis, &results, NULL);
        redis_machines(redis, machines, 4);
        redis_tend_pool(redis);
    }
    resp_close(&redis->main);
    resp_close(&redis->feed);
    free(redis->pools);
    free(redis);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    unsigned what = data[0] % 9;
    if (what < 3)
        read_any(what, data + 1, size - 1);
    else if (what < 6)
        spoil(what - 3, data + 1, size - 1);
    else if (what == 6)
        read_url(data + 1, size - 1);
    else
        be_answered(what == 7, data + 1, size - 1);
    return 0;
}
