/* 1,000 items, four of which do what a function should not: one divides by zero, one follows a NULL pointer, one calls
 * abort, one calls exit. In processes that costs four items. SPDX-License-Identifier: MIT
 *
 *     crash [-w workers]
 */
#include <mproc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ITEMS = 1000 };

struct job {
    int number, divisor; /* what to divide, and by what */
    const char *deed;    /* what else to do, or NULL */
};

/* Volatile, so that the compiler cannot see what is wrong and leave it out. */
static int *volatile nowhere;

static int divide(const struct job *job, int *quotient)
{
    if (job->deed && strcmp(job->deed, "null") == 0)
        *nowhere = job->number;
    if (job->deed && strcmp(job->deed, "abort") == 0)
        abort();
    if (job->deed && strcmp(job->deed, "exit") == 0)
        exit(7);
    *quotient = job->number / job->divisor;
    return 0;
}
MPROC_TASK(divide);

int main(int argc, char **argv)
{
    static struct job jobs[ITEMS];
    static int quotients[ITEMS];
    static struct mproc_outcome outcomes[ITEMS];

    int workers = argc == 3 && strcmp(argv[1], "-w") == 0 ? atoi(argv[2]) : 0;
    if (argc != 1 && workers < 1) {
        fprintf(stderr, "usage: crash [-w workers]\n");
        return 2;
    }

    for (int i = 0; i < ITEMS; i++)
        jobs[i] = (struct job) { .number = 12 * i, .divisor = 12 };
    jobs[100].divisor = 0;
    jobs[300].deed = "null"; /* a pointer to a constant of the program: the workers have it at the same address */
    jobs[500].deed = "abort";
    jobs[700].deed = "exit";

    struct mproc_error error;
    mproc_pool *pool;
    int count = mproc_pool_open(&pool, .workers = workers, .error = &error);
    if (count == 0) {
        count = mproc_map(pool, divide, jobs, quotients, ITEMS, .outcomes = outcomes, .error = &error);
        mproc_pool_close(pool);
    }
    if (count < 0) {
        fprintf(stderr, "crash: %s\n", error.message);
        return 2;
    }

    int right = 0;
    for (int i = 0; i < ITEMS; i++) {
        right += outcomes[i].kind == MPROC_OK && quotients[i] == i;
        if (outcomes[i].kind != MPROC_OK) {
            char text[160];
            mproc_outcome_text(&outcomes[i], text, sizeof text);
            printf("item %3d %s\n", i, text);
        }
    }
    printf("%d results, %d items without\n", right, count);
    return right == ITEMS - 4 && count == 4 ? 0 : 1;
}
