/* Commands to the server and its replies. SPDX-License-Identifier: MIT */
#include "resp.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_AT_ONCE = 64 << 10, IN_PLACE_LEAST = 8 << 10 };

/* A reader keeps so much memory, rather than have it grow anew with each batch. */
#define BUFFER_KEPT ((size_t)1 << 20)

void command_begin(struct command *command, const char *name)
{
    command->count = 0;
    command->split = -1;
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

void command_add_split(struct command *command, const void *head, size_t head_size, const void *data, size_t size)
{
    command->split = command->count;
    command->split_at = head_size;
    command->rest = data;
    command_add_data(command, head, head_size + size);
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

/* ---- sending */

static size_t length_of(const struct command *command)
{
    size_t length = 0;
    for (int i = 0; i < command->count; i++)
        length += command->lengths[i];
    return length;
}

struct pieces {
    struct iovec vector[4 * WORDS_MOST];
    int count;
};

static void add_piece(struct pieces *pieces, const void *data, size_t size)
{
    pieces->vector[pieces->count++] = (struct iovec) { (void *)(uintptr_t)data, size };
}

/* From where the words are, as copying large ones costs more than all else. */
static int send_in_place(struct resp *resp, const struct command *command, int64_t deadline)
{
    static _Thread_local struct pieces pieces;
    static _Thread_local char heads[WORDS_MOST][48];
    pieces.count = 0;
    for (int i = 0; i < command->count; i++) {
        int length = i == 0
                         ? snprintf(heads[0], sizeof heads[0], "*%d\r\n$%zu\r\n", command->count, command->lengths[0])
                         : snprintf(heads[i], sizeof heads[0], "\r\n$%zu\r\n", command->lengths[i]);
        bool is_split = i == command->split;
        add_piece(&pieces, heads[i], (size_t)length);
        add_piece(&pieces, command->words[i], is_split ? command->split_at : command->lengths[i]);
        if (is_split)
            add_piece(&pieces, command->rest, command->lengths[i] - command->split_at);
    }
    add_piece(&pieces, "\r\n", 2);
    return link_write_pieces(&resp->link, pieces.vector, pieces.count, deadline);
}

static int send_copy(struct resp *resp, const struct command *command, int64_t deadline)
{
    char *text = NULL;
    int length =
        redisFormatCommandArgv(&text, command->count, (const char **)(uintptr_t)command->words, command->lengths);
    if (length < 0)
        return -ENOMEM;
    int err = link_write(&resp->link, text, (size_t)length, deadline);
    redisFreeCommand(text);
    return err;
}

static int send_joined(struct resp *resp, const struct command *command, int64_t deadline)
{
    struct command whole = *command;
    size_t size = command->lengths[command->split];
    char *joined = malloc(size ? size : 1);
    if (!joined)
        return -ENOMEM;
    memcpy(joined, command->words[command->split], command->split_at);
    if (size > command->split_at)
        memcpy(joined + command->split_at, command->rest, size - command->split_at);
    whole.words[command->split] = joined;
    int err = send_copy(resp, &whole, deadline);
    free(joined);
    return err;
}

int resp_send(struct resp *resp, const struct command *command, int64_t deadline)
{
    if (!resp->reader)
        return -ENOTCONN;
    bool in_place = !resp->link.tls && length_of(command) >= IN_PLACE_LEAST; /* TLS would make a record of each piece */
    int err = in_place              ? send_in_place(resp, command, deadline)
              : command->split >= 0 ? send_joined(resp, command, deadline)
                                    : send_copy(resp, command, deadline);
    if (err)
        resp_close(resp);
    return err;
}

/* ---- receiving */

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
