/* Writes a trace as a pool does. SPDX-License-Identifier: MIT
 *
 *     trace_sample FILE WORKERS ITEMS [ITEM:KIND ...]
 *
 * Item i is run by worker i % WORKERS for 30 us, every 31 us. The items that are named end as the enum
 * mproc_outcome_kind of that number. "-" instead of FILE: the trace is not closed, and goes to standard output.
 */
#include "os/clock.h"
#include "pool/trace.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct mproc_outcome outcome_of(size_t item, int workers, char *const *named)
{
    struct mproc_outcome outcome = { .worker = (int)(item % (size_t)workers), .attempts = 1, .ran = 30000 };
    outcome.pid = 1000 + outcome.worker;
    for (; *named; named++) {
        char *end;
        if (strtoull(*named, &end, 10) == item && *end == ':')
            outcome.kind = (enum mproc_outcome_kind)atoi(end + 1);
    }
    if (outcome.kind == MPROC_FAILED) {
        outcome.code = 5;
        snprintf(outcome.message, sizeof outcome.message, "no luck with <%zu> & \"friends\"", item);
    }
    outcome.signal = outcome.kind == MPROC_CRASHED ? SIGSEGV : 0;
    return outcome;
}

int main(int argc, char **argv)
{
    struct trace *trace;
    if (argc < 4)
        return 2;
    int workers = atoi(argv[2]);
    size_t items = strtoull(argv[3], NULL, 10);
    bool is_open = strcmp(argv[1], "-") == 0;
    int64_t start = os_now();
    if (trace_open(&trace, is_open ? "/dev/stdout" : argv[1], "sample") != 0)
        return 1;
    for (size_t i = 0; i < items; i++) {
        struct mproc_outcome outcome = outcome_of(i, workers, argv + 4);
        trace_item(trace, "square", i, start + (int64_t)(i / (size_t)workers) * 31000, &outcome);
    }
    trace_flush(trace);
    return is_open ? 0 : trace_close(trace) != 0;
}
