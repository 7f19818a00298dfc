/* From a job that has ended to what the caller gets. SPDX-License-Identifier: MIT */
#include "pool/result.h"

#include "base/report.h"

#include <limits.h>
#include <mproc/error.h>
#include <string.h>

static enum item_status status_of(const struct job *job, size_t item)
{
    return (enum item_status)atomic_load_explicit(&job->status[item], memory_order_acquire);
}

static struct mproc_outcome outcome_of(const struct result *result, size_t item)
{
    struct mproc_outcome outcome = { .kind = MPROC_OK };
    enum item_status status = status_of(result->job, item);
    if (status == ITEM_FAILED || status == ITEM_CRASHED)
        outcome = result->job->outcomes[item];
    else if (status == ITEM_PENDING)
        outcome.kind =
            item >= result->not_started.next && item < result->not_started.end ? MPROC_CANCELLED : MPROC_LOST;
    return outcome;
}

static void copy_results(const struct result *result, size_t first, size_t count)
{
    size_t size = result->job->output_size;
    if (result->copy_output && count > 0)
        memcpy((char *)result->map->output + first * size, result->job->output + first * size, count * size);
}

/* Returns how many items did not succeed, and the first of them. */
static size_t deliver_items(const struct result *result, size_t *first_unsuccessful)
{
    size_t n = result->job->n, unsuccessful = 0, item = 0;
    while (item < n) {
        size_t first = item;
        while (item < n && status_of(result->job, item) == ITEM_OK)
            item++;
        copy_results(result, first, item - first);
        if (item == n)
            break;
        if (unsuccessful++ == 0)
            *first_unsuccessful = item;
        if (result->map->outcomes)
            result->map->outcomes[item] = outcome_of(result, item);
        item++;
    }
    return unsuccessful;
}

static void describe(const struct result *result, int err, size_t unsuccessful, size_t first)
{
    struct mproc_error *error = result->map->error;
    if (!error)
        return;
    if (err == MPROC_E_NO_WORKERS)
        report(error, err, "mproc_map of '%s' (%s)", result->name, mproc_strerror(result->reason));
    else if (err)
        report(error, err, "mproc_map of '%s'", result->name);
    if (unsuccessful == 0)
        return;
    struct mproc_outcome outcome = outcome_of(result, first);
    if (!err) {
        char text[192];
        mproc_outcome_text(&outcome, text, sizeof text);
        report_text(error, unsuccessful < INT_MAX ? (int)unsuccessful : INT_MAX,
                    "%zu of %u items of '%s' did not succeed; the first is item %zu, which %s", unsuccessful,
                    result->job->n, result->name, first, text);
    }
    error->item = first;
    error->outcome = outcome;
}

int result_deliver(const struct result *result, int err)
{
    const struct mproc_map_arguments *map = result->map;
    size_t n = result->job->n, first = 0, unsuccessful = 0;
    if (map->outcomes)
        memset(map->outcomes, 0, n * sizeof *map->outcomes);
    if (err || atomic_load_explicit(&result->job->any_unsuccessful, memory_order_relaxed))
        unsuccessful = deliver_items(result, &first);
    else
        copy_results(result, 0, n);
    if (err || unsuccessful)
        describe(result, err, unsuccessful, first);
    if (err)
        return err;
    return unsuccessful < INT_MAX ? (int)unsuccessful : INT_MAX;
}

void result_cancel_rest(const struct mproc_map_arguments *map, size_t first)
{
    if (!map->outcomes || first >= map->n)
        return;
    memset(map->outcomes + first, 0, (map->n - first) * sizeof *map->outcomes);
    for (size_t item = first; item < map->n; item++)
        map->outcomes[item].kind = MPROC_CANCELLED;
}
