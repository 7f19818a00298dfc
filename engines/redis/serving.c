/* An agent's side: batches. SPDX-License-Identifier: MIT */
#include "redis.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000000)
#define CANCELS_EVERY (SECOND / 10)
#define COMPLETE_AGAIN (SECOND / 20)
#define FEED_PATIENCE (6 * SECOND)

enum { BLOCK_MS = 500, STREAMS_MOST = 16 };

/* ---- completing */

/* The acknowledgement says whether somebody works on the entry: if not, it was completed before. As it is the first to
 * write, a full server does not break the script off in the middle. The results last as long as the pool: its lease
 * need not be the agent's. A result in parts says what these are named, so that those of somebody who was not the first
 * are others. */
static const char complete_script[] = "if redis.call('EXISTS',KEYS[1])==0 then return 0 end "
                                      "if redis.call('XACK',KEYS[2],'agents',ARGV[1])==0 then return 0 end "
                                      "local c=tonumber(ARGV[5]) "
                                      "if c<0 then local e=redis.call('XRANGE',KEYS[2],ARGV[1],ARGV[1]) "
                                      "c=e[1] and e[1][2][1]=='p' and tonumber(e[1][2][2]) or 0 end "
                                      "redis.call('XDEL',KEYS[2],ARGV[1]) "
                                      "if ARGV[4]=='0' then redis.call('XADD',KEYS[3],'*','n',ARGV[2],'d',ARGV[3]) "
                                      "else redis.call('XADD',KEYS[3],'*','n',ARGV[2],'p',ARGV[4],'k',ARGV[6]) end "
                                      "redis.call('PEXPIRE',KEYS[3],redis.call('PTTL',KEYS[1])) "
                                      "for i=0,c-1 do redis.call('HDEL',KEYS[5],'t'..ARGV[2]..':'..i) end "
                                      "return 1";

/* Texts that a command to complete points to. */
struct completion {
    char id[48], name[RESULT_NAME_SIZE];
    int parts; /* of the result; 0: it is not in parts */
};

static void write_completion(struct command *command, struct completion *completion, const struct pool *pool,
                             const struct held *held, const void *data, size_t size)
{
    snprintf(completion->id, sizeof completion->id, "%llu-%u", (unsigned long long)held->number, held->times);
    command_begin_script(command, complete_script, POOL_KEYS);
    for (int i = 0; i < POOL_KEYS; i++)
        command_add(command, pool->keys[i]);
    command_add(command, completion->id);
    command_add_number(command, (int64_t)held->number);
    command_add_data(command, completion->parts ? "" : data, completion->parts ? 0 : size);
    command_add_number(command, completion->parts);
    command_add_number(command, held->parts);
    command_add(command, completion->name);
}

/* Returns 1 if the result was recorded. */
static int complete_and_wait(struct redis *redis, const struct pool *pool, const struct held *held, const void *data,
                             size_t size)
{
    struct command command;
    struct completion completion = { .parts = 0 };
    int64_t recorded;
    if (size > PART_BYTES) {
        snprintf(completion.name, sizeof completion.name, "r%s-%llu", redis->token,
                 (unsigned long long)redis->results_in_parts++);
        completion.parts = redis_store_parts(redis, pool, completion.name, data, size);
    }
    if (completion.parts < 0)
        return completion.parts;
    write_completion(&command, &completion, pool, held, data, size);
    int err = redis_call_number(redis, &command, &recorded);
    if (!err)
        redis->full_since = 0;
    if (!err && !recorded && completion.parts)
        redis_drop_parts(redis, pool, completion.name, (unsigned)completion.parts);
    return err ? err : recorded == 1;
}

void redis_settle_completion(struct redis *redis, const struct pending *pending, const redisReply *reply)
{
    struct held *held = redis_find_held(redis, pending->pool, pending->number);
    if (held)
        held->is_completing = false;
    if (!reply)
        return;
    if (reply->type == REDIS_REPLY_ERROR) {
        if (held)
            held->not_before = link_now() + COMPLETE_AGAIN;
        redis_error(redis, reply);
        return;
    }
    redis->bad_since = redis->full_since = 0;
    if (held)
        redis_let_go(redis, held);
}

/* Sent the first time that it is called, so that the next batches need not wait for the answer. */
static int complete_soon(struct redis *redis, const struct pool *pool, struct held *held, const void *data, size_t size)
{
    struct command command;
    struct completion completion = { .parts = 0 };
    if (link_now() < held->not_before)
        return -EAGAIN;
    write_completion(&command, &completion, pool, held, data, size);
    struct pending pending = { .number = held->number, .pool = held->pool };
    int err = redis_push_for(redis, &command, pending);
    held = redis_find_held(redis, pending.pool, pending.number);
    if (!err && held)
        held->is_completing = true;
    return err;
}

