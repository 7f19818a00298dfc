/* Commands to the server and its replies. SPDX-License-Identifier: MIT */
#include "resp.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_AT_ONCE = 64 << 10 };

/* A reader keeps so much memory, rather than have it grow anew with each batch. */
#define BUFFER_KEPT ((size_t)1 << 20)

void command_begin(struct command *command, const char *name)
{
    command->count = 0;
    command_add(command, name);
}

void command_add_data(struct command *command, const void *data, size_t size)
{
    if (command->count == WORDS_MOST)
        abort(); /* no command of ours has so many */
    command->words[command->count] = data;
    command->lengths[command->count++] = size;
}

void command_add(struct command *command, const char *text)
{
    command_add_data(command, text, strlen(text));
}

void command_add_number(struct command *command, int64_t number)
{
    char *text = command->numbers[command->count];
    int length = snprintf(text, sizeof command->numbers[0], "%lld", (long long)number);
    command_add_data(command, text, (size_t)length);
}

int resp_open(struct resp *resp, const struct address *address, const struct mproc_engine_options *options,
              int64_t deadline, char *message, size_t size)
{
    resp_close(resp);
    int err = link_open(&resp->link, address, options, deadline, message, size);
    if (err)
        return err;
    resp->reader = redisReaderCreate();
    if (!resp->reader) {
        link_close(&resp->link);
        return -ENOMEM;
    }
    resp->reader->maxbuf = BUFFER_KEPT;
    return 0;
}

void resp_close(struct resp *resp)
{
    if (!resp->reader)
        return;
    redisReaderFree(resp->reader);
    resp->reader = NULL;
    link_close(&resp->link);
}

int resp_send(struct resp *resp, const struct command *command, int64_t deadline)
{
    char *text = NULL;
    if (!resp->reader)
        return -ENOTCONN;
    int length =
        redisFormatCommandArgv(&text, command->count, (const char **)(uintptr_t)command->words, command->lengths);
    if (length < 0)
        return -ENOMEM;
    int err = link_write(&resp->link, text, (size_t)length, deadline);
    redisFreeCommand(text);
    if (err)
        resp_close(resp);
    return err;
}

/* Returns 1 if there is a reply. */
static int take_buffered(struct resp *resp, redisReply **reply)
{
    void *found = NULL;
    if (redisReaderGetReply(resp->reader, &found) != REDIS_OK)
        return MPROC_E_WIRE;
    *reply = found;
    return found != NULL;
}

static int read_more(struct resp *resp, int64_t deadline)
{
    char data[READ_AT_ONCE];
    ssize_t count = link_read(&resp->link, data, sizeof data, deadline);
    if (count < 0)
        return (int)count;
    return redisReaderFeed(resp->reader, data, (size_t)count) == REDIS_OK ? 0 : -ENOMEM;
}

int resp_receive(struct resp *resp, redisReply **reply, int64_t deadline)
{
    if (!resp->reader)
        return -ENOTCONN;
    for (;;) {
        int result = take_buffered(resp, reply);
        if (result == 1)
            return 0;
        if (result == 0)
            result = read_more(resp, deadline);
        if (result == -EAGAIN)
            return result;
        if (result) {
            resp_close(resp);
            return result;
        }
    }
}
