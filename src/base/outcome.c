/* Outcomes in words. SPDX-License-Identifier: MIT */
#include <mproc/outcome.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

const char *mproc_outcome_name(enum mproc_outcome_kind kind)
{
    switch (kind) {
    case MPROC_OK: return "ok";
    case MPROC_FAILED: return "failed";
    case MPROC_CRASHED: return "crashed";
    case MPROC_TIMED_OUT: return "timed out";
    case MPROC_OVER_MEMORY: return "over memory";
    case MPROC_CANCELLED: return "cancelled";
    case MPROC_LOST: return "lost";
    case MPROC_SKIPPED: return "skipped";
    }
    return "unknown";
}

static int crash_text(const struct mproc_outcome *outcome, char *text, size_t size)
{
    int pid = (int)outcome->pid;
    if (outcome->signal == 0)
        return snprintf(text, size, "crashed: process %d exited with status %d", pid, outcome->exit_status);
    return snprintf(text, size, "crashed: %s (signal %d) in process %d%s", strsignal(outcome->signal), outcome->signal,
                    pid, outcome->out_of_memory ? ", by the kernel, for want of memory" : "");
}

static int failure_text(const struct mproc_outcome *outcome, char *text, size_t size)
{
    const char *message = outcome->message, *between = message[0] ? ": " : "";
    if (outcome->line == 0)
        return snprintf(text, size, "failed with code %d%s%s", outcome->code, between, message);
    return snprintf(text, size, "failed with code %d at %s:%d%s%s", outcome->code, outcome->file, outcome->line,
                    between, message);
}

static int timeout_text(const struct mproc_outcome *outcome, char *text, size_t size)
{
    if (outcome->ran == 0)
        return snprintf(text, size, "timed out");
    return snprintf(text, size, "timed out after %.3f s", (double)outcome->ran / 1e9);
}

int mproc_outcome_text(const struct mproc_outcome *outcome, char *text, size_t size)
{
    if (!outcome || (!text && size > 0))
        return -EINVAL;
    switch (outcome->kind) {
    case MPROC_FAILED: return failure_text(outcome, text, size);
    case MPROC_CRASHED: return crash_text(outcome, text, size);
    case MPROC_TIMED_OUT: return timeout_text(outcome, text, size);
    case MPROC_OVER_MEMORY:
        return snprintf(text, size, "over memory: its worker, process %d, had grown beyond the limit",
                        (int)outcome->pid);
    case MPROC_CANCELLED:
        return snprintf(text, size, "cancelled: it %s", outcome->attempts ? "was stopped" : "did not start");
    case MPROC_SKIPPED: return snprintf(text, size, "skipped: the job log lists it as done");
    case MPROC_LOST: return snprintf(text, size, "lost: it was broken off, and may have run in part");
    default: return snprintf(text, size, "%s", mproc_outcome_name(outcome->kind));
    }
}
