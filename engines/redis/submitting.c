/* A pool's side. SPDX-License-Identifier: MIT */
#include "redis.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000000)

/* How long the feed's command blocks, in milliseconds, and when it has to have answered. */
enum { BLOCK_MS = 2000, RESULTS_AT_ONCE = 64 };
#define FEED_PATIENCE (6 * SECOND)

/* ---- the pool */

/* Makes the pool's keys, unless they are there. Returns their mark, as an attempt whose answer was lost may have made
 * them. */
static const char begin_script[] = "if redis.call('EXISTS',KEYS[1])==1 then "
                                   "redis.call('PEXPIRE',KEYS[1],ARGV[2]) redis.call('PEXPIRE',KEYS[6],ARGV[2]) "
                                   "return tonumber(redis.call('GET',KEYS[6]) or '0') end "
                                   "redis.call('SET',KEYS[1],ARGV[1],'PX',ARGV[2]) "
                                   "redis.call('DEL',KEYS[2],KEYS[3],KEYS[4],KEYS[5]) "
                                   "redis.call('XGROUP','CREATE',KEYS[2],'agents','0','MKSTREAM') "
                                   "redis.call('PEXPIRE',KEYS[2],ARGV[2]) "
                                   "redis.call('SET',KEYS[6],ARGV[4],'PX',ARGV[2]) "
                                   "redis.call('SADD',KEYS[7],ARGV[3]) "
                                   "redis.call('XADD',KEYS[8],'MAXLEN','~','1000','*','pool',ARGV[3]) "
                                   "return tonumber(ARGV[4])";

static void add_pool_keys(struct command *command, const struct pool *pool)
{
    for (int i = 0; i < POOL_KEYS; i++)
        command_add(command, pool->keys[i]);
}

static int make_keys(struct redis *redis, int64_t *mark)
{
    struct command command;
    char pools[KEY_SIZE], news[KEY_SIZE];
    redis_key(redis, pools, "pools");
    redis_key(redis, news, "news");
    command_begin_script(&command, begin_script, POOL_KEYS + 2);
    add_pool_keys(&command, &redis->self);
    command_add(&command, pools);
    command_add(&command, news);
    command_add_data(&command, redis->description, redis->description_size);
    command_add_number(&command, redis_pool_milliseconds(redis));
    command_add(&command, redis->self.name);
    command_add_number(&command, ++redis->last_mark);
    return redis_call_number(redis, &command, mark);
}

/* Sets `last` to the highest number that ever was in the stream of tasks. */
#define FIND_LAST                                                                                                      \
    "local last=0 "                                                                                                    \
    "local s=redis.call('XINFO','STREAM',KEYS[1]) "                                                                    \
    "for i=1,#s,2 do if s[i]=='last-generated-id' then last=tonumber(string.match(s[i+1],'%d+')) end end "

static const char last_script[] = "if redis.call('EXISTS',KEYS[1])==0 then return 0 end " FIND_LAST "return last";

/* A server that was started again may have lost the last of what it had written to its file: what it had taken, and
 * does not know any more, has been begun, or not. */
static int find_missing(struct redis *redis)
{
    struct command command;
    int64_t last;
    command_begin_script(&command, last_script, 1);
    command_add(&command, redis->self.keys[KEY_TASKS]);
    int err = redis_call_number(redis, &command, &last);
    if (err || (uint64_t)last >= redis->accepted)
        return err;
    if (redis->missing_after == redis->missing_last)
        redis->missing_last = redis->accepted;
    redis->missing_after = redis->accepted = (uint64_t)last;
    return 0;
}

int redis_begin_again(struct redis *redis)
{
    int64_t mark;
    int err = make_keys(redis, &mark);
    if (!err && mark == redis->mark)
        err = find_missing(redis);
    if (err || mark == redis->mark)
        return err;
    redis->mark = mark;
    redis->forgotten = true;
    redis->accepted = redis->missing_after = redis->missing_last = 0;
    snprintf(redis->results_seen, sizeof redis->results_seen, "0");
    if (redis->fed) { /* it waits for results behind one that the new stream will not come to for long */
        resp_close(&redis->feed);
        redis->fed = false;
    }
    return 0;
}

