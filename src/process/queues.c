/* Roles that a process is given in queues at its start. SPDX-License-Identifier: MIT */
#include "process/queues.h"

#include "base/report.h"
#include "channel/roles.h"

#include <errno.h>
#include <mproc/error.h>

/* All or none. */
static int reserve(struct start *start, mproc_queue *const *queues, size_t count, unsigned role, const char *option)
{
    struct process_record *record = start->setup.record;
    struct mproc_error *error = start->arguments->error;
    for (size_t i = 0; i < count; i++) {
        if (!queue_of(queues[i]))
            return report(error, queues[i] ? MPROC_E_NOT_INITIALISED : -EINVAL, "mproc_process_start: %s[%zu]", option,
                          i);
        if (!roles_reserve(queues[i], member_self(), role, &record->queues[record->queues_count]))
            return report(error, -ENOMEM, "mproc_process_start: %s[%zu]", option, i);
        record->queues_count++;
    }
    return 0;
}

int queues_reserve(struct start *start)
{
    const struct mproc_process_start_arguments *arguments = start->arguments;
    int err = reserve(start, arguments->reads_from, arguments->reads_from_count, MPROC_QUEUE_READER, ".reads_from");
    return err ? err
               : reserve(start, arguments->writes_to, arguments->writes_to_count, MPROC_QUEUE_WRITER, ".writes_to");
}

bool queues_adopt(const struct process_record *record)
{
    struct member *self = record->queues_count ? member_self() : NULL;
    for (size_t i = 0; self && i < record->queues_count; i++)
        roles_adopt(&record->queues[i], self);
    return self || record->queues_count == 0;
}

void queues_drop(struct process_record *record)
{
    struct member *self = record && record->queues_count ? member_self() : NULL;
    for (size_t i = 0; self && i < record->queues_count; i++)
        roles_drop(&record->queues[i], self);
    if (self)
        record->queues_count = 0;
}