int redis_complete(void *connection, uint64_t pool_id, uint64_t number, const void *data, size_t size)
{
    struct redis *redis = connection;
    struct held *held = redis_find_held(redis, pool_id, number);
    struct pool pool;
    if (!held)
        return 0;
    redis_pool_keys(redis, &pool, pool_id);
    if (size > PART_BYTES) {
        int result = complete_and_wait(redis, &pool, held, data, size);
        held = result < 0 ? NULL : redis_find_held(redis, pool_id, number);
        if (held)
            redis_let_go(redis, held);
        return result < 0 ? result : 0;
    }
    int err = held->is_completing ? 0 : complete_soon(redis, &pool, held, data, size);
    if (!err)
        err = redis_take_pending(redis, false);
    return err ? err : redis_find_held(redis, pool_id, number) ? -EAGAIN : 0;
}

int redis_complete_as_lost(struct redis *redis, const struct pool *pool, uint64_t number, unsigned times)
{
    struct held held = { .pool = pool->id, .number = number, .times = times, .parts = -1 };
    int result = complete_and_wait(redis, pool, &held, "", 0);
    return result < 0 ? result : 0;
}

/* ---- leases */

/* Renews those that are still this agent's: whoever took one over keeps it. */
static const char renew_script[] = "if redis.call('EXISTS',KEYS[1],KEYS[2])<2 then return 0 end "
                                   "for i=3,#ARGV do "
                                   "if #redis.call('XPENDING',KEYS[1],'agents',ARGV[i],ARGV[i],1,ARGV[1])==1 then "
                                   "redis.call('XCLAIM',KEYS[1],'agents',ARGV[1],0,ARGV[i],'JUSTID') end end "
                                   "return 1";

enum { RENEWED_AT_ONCE = 32 };

/* Returns how far it got, or an error. */
static int renew_some(struct redis *redis, const struct pool *pool, unsigned from, int64_t *there)
{
    static _Thread_local char ids[RENEWED_AT_ONCE][48];
    struct command command;
    int count = 0;
    command_begin_script(&command, renew_script, 2);
    command_add(&command, pool->keys[KEY_TASKS]);
    command_add(&command, pool->keys[KEY_POOL]);
    command_add(&command, redis->consumer);
    command_add(&command, "");
    for (; from < redis->held_count && count < RENEWED_AT_ONCE; from++) {
        const struct held *held = &redis->held[from];
        if (held->pool != pool->id)
            continue;
        snprintf(ids[count], sizeof ids[0], "%llu-%u", (unsigned long long)held->number, held->times);
        command_add(&command, ids[count++]);
    }
    int err = redis_call_number(redis, &command, there);
    return err ? err : (int)from;
}

/* Also finds out whether the pools are there. */
int redis_tend_agent(struct redis *redis)
{
    int err = redis_connect(redis, 0);
    for (unsigned i = 0; i < redis->pools_count && !err; i++) {
        int from = 0;
        int64_t there = 1;
        do
            from = renew_some(redis, &redis->pools[i], (unsigned)from, &there);
        while (from >= 0 && (unsigned)from < redis->held_count);
        err = from < 0 ? from : 0;
        if (!err && !there)
            redis->pools[i].asked = true; /* looked at again in discover */
    }
    return err;
}

/* ---- cancels */

/* Each is looked at twice, as the first time its batch may be on its way here. */
static int look_for_cancels_of(struct redis *redis, struct pool *pool, const struct mproc_engine_tasks *tasks,
                               void *context)
{
    struct command command;
    redisReply *reply;
    char from[64];
    snprintf(from, sizeof from, "%s%s", strcmp(pool->cancels_before, "0") == 0 ? "" : "(", pool->cancels_before);
    command_begin(&command, "XRANGE");
    command_add(&command, pool->keys[KEY_CANCELS]);
    command_add(&command, from);
    command_add(&command, "+");
    int err = redis_call(redis, &command, &reply);
    if (err)
        return err;
    memcpy(pool->cancels_before, pool->cancels_seen, sizeof pool->cancels_before);
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        const redisReply *entry = reply->element[i];
        if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2 || entry->element[0]->type != REDIS_REPLY_STRING)
            continue;
        const redisReply *number = redis_field(entry->element[1], "n");
        if (number)
            tasks->cancelled(context, pool->id, strtoull(number->str, NULL, 10));
        snprintf(pool->cancels_seen, sizeof pool->cancels_seen, "%s", entry->element[0]->str);
    }
    freeReplyObject(reply);
    return 0;
}

static int look_for_cancels(struct redis *redis, const struct mproc_engine_tasks *tasks, void *context)
{
    int64_t now = link_now();
    int err = 0;
    if (redis->held_count == 0 || now < redis->next_cancels)
        return 0;
    redis->next_cancels = now + CANCELS_EVERY;
    for (unsigned i = 0; i < redis->pools_count && !err; i++)
        if (redis->pools[i].served)
            err = look_for_cancels_of(redis, &redis->pools[i], tasks, context);
    return err;
}

/* ---- the feed */

static unsigned count_served(const struct redis *redis)
{
    unsigned count = 0;
    for (unsigned i = 0; i < redis->pools_count; i++)
        count += redis->pools[i].served;
    return count < STREAMS_MOST ? count : STREAMS_MOST;
}

