/* Roles that a process is given in queues at its start. SPDX-License-Identifier: MIT */
#ifndef PROCESS_QUEUES_H
#define PROCESS_QUEUES_H

#include "process/start.h"

/* Reserves them, and notes them in the record. Returns 0, or the error of mproc_process_start, reported. */
int queues_reserve(struct start *start);

/* In the new process. False if it cannot be one of the family's. */
bool queues_adopt(const struct process_record *record);

/* In the starting process, once the other has ended, or was not started. Can be repeated. */
void queues_drop(struct process_record *record);

#endif
