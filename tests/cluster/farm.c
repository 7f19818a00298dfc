/* A farm for three_hosts.sh and three_ranks.sh: submitter and agents are this one program. Each task records that it
 * began and that it ended, so that whoever looks can count what ran twice. SPDX-License-Identifier: MIT
 *
 *     farm map URL TASKS MILLISECONDS RETRIES CHUNK [FROM GATE]   runs them, and says what became of them; those from
 *                                                                 number FROM on wait until the file GATE.1 is there,
 *                                                                 from twice that on GATE.2, and so on
 *     farm --mproc-agent URL ...
 *
 * $FARM_PATIENCE is the pool's, in seconds; default 60. $FARM_RECORDS is the folder of records; $FARM_HOST is what an
 * agent's are called, before the process's id.
 */
#include <dirent.h>
#include <fcntl.h>
#include <mproc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct work {
    int number, milliseconds;
    char gate[200]; /* path of a file to wait for; "": none */
};

static int64_t now_ms(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void sleep_ms(int milliseconds)
{
    nanosleep(&(struct timespec) { milliseconds / 1000, milliseconds % 1000 * 1000000L }, NULL);
}

/* ---- records */

/* In one write, so that a process that is killed leaves whole lines. */
static int record(char what, int number)
{
    static int file = -1;
    char line[80];
    if (file < 0) {
        char path[400];
        const char *folder = getenv("FARM_RECORDS"), *host = getenv("FARM_HOST");
        snprintf(path, sizeof path, "%s/%s.%d", folder ? folder : ".", host ? host : "host", (int)getpid());
        file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    }
    int length = snprintf(line, sizeof line, "%c %d %lld\n", what, number, (long long)now_ms(CLOCK_REALTIME));
    return file >= 0 && write(file, line, (size_t)length) == length ? 0 : -1;
}

static void count_file(const char *path, int *begun, int tasks)
{
    FILE *file = fopen(path, "r");
    char what;
    int number;
    while (file && fscanf(file, " %c %d %*d", &what, &number) == 2)
        if (what == 'b' && number >= 0 && number < tasks)
            begun[number]++;
    if (file)
        fclose(file);
}

/* How many tasks were begun more than once. */
static int count_twice(int tasks)
{
    const char *folder = getenv("FARM_RECORDS");
    int *begun = calloc((size_t)tasks, sizeof *begun), twice = 0;
    DIR *entries = opendir(folder ? folder : ".");
    const struct dirent *entry;
    while (begun && entries && (entry = readdir(entries))) {
        char path[700];
        snprintf(path, sizeof path, "%s/%s", folder ? folder : ".", entry->d_name);
        if (entry->d_name[0] != '.')
            count_file(path, begun, tasks);
    }
    for (int i = 0; begun && i < tasks; i++)
        twice += begun[i] > 1;
    if (entries)
        closedir(entries);
    free(begun);
    return twice;
}

/* ---- the task */

static long right_result(int number)
{
    return 7L * number + 1;
}

static int work(const struct work *work, long *result)
{
    if (record('b', work->number) != 0)
        return mproc_task_fail(1, "no record can be written");
    while (work->gate[0] && access(work->gate, F_OK) != 0)
        sleep_ms(5);
    int64_t end = now_ms(CLOCK_MONOTONIC) + work->milliseconds;
    while (now_ms(CLOCK_MONOTONIC) < end)
        sleep_ms(1);
    *result = right_result(work->number);
    return record('e', work->number);
}
MPROC_TASK(work);

/* ---- the submitter */

struct order {
    const char *url, *gate;
    int tasks, milliseconds, retries, chunk, gate_from;
};

/* Says what became of the tasks. Returns the exit status: 0 if each is ok, lost or crashed, what is ok is right, and
 * what machines have ended is what was recorded. */
static int judge(const struct order *order, const struct mproc_outcome *outcomes, const long *results,
                 const struct mproc_pool_statistics *statistics)
{
    int ok = 0, lost = 0, crashed = 0, wrong = 0;
    for (int i = 0; i < order->tasks; i++) {
        enum mproc_outcome_kind kind = outcomes[i].kind;
        ok += kind == MPROC_OK;
        lost += kind == MPROC_LOST;
        crashed += kind == MPROC_CRASHED;
        wrong += kind == MPROC_OK && results[i] != right_result(i);
    }
    long long twice = (long long)statistics->items - (order->tasks - lost);
    printf("%d tasks, %d lost, %lld recorded twice, %d ran twice", order->tasks, lost, twice,
           count_twice(order->tasks));
    if (crashed > 0)
        printf(", %d crashed", crashed);
    if (wrong > 0)
        printf(", %d have a wrong result", wrong);
    if (ok + lost + crashed < order->tasks)
        printf(", %d ended otherwise", order->tasks - ok - lost - crashed);
    printf("\n");
    return ok + lost + crashed == order->tasks && wrong == 0 && twice == 0 ? 0 : 1;
}

static int map(const struct order *order)
{
    struct work *works = calloc((size_t)order->tasks, sizeof *works);
    long *results = calloc((size_t)order->tasks, sizeof *results);
    struct mproc_outcome *outcomes = calloc((size_t)order->tasks, sizeof *outcomes);
    struct mproc_pool_statistics statistics = { .size = sizeof statistics };
    struct mproc_error error;
    mproc_pool *pool;
    const char *patience = getenv("FARM_PATIENCE");
    if (!works || !results || !outcomes)
        return 2;
    for (int i = 0; i < order->tasks; i++) {
        works[i] = (struct work) { .number = i, .milliseconds = order->milliseconds };
        if (order->gate && i >= order->gate_from)
            snprintf(works[i].gate, sizeof works[i].gate, "%s.%d", order->gate, i / order->gate_from);
    }
    int result =
        mproc_pool_open(&pool, .cluster = order->url, .cluster_options.lease = MPROC_SEC(2),
                        .cluster_options.patience = MPROC_SEC(patience ? atoi(patience) : 60), .error = &error);
    if (result == 0) {
        result = mproc_map(pool, work, works, results, (size_t)order->tasks, .retries = order->retries,
                           .chunk = (size_t)order->chunk, .outcomes = outcomes, .error = &error);
        mproc_pool_statistics(pool, &statistics);
        int err = mproc_pool_close(pool);
        if (result >= 0 && err)
            printf("mproc_pool_close: %s\n", mproc_strerror(err));
    }
    if (result < 0)
        printf("%s\n", error.message);
    int status = result < 0 ? 2 : judge(order, outcomes, results, &statistics);
    free(works);
    free(results);
    free(outcomes);
    return status;
}

int main(int argc, char **argv)
{
    int err = mproc_init(&argc, &argv);
    if (err) {
        fprintf(stderr, "farm: %s\n", mproc_strerror(err));
        return 2;
    }
    if ((argc != 7 && argc != 9) || strcmp(argv[1], "map") != 0 || atoi(argv[3]) < 1 ||
        (argc == 9 && atoi(argv[7]) < 1)) {
        fprintf(stderr, "usage: farm map URL TASKS MILLISECONDS RETRIES CHUNK [FROM GATE]\n");
        return 2;
    }
    return map(&(struct order) {
        .url = argv[2],
        .tasks = atoi(argv[3]),
        .milliseconds = atoi(argv[4]),
        .retries = atoi(argv[5]),
        .chunk = atoi(argv[6]),
        .gate_from = argc == 9 ? atoi(argv[7]) : 0,
        .gate = argc == 9 ? argv[8] : NULL,
    });
}
