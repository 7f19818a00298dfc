/* The engine on Redis or Valkey Streams: its interface. SPDX-License-Identifier: MIT */
#include "redis.h"

#include <errno.h>
#include <mproc/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define SECOND INT64_C(1000000000)

static char *copy_of(const char *text)
{
    return text ? strdup(text) : NULL;
}

/* What was given beside the URL counts for more than what is in it. */
static void take_options(struct redis *redis, const struct mproc_engine_options *options)
{
    redis->options = *options;
    redis->options.url = NULL;
    redis->options.message = NULL;
    redis->options.ca_file = redis->ca_file = copy_of(options->ca_file);
    redis->options.certificate_file = redis->certificate_file = copy_of(options->certificate_file);
    redis->options.key_file = redis->key_file = copy_of(options->key_file);
    redis->options.name = redis->name = copy_of(options->name);
    if (options->user)
        snprintf(redis->address.user, sizeof redis->address.user, "%s", options->user);
    if (options->password)
        snprintf(redis->address.password, sizeof redis->address.password, "%s", options->password);
    redis->options.user = redis->address.user[0] ? redis->address.user : NULL;
    redis->options.password = redis->address.password[0] ? redis->address.password : NULL;
    snprintf(redis->prefix, sizeof redis->prefix, "mproc:{%s}:", redis->address.farm);
}

static void discard(struct redis *redis)
{
    resp_close(&redis->main);
    resp_close(&redis->feed);
    explicit_bzero(redis->address.password, sizeof redis->address.password);
    free(redis->ca_file);
    free(redis->certificate_file);
    free(redis->key_file);
    free(redis->name);
    free(redis->left);
    free(redis->description);
    free(redis->pools);
    free(redis);
}

/* A pool fails at once where an agent, which may be started before the server, tries again. */
static int connect_first(struct redis *redis)
{
    int64_t deadline = link_now() + redis->options.patience;
    int64_t once = link_now() + (redis->options.patience < 5 * SECOND ? redis->options.patience : 5 * SECOND);
    for (;;) {
        int err = redis_connect(redis, redis->name ? 0 : once);
        if (err != -EAGAIN)
            return err;
        if (!redis->name || link_now() > deadline)
            return MPROC_E_SERVER_GONE;
        nanosleep(&(struct timespec) { .tv_nsec = 100000000 }, NULL);
    }
}

static int begin(struct redis *redis)
{
    uint64_t numbers[2];
    if (getrandom(numbers, sizeof numbers, 0) != sizeof numbers)
        return redis_say(redis, -EIO, "no random numbers");
    redis_pool_keys(redis, &redis->self, numbers[0]);
    snprintf(redis->token, sizeof redis->token, "%016llx", (unsigned long long)numbers[1]);
    int err = connect_first(redis);
    if (!err && redis->name)
        err = redis_register(redis, link_now() + redis->options.patience);
    return err == -EAGAIN ? MPROC_E_SERVER_GONE : err;
}

static int open_connection(void **connection, const struct mproc_engine_options *options)
{
    struct redis *redis = calloc(1, sizeof *redis);
    if (!redis)
        return -ENOMEM;
    if (!address_read(&redis->address, options->url, options->message, MPROC_ENGINE_MESSAGE_SIZE)) {
        free(redis);
        return -EINVAL;
    }
    take_options(redis, options);
    int err = begin(redis);
    if (err) {
        snprintf(options->message, MPROC_ENGINE_MESSAGE_SIZE, "%s", redis->message);
        discard(redis);
        return err;
    }
    *connection = redis;
    return 0;
}

static void close_connection(void *connection)
{
    struct redis *redis = connection;
    if (redis->name)
        redis_end_agent(redis);
    else
        redis_end_pool(redis);
    discard(redis);
}

static const char *message(const void *connection)
{
    const struct redis *redis = connection;
    return redis->message[0] ? redis->message : "the server is not there";
}

static int descriptors(const void *connection, int *descriptors, int most)
{
    const struct redis *redis = connection;
    int count = 0;
    if (!redis->main.reader || !redis->feed.reader)
        return 0; /* nothing is read from one while the other is not there */
    if (redis->pending_count > 0 && count < most)
        descriptors[count++] = redis->main.link.fd;
    if (redis->fed && count < most)
        descriptors[count++] = redis->feed.link.fd;
    if (count == 0 && most > 0)
        descriptors[count++] = redis->main.link.fd;
    return count;
}

static int tend(void *connection)
{
    struct redis *redis = connection;
    return redis->name ? redis_tend_agent(redis) : redis_tend_pool(redis);
}

__attribute__((visibility("default"))) extern const struct mproc_engine mproc_engine;

const struct mproc_engine mproc_engine = {
    .version = MPROC_ENGINE_VERSION,
    .capabilities = MPROC_ENGINE_LEASES | MPROC_ENGINE_REPLACES_SERVER,
    .open = open_connection,
    .close = close_connection,
    .message = message,
    .descriptors = descriptors,
    .tend = tend,
    .begin = redis_begin,
    .submit = redis_submit,
    .results = redis_results,
    .cancel = redis_cancel,
    .machines = redis_machines,
    .announce = redis_announce,
    .fetch = redis_fetch,
    .complete = redis_complete,
};
