/* The engine on Redis or Valkey Streams. SPDX-License-Identifier: MIT
 *
 * Keys, all with the farm in braces, so that a Redis Cluster has them on one node; ID is a pool's:
 *
 *   mproc:{FARM}:pools            set of pools
 *   mproc:{FARM}:news             stream, a word for each pool that opens: wakes agents that have none
 *   mproc:{FARM}:agents           set of agents' names
 *   mproc:{FARM}:agent:NAME       token of its connection, and how its machine is; ends with its lease
 *   mproc:{FARM}:pool:ID          the pool's description; as long as it is there, the pool is
 *   mproc:{FARM}:pool:ID:tasks    stream of batches, with one consumer group, "agents"; an entry's id is the batch's
 *                                 number, and how often it may be begun
 *   mproc:{FARM}:pool:ID:results  stream of results
 *   mproc:{FARM}:pool:ID:cancels  stream of numbers
 *   mproc:{FARM}:pool:ID:parts    hash of parts of what is larger than a part
 *   mproc:{FARM}:pool:ID:mark     number of the attempt that made these keys: a pool that knows another one was
 * forgotten
 *
 * A pool's keys end by themselves when it has not been heard of for POOL_LEASES leases, and for longer than its
 * patience: a server that is away for less, and comes back as it was, has forgotten nothing.
 *
 * A batch is completed by a script: its result is recorded only if the acknowledgement counted, that is, if the batch
 * was still in the group's list of entries that somebody works on. So the first one to complete it wins, and an agent
 * that was cut off, and comes back with a result that somebody else has given too, changes nothing.
 */
#ifndef REDIS_REDIS_H
#define REDIS_REDIS_H

#include "resp.h"

enum { POOL_LEASES = 4, PENDING_MOST = 512, HELD_MOST = 4096, KEY_SIZE = 192, TOKEN_SIZE = 16, RESULT_NAME_SIZE = 48 };

/* Larger batches and results go in parts: no value is near the least limit that a server can have, 1 MiB. */
#define PART_BYTES ((size_t)512 << 10)

enum pool_key { KEY_POOL, KEY_TASKS, KEY_RESULTS, KEY_CANCELS, KEY_PARTS, KEY_MARK, POOL_KEYS };

/* A pool: the connection's own, or one that an agent knows. */
struct pool {
    uint64_t id;
    char name[20]; /* the id, as keys have it */
    char keys[POOL_KEYS][KEY_SIZE];
    bool served, asked;
    bool was_left;                             /* some of its batches were begun here, and not ended */
    char cancels_before[48], cancels_seen[48]; /* ids in its stream of cancels: the last look's, and the one's before */
};

struct held {
    uint64_t pool, number;
    unsigned times;
    int parts;          /* that it came in; -1: not known */
    bool is_completing; /* that was sent, and not answered */
    int64_t not_before; /* of completing it again */
};

/* A command whose answer is not waited for. */
struct pending {
    uint64_t number; /* the batch that it submits or completes; 0: whatever */
    bool again;      /* it was submitted before */
    uint64_t pool;   /* of what it completes */
};

struct rejection {
    uint64_t number;
    enum mproc_engine_rejection why;
};

struct redis {
    struct address address;
    struct mproc_engine_options options; /* its texts are the connection's, below */
    char *ca_file, *certificate_file, *key_file, *name;
    struct resp main, feed;
    bool fed; /* the feed was asked for something, and has not answered */
    int64_t fed_at;
    int64_t bad_since, next_connect; /* 0: all is well */
    int64_t full_since, full_seen;   /* its memory; 0: there was room for the last batch or result */
    int64_t heard, no_loss_before;   /* the last reply; see redis_may_be_lost */
    int failure;                     /* not 0: of no use any more */
    char message[MPROC_ENGINE_MESSAGE_SIZE];
    char prefix[KEY_SIZE / 2];

    /* Of a pool. */
    struct pool self;
    char *description;
    size_t description_size;
    struct pending pending[PENDING_MOST];
    unsigned pending_first, pending_count;
    struct rejection rejections[PENDING_MOST + 16];
    unsigned rejections_count;
    bool forgotten;
    bool unchecked;                       /* the main link is new: what of the pool does the server know? */
    uint64_t submitted;                   /* the highest number so far */
    uint64_t accepted;                    /* the highest number that the server took ... */
    uint64_t missing_after, missing_last; /* ... and those that it does not know any more; equal: none */
    int64_t mark, last_mark;              /* of the keys as they are known; of attempts to make them */
    char results_seen[48];

    /* Of an agent. */
    char token[TOKEN_SIZE + 1];
    char consumer[TOKEN_SIZE + 1 + MPROC_MACHINE_NAME_SIZE]; /* TOKEN-NAME: who has the name next has not what it had */
    uint64_t results_in_parts;                               /* so far */
    char agent_key[KEY_SIZE];
    struct pool *pools;
    unsigned pools_count, next_stream;
    struct held held[HELD_MOST];
    unsigned held_count;
    uint64_t *left; /* pools, see was_left */
    size_t left_count;
    bool left_all;               /* there was no memory to note which */
    int64_t own_until, next_own; /* see redis_expect_own */
    int64_t next_discovery, next_claims, next_cancels;
    char news_seen[48];
};

/* ---- server.c */

