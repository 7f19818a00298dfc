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
    case MPROC_CANCELLED: return "cancelled";
    case MPROC_LOST: return "lost";
    }
    return "unknown";
}

static int crash_text(const struct mproc_outcome *outcome, char *text, size_t size)
{
    int pid = (int)outcome->pid;
    if (outcome->signal == 0)
        return snprintf(text, size, "crashed: process %d exited with status %d", pid, outcome->exit_status);
    return snprintf(text, size, "crashed: %s (signal %d) in process %d", strsignal(outcome->signal), outcome->signal,
                    pid);
}

int mproc_outcome_text(const struct mproc_outcome *outcome, char *text, size_t size)
{
    if (!outcome || (!text && size > 0))
        return -EINVAL;
    switch (outcome->kind) {
    case MPROC_FAILED:
        return snprintf(text, size, "failed with code %d%s%s", outcome->code, outcome->message[0] ? ": " : "",
                        outcome->message);
    case MPROC_CRASHED: return crash_text(outcome, text, size);
    case MPROC_CANCELLED: return snprintf(text, size, "cancelled: it did not start");
    case MPROC_LOST: return snprintf(text, size, "lost: it was broken off, and may have run in part");
    default: return snprintf(text, size, "%s", mproc_outcome_name(outcome->kind));
    }
}
