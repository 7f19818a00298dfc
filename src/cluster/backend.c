/* A cluster as what runs a pool's items: the dispatcher. SPDX-License-Identifier: MIT */
#include "base/report.h"
#include "cluster/cluster.h"
#include "cluster/messages.h"
#include "cluster/program.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/thread.h"
#include "pool/board.h"
#include "pool/options.h"
#include "pool/worker.h"

#include <errno.h>
#include <limits.h>
#include <mproc/error.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)

/* Without machines one may come any moment. */
#define LOOK_FOR_MACHINES (SECOND / 10)

enum {
    DESCRIPTORS_MOST = 4,
    TIMER_SLACK = 1000 /* nanoseconds: by default the kernel takes 50,000 more than it is asked to */
};

/* ---- the dispatcher */

static void call(const struct cluster *cluster)
{
    uint64_t one = 1;
    if (write(cluster->event, &one, sizeof one) != sizeof one)
        return; /* its count is full: it is called already */
}

static bool goes_on(const struct cluster *cluster)
{
    return !atomic_load(&cluster->stopping) && atomic_load(&cluster->pool->shared->state) == POOL_OPEN;
}

static void tend(struct cluster *cluster)
{
    int64_t now = os_now();
    int err = 0;
    if (now >= cluster->next_tend) {
        err = cluster->engine->tend(cluster->connection);
        cluster->next_tend = now + cluster->access.options.lease / 5;
    }
    if (!err && now >= cluster->next_machines) {
        err = cluster_look_at_machines(cluster);
        cluster->next_machines = now + (cluster->workers ? SECOND : LOOK_FOR_MACHINES);
    }
    if (err && err != -EAGAIN)
        cluster_fail(cluster, err, "%s", cluster->engine->message(cluster->connection));
}

/* Returns whether anything came. */
static bool take_results(struct cluster *cluster)
{
    uint64_t before = cluster->flights_count;
    int err = cluster->engine->results(cluster->connection, &cluster_results, cluster);
    if (err && err != -EAGAIN)
        cluster_fail(cluster, err, "%s", cluster->engine->message(cluster->connection));
    return cluster->flights_count != before;
}

static int64_t next_look(const struct cluster *cluster)
{
    int64_t next = cluster->next_tend < cluster->next_machines ? cluster->next_tend : cluster->next_machines;
    for (unsigned i = 0; i < cluster->flights_used; i++)
        if (cluster->flights[i].number && !cluster->flights[i].sent && cluster->flights[i].not_before < next)
            next = cluster->flights[i].not_before;
    return next;
}

static void wait_for_news(const struct cluster *cluster, struct asking *asking)
{
    int descriptors[DESCRIPTORS_MOST];
    int count = cluster->engine->descriptors(cluster->connection, descriptors, DESCRIPTORS_MOST);
    struct pollfd watched[1 + DESCRIPTORS_MOST] = { { .fd = cluster->event, .events = POLLIN } };
    for (int i = 0; i < count; i++)
        watched[1 + i] = (struct pollfd) { .fd = descriptors[i], .events = POLLIN };
    int64_t wait = next_look(cluster) - os_now();
    if (count == 0 && cluster->flights_count > 0) {
        int64_t ask = cluster_ask_again_in(asking, cluster->batch_took);
        wait = ask < wait ? ask : wait;
        if (ask == 0)
            os_yield();
    }
    if (wait < 0)
        wait = 0;
    struct timespec time = { wait / SECOND, wait % SECOND };
    nfds_t all = 1;
    all += (nfds_t)count;
    if (ppoll(watched, all, &time, NULL) > 0 && watched[0].revents) {
        uint64_t calls;
        if (read(cluster->event, &calls, sizeof calls) < 0)
            return; /* somebody else was faster */
    }
}