int redis_begin(void *connection, const void *description, size_t size)
{
    struct redis *redis = connection;
    redis->description = malloc(size + 1);
    if (!redis->description)
        return redis_say(redis, -ENOMEM, "no memory is left");
    memcpy(redis->description, description, size);
    redis->description_size = size;
    redis->unchecked = false;
    snprintf(redis->results_seen, sizeof redis->results_seen, "0");
    int err = make_keys(redis, &redis->mark);
    return err == -EAGAIN ? MPROC_E_SERVER_GONE : err;
}

/* Returns 0 if the pool's keys are gone. Where its tasks are gone alone, the pool is made anew. */
static const char tend_script[] = "if redis.call('EXISTS',KEYS[2])==0 then redis.call('DEL',KEYS[1]) return 0 end "
                                  "if redis.call('PEXPIRE',KEYS[1],ARGV[1])==0 then return 0 end "
                                  "for i=2,6 do redis.call('PEXPIRE',KEYS[i],ARGV[1]) end "
                                  "redis.call('SADD',KEYS[7],ARGV[2]) "
                                  "return 1";

static int end_if_lost(struct redis *redis, const redisReply *entry)
{
    uint64_t number;
    unsigned times;
    int64_t there = 0;
    if (!redis_read_id(entry, 4, &number, &times) || entry->element[1]->type != REDIS_REPLY_STRING ||
        entry->element[3]->integer < times)
        return 0;
    int err =
        redis_find_agent(redis, entry->element[1]->str, &there); /* by its own lease, which need not be the pool's */
    return err || there ? err : redis_complete_as_lost(redis, &redis->self, number, times);
}

/* Batches of machines that are lost, and that may not be begun again, while there is no machine to find them. */
static int end_lost(struct redis *redis)
{
    struct command command;
    redisReply *reply;
    command_begin(&command, "XPENDING");
    command_add(&command, redis->self.keys[KEY_TASKS]);
    command_add(&command, "agents");
    command_add(&command, "IDLE");
    command_add_number(&command, redis->options.lease / 1000000 * 2);
    command_add(&command, "-");
    command_add(&command, "+");
    command_add(&command, "64");
    int err = redis_call(redis, &command, &reply);
    if (err)
        return err;
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements && !err; i++)
        err = end_if_lost(redis, reply->element[i]);
    freeReplyObject(reply);
    return err;
}

int redis_tend_pool(struct redis *redis)
{
    struct command command;
    char pools[KEY_SIZE];
    int64_t there;
    int err = redis_connect(redis, 0);
    if (err)
        return err;
    redis_key(redis, pools, "pools");
    command_begin_script(&command, tend_script, POOL_KEYS + 1);
    add_pool_keys(&command, &redis->self);
    command_add(&command, pools);
    command_add_number(&command, redis_pool_milliseconds(redis));
    command_add(&command, redis->self.name);
    err = redis_call_number(redis, &command, &there);
    if (!err && !there)
        err = redis_begin_again(redis);
    return err || !redis_may_be_lost(redis) ? err : end_lost(redis);
}

void redis_end_pool(struct redis *redis)
{
    struct command command;
    char pools[KEY_SIZE];
    int64_t count;
    if (!redis->main.reader || !redis->description)
        return;
    redis->failure = 0; /* a full server is there still */
    command_begin(&command, "DEL");
    add_pool_keys(&command, &redis->self);
    if (redis_call_number(redis, &command, &count) != 0)
        return;
    redis_key(redis, pools, "pools");
    command_begin(&command, "SREM");
    command_add(&command, pools);
    command_add(&command, redis->self.name);
    redis_call_number(redis, &command, &count);
}

/* ---- batches */

