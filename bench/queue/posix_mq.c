/* POSIX message queues. SPDX-License-Identifier: MIT
 *
 * The bounds in /proc/sys/fs/mqueue are 10 messages of 8 KiB if nobody has changed them. They are those of a namespace,
 * so root raises them in one of its own. There is a resource limit besides (ulimit -q), 800 KiB by default.
 */
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum { FEWEST = 8 };

static mqd_t queues[2] = { (mqd_t)-1, (mqd_t)-1 }, out, in;

static mqd_t open_queue(long messages, size_t size, int number)
{
    char name[64];
    snprintf(name, sizeof name, "/mproc-bench-%ld-%d", (long)getpid(), number);
    struct mq_attr attributes = { .mq_maxmsg = messages, .mq_msgsize = (long)size };
    mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
    if (queue != (mqd_t)-1)
        mq_unlink(name);
    return queue;
}

static void write_number(const char *path, long number)
{
    FILE *file = fopen(path, "w");
    if (file) {
        fprintf(file, "%ld", number);
        fclose(file);
    }
}

static void raise_limits(const struct load *load)
{
    static bool is_own_namespace;
    struct rlimit limit;
    getrlimit(RLIMIT_MSGQUEUE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_MSGQUEUE, &limit);
    limit.rlim_cur = limit.rlim_max = RLIM_INFINITY;
    setrlimit(RLIMIT_MSGQUEUE, &limit);
    is_own_namespace = is_own_namespace || unshare(CLONE_NEWIPC) == 0;
    if (is_own_namespace) {
        write_number("/proc/sys/fs/mqueue/msg_max", load->bound);
        write_number("/proc/sys/fs/mqueue/msgsize_max", load->size > 8192 ? (long)load->size : 8192);
    }
}

/* As many messages as there may be. */
static int create(const struct load *load)
{
    raise_limits(load);
    int directions = load->round_trips ? 2 : 1, bound = load->bound, made = 0;
    while (made < directions) {
        queues[made] = open_queue(bound, load->size, made);
        if (queues[made] != (mqd_t)-1)
            made++;
        else if (bound == FEWEST)
            return -errno;
        else
            bound = bound / 2 > FEWEST ? bound / 2 : FEWEST;
    }
    return bound;
}

static int open_end(const struct load *load, enum side side, int number)
{
    (void)number;
    out = queues[load->round_trips && side == CONSUMER];
    in = queues[load->round_trips && side == PRODUCER];
    return 0;
}

static inline int put(const void *data, size_t size)
{
    return mq_send(out, data, size, 0);
}

static inline int get(void *buffer, size_t size)
{
    return mq_receive(in, buffer, size, NULL) == (ssize_t)size ? 0 : -1;
}

STREAM_LOOPS(put, get)

static void destroy(void)
{
    for (int i = 0; i < 2; i++) {
        if (queues[i] != (mqd_t)-1)
            mq_close(queues[i]);
        queues[i] = (mqd_t)-1;
    }
}

const struct channel posix_mq_channel = {
    .create = create,
    .open = open_end,
    .produce = produce,
    .consume = consume,
    .put = put,
    .get = get,
    .destroy = destroy,
};
