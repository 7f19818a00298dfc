/* What a pool costs: open and close, against as many raw forks and waits as it makes processes, and as many threads.
 * SPDX-License-Identifier: MIT */
#include "bench.h"

#include <mproc.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 2, ROUNDS = 51 };

static double run_forks(void *count)
{
    double start = bench_now();
    for (int i = 0; i < *(int *)count; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        if (pid < 0)
            return -1;
    }
    for (int i = 0; i < *(int *)count; i++)
        wait(NULL);
    return bench_now() - start;
}

static void *nothing(void *unused)
{
    return unused;
}

static double run_threads(void *unused)
{
    (void)unused;
    pthread_t threads[WORKERS];
    double start = bench_now();
    for (int i = 0; i < WORKERS; i++)
        if (pthread_create(&threads[i], NULL, nothing, NULL) != 0)
            return -1;
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    return bench_now() - start;
}

static double run_pool(void *backend)
{
    mproc_pool *pool;
    double start = bench_now();
    if (mproc_pool_open(&pool, .backend = *(enum mproc_backend *)backend, .workers = WORKERS) != 0 ||
        mproc_pool_close(pool) != 0)
        return -1;
    return bench_now() - start;
}

int main(void)
{
    static enum mproc_backend threads = MPROC_THREADS, processes = MPROC_PROCESSES;
    static int workers = WORKERS, with_supervisor = WORKERS + 1;
    const struct bench_contestant contestants[] = {
        { "2 raw forks and waits (the limit)", run_forks, &workers },
        { "3 raw forks and waits", run_forks, &with_supervisor },
        { "mproc, processes: 2 and a supervisor", run_pool, &processes },
        { "2 raw threads and joins", run_threads, NULL },
        { "mproc, threads", run_pool, &threads },
    };
    return bench_run("Opening and closing a pool of two workers", contestants, 5, ROUNDS, 1, "us", 1e-6);
}
