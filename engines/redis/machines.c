/* An agent's side: itself; and what pools see of agents. SPDX-License-Identifier: MIT */
#include "redis.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The feed's command blocks for less. */
#define FEED_ENDS INT64_C(1000000000)

/* Returns 0 if another agent has the name. On a full server an agent that is known stays so. */
static const char announce_script[] = "local old=redis.call('GET',KEYS[1]) "
                                      "if old and string.sub(old,1,16)~=ARGV[1] then return 0 end "
                                      "local r=redis.pcall('SET',KEYS[1],ARGV[1]..ARGV[2],'PX',ARGV[3]) "
                                      "if r.err then "
                                      "if redis.call('PEXPIRE',KEYS[1],ARGV[3])==0 then return r end "
                                      "return 1 end "
                                      "redis.call('SADD',KEYS[2],ARGV[4]) "
                                      "return 1";

static int announce(struct redis *redis, const struct mproc_engine_machine *self, int64_t *mine)
{
    struct command command;
    char agents[KEY_SIZE], value[200];
    snprintf(value, sizeof value, " %016llx %u %u %llu %llu %lld", (unsigned long long)self->digest, self->workers,
             self->running, (unsigned long long)self->items, (unsigned long long)self->unsuccessful,
             (long long)self->busy);
    redis_key(redis, agents, "agents");
    command_begin_script(&command, announce_script, 2);
    command_add(&command, redis->agent_key);
    command_add(&command, agents);
    command_add(&command, redis->token);
    command_add(&command, value);
    command_add_number(&command, redis->options.lease / 1000000);
    command_add(&command, redis->name);
    return redis_call_number(redis, &command, mine);
}

static int say_taken(struct redis *redis)
{
    return redis_say(redis, -EEXIST,
                     "an agent named '%s' serves this farm already: give this one another name, or wait "
                     "until the other one's lease is over",
                     redis->name);
}

/* One that was killed, and is started again, waits for its own lease. */
int redis_register(struct redis *redis, int64_t deadline)
{
    const struct mproc_engine_machine nothing = { .workers = 0 };
    int64_t mine = 0, until = link_now() + redis->options.lease + redis->options.lease / 4;
    redis_agent_key(redis, redis->agent_key, redis->name);
    snprintf(redis->consumer, sizeof redis->consumer, "%s-%s", redis->token, redis->name);
    snprintf(redis->news_seen, sizeof redis->news_seen, "$");
    while (!mine) {
        int err = announce(redis, &nothing, &mine);
        if (err && (err != -EAGAIN || link_now() > deadline))
            return err;
        if (!err && !mine && link_now() > until)
            return say_taken(redis);
        if (!mine)
            nanosleep(&(struct timespec) { .tv_nsec = 100000000 }, NULL);
    }
    return 0;
}

int redis_announce(void *connection, const struct mproc_engine_machine *self)
{
    struct redis *redis = connection;
    int64_t mine;
    int err = announce(redis, self, &mine);
    if (err || mine)
        return err;
    redis->failure = -EEXIST;
    return say_taken(redis);
}

/* For another machine to take over at once, as if nobody had begun it. */
static void give_back(struct redis *redis, const char *stream, const redisReply *entry)
{
    struct command command;
    if (entry->type != REDIS_REPLY_ARRAY || entry->elements < 1 || entry->element[0]->type != REDIS_REPLY_STRING)
        return;
    command_begin(&command, "XCLAIM");
    command_add(&command, stream);
    command_add(&command, "agents");
    command_add(&command, redis->consumer);
    command_add(&command, "0");
    command_add(&command, entry->element[0]->str);
    command_add(&command, "IDLE");
    command_add_number(&command, redis->options.lease / 1000000 + 1);
    command_add(&command, "RETRYCOUNT");
    command_add(&command, "0");
    command_add(&command, "JUSTID");
    redis_push(redis, &command);
}