static void ask_for_tasks(struct redis *redis, struct command *command, unsigned most, unsigned served)
{
    command_begin(command, "XREADGROUP");
    command_add(command, "GROUP");
    command_add(command, "agents");
    command_add(command, redis->consumer);
    command_add(command, "COUNT");
    command_add_number(command, most / served > 0 ? most / served : 1);
    command_add(command, "BLOCK");
    command_add_number(command, BLOCK_MS);
    command_add(command, "STREAMS");
    unsigned added = 0, first = redis->next_stream++; /* one has room for some pools: they take turns */
    for (unsigned i = 0; i < redis->pools_count && added < served; i++) {
        const struct pool *pool = &redis->pools[(first + i) % redis->pools_count];
        if (pool->served) {
            command_add(command, pool->keys[KEY_TASKS]);
            added++;
        }
    }
    for (unsigned i = 0; i < served; i++)
        command_add(command, ">");
}

static void ask_for_news(struct redis *redis, struct command *command)
{
    static _Thread_local char news[KEY_SIZE];
    redis_key(redis, news, "news");
    command_begin(command, "XREAD");
    command_add(command, "BLOCK");
    command_add_number(command, BLOCK_MS);
    command_add(command, "STREAMS");
    command_add(command, news);
    command_add(command, redis->news_seen);
}

/* Where no pool is served, news of one are waited for. */
static int ask(struct redis *redis, unsigned most)
{
    static _Thread_local struct command command;
    unsigned served = count_served(redis);
    if (served > 0 && most == 0)
        return 0;
    if (served > 0)
        ask_for_tasks(redis, &command, most, served);
    else
        ask_for_news(redis, &command);
    redis->fed_at = link_now();
    redis->fed = resp_send(&redis->feed, &command, redis->fed_at + SECOND) == 0;
    return redis->fed ? 0 : -EAGAIN;
}

/* The pool that a stream's key is of. */
static bool is_tasks_of(const struct redis *redis, const char *key, uint64_t *pool)
{
    for (unsigned i = 0; i < redis->pools_count; i++)
        if (strcmp(redis->pools[i].keys[KEY_TASKS], key) == 0) {
            *pool = redis->pools[i].id;
            return true;
        }
    return false;
}

static int take_stream(struct redis *redis, const redisReply *stream, const struct mproc_engine_tasks *tasks,
                       void *context)
{
    uint64_t pool;
    if (stream->type != REDIS_REPLY_ARRAY || stream->elements != 2 || stream->element[0]->type != REDIS_REPLY_STRING)
        return 0;
    const redisReply *entries = stream->element[1];
    if (is_tasks_of(redis, stream->element[0]->str, &pool))
        return redis_take_entries(redis, pool, entries, tasks, context);
    if (entries->type == REDIS_REPLY_ARRAY && entries->elements > 0) {
        const redisReply *last = entries->element[entries->elements - 1];
        if (last->type == REDIS_REPLY_ARRAY && last->elements == 2 && last->element[0]->type == REDIS_REPLY_STRING)
            snprintf(redis->news_seen, sizeof redis->news_seen, "%s", last->element[0]->str);
        redis->next_discovery = 0;
    }
    return 0;
}

static int take_reply(struct redis *redis, const redisReply *reply, const struct mproc_engine_tasks *tasks,
                      void *context)
{
    int err = 0;
    if (reply->type == REDIS_REPLY_ERROR) {
        err = redis_error(redis, reply);
        return err == -EAGAIN ? 0 : err;
    }
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements && !err; i++)
        err = take_stream(redis, reply->element[i], tasks, context);
    return err;
}

static int take_feed(struct redis *redis, const struct mproc_engine_tasks *tasks, void *context)
{
    redisReply *reply;
    int err = resp_receive(&redis->feed, &reply, 0);
    if (err == -EAGAIN && link_now() - redis->fed_at > FEED_PATIENCE)
        resp_close(&redis->feed); /* it is silent */
    if (err)
        return err == -EAGAIN || redis->feed.reader ? err : -EAGAIN;
    redis->fed = false;
    err = take_reply(redis, reply, tasks, context);
    freeReplyObject(reply);
    return err;
}

static unsigned room_left(const struct redis *redis, unsigned most, unsigned held_before)
{
    unsigned taken = redis->held_count > held_before ? redis->held_count - held_before : 0;
    return most > taken ? most - taken : 0;
}

int redis_fetch(void *connection, unsigned most, const struct mproc_engine_tasks *tasks, void *context)
{
    struct redis *redis = connection;
    unsigned before = redis->held_count;
    int err = redis_connect(redis, 0);
    if (!err && redis->fed)
        err = take_feed(redis, tasks, context);
    if (err && err != -EAGAIN)
        return err;
    if (!redis->feed.reader || !redis->main.reader)
        return -EAGAIN;
    err = redis_discover(redis, tasks, context);
    if (!err)
        err = look_for_cancels(redis, tasks, context);
    if (!err && !redis->fed)
        err = redis_take_own(redis, room_left(redis, most, before), tasks, context);
    if (!err)
        err = redis_take_over_all(redis, room_left(redis, most, before), tasks, context);
    if (!err && !redis->fed && redis->feed.reader)
        err = ask(redis, room_left(redis, most, before));
    return err;
}
