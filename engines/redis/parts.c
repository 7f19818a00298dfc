/* What is larger than one value should be. SPDX-License-Identifier: MIT */
#include "redis.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS_MOST = 1 << 20 };

static void name_part(char *field, size_t size, const char *name, unsigned part)
{
    snprintf(field, size, "%s:%u", name, part);
}

/* Parts last as long as their pool. */
static const char last_script[] = "local t=redis.call('PTTL',KEYS[1]) "
                                  "if t<=0 then return redis.call('DEL',KEYS[2]) end "
                                  "return redis.call('PEXPIRE',KEYS[2],t)";

int redis_store_parts(struct redis *redis, const struct pool *pool, const char *name, const void *data, size_t size)
{
    size_t count = (size + PART_BYTES - 1) / PART_BYTES;
    if (count > PARTS_MOST)
        return redis_say(redis, -EMSGSIZE, "%zu bytes are more than a batch can have", size);
    for (size_t part = 0; part < count; part++) {
        struct command command;
        char field[64];
        size_t length = part + 1 < count ? PART_BYTES : size - part * PART_BYTES;
        int64_t added;
        name_part(field, sizeof field, name, (unsigned)part);
        command_begin(&command, "HSET");
        command_add(&command, pool->keys[KEY_PARTS]);
        command_add(&command, field);
        command_add_data(&command, (const char *)data + part * PART_BYTES, length);
        int err = redis_call_number(redis, &command, &added);
        if (err) { /* those of several that wait for room would fill it */
            redis_drop_parts(redis, pool, name, (unsigned)part);
            return err;
        }
    }
    struct command command;
    command_begin_script(&command, last_script, 2);
    command_add(&command, pool->keys[KEY_POOL]);
    command_add(&command, pool->keys[KEY_PARTS]);
    int err = redis_push(redis, &command);
    return err ? err : (int)count;
}

static int fetch_part(struct redis *redis, const struct pool *pool, const char *name, unsigned part, char **data,
                      size_t *size)
{
    struct command command;
    redisReply *reply;
    char field[64];
    name_part(field, sizeof field, name, part);
    command_begin(&command, "HGET");
    command_add(&command, pool->keys[KEY_PARTS]);
    command_add(&command, field);
    int err = redis_call(redis, &command, &reply);
    if (err)
        return err;
    char *larger = NULL;
    if (reply->type != REDIS_REPLY_STRING || reply->len > PART_BYTES)
        err = -ENOENT;
    else if (!(larger = realloc(*data, *size + reply->len + 1)))
        err = -ENOMEM;
    if (larger) {
        memcpy(larger + *size, reply->str, reply->len);
        *data = larger;
        *size += reply->len;
    }
    freeReplyObject(reply);
    return err;
}

int redis_fetch_parts(struct redis *redis, const struct pool *pool, const char *name, unsigned count, char **data,
                      size_t *size)
{
    int err = count > PARTS_MOST ? -ENOENT : 0;
    *data = NULL;
    *size = 0;
    for (unsigned part = 0; part < count && !err; part++)
        err = fetch_part(redis, pool, name, part, data, size);
    if (!err)
        return 0;
    free(*data);
    *data = NULL;
    return err;
}

enum { DROPPED_AT_ONCE = 32 };

int redis_drop_parts(struct redis *redis, const struct pool *pool, const char *name, unsigned count)
{
    static _Thread_local char fields[DROPPED_AT_ONCE][64];
    int err = 0;
    for (unsigned part = 0; part < count && !err;) {
        struct command command;
        command_begin(&command, "HDEL");
        command_add(&command, pool->keys[KEY_PARTS]);
        for (int i = 0; i < DROPPED_AT_ONCE && part < count; i++, part++) {
            name_part(fields[i], sizeof fields[i], name, part);
            command_add(&command, fields[i]);
        }
        err = redis_push(redis, &command);
    }
    return err;
}
