/* The tutorial's job: add up 0 ... 49,999,999, twice; first one after the other, then in two threads, then in two
 * processes; and compare the times. SPDX-License-Identifier: MIT
 *
 *     sum_range [-n numbers] [-w workers] [-b serial|threads|processes] [-r rounds]
 */
#include <errno.h>
#include <inttypes.h>
#include <mproc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct range {
    int64_t first, last;
};

/* A compiler that sees only additions replaces this loop by the formula n * (n - 1) / 2 and there is nothing left to
 * measure. The running total is volatile, so every single addition has to be carried out and stored. */
static int sum_range(const struct range *range, int64_t *total)
{
    volatile int64_t sum = 0;
    for (int64_t i = range->first; i < range->last; i++)
        sum += i;
    *total = sum;
    return 0;
}
MPROC_TASK(sum_range);

enum { WORKERS_MAX = 64, ROUNDS_MAX = 99, BACKENDS = 3 };

static const struct backend {
    const char *option, *title;
    enum mproc_backend backend;
} backends[BACKENDS] = {
    { "serial", "one after the other", MPROC_SERIAL },
    { "threads", "threads", MPROC_THREADS },
    { "processes", "processes", MPROC_PROCESSES },
};

struct settings {
    int64_t numbers;
    int workers, rounds;
    const char *only; /* one backend beside "serial", or NULL for all */
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* The job itself, pool opening and closing included. Returns seconds, or a negative number on failure. */
static double run(enum mproc_backend backend, const struct settings *settings, int64_t *total)
{
    struct range ranges[WORKERS_MAX];
    int64_t totals[WORKERS_MAX];
    for (int i = 0; i < settings->workers; i++)
        ranges[i] = (struct range) { 0, settings->numbers };

    double start = now();
    struct mproc_error error;
    mproc_pool *pool;
    int err = mproc_pool_open(&pool, .backend = backend, .workers = settings->workers, .error = &error);
    if (err == 0) {
        err = mproc_map(pool, sum_range, ranges, totals, (size_t)settings->workers, .error = &error);
        mproc_pool_close(pool);
    }
    double seconds = now() - start;
    if (err != 0) {
        fprintf(stderr, "sum_range: %s\n", error.message);
        return -1;
    }
    *total = 0;
    for (int i = 0; i < settings->workers; i++)
        *total += totals[i];
    return seconds;
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Rounds are interleaved, so that a disturbance of the machine hits all alike. */
static int measure(const struct settings *settings)
{
    static double seconds[BACKENDS][ROUNDS_MAX];
    int64_t totals[BACKENDS] = { 0 };

    for (int round = 0; round < settings->rounds; round++) {
        for (int b = 0; b < BACKENDS; b++) {
            if (b > 0 && settings->only && strcmp(settings->only, backends[b].option) != 0)
                continue;
            seconds[b][round] = run(backends[b].backend, settings, &totals[b]);
            if (seconds[b][round] < 0)
                return 1;
        }
    }

    int64_t expected = settings->workers * (settings->numbers * (settings->numbers - 1) / 2);
    int wrong = 0;
    printf("%-20s %10s %10s %22s\n", "", "seconds", "speed-up", "total");
    for (int b = 0; b < BACKENDS; b++) {
        if (b > 0 && settings->only && strcmp(settings->only, backends[b].option) != 0)
            continue;
        qsort(seconds[b], (size_t)settings->rounds, sizeof(double), by_value);
        double median = seconds[b][settings->rounds / 2];
        printf("%-20s %10.3f %10.2f %22" PRId64 "%s\n", backends[b].title, median,
               seconds[0][settings->rounds / 2] / median, totals[b], totals[b] == expected ? "" : "  WRONG");
        wrong |= totals[b] != expected;
    }
    return wrong;
}

static int usage(void)
{
    fprintf(stderr,
            "usage: sum_range [-n numbers] [-w workers] [-b serial|threads|processes] [-r rounds]\n"
            "  -n  add up 0 ... numbers - 1 (1 to 1000000000; default 50000000)\n"
            "  -w  how many times, and by how many workers (1 to %d; default 2)\n"
            "  -b  compare only this with one after the other (default: all)\n"
            "  -r  rounds, of which the median is shown (1 to %d; default 5)\n",
            WORKERS_MAX, ROUNDS_MAX);
    return 2;
}

static int64_t number(const char *text, int64_t most)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    return errno || *end || end == text || value < 1 || value > most ? -1 : value;
}

int main(int argc, char **argv)
{
    struct settings settings = { .numbers = 50000000, .workers = 2, .rounds = 5 };

    for (int option; (option = getopt(argc, argv, "n:w:b:r:")) != -1;) {
        switch (option) {
        case 'n': settings.numbers = number(optarg, 1000000000); break;
        case 'w': settings.workers = (int)number(optarg, WORKERS_MAX); break;
        case 'r': settings.rounds = (int)number(optarg, ROUNDS_MAX); break;
        case 'b': settings.only = optarg; break;
        default: return usage();
        }
    }
    bool known = !settings.only;
    for (int b = 0; b < BACKENDS; b++)
        known |= settings.only && strcmp(settings.only, backends[b].option) == 0;
    if (!known || optind != argc || settings.numbers < 0 || settings.workers < 0 || settings.rounds < 0)
        return usage();

    printf("the sum of 0 ... %" PRId64 ", %d times, by %d workers on %d usable CPUs; median of %d rounds\n\n",
           settings.numbers - 1, settings.workers, settings.workers, mproc_cpu_count(), settings.rounds);
    return measure(&settings);
}
