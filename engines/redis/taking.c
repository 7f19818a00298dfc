/* An agent's side: the batches that it takes. SPDX-License-Identifier: MIT */
#include "redis.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000000)

/* A link that broke may be given batches as long as its command blocks, by the server's clock. */
#define OWN_FOR (3 * SECOND)
#define OWN_EVERY (SECOND / 4)

/* ---- batches that it has */

struct held *redis_find_held(struct redis *redis, uint64_t pool, uint64_t number)
{
    for (unsigned i = 0; i < redis->held_count; i++)
        if (redis->held[i].pool == pool && redis->held[i].number == number)
            return &redis->held[i];
    return NULL;
}

void redis_let_go(struct redis *redis, struct held *held)
{
    *held = redis->held[--redis->held_count];
}

/* ---- batches that come */

/* Returns 0, or an error. */
static int take_entry(struct redis *redis, struct pool *pool, const redisReply *entry,
                      const struct mproc_engine_tasks *tasks, void *context)
{
    uint64_t number;
    unsigned times;
    if (!redis_read_id(entry, 2, &number, &times))
        return 0;
    if (redis_find_held(redis, pool->id, number))
        return 0; /* its lease had run out, but nobody else had noticed */
    const redisReply *data = redis_field(entry->element[1], "d"), *parts = redis_field(entry->element[1], "p");
    if (!data && !parts)
        return redis_complete_as_lost(redis, pool, number, times);
    if (redis->held_count == HELD_MOST) {
        redis_expect_own(redis, OWN_EVERY);
        return 0;
    }
    char *whole = NULL, name[48];
    size_t size = data ? data->len : 0;
    unsigned count = parts ? (unsigned)strtoul(parts->str, NULL, 10) : 0;
    if (parts) {
        snprintf(name, sizeof name, "t%llu", (unsigned long long)number);
        int err = redis_fetch_parts(redis, pool, name, count, &whole, &size);
        if (err == -ENOENT)
            return redis_complete_as_lost(redis, pool, number, times);
        if (err)
            return err;
    }
    redis->held[redis->held_count++] =
        (struct held) { .pool = pool->id, .number = number, .times = times, .parts = (int)count };
    if (!tasks->batch(context, pool->id, number, data ? data->str : whole, size)) {
        redis->held_count--;
        redis_expect_own(redis, OWN_EVERY); /* or its lease runs out */
    }
    free(whole);
    return 0;
}

int redis_take_entries(struct redis *redis, uint64_t pool_id, const redisReply *entries,
                       const struct mproc_engine_tasks *tasks, void *context)
{
    int err = 0;
    for (size_t i = 0; entries->type == REDIS_REPLY_ARRAY && i < entries->elements && !err; i++) {
        struct pool *pool = redis_find_pool(redis, pool_id);
        err = pool ? take_entry(redis, pool, entries->element[i], tasks, context) : 0;
    }
    if (err)
        redis_expect_own(redis, OWN_EVERY);
    return err;
}

/* ---- batches of machines that are lost */

/* How often one was begun, this time included. */
static int count_deliveries(struct redis *redis, const struct pool *pool, const char *id, int64_t *deliveries)
{
    struct command command;
    redisReply *reply;
    command_begin(&command, "XPENDING");
    command_add(&command, pool->keys[KEY_TASKS]);
    command_add(&command, "agents");
    command_add(&command, id);
    command_add(&command, id);
    command_add(&command, "1");
    int err = redis_call(redis, &command, &reply);
    if (err)
        return err;
    *deliveries = reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 &&
                          reply->element[0]->type == REDIS_REPLY_ARRAY && reply->element[0]->elements == 4
                      ? reply->element[0]->element[3]->integer
                      : 0;
    freeReplyObject(reply);
    return 0;
}

/* One that was delivered so often, this time included. */
static int take_delivered(struct redis *redis, struct pool *pool, const redisReply *entry, int64_t deliveries,
                          const struct mproc_engine_tasks *tasks, void *context)
{
    uint64_t number;
    unsigned times;
    if (!redis_read_id(entry, 2, &number, &times) || redis_find_held(redis, pool->id, number))
        return 0;
    if (deliveries > times)
        return redis_complete_as_lost(redis, pool, number, times);
    snprintf(pool->cancels_before, sizeof pool->cancels_before, "0"); /* it may be cancelled already */
    return take_entry(redis, pool, entry, tasks, context);
}

static int take_over_entry(struct redis *redis, struct pool *pool, const redisReply *entry,
                           const struct mproc_engine_tasks *tasks, void *context)
{
    uint64_t number;
    unsigned times;
    int64_t deliveries = 0;
    if (!redis_read_id(entry, 2, &number, &times))
        return 0;
    int err = count_deliveries(redis, pool, entry->element[0]->str, &deliveries);
    return err ? err : take_delivered(redis, pool, entry, deliveries, tasks, context);
}

