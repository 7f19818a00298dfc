/* A farm on Redis Streams as one writes it by hand, as fast as one can be. SPDX-License-Identifier: MIT
 *
 * Each side has one connection, on which it sends all that it has to say, and the question for more, in one write: the
 * caller some XADD and an XREAD, which blocks until there is a result; a worker, for each entry that it has done, XACK,
 * XDEL and XADD, and then an XREADGROUP.
 */
#include "redis_farm.h"

#include <hiredis/hiredis.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define TASKS "bench:tasks"
#define RESULTS "bench:results"
#define GROUP "workers"

enum { WORKERS = 2, ID_SIZE = 48 };

/* Before the inputs in a task's entry, and before the results in a result's. As workers are forked, functions are where
 * they are here. */
struct head {
    redis_farm_task *task;
    uint64_t first;
    uint32_t count, take; /* take: the shape's count */
    uint32_t in_size, out_size;
};

struct redis_farm {
    int port;
    pid_t pids[WORKERS];
    redisContext *connection;
    char *entry;
    size_t entry_room;
    char seen[ID_SIZE]; /* the last result */
};

static redisContext *connect_to(int port)
{
    redisContext *connection = redisConnect("127.0.0.1", port);
    if (connection && !connection->err)
        return connection;
    if (connection)
        redisFree(connection);
    return NULL;
}

/* Takes a reply, or NULL if it is an error. */
static redisReply *receive(redisContext *connection)
{
    void *reply = NULL;
    if (redisGetReply(connection, &reply) != REDIS_OK)
        return NULL;
    if (((redisReply *)reply)->type != REDIS_REPLY_ERROR)
        return reply;
    fprintf(stderr, "bare farm: %s\n", ((redisReply *)reply)->str);
    freeReplyObject(reply);
    return NULL;
}

static bool skip_replies(redisContext *connection, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        redisReply *reply = receive(connection);
        if (!reply)
            return false;
        freeReplyObject(reply);
    }
    return true;
}

static bool make_room(char **buffer, size_t *room, size_t size)
{
    char *larger = size > *room ? realloc(*buffer, size) : *buffer;
    if (!larger)
        return false;
    *buffer = larger;
    *room = size > *room ? size : *room;
    return true;
}

/* The entries of the one stream of a reply of XREAD or XREADGROUP; NULL if there are none. */
static const redisReply *entries_of(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 ? reply->element[0]->element[1] : NULL;
}

/* The value of an entry's one field. */
static const redisReply *value_of(const redisReply *entry, struct head *head)
{
    const redisReply *value = entry->element[1]->element[1];
    memcpy(head, value->str, sizeof *head);
    return value;
}

/* ---- a worker */

static bool do_entry(redisContext *connection, const redisReply *entry, char **result, size_t *room, unsigned *take)
{
    struct head head;
    const redisReply *value = value_of(entry, &head);
    const char *id = entry->element[0]->str, *in = value->str + sizeof head;
    size_t size = sizeof head + (size_t)head.count * head.out_size;
    if (!make_room(result, room, size))
        return false;
    memcpy(*result, &head, sizeof head);
    for (uint32_t i = 0; i < head.count; i++)
        head.task(in + (size_t)i * head.in_size, *result + sizeof head + (size_t)i * head.out_size);
    *take = head.take;
    redisAppendCommand(connection, "XACK " TASKS " " GROUP " %s", id);
    redisAppendCommand(connection, "XDEL " TASKS " %s", id);
    redisAppendCommand(connection, "XADD " RESULTS " * r %b", *result, size);
    return true;
}

static void work(redisContext *connection, int number)
{
    char *result = NULL;
    size_t room = 0;
    unsigned replies = 0, take = 1;
    for (;;) {
        redisAppendCommand(connection, "XREADGROUP GROUP " GROUP " w%d COUNT %u BLOCK 0 STREAMS " TASKS " >", number,
                           take);
        redisReply *reply = skip_replies(connection, replies) ? receive(connection) : NULL;
        if (!reply)
            return;
        const redisReply *entries = entries_of(reply);
        replies = 0;
        for (size_t i = 0; entries && i < entries->elements; i++, replies += 3)
            if (!do_entry(connection, entries->element[i], &result, &room, &take))
                return;
        freeReplyObject(reply);
    }
}