static void *dispatch(void *argument)
{
    struct cluster *cluster = argument;
    struct pool_shared *shared = cluster->pool->shared;
    struct asking asking = { 0, 0 };
    prctl(PR_SET_TIMERSLACK, TIMER_SLACK);
    while (goes_on(cluster)) {
        tend(cluster);
        if (goes_on(cluster))
            cluster_send(cluster);
        if (goes_on(cluster))
            cluster_pass_on_cancels(cluster);
        if (goes_on(cluster) && take_results(cluster))
            asking = (struct asking) { 0, 0 };
        else if (goes_on(cluster))
            wait_for_news(cluster, &asking);
    }
    cluster_lose_all_flights(cluster);
    atomic_store(&cluster->gone, 1);
    for (int i = 0; i <= POOL_BELLS; i++)
        board_ring(&shared->bells[i]); /* should the pool be broken */
    return NULL;
}

/* ---- opening */

/* Of a large job, memory in large pages, as it is new each time, and touching it would take as long as the copy. */
#define HUGE_PAGE ((size_t)2 << 20)

static void *allocate(size_t size)
{
    void *block = NULL;
    bool is_large = size >= 2 * HUGE_PAGE;
    if (posix_memalign(&block, is_large ? HUGE_PAGE : CACHE_LINE_PAIR, size ? size : 1) != 0)
        return NULL;
    if (is_large)
        madvise(block, size, MADV_HUGEPAGE);
    return block;
}

static void describe_task(struct worker_task_message *message, const struct mproc_worker_task *task, const char *name)
{
    snprintf(message->name, sizeof message->name, "%s", name);
    message->input = task->input;
    message->input_size = task->input_size;
    message->state_size = task->state_size;
}

static int begin(struct cluster *cluster, const struct mproc_pool_open_arguments *arguments)
{
    const struct pool_options *options = &cluster->pool->shared->options;
    static _Thread_local struct description description;
    description = (struct description) {
        .digest = cluster->digest,
        .family = program_family(),
        .workers_most = (uint32_t)arguments->workers,
        .workers_least = (uint32_t)arguments->workers_least,
        .idle_timeout = arguments->idle_timeout,
        .items_per_worker = arguments->items_per_worker,
        .memory_limit = arguments->memory_limit,
        .memory_kill = arguments->memory_kill,
        .ask_grace = arguments->ask_grace,
        .terminate_grace = arguments->terminate_grace,
        .nice = arguments->nice,
        .start_failures = arguments->start_failures,
        .pin = arguments->pin,
    };
    snprintf(description.name, sizeof description.name, "%s", arguments->name);
    snprintf(description.program, sizeof description.program, "%s", program_invocation_short_name);
    describe_task(&description.initializer, &arguments->initializer, options->initializer);
    describe_task(&description.finalizer, &arguments->finalizer, options->finalizer);
    struct writer writer = { .data = NULL };
    description_write(&writer, &description);
    int err = writer.failed ? -ENOMEM : cluster->engine->begin(cluster->connection, writer.data, writer.size);
    writer_free(&writer);
    if (err && err != -ENOMEM)
        return report_text(arguments->error, err, "mproc_pool_open: %s", cluster->engine->message(cluster->connection));
    return err ? report(arguments->error, err, "mproc_pool_open") : 0;
}

static int connect_to(struct cluster *cluster, const struct mproc_pool_open_arguments *arguments)
{
    static const char what[] = "mproc_pool_open";
    int err =
        cluster_access_make(&cluster->access, what, arguments->cluster, &arguments->cluster_options, arguments->error);
    if (!err)
        err = cluster_find_engine(&cluster->engine, what, arguments->cluster, arguments->error);
    if (!err)
        err = cluster_connect(cluster->engine, &cluster->connection, &cluster->access, what, arguments->error);
    return err;
}

static void discard(struct cluster *cluster)
{
    if (cluster->connection)
        cluster->engine->close(cluster->connection);
    cluster_access_free(&cluster->access);
    if (cluster->event >= 0)
        close(cluster->event);
    pthread_mutex_destroy(&cluster->lock);
    free(cluster->claimer);
    free(cluster);
}