/* A batch in parts. Parts of one that is not taken are of no use: it comes under another number. */
static const char submit_script[] = "local r=redis.pcall('XADD',KEYS[1],'NOMKSTREAM',ARGV[1],'p',ARGV[2]) "
                                    "if type(r)=='table' and r.err and not string.find(r.err,'smaller',1,true) then "
                                    "for i=0,tonumber(ARGV[2])-1 do redis.call('HDEL',KEYS[2],ARGV[3]..':'..i) end end "
                                    "return r";

/* What became of a batch that was sent, and of which no answer has come. As the server takes no number that is not
 * above all before it, one that is below the last, and is neither among the tasks nor among the results, which stay
 * until their flights have landed, was never there and never will be. */
static const char where_script[] = "if redis.call('EXISTS',KEYS[1])==0 then return 3 end "
                                   "if #redis.call('XRANGE',KEYS[1],ARGV[1],ARGV[1])>0 then return 1 end " FIND_LAST
                                   "if last<tonumber(ARGV[2]) then return 0 end "
                                   "local from='-' "
                                   "while true do "
                                   "local e=redis.call('XRANGE',KEYS[2],from,'+','COUNT',8) "
                                   "if #e==0 then return 2 end "
                                   "for i=1,#e do if e[i][2][1]=='n' and e[i][2][2]==ARGV[2] then return 1 end end "
                                   "from='('..e[#e][1] end";

enum { NOT_THERE, IS_THERE, NEVER_THERE, NO_STREAM };

static int find_batch(struct redis *redis, const char *id, uint64_t number, int64_t *where)
{
    struct command command;
    command_begin_script(&command, where_script, 2);
    command_add(&command, redis->self.keys[KEY_TASKS]);
    command_add(&command, redis->self.keys[KEY_RESULTS]);
    command_add(&command, id);
    command_add_number(&command, (int64_t)number);
    int err = redis_call_number(redis, &command, where);
    if (err)
        return err;
    if (*where == IS_THERE && number > redis->accepted)
        redis->accepted = number;
    if (*where == NEVER_THERE || *where == NO_STREAM)
        redis_reject(redis, number, *where == NEVER_THERE ? MPROC_ENGINE_NOT_TAKEN : MPROC_ENGINE_GONE);
    redis->forgotten |= *where == NO_STREAM;
    return 0;
}

static void write_parts_command(const struct redis *redis, struct command *command, const char *id, int parts,
                                const char *name)
{
    command_begin_script(command, submit_script, 2);
    command_add(command, redis->self.keys[KEY_TASKS]);
    command_add(command, redis->self.keys[KEY_PARTS]);
    command_add(command, id);
    command_add_number(command, parts);
    command_add(command, name);
}

/* Not by a script, which would have the bytes copied three times more. */
static void write_data_command(const struct redis *redis, struct command *command, const char *id,
                               const struct mproc_engine_batch *batch)
{
    command_begin(command, "XADD");
    command_add(command, redis->self.keys[KEY_TASKS]);
    command_add(command, "NOMKSTREAM");
    command_add(command, id);
    command_add(command, "d");
    command_add_split(command, batch->head, batch->head_size, batch->data, batch->size);
}

static int store_in_parts(struct redis *redis, const char *name, const struct mproc_engine_batch *batch)
{
    size_t size = batch->head_size + batch->size;
    char *whole = batch->size > 0 ? malloc(size) : NULL;
    if (whole) {
        memcpy(whole, batch->head, batch->head_size);
        memcpy(whole + batch->head_size, batch->data, batch->size);
    }
    int parts = batch->size > 0 && !whole
                    ? -EAGAIN
                    : redis_store_parts(redis, &redis->self, name, whole ? whole : batch->head, size);
    free(whole);
    return parts;
}