static pid_t start_worker(int port, int number)
{
    pid_t parent = getpid(), pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    mallopt(M_MMAP_THRESHOLD, 4 << 20); /* large replies come into memory that was touched before */
    mallopt(M_TRIM_THRESHOLD, 16 << 20);
    redisContext *connection = getppid() == parent ? connect_to(port) : NULL;
    if (connection)
        work(connection, number);
    _exit(1);
}

/* ---- the caller */

struct redis_farm *redis_farm_open(int port)
{
    struct redis_farm *farm = calloc(1, sizeof *farm);
    if (!farm)
        return NULL;
    farm->port = port;
    farm->connection = connect_to(port);
    if (farm->connection)
        redisAppendCommand(farm->connection, "XGROUP CREATE " TASKS " " GROUP " 0 MKSTREAM");
    bool ok = farm->connection && skip_replies(farm->connection, 1);
    for (int i = 0; i < WORKERS && ok; i++) {
        farm->pids[i] = start_worker(port, i);
        ok = farm->pids[i] > 0;
    }
    if (ok)
        return farm;
    redis_farm_close(farm);
    return NULL;
}

void redis_farm_close(struct redis_farm *farm)
{
    if (!farm)
        return;
    for (int i = 0; i < WORKERS; i++)
        if (farm->pids[i] > 0) {
            kill(farm->pids[i], SIGKILL);
            waitpid(farm->pids[i], NULL, 0);
        }
    if (farm->connection)
        redisFree(farm->connection);
    free(farm->entry);
    free(farm);
}

static bool send_entry(struct redis_farm *farm, const struct head *head, const char *in)
{
    size_t inputs = (size_t)head->count * head->in_size, size = sizeof *head + inputs;
    if (!make_room(&farm->entry, &farm->entry_room, size))
        return false;
    memcpy(farm->entry, head, sizeof *head);
    memcpy(farm->entry + sizeof *head, in + head->first * head->in_size, inputs);
    return redisAppendCommand(farm->connection, "XADD " TASKS " * t %b", farm->entry, size) == REDIS_OK;
}

/* Waits for at least one. Returns how many entries came; 0: something is wrong. */
static unsigned take_results(struct redis_farm *farm, char *out, size_t out_size, size_t n)
{
    redisReply *reply = receive(farm->connection);
    const redisReply *entries = reply ? entries_of(reply) : NULL;
    unsigned count = 0;
    for (size_t i = 0; entries && i < entries->elements; i++) {
        struct head head;
        const redisReply *value = value_of(entries->element[i], &head);
        if (head.first + head.count > n || value->len != sizeof head + head.count * out_size)
            return 0;
        memcpy(out + head.first * out_size, value->str + sizeof head, head.count * out_size);
        snprintf(farm->seen, sizeof farm->seen, "%s", entries->element[i]->element[0]->str);
        count++;
    }
    if (reply)
        freeReplyObject(reply);
    return count;
}

int redis_farm_map(struct redis_farm *farm, redis_farm_task *task, const void *in, size_t in_size, void *out,
                   size_t out_size, size_t n, const struct redis_farm_shape *shape)
{
    struct head head = {
        .task = task, .take = shape->count, .in_size = (uint32_t)in_size, .out_size = (uint32_t)out_size
    };
    unsigned flying = 0;
    snprintf(farm->seen, sizeof farm->seen, "0");
    while (head.first < n || flying > 0) {
        unsigned sent = 0;
        for (; head.first < n && flying < shape->window; head.first += head.count, flying++, sent++) {
            head.count = n - head.first < shape->batch ? (uint32_t)(n - head.first) : shape->batch;
            if (!send_entry(farm, &head, in))
                return -1;
        }
        redisAppendCommand(farm->connection, "XREAD COUNT 64 BLOCK 0 STREAMS " RESULTS " %s", farm->seen);
        unsigned came = skip_replies(farm->connection, sent) ? take_results(farm, out, out_size, n) : 0;
        if (came == 0 || came > flying)
            return -1;
        flying -= came;
    }
    redisAppendCommand(farm->connection, "DEL " RESULTS);
    return skip_replies(farm->connection, 1) ? 0 : -1;
}