static struct cluster *make(struct pool *pool)
{
    struct cluster *cluster = calloc(1, sizeof *cluster);
    if (!cluster)
        return NULL;
    cluster->pool = pool;
    cluster->digest = program_digest();
    cluster->event = os_fd_above_standard(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    cluster->claimer = allocate(sizeof *cluster->claimer);
    pthread_mutex_init(&cluster->lock, NULL);
    if (cluster->claimer)
        worker_slot_format(cluster->claimer);
    return cluster;
}

static int start(struct pool *pool, const struct mproc_pool_open_arguments *arguments)
{
    pool->shared = allocate(pool_shared_size(arguments));
    struct cluster *cluster = pool->shared ? make(pool) : NULL;
    if (!cluster) {
        free(pool->shared);
        return -ENOMEM;
    }
    pool_format_shared(pool->shared, arguments);
    pool->shared->handle = pool->handle;
    pool->shared->spin = 0; /* nothing comes so soon that it were worth it */
    int err = !cluster->claimer ? -ENOMEM : cluster->event < 0 ? -EMFILE : connect_to(cluster, arguments);
    if (!err)
        err = begin(cluster, arguments);
    pool->cluster = cluster;
    if (!err)
        err = os_thread_start(&cluster->thread, dispatch, cluster);
    if (err) {
        discard(cluster);
        pool->cluster = NULL;
        free(pool->shared);
    }
    return err;
}

/* ---- the rest of what a backend is asked for */

static int stop(struct pool *pool)
{
    int reason = pool_is_broken(pool) ? pool_reason(pool) : 0;
    atomic_store(&pool->cluster->stopping, 1);
    call(pool->cluster);
    pthread_join(pool->cluster->thread, NULL);
    discard(pool->cluster);
    return reason == MPROC_E_TERMINATED ? 0 : reason;
}

static bool workers_gone(struct pool *pool)
{
    while (!atomic_load(&pool->cluster->gone))
        os_sleep(100000);
    return true;
}

static void break_off(struct pool *pool)
{
    uint32_t open = POOL_OPEN;
    atomic_compare_exchange_strong(&pool->shared->state, &open, POOL_TERMINATING);
    call(pool->cluster);
    workers_gone(pool);
}

static bool has_broken(const struct pool *pool)
{
    (void)pool;
    return false; /* its state says so */
}

static void look(struct pool *pool)
{
    call(pool->cluster);
}

/* Sequentially consistent, as the dispatcher says what it reads before it looks whether the caller has left. */
static void leave_inputs(struct pool *pool, struct job *job)
{
    atomic_store(&job->left, 1);
    while (atomic_load(&pool->cluster->reading) == job)
        os_sleep(100000);
}

static void count_workers(const struct pool *pool, int *workers, int *idle)
{
    struct cluster *cluster = pool->cluster;
    *workers = *idle = 0;
    pthread_mutex_lock(&cluster->lock);
    for (unsigned i = 0; i < cluster->machines_count; i++) {
        const struct mproc_engine_machine *machine = &cluster->machines[i];
        if (machine->digest != cluster->digest)
            continue;
        *workers += (int)machine->workers;
        *idle += machine->running < machine->workers ? (int)(machine->workers - machine->running) : 0;
    }
    pthread_mutex_unlock(&cluster->lock);
}

static void explain(const struct pool *pool, char *text, size_t size)
{
    struct cluster *cluster = pool->cluster;
    pthread_mutex_lock(&cluster->lock);
    snprintf(text, size, "%s", cluster->message[0] ? cluster->message : mproc_strerror(pool_reason(pool)));
    pthread_mutex_unlock(&cluster->lock);
}

const struct backend backend_cluster = {
    .separate_memory = true,
    .shares_heap = false,
    .reads_here = true,
    .leave_inputs = leave_inputs,
    .start = start,
    .stop = stop,
    .break_off = break_off,
    .has_broken = has_broken,
    .workers_gone = workers_gone,
    .look = look,
    .published = look,
    .count_workers = count_workers,
    .explain = explain,
    .allocate = allocate,
    .free = free,
};
