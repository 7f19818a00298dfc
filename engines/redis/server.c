/* Being connected to the server. SPDX-License-Identifier: MIT */
#include "redis.h"

#include <errno.h>
#include <inttypes.h>
#include <mproc/error.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000000)
#define COMMAND_PATIENCE (5 * SECOND)
#define CONNECT_PATIENCE (3 * SECOND)
#define CONNECT_AGAIN (SECOND / 5)

/* What the server takes for a time to live is less than 2^63 less its clock; a month is as good as for ever. */
#define POOL_MILLISECONDS_MOST (INT64_C(31) * 24 * 3600 * 1000)

/* What was seen longer ago is another time. */
#define FULL_SEEN (5 * SECOND)

/* ---- texts */

int redis_say(struct redis *redis, int err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(redis->message, sizeof redis->message, format, arguments);
    va_end(arguments);
    return err;
}

void redis_key(const struct redis *redis, char *key, const char *name)
{
    snprintf(key, KEY_SIZE, "%s%s", redis->prefix, name);
}

void redis_agent_key(const struct redis *redis, char *key, const char *name)
{
    char agent[MPROC_MACHINE_NAME_SIZE + 8];
    snprintf(agent, sizeof agent, "agent:%.63s", name);
    redis_key(redis, key, agent);
}

void redis_pool_keys(const struct redis *redis, struct pool *pool, uint64_t id)
{
    static const char *const names[POOL_KEYS] = { "", ":tasks", ":results", ":cancels", ":parts", ":mark" };
    pool->id = id;
    snprintf(pool->name, sizeof pool->name, "%016llx", (unsigned long long)id);
    for (int i = 0; i < POOL_KEYS; i++)
        snprintf(pool->keys[i], KEY_SIZE, "%spool:%s%s", redis->prefix, pool->name, names[i]);
}

int64_t redis_pool_milliseconds(const struct redis *redis)
{
    int64_t least = redis->options.lease * POOL_LEASES, patience = redis->options.patience;
    int64_t most = INT64_MAX - redis->options.lease, time = patience < most ? patience + redis->options.lease : most;
    time = (time > least ? time : least) / 1000000;
    return time < POOL_MILLISECONDS_MOST ? time : POOL_MILLISECONDS_MOST;
}

void command_begin_script(struct command *command, const char *script, int keys)
{
    command_begin(command, "EVAL");
    command_add(command, script);
    command_add_number(command, keys);
}

bool redis_read_id(const redisReply *entry, size_t elements, uint64_t *number, unsigned *times)
{
    return entry->type == REDIS_REPLY_ARRAY && entry->elements == elements &&
           entry->element[0]->type == REDIS_REPLY_STRING &&
           sscanf(entry->element[0]->str, "%" SCNu64 "-%u", number, times) == 2;
}

const redisReply *redis_field(const redisReply *fields, const char *name)
{
    if (!fields || fields->type != REDIS_REPLY_ARRAY)
        return NULL;
    for (size_t i = 0; i + 1 < fields->elements; i += 2) {
        const redisReply *key = fields->element[i], *value = fields->element[i + 1];
        if (key->type == REDIS_REPLY_STRING && value->type == REDIS_REPLY_STRING && strcmp(key->str, name) == 0)
            return value;
    }
    return NULL;
}

/* ---- what goes wrong */

static int end_use(struct redis *redis, int err)
{
    redis->failure = err;
    return err;
}

/* `since`: when it began. */
static int suffer(struct redis *redis, int64_t since, const char *what)
{
    char before[MPROC_ENGINE_MESSAGE_SIZE]; /* what is said may be of the message */
    snprintf(before, sizeof before, "%s", what);
    if (link_now() - since <= redis->options.patience)
        return redis_say(redis, -EAGAIN, "%s", before);
    return end_use(redis, redis_say(redis, MPROC_E_SERVER_GONE, "for %lld s: %s",
                                    (long long)(redis->options.patience / SECOND), before));
}

int redis_suffer(struct redis *redis, const char *what)
{
    if (redis->bad_since == 0)
        redis->bad_since = link_now();
    return suffer(redis, redis->bad_since, what);
}

/* What takes no memory still works, and says nothing about it. */
static int suffer_from_memory(struct redis *redis)
{
    int64_t now = link_now();
    if (redis->full_since == 0 || now - redis->full_seen > FULL_SEEN)
        redis->full_since = now;
    redis->full_seen = now;
    return suffer(redis, redis->full_since,
                  "the server's memory is full (its maxmemory): give it more, or submit less at a time");
}

static bool begins(const redisReply *reply, const char *with)
{
    return strncmp(reply->str, with, strlen(with)) == 0;
}

/* A pool's keys are gone: it has closed, or died, or the server was started again. Whoever knows it looks again. */
static int look_again(struct redis *redis)
{
    redis->next_discovery = 0;
    for (unsigned i = 0; i < redis->pools_count; i++)
        redis->pools[i].asked = true;
    return -EAGAIN;
}

