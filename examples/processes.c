/* Adds up 0 ... 99,999,999 in two processes, one half each. SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <mproc.h>
#include <stdio.h>

enum { PROCESSES = 2 };
#define NUMBERS INT64_C(100000000)

struct half {
    int64_t first, last;
    int64_t *total; /* in shared memory */
};

static int sum_half(const struct half *half)
{
    int64_t total = 0;
    for (int64_t i = half->first; i < half->last; i++)
        total += i;
    *half->total = total;
    return 0;
}
MPROC_PROCESS(sum_half);

static int fail(const char *what, int err)
{
    fprintf(stderr, "%s: %s\n", what, mproc_strerror(err));
    return 1;
}

int main(void)
{
    /* Each process has memory of its own: what it writes to a variable of main's, it writes to its copy. With
     * `int64_t totals[PROCESSES] = { 0 };` here, both processes would do their work, and the sum would be 0. */
    int64_t *totals = mproc_calloc(PROCESSES, sizeof *totals);
    if (!totals)
        return fail("cannot allocate shared memory", MPROC_E_FAMILY);

    mproc_process *processes[PROCESSES] = { NULL };
    for (int i = 0; i < PROCESSES; i++) {
        struct half half = { NUMBERS / PROCESSES * i, NUMBERS / PROCESSES * (i + 1), &totals[i] };
        int err = mproc_process_start(&processes[i], sum_half, &half);
        if (err)
            return fail("cannot start a process", err);
        printf("started %s, pid %d\n", mproc_process_name(processes[i]), (int)mproc_process_pid(processes[i]));
    }

    int64_t sum = 0;
    for (int i = 0; i < PROCESSES; i++) {
        struct mproc_outcome outcome;
        mproc_process_join(processes[i], MPROC_FOREVER);
        mproc_process_outcome(processes[i], &outcome);
        printf("%s: %s, total %" PRId64 "\n", mproc_process_name(processes[i]), mproc_outcome_name(outcome.kind),
               totals[i]);
        mproc_process_close(processes[i]);
        sum += totals[i];
    }
    printf("sum %" PRId64 "\n", sum);
    mproc_free(totals);
    return sum == NUMBERS * (NUMBERS - 1) / 2 ? 0 : 1;
}
