/* Commands to the server and its replies, on one link: hiredis formats and parses. SPDX-License-Identifier: MIT */
#ifndef REDIS_RESP_H
#define REDIS_RESP_H

#include "link.h"

#include <hiredis/hiredis.h>

struct resp {
    struct link link;
    redisReader *reader; /* NULL: not connected */
};

enum { WORDS_MOST = 80 };

/* A command, word by word. */
struct command {
    int count;
    int split; /* the word that is in two places; -1: none */
    size_t split_at;
    const char *rest; /* of it */
    const char *words[WORDS_MOST];
    size_t lengths[WORDS_MOST];
    char numbers[WORDS_MOST][24];
};

void command_begin(struct command *command, const char *name);
void command_add(struct command *command, const char *text);
void command_add_data(struct command *command, const void *data, size_t size);

/* A word that is in two places, of which a command has one at most. */
void command_add_split(struct command *command, const void *head, size_t head_size, const void *data, size_t size);
void command_add_number(struct command *command, int64_t number);

int resp_open(struct resp *resp, const struct address *address, const struct mproc_engine_options *options,
              int64_t deadline, char *message, size_t size);
void resp_close(struct resp *resp);

/* Sends a command. Returns 0 or a negative error: then the link is closed. */
int resp_send(struct resp *resp, const struct command *command, int64_t deadline);

/* Gives the next reply, to be freed with freeReplyObject. Returns 0; -EAGAIN if there is none until the deadline (0:
 * now); or a negative error: then the link is closed. */
int resp_receive(struct resp *resp, redisReply **reply, int64_t deadline);

#endif
