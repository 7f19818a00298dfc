/* An agent's side: which pools there are. SPDX-License-Identifier: MIT */
#include "redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000000)

struct pool *redis_find_pool(struct redis *redis, uint64_t id)
{
    for (unsigned i = 0; i < redis->pools_count; i++)
        if (redis->pools[i].id == id)
            return &redis->pools[i];
    return NULL;
}

static bool was_left(const struct redis *redis, uint64_t id)
{
    for (size_t i = 0; i < redis->left_count && !redis->left_all; i++)
        if (redis->left[i] == id)
            return true;
    return redis->left_all;
}

/* Without memory for it, all pools that come are taken to be such. */
static void note_left(struct redis *redis, uint64_t id)
{
    if (was_left(redis, id))
        return;
    uint64_t *larger = realloc(redis->left, (redis->left_count + 1) * sizeof *larger);
    if (larger) {
        redis->left = larger;
        larger[redis->left_count++] = id;
    } else {
        redis->left_all = true;
    }
}

static struct pool *add_pool(struct redis *redis, uint64_t id)
{
    struct pool *larger = realloc(redis->pools, (redis->pools_count + 1) * sizeof *larger);
    if (!larger)
        return NULL;
    redis->pools = larger;
    struct pool *pool = &larger[redis->pools_count++];
    *pool = (struct pool) { .cancels_before = "0", .cancels_seen = "0", .was_left = was_left(redis, id) };
    redis_pool_keys(redis, pool, id);
    return pool;
}

static void drop_pool(struct redis *redis, struct pool *pool, const struct mproc_engine_tasks *tasks, void *context)
{
    uint64_t id = pool->id;
    if (pool->served)
        tasks->closed(context, id);
    for (unsigned i = 0; i < redis->held_count;)
        if (redis->held[i].pool == id) {
            note_left(redis, id);
            redis_let_go(redis, &redis->held[i]);
        } else {
            i++;
        }
    *pool = redis->pools[--redis->pools_count];
}

/* Its description, if it is there. */
static int look_at_pool(struct redis *redis, uint64_t id, const struct mproc_engine_tasks *tasks, void *context)
{
    struct command command;
    redisReply *reply;
    struct pool *pool = redis_find_pool(redis, id), stranger;
    if (pool && pool->served && !pool->asked)
        return 0;
    redis_pool_keys(redis, &stranger, id);
    command_begin(&command, "GET");
    command_add(&command, stranger.keys[KEY_POOL]);
    int err = redis_call(redis, &command, &reply);
    if (err)
        return err;
    if (reply->type == REDIS_REPLY_STRING) {
        if (!pool)
            pool = add_pool(redis, id);
        if (pool && !pool->served)
            pool->served = tasks->opened(context, id, reply->str, reply->len);
        if (pool)
            pool->asked = false;
    } else if (pool) {
        drop_pool(redis, pool, tasks, context);
    }
    bool gone = reply->type != REDIS_REPLY_STRING;
    freeReplyObject(reply);
    if (!gone)
        return 0;
    char pools[KEY_SIZE];
    redis_key(redis, pools, "pools");
    command_begin(&command, "SREM");
    command_add(&command, pools);
    command_add(&command, stranger.name);
    return redis_push(redis, &command);
}

/* Those that the agent knows, and are listed no more. */
static void drop_unlisted(struct redis *redis, const redisReply *list, const struct mproc_engine_tasks *tasks,
                          void *context)
{
    for (unsigned i = 0; i < redis->pools_count;) {
        const char *id = redis->pools[i].name;
        bool listed = false;
        for (size_t j = 0; j < list->elements && !listed; j++)
            listed = list->element[j]->type == REDIS_REPLY_STRING && strcmp(list->element[j]->str, id) == 0;
        if (listed)
            i++;
        else
            drop_pool(redis, &redis->pools[i], tasks, context);
    }
}

int redis_discover(struct redis *redis, const struct mproc_engine_tasks *tasks, void *context)
{
    struct command command;
    redisReply *reply;
    char pools[KEY_SIZE];
    int64_t now = link_now();
    if (now < redis->next_discovery)
        return 0;
    redis_key(redis, pools, "pools");
    command_begin(&command, "SMEMBERS");
    command_add(&command, pools);
    int err = redis_call(redis, &command, &reply);
    if (err)
        return err;
    redis->next_discovery = now + SECOND / 2;
    if (reply->type == REDIS_REPLY_ARRAY) {
        drop_unlisted(redis, reply, tasks, context);
        for (size_t i = 0; i < reply->elements && !err; i++)
            if (reply->element[i]->type == REDIS_REPLY_STRING)
                err = look_at_pool(redis, strtoull(reply->element[i]->str, NULL, 16), tasks, context);
    }
    freeReplyObject(reply);
    return err;
}