static int take_over(struct redis *redis, struct pool *pool, unsigned most, const struct mproc_engine_tasks *tasks,
                     void *context)
{
    struct command command;
    redisReply *reply;
    command_begin(&command, "XAUTOCLAIM");
    command_add(&command, pool->keys[KEY_TASKS]);
    command_add(&command, "agents");
    command_add(&command, redis->consumer);
    command_add_number(&command, redis->options.lease / 1000000);
    command_add(&command, "0-0");
    command_add(&command, "COUNT");
    command_add_number(&command, most);
    int err = redis_call(redis, &command, &reply);
    if (err)
        return err;
    const redisReply *entries = reply->type == REDIS_REPLY_ARRAY && reply->elements >= 2 ? reply->element[1] : NULL;
    for (size_t i = 0; entries && entries->type == REDIS_REPLY_ARRAY && i < entries->elements && !err; i++)
        err = take_over_entry(redis, pool, entries->element[i], tasks, context);
    freeReplyObject(reply);
    return err;
}

/* By place, as pools come and go in callbacks. */
int redis_take_over_all(struct redis *redis, unsigned most, const struct mproc_engine_tasks *tasks, void *context)
{
    int64_t now = link_now();
    int err = 0;
    if (most == 0 || now < redis->next_claims || !redis_may_be_lost(redis))
        return 0;
    redis->next_claims = now + redis->options.lease / 4;
    for (unsigned i = 0; i < redis->pools_count && !err; i++)
        if (redis->pools[i].served)
            err = take_over(redis, &redis->pools[i], most, tasks, context);
    return err;
}

/* ---- batches that the server takes for this agent's */

void redis_expect_own(struct redis *redis, int64_t delay)
{
    redis->next_own = link_now() + delay;
    redis->own_until = redis->next_own + OWN_FOR;
}

/* Fetches one and renews its lease, if it is still this agent's. */
static const char own_script[] = "if #redis.call('XPENDING',KEYS[1],'agents',ARGV[2],ARGV[2],1,ARGV[1])==0 then "
                                 "return {} end "
                                 "redis.call('XCLAIM',KEYS[1],'agents',ARGV[1],0,ARGV[2],'JUSTID') "
                                 "return redis.call('XRANGE',KEYS[1],ARGV[2],ARGV[2])";

/* `row`: of XPENDING. */
static int take_own_entry(struct redis *redis, struct pool *pool, const redisReply *row,
                          const struct mproc_engine_tasks *tasks, void *context)
{
    struct command command;
    redisReply *reply;
    command_begin_script(&command, own_script, 1);
    command_add(&command, pool->keys[KEY_TASKS]);
    command_add(&command, redis->consumer);
    command_add(&command, row->element[0]->str);
    int err = redis_call(redis, &command, &reply);
    if (err)
        return err;
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 1)
        err = take_delivered(redis, pool, reply->element[0], row->element[3]->integer, tasks, context);
    freeReplyObject(reply);
    return err;
}

/* Those that it holds are among them. */
static int take_own_of(struct redis *redis, struct pool *pool, unsigned most, const struct mproc_engine_tasks *tasks,
                       void *context)
{
    struct command command;
    redisReply *reply;
    command_begin(&command, "XPENDING");
    command_add(&command, pool->keys[KEY_TASKS]);
    command_add(&command, "agents");
    command_add(&command, "-");
    command_add(&command, "+");
    command_add_number(&command, (int64_t)redis->held_count + most);
    command_add(&command, redis->consumer);
    int err = redis_call(redis, &command, &reply);
    if (err)
        return err;
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements && !err; i++) {
        uint64_t number;
        unsigned times;
        if (redis_read_id(reply->element[i], 4, &number, &times) && !redis_find_held(redis, pool->id, number))
            err = take_own_entry(redis, pool, reply->element[i], tasks, context);
    }
    freeReplyObject(reply);
    return err;
}

int redis_take_own(struct redis *redis, unsigned most, const struct mproc_engine_tasks *tasks, void *context)
{
    int64_t now = link_now();
    int err = 0;
    if (most == 0 || now < redis->next_own || now > redis->own_until)
        return 0;
    redis->next_own = now + OWN_EVERY;
    for (unsigned i = 0; i < redis->pools_count && !err; i++)
        if (redis->pools[i].served && !redis->pools[i].was_left)
            err = take_own_of(redis, &redis->pools[i], most, tasks, context);
    return err;
}
