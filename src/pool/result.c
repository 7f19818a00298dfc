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

/* `status` is what was read of the item, once: after a map that was broken off, workers may still be writing. */
static struct mproc_outcome outcome_of(const struct result *result, size_t item, enum item_status status)
{
    struct mproc_outcome outcome = { .kind = MPROC_OK };
    if ((status == ITEM_FAILED || status == ITEM_CRASHED) && result->job->outcomes)
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

struct unsuccessful {
    size_t count, first;
    struct mproc_outcome outcome; /* of the first */
};

static void note(const struct result *result, size_t item, enum item_status status, struct unsuccessful *unsuccessful)
{
    struct mproc_outcome outcome = outcome_of(result, item, status);
    if (result->map->outcomes)
        result->map->outcomes[item] = outcome;
    if (unsuccessful->count++ == 0) {
        unsuccessful->first = item;
        unsuccessful->outcome = outcome;
    }
}

static void deliver_items(const struct result *result, struct unsuccessful *unsuccessful)
{
    size_t n = result->job->n, first_ok = 0;
    for (size_t item = 0; item < n; item++) {
        enum item_status status = status_of(result->job, item);
        if (status == ITEM_OK)
            continue;
        copy_results(result, first_ok, item - first_ok);
        first_ok = item + 1;
        note(result, item, status, unsuccessful);
    }
    copy_results(result, first_ok, n - first_ok);
}

static void describe(const struct result *result, int err, const struct unsuccessful *unsuccessful)
{
    struct mproc_error *error = result->map->error;
    if (!error)
        return;
    if (err == MPROC_E_NO_WORKERS)
        report(error, err, "mproc_map of '%s' (%s)", result->name, mproc_strerror(result->reason));
    else if (err)
        report(error, err, "mproc_map of '%s'", result->name);
    if (unsuccessful->count == 0)
        return;
    if (!err) {
        char text[192];
        mproc_outcome_text(&unsuccessful->outcome, text, sizeof text);
        report_text(error, unsuccessful->count < INT_MAX ? (int)unsuccessful->count : INT_MAX,
                    "%zu of %u items of '%s' did not succeed; the first is item %zu, which %s", unsuccessful->count,
                    result->job->n, result->name, unsuccessful->first, text);
    }
    error->item = unsuccessful->first;
    error->outcome = unsuccessful->outcome;
}

int result_deliver(const struct result *result, int err)
{
    const struct mproc_map_arguments *map = result->map;
    struct unsuccessful unsuccessful = { .count = 0 };
    if (map->outcomes)
        memset(map->outcomes, 0, result->job->n * sizeof *map->outcomes);
    if (err || atomic_load_explicit(&result->job->any_unsuccessful, memory_order_relaxed))
        deliver_items(result, &unsuccessful);
    else
        copy_results(result, 0, result->job->n);
    if (err || unsuccessful.count)
        describe(result, err, &unsuccessful);
    if (err)
        return err;
    return unsuccessful.count < INT_MAX ? (int)unsuccessful.count : INT_MAX;
}

void result_cancel_rest(const struct mproc_map_arguments *map, size_t first)
{
    if (!map->outcomes || first >= map->n)
        return;
    memset(map->outcomes + first, 0, (map->n - first) * sizeof *map->outcomes);
    for (size_t item = first; item < map->n; item++)
        map->outcomes[item].kind = MPROC_CANCELLED;
}
