/* Running one item. SPDX-License-Identifier: MIT */
#include "pool/item.h"

#include <string.h>
#include <unistd.h>

void item_enter(struct task_context *context, const void *pool)
{
    context->pool = pool;
    context->outer = task_context;
    context->message[0] = '\0';
    task_context = context;
}

void item_leave(struct task_context *context)
{
    task_context = context->outer;
}

void item_write_failure(const struct task_context *context, int code, struct mproc_outcome *outcome)
{
    memset(outcome, 0, sizeof *outcome);
    outcome->kind = MPROC_FAILED;
    outcome->code = code;
    outcome->pid = getpid();
    memcpy(outcome->message, context->message, sizeof outcome->message);
}