int redis_error(struct redis *redis, const redisReply *reply)
{
    if (strstr(reply->str, "NOGROUP") || begins(reply, "UNBLOCKED")) /* in a script's error it is in the middle */
        return look_again(redis);
    if (begins(reply, "OOM"))
        return suffer_from_memory(redis);
    if (begins(reply, "LOADING") || begins(reply, "BUSY") || begins(reply, "MASTERDOWN") ||
        begins(reply, "CLUSTERDOWN") || begins(reply, "READONLY") || begins(reply, "MISCONF") ||
        begins(reply, "NOREPLICAS") || begins(reply, "TRYAGAIN"))
        return redis_suffer(redis, reply->str);
    if (begins(reply, "NOAUTH") || begins(reply, "ERR Protocol error: unauthenticated")) /* as it says of long ones */
        return end_use(redis, redis_say(redis, MPROC_E_SERVER_REFUSES, "the server wants a password: %s", reply->str));
    if (begins(reply, "WRONGPASS") || begins(reply, "NOPERM") || begins(reply, "ERR AUTH") ||
        begins(reply, "ERR invalid password") || strstr(reply->str, "can't run this command") ||
        strstr(reply->str, "can't access at least one of the keys"))
        return end_use(redis, redis_say(redis, MPROC_E_SERVER_REFUSES, "the server refuses: %s", reply->str));
    if (begins(reply, "ERR unknown command"))
        return end_use(redis,
                       redis_say(redis, MPROC_E_WIRE,
                                 "the server has not all commands that are needed: take Valkey, or Redis from 6.2 "
                                 "on (%s)",
                                 reply->str));
    return end_use(redis, redis_say(redis, MPROC_E_WIRE, "the server answered: %s", reply->str));
}

/* ---- connecting */

static const char *say_lost(struct redis *redis, int err)
{
    redis_say(redis, err, "the connection to the server was lost (%s)",
              err == -EAGAIN        ? "no answer"
              : err == MPROC_E_WIRE ? "what it says is not of Redis; does it want TLS, rediss://?"
                                    : strerror(-err));
    return redis->message;
}

static int refuse_certificate(struct redis *redis)
{
    if (redis->certificate_file)
        redis_say(redis, 0, "the server refuses this client's certificate, '%.120s'", redis->certificate_file);
    else
        redis_say(redis, 0, "the server wants a certificate of this client: give .certificate_file and .key_file");
    return end_use(redis, MPROC_E_SERVER_REFUSES);
}

static int say_hello(struct redis *redis, struct resp *resp, int64_t deadline)
{
    struct command command;
    redisReply *reply;
    if (!redis->options.password)
        return 0;
    command_begin(&command, "AUTH");
    if (redis->options.user)
        command_add(&command, redis->options.user);
    command_add(&command, redis->options.password);
    int err = resp_send(resp, &command, deadline);
    if (!err)
        err = resp_receive(resp, &reply, deadline);
    if (err) { /* the reply may still come, and is not to be taken for another one */
        resp_close(resp);
        if (err == MPROC_E_SERVER_REFUSES)
            return refuse_certificate(redis);
        redis_say(redis, err, "the server %s when it was told the password%s",
                  err == -EAGAIN ? "did not answer" : "closed the connection",
                  redis->address.tls ? "" : ": if it takes TLS only, the URL begins with rediss://");
        return redis_suffer(redis, redis->message);
    }
    if (reply->type == REDIS_REPLY_ERROR)
        err = redis_error(redis, reply);
    freeReplyObject(reply);
    if (err)
        resp_close(resp);
    return err;
}

static int connect_link(struct redis *redis, struct resp *resp, int64_t deadline)
{
    if (resp->reader)
        return 0;
    int err = resp_open(resp, &redis->address, &redis->options, deadline, redis->message, sizeof redis->message);
    if (!err)
        err = say_hello(redis, resp, deadline);
    if (err == MPROC_E_SERVER_REFUSES)
        return end_use(redis, err);
    if (err == -EAGAIN || redis->failure)
        return err;
    return err ? redis_suffer(redis, redis->message) : 0;
}

void redis_reject(struct redis *redis, uint64_t number, enum mproc_engine_rejection why)
{
    redis->rejections[redis->rejections_count++] = (struct rejection) { number, why };
}

/* What was sent and not answered may have been done, or not. */
static void reject_pending(struct redis *redis)
{
    for (; redis->pending_count > 0; redis->pending_count--) {
        struct pending pending = redis->pending[redis->pending_first];
        redis->pending_first = (redis->pending_first + 1) % PENDING_MOST;
        if (pending.pool)
            redis_settle_completion(redis, &pending, NULL);
        else if (pending.number)
            redis_reject(redis, pending.number, MPROC_ENGINE_DOUBTFUL);
    }
}

/* Once on each new main link; until it has succeeded. */
static int check_pool(struct redis *redis)
{
    if (!redis->unchecked || !redis->description)
        return 0;
    redis->unchecked = false; /* as it uses the link itself */
    int err = redis_begin_again(redis);
    if (err)
        redis->unchecked = true;
    return err;
}