/* The feed may be given batches until it has answered. */
static void end_feed(struct redis *redis)
{
    redisReply *reply;
    if (!redis->fed || resp_receive(&redis->feed, &reply, link_now() + FEED_ENDS) != 0)
        return;
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        const redisReply *stream = reply->element[i];
        if (stream->type != REDIS_REPLY_ARRAY || stream->elements != 2 ||
            stream->element[0]->type != REDIS_REPLY_STRING || stream->element[1]->type != REDIS_REPLY_ARRAY)
            continue;
        for (size_t j = 0; j < stream->element[1]->elements; j++)
            give_back(redis, stream->element[0]->str, stream->element[1]->element[j]);
    }
    freeReplyObject(reply);
}

void redis_end_agent(struct redis *redis)
{
    struct command command;
    char agents[KEY_SIZE];
    int64_t count;
    if (!redis->main.reader || redis->failure == -EEXIST)
        return;
    end_feed(redis);
    command_begin(&command, "DEL");
    command_add(&command, redis->agent_key);
    if (redis_call_number(redis, &command, &count) != 0)
        return;
    redis_key(redis, agents, "agents");
    command_begin(&command, "SREM");
    command_add(&command, agents);
    command_add(&command, redis->name);
    redis_call_number(redis, &command, &count);
}

/* ---- for pools */

static bool read_machine(struct mproc_engine_machine *machine, const char *name, const char *value)
{
    unsigned long long digest, items, unsuccessful;
    long long busy;
    *machine = (struct mproc_engine_machine) { .workers = 0 };
    if (strlen(value) < TOKEN_SIZE || sscanf(value + TOKEN_SIZE, " %llx %u %u %llu %llu %lld", &digest,
                                             &machine->workers, &machine->running, &items, &unsuccessful, &busy) != 6)
        return false;
    machine->digest = digest;
    machine->items = items;
    machine->unsuccessful = unsuccessful;
    machine->busy = busy;
    snprintf(machine->name, sizeof machine->name, "%s", name);
    return machine->workers > 0 && machine->workers <= 65536; /* 0: it has just come, or leaves */
}

/* Returns 1 if the machine is there, 0 if it is not. */
static int look_at(struct redis *redis, const char *name, struct mproc_engine_machine *machine)
{
    struct command command;
    redisReply *reply;
    char key[KEY_SIZE], agents[KEY_SIZE];
    redis_agent_key(redis, key, name);
    command_begin(&command, "GET");
    command_add(&command, key);
    int result = redis_call(redis, &command, &reply);
    if (result)
        return result;
    bool is_there = reply->type == REDIS_REPLY_STRING;
    if (is_there)
        result = read_machine(machine, name, reply->str);
    freeReplyObject(reply);
    if (is_there)
        return result;
    redis_key(redis, agents, "agents");
    command_begin(&command, "SREM");
    command_add(&command, agents);
    command_add(&command, name);
    int err = redis_push(redis, &command);
    return err ? err : 0;
}

int redis_find_agent(struct redis *redis, const char *consumer, int64_t *there)
{
    struct command command;
    redisReply *reply;
    char key[KEY_SIZE];
    *there = 0;
    if (strlen(consumer) <= TOKEN_SIZE)
        return 0;
    redis_agent_key(redis, key, consumer + TOKEN_SIZE + 1);
    command_begin(&command, "GET");
    command_add(&command, key);
    int err = redis_call(redis, &command, &reply);
    if (err)
        return err;
    *there = reply->type == REDIS_REPLY_STRING && strncmp(reply->str, consumer, TOKEN_SIZE) == 0;
    freeReplyObject(reply);
    return 0;
}

int redis_machines(void *connection, struct mproc_engine_machine *machines, int most)
{
    struct redis *redis = connection;
    struct command command;
    redisReply *reply;
    char agents[KEY_SIZE];
    int count = 0;
    redis_key(redis, agents, "agents");
    command_begin(&command, "SMEMBERS");
    command_add(&command, agents);
    int err = redis_call(redis, &command, &reply);
    if (err)
        return err;
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements && err >= 0; i++) {
        struct mproc_engine_machine machine;
        if (reply->element[i]->type != REDIS_REPLY_STRING)
            continue;
        err = look_at(redis, reply->element[i]->str, &machine);
        if (err == 1 && count++ < most)
            machines[count - 1] = machine;
    }
    freeReplyObject(reply);
    return err < 0 ? err : count;
}
