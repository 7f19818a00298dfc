/* What a pool costs: open and close, against as many raw forks and waits as it makes processes, and as many threads.
 * SPDX-License-Identifier: MIT */
#include "bench.h"

#include <mproc.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS_MAX = 16 };

struct pool {
    enum mproc_backend backend;
    int workers;
};

static double open_and_close(const struct pool *kind)
{
    mproc_pool *pool;
    if (mproc_pool_open(&pool, .backend = kind->backend, .workers = kind->workers) != 0)
        return -1;
    return mproc_pool_close(pool) == 0 ? 0 : -1;
}

static double fork_and_wait(const struct pool *kind)
{
    for (int i = 0; i < kind->workers; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        if (pid < 0)
            return -1;
    }
    for (int i = 0; i < kind->workers; i++)
        if (wait(NULL) < 0)
            return -1;
    return 0;
}

static void *nothing(void *unused)
{
    return unused;
}

static double start_threads(const struct pool *kind)
{
    pthread_t threads[WORKERS_MAX];
    for (int i = 0; i < kind->workers; i++)
        if (pthread_create(&threads[i], NULL, nothing, NULL) != 0)
            return -1;
    for (int i = 0; i < kind->workers; i++)
        pthread_join(threads[i], NULL);
    return 0;
}

struct contest {
    double (*once)(const struct pool *);
    struct pool pool;
    int times;
};

static double run(void *argument)
{
    const struct contest *contest = argument;
    double start = bench_now();
    for (int i = 0; i < contest->times; i++)
        if (contest->once(&contest->pool) < 0)
            return -1;
    return (bench_now() - start) / contest->times;
}

static void measure(int workers)
{
    int times = 40 / workers;
    struct contest processes = { open_and_close, { MPROC_PROCESSES, workers }, times };
    struct contest threads = { open_and_close, { MPROC_THREADS, workers }, times };
    struct contest forks = { fork_and_wait, { .workers = workers }, times };
    struct contest forks_and_one = { fork_and_wait, { .workers = workers + 1 }, times };
    struct contest raw_threads = { start_threads, { .workers = workers }, times };
    const char *as_many = bench_text("%d raw forks and waits", workers);
    bench_row(&(struct bench_row) {
        .title = bench_text("opening and closing a pool of %d workers", workers),
        .unit = "us",
        .scale = 1e-6,
        .contestants = { { "mproc", BENCH_OURS, run, .argument = &processes },
                         { "mproc, threads", BENCH_OURS, run, .argument = &threads },
                         { as_many, BENCH_LIMIT, run, .argument = &forks },
                         { bench_text("%d raw forks and waits", workers + 1), BENCH_LIMIT, run,
                           .argument = &forks_and_one },
                         { bench_text("%d raw threads and joins", workers), BENCH_LIMIT, run,
                           .argument = &raw_threads },
                         { "Python's Pool, 2 workers", BENCH_PEER, .program = &bench_python, .load = "open" } },
        .targets = { { "mproc", BENCH_AT_MOST_TIMES, 1.3, { as_many } } },
    });
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv);
    measure(2);
    measure(WORKERS_MAX);
    return bench_end();
}