int redis_connect(struct redis *redis, int64_t deadline)
{
    if (redis->failure)
        return redis->failure;
    if (redis->main.reader && redis->feed.reader)
        return check_pool(redis);
    int64_t now = link_now();
    if (now < redis->next_connect)
        return redis_suffer(redis, redis->message[0] ? redis->message : "the server cannot be reached");
    redis->next_connect = now + CONNECT_AGAIN;
    if (!redis->feed.reader)
        redis->fed = false;
    redis_expect_own(redis, 0);
    if (!redis->main.reader) {
        reject_pending(redis);
        redis->unchecked = true;
    }
    if (!deadline)
        deadline = now + CONNECT_PATIENCE;
    int err = connect_link(redis, &redis->main, deadline);
    if (!err)
        err = connect_link(redis, &redis->feed, deadline);
    if (err)
        return err;
    redis->bad_since = 0;
    return check_pool(redis);
}

/* ---- commands */

/* It is asked for something five times in a lease. */
static void hear(struct redis *redis)
{
    int64_t now = link_now();
    if (redis->heard && now - redis->heard > redis->options.lease / 2)
        redis->no_loss_before = now + 2 * redis->options.lease;
    redis->heard = now;
}

bool redis_may_be_lost(const struct redis *redis)
{
    return link_now() >= redis->no_loss_before;
}

static int lose_main(struct redis *redis, int err)
{
    resp_close(&redis->main);
    reject_pending(redis);
    if (err == MPROC_E_SERVER_REFUSES)
        return refuse_certificate(redis);
    return redis_suffer(redis, say_lost(redis, err));
}

static void settle(struct redis *redis, const struct pending *pending, const redisReply *reply)
{
    uint64_t number = pending->number;
    if (pending->pool)
        redis_settle_completion(redis, pending, reply);
    if (!number || pending->pool)
        return;
    if (reply->type == REDIS_REPLY_NIL) { /* there is no stream */
        redis_reject(redis, number, pending->again ? MPROC_ENGINE_GONE : MPROC_ENGINE_NOT_TAKEN);
        redis->forgotten = true;
    } else if (reply->type != REDIS_REPLY_ERROR) {
        redis->bad_since = redis->full_since = 0;
        redis->accepted = number > redis->accepted ? number : redis->accepted;
    } else if (strstr(reply->str, "smaller")) { /* than one that it has */
        redis_reject(redis, number, MPROC_ENGINE_DOUBTFUL);
    } else {
        redis_reject(redis, number, pending->again ? MPROC_ENGINE_DOUBTFUL : MPROC_ENGINE_NOT_TAKEN);
        redis_error(redis, reply);
    }
}

int redis_take_pending(struct redis *redis, bool all)
{
    while (redis->pending_count > 0) {
        redisReply *reply;
        if (redis->rejections_count >= PENDING_MOST)
            return -EAGAIN;
        int err = resp_receive(&redis->main, &reply, all ? link_now() + COMMAND_PATIENCE : 0);
        if (err == -EAGAIN && !all)
            return 0;
        if (err)
            return lose_main(redis, err);
        struct pending pending = redis->pending[redis->pending_first];
        redis->pending_first = (redis->pending_first + 1) % PENDING_MOST;
        redis->pending_count--;
        settle(redis, &pending, reply);
        freeReplyObject(reply);
    }
    return redis->failure;
}

int redis_push_for(struct redis *redis, const struct command *command, struct pending pending)
{
    int err = redis->rejections_count >= PENDING_MOST ? -EAGAIN : redis_connect(redis, 0);
    if (!err && redis->pending_count == PENDING_MOST)
        err = redis_take_pending(redis, true);
    if (err)
        return err;
    err = resp_send(&redis->main, command, link_now() + COMMAND_PATIENCE);
    if (err)
        return lose_main(redis, err);
    redis->pending[(redis->pending_first + redis->pending_count++) % PENDING_MOST] = pending;
    return 0;
}

int redis_push(struct redis *redis, const struct command *command)
{
    return redis_push_for(redis, command, (struct pending) { .number = 0 });
}

int redis_call(struct redis *redis, const struct command *command, redisReply **reply)
{
    int err = redis->rejections_count >= PENDING_MOST ? -EAGAIN : redis_connect(redis, 0);
    if (err)
        return err;
    err = resp_send(&redis->main, command, link_now() + COMMAND_PATIENCE);
    if (err)
        return lose_main(redis, err);
    err = redis_take_pending(redis, true);
    if (err)
        return err;
    err = resp_receive(&redis->main, reply, link_now() + COMMAND_PATIENCE);
    if (err)
        return lose_main(redis, err);
    hear(redis);
    if ((*reply)->type != REDIS_REPLY_ERROR) {
        redis->bad_since = 0;
        return 0;
    }
    err = redis_error(redis, *reply);
    freeReplyObject(*reply);
    return err;
}

int redis_call_number(struct redis *redis, const struct command *command, int64_t *number)
{
    redisReply *reply = NULL;
    int err = redis_call(redis, command, &reply);
    if (err)
        return err;
    *number = reply && reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
    freeReplyObject(reply);
    return 0;
}