/* Fills redis->message. Returns err. */
int redis_say(struct redis *redis, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Connects what is not connected, if it is time to try. Returns 0, -EAGAIN, or what ends the connection. */
int redis_connect(struct redis *redis, int64_t deadline);

/* Runs a command on the main link, and waits for the reply. Returns 0 with the reply, which is not an error; or
 * -EAGAIN, or what ends the connection. */
int redis_call(struct redis *redis, const struct command *command, redisReply **reply);

/* The same of a reply that is a number. */
int redis_call_number(struct redis *redis, const struct command *command, int64_t *number);

/* Runs one, and does not wait. */
int redis_push(struct redis *redis, const struct command *command);
int redis_push_for(struct redis *redis, const struct command *command, struct pending pending);

/* To be told with the next results. There is room for PENDING_MOST and a few. */
void redis_reject(struct redis *redis, uint64_t number, enum mproc_engine_rejection why);

/* Takes the replies of those, as far as they have come; `all`: waits for them. */
int redis_take_pending(struct redis *redis, bool all);

/* What an error reply means: -EAGAIN, or what ends the connection. */
int redis_error(struct redis *redis, const redisReply *reply);

/* The link is gone, or the server full: for how long already? Returns -EAGAIN, or MPROC_E_SERVER_GONE. */
int redis_suffer(struct redis *redis, const char *what);

/* Whether what was not heard of for a lease is lost: not right after the server, or this process, has stood still, as
 * nobody could renew a lease meanwhile. */
bool redis_may_be_lost(const struct redis *redis);

void redis_agent_key(const struct redis *redis, char *key, const char *name);
void redis_key(const struct redis *redis, char *key, const char *name);
void redis_pool_keys(const struct redis *redis, struct pool *pool, uint64_t id);
/* How long a pool's keys last. */
int64_t redis_pool_milliseconds(const struct redis *redis);

/* A command that runs a script with keys; values are added afterwards. */
void command_begin_script(struct command *command, const char *script, int keys);

/* Which batch an entry of a stream of tasks is, or a row of XPENDING, which has four elements. False if it is none. */
bool redis_read_id(const redisReply *entry, size_t elements, uint64_t *number, unsigned *times);

/* The value of a stream entry's field; NULL if it has none. */
const redisReply *redis_field(const redisReply *fields, const char *name);

/* ---- parts.c */

/* Stores data in parts, under names that begin with `name`. Returns how many, or a negative error. */
int redis_store_parts(struct redis *redis, const struct pool *pool, const char *name, const void *data, size_t size);

/* Fetches them into *data, malloc's. Returns 0; -ENOENT if one is not there; or a negative error. */
int redis_fetch_parts(struct redis *redis, const struct pool *pool, const char *name, unsigned count, char **data,
                      size_t *size);

/* They are not needed any more. */
int redis_drop_parts(struct redis *redis, const struct pool *pool, const char *name, unsigned count);

/* ---- submitting.c */

int redis_begin(void *connection, const void *description, size_t size);
int redis_begin_again(struct redis *redis);
int redis_submit(void *connection, const struct mproc_engine_batch *batch);
int redis_results(void *connection, const struct mproc_engine_results *results, void *context);
int redis_cancel(void *connection, uint64_t number);
int redis_tend_pool(struct redis *redis);
void redis_end_pool(struct redis *redis);

/* ---- discovery.c */

struct pool *redis_find_pool(struct redis *redis, uint64_t id);

/* Which pools have come, and which have gone, now and then. */
int redis_discover(struct redis *redis, const struct mproc_engine_tasks *tasks, void *context);

/* ---- taking.c */

struct held *redis_find_held(struct redis *redis, uint64_t pool, uint64_t number);
void redis_let_go(struct redis *redis, struct held *held);

/* Takes a reply's entries of a pool's stream. */
int redis_take_entries(struct redis *redis, uint64_t pool_id, const redisReply *entries,
                       const struct mproc_engine_tasks *tasks, void *context);

/* Takes over batches of machines that are lost. */
int redis_take_over_all(struct redis *redis, unsigned most, const struct mproc_engine_tasks *tasks, void *context);

/* From `delay` nanoseconds from now on, and for a while, there may be batches that the server takes for this agent's,
 * and that it does not have. */
void redis_expect_own(struct redis *redis, int64_t delay);

/* Takes them. Not while the feed's answer is due, which may bring the same. */
int redis_take_own(struct redis *redis, unsigned most, const struct mproc_engine_tasks *tasks, void *context);

/* ---- machines.c */

int redis_register(struct redis *redis, int64_t deadline);
int redis_announce(void *connection, const struct mproc_engine_machine *self);
void redis_end_agent(struct redis *redis);
int redis_machines(void *connection, struct mproc_engine_machine *machines, int most);

/* Sets *there to 1 if the agent that is that consumer lives. */
int redis_find_agent(struct redis *redis, const char *consumer, int64_t *there);

/* ---- serving.c */

int redis_fetch(void *connection, unsigned most, const struct mproc_engine_tasks *tasks, void *context);
int redis_complete(void *connection, uint64_t pool, uint64_t number, const void *data, size_t size);
int redis_tend_agent(struct redis *redis);

/* Takes the answer to a completion that was not waited for; NULL: there will be none. */
void redis_settle_completion(struct redis *redis, const struct pending *pending, const redisReply *reply);

/* Completes a batch whose machine is lost. */
int redis_complete_as_lost(struct redis *redis, const struct pool *pool, uint64_t number, unsigned times);

#endif