int redis_submit(void *connection, const struct mproc_engine_batch *batch)
{
    struct redis *redis = connection;
    struct command command;
    char id[48], name[48];
    int err = redis_connect(redis, 0), parts = 0;
    if (!err)
        err = redis_take_pending(redis, false);
    bool is_news = redis->rejections_count > 0 || redis->forgotten || redis->missing_after < redis->missing_last;
    if (err || is_news) /* which the pool has to know first */
        return err ? err : -EAGAIN;
    snprintf(id, sizeof id, "%llu-%u", (unsigned long long)batch->number, batch->times);
    snprintf(name, sizeof name, "t%llu", (unsigned long long)batch->number);
    bool again = batch->number <= redis->submitted;
    int64_t where = NOT_THERE;
    if (again)
        err = find_batch(redis, id, batch->number, &where);
    if (err || where != NOT_THERE)
        return err;
    if (batch->head_size + batch->size > PART_BYTES)
        parts = store_in_parts(redis, name, batch);
    if (parts < 0)
        return parts;
    if (parts)
        write_parts_command(redis, &command, id, parts, name);
    else
        write_data_command(redis, &command, id, batch);
    err = redis_push_for(redis, &command, (struct pending) { .number = batch->number, .again = again });
    if (!err && !again)
        redis->submitted = batch->number;
    return err;
}

/* Takes an entry away that nobody has, and its parts. Returns 1 if it has; as the answer may be lost, a result says so,
 * too. */
static const char cancel_script[] =
    "local e=redis.call('XRANGE',KEYS[1],ARGV[1],ARGV[1]..'-1000') "
    "for i=1,#e do "
    "if #redis.call('XPENDING',KEYS[1],'agents',e[i][1],e[i][1],1)==0 and redis.call('XDEL',KEYS[1],e[i][1])==1 then "
    "local f=e[i][2] "
    "if f[1]=='p' then for j=0,tonumber(f[2])-1 do redis.call('HDEL',KEYS[3],'t'..ARGV[1]..':'..j) end end "
    "redis.pcall('XADD',KEYS[4],'*','n',ARGV[1],'c','') "
    "return 1 end end "
    "redis.call('XADD',KEYS[2],'MAXLEN','~','10000','*','n',ARGV[1]) "
    "redis.call('PEXPIRE',KEYS[2],ARGV[2]) "
    "return 0";

int redis_cancel(void *connection, uint64_t number)
{
    struct redis *redis = connection;
    struct command command;
    int64_t taken;
    command_begin_script(&command, cancel_script, 4);
    command_add(&command, redis->self.keys[KEY_TASKS]);
    command_add(&command, redis->self.keys[KEY_CANCELS]);
    command_add(&command, redis->self.keys[KEY_PARTS]);
    command_add(&command, redis->self.keys[KEY_RESULTS]);
    command_add_number(&command, (int64_t)number);
    command_add_number(&command, redis_pool_milliseconds(redis));
    int err = redis_call_number(redis, &command, &taken);
    return err ? err : taken == 1;
}

/* ---- results */

static int ask_for_results(struct redis *redis)
{
    struct command command;
    command_begin(&command, "XREAD");
    command_add(&command, "COUNT");
    command_add_number(&command, RESULTS_AT_ONCE);
    command_add(&command, "BLOCK");
    command_add_number(&command, BLOCK_MS);
    command_add(&command, "STREAMS");
    command_add(&command, redis->self.keys[KEY_RESULTS]);
    command_add(&command, redis->results_seen);
    redis->fed_at = link_now();
    redis->fed = resp_send(&redis->feed, &command, redis->fed_at + SECOND) == 0;
    return redis->fed ? 0 : -EAGAIN;
}

static int deliver(struct redis *redis, const redisReply *entry, const struct mproc_engine_results *results,
                   void *context)
{
    if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2 || entry->element[0]->type != REDIS_REPLY_STRING)
        return 0;
    const redisReply *number = redis_field(entry->element[1], "n"), *data = redis_field(entry->element[1], "d");
    const redisReply *parts = redis_field(entry->element[1], "p"), *name = redis_field(entry->element[1], "k");
    uint64_t batch = number ? strtoull(number->str, NULL, 10) : 0;
    if (number && redis_field(entry->element[1], "c"))
        results->rejected(context, batch, MPROC_ENGINE_NOT_TAKEN);
    if (!number || (!data && (!parts || !name || name->len >= RESULT_NAME_SIZE))) {
        snprintf(redis->results_seen, sizeof redis->results_seen, "%s", entry->element[0]->str);
        return 0;
    }
    char *whole = NULL;
    size_t size = data ? data->len : 0;
    unsigned count = data ? 0 : (unsigned)strtoul(parts->str, NULL, 10);
    if (!data) {
        int err = redis_fetch_parts(redis, &redis->self, name->str, count, &whole, &size);
        if (err == -EAGAIN || redis->failure) /* it is there when asked for again */
            return err;
        if (err)
            results->lost(context, batch);
    }
    if (data && size == 0)
        results->lost(context, batch);
    else if (data || whole)
        results->completed(context, batch, data ? data->str : whole, size);
    free(whole);
    if (!data)
        redis_drop_parts(redis, &redis->self, name->str, count);
    snprintf(redis->results_seen, sizeof redis->results_seen, "%s", entry->element[0]->str);
    return 0;
}

/* They were taken. */
static int forget_results(struct redis *redis)
{
    struct command command;
    unsigned long long time, sequence;
    char next[48];
    if (sscanf(redis->results_seen, "%llu-%llu", &time, &sequence) != 2)
        return 0;
    snprintf(next, sizeof next, "%llu-%llu", time, sequence + 1);
    command_begin(&command, "XTRIM");
    command_add(&command, redis->self.keys[KEY_RESULTS]);
    command_add(&command, "MINID");
    command_add(&command, next);
    return redis_push(redis, &command);
}

static int take_results(struct redis *redis, const redisReply *reply, const struct mproc_engine_results *results,
                        void *context)
{
    if (reply->type == REDIS_REPLY_ERROR)
        return redis_error(redis, reply);
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 1 || reply->element[0]->type != REDIS_REPLY_ARRAY ||
        reply->element[0]->elements != 2)
        return 0;
    const redisReply *entries = reply->element[0]->element[1];
    int err = 0;
    for (size_t i = 0; entries->type == REDIS_REPLY_ARRAY && i < entries->elements && !err; i++)
        err = deliver(redis, entries->element[i], results, context);
    return err ? err : forget_results(redis);
}

static void tell_rejections(struct redis *redis, const struct mproc_engine_results *results, void *context)
{
    for (unsigned i = 0; i < redis->rejections_count; i++)
        results->rejected(context, redis->rejections[i].number, redis->rejections[i].why);
    redis->rejections_count = 0;
    while (redis->missing_after < redis->missing_last)
        results->rejected(context, ++redis->missing_after, MPROC_ENGINE_GONE);
    if (redis->forgotten) {
        redis->forgotten = false;
        results->forgotten(context);
    }
}

int redis_results(void *connection, const struct mproc_engine_results *results, void *context)
{
    struct redis *redis = connection;
    int err = redis_connect(redis, 0);
    if (!err)
        err = redis_take_pending(redis, false);
    if (!err && redis->forgotten)
        err = redis_begin_again(redis);
    tell_rejections(redis, results, context);
    while (!err) {
        redisReply *reply;
        if (!redis->fed)
            err = ask_for_results(redis);
        if (!err)
            err = resp_receive(&redis->feed, &reply, 0);
        if (err == -EAGAIN && redis->fed && link_now() - redis->fed_at > FEED_PATIENCE)
            resp_close(&redis->feed); /* it is silent: connected again next time */
        if (err)
            return err == -EAGAIN || redis->feed.reader ? err : -EAGAIN;
        redis->fed = false;
        err = take_results(redis, reply, results, context);
        freeReplyObject(reply);
    }
    return err;
}
