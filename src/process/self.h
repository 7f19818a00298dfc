/* What a process knows of itself. SPDX-License-Identifier: MIT */
#ifndef PROCESS_SELF_H
#define PROCESS_SELF_H

#include "process/record.h"

#include <mproc/process.h>

/* The handles of mproc_current_process and mproc_parent_process. */
mproc_process *self_handle(void);
mproc_process *self_parent_handle(void);

/* The calling process is the one that the record is about; its parent holds the leash. */
void self_become(struct process_record *record, int leash);

/* Has the parent know that the function has returned, and what. */
void self_finished(void);

/* The calling process's record; NULL if it was not started by mproc_process_start. */
struct process_record *self_record(void);

/* Polls readable when the parent has ended; -1 if there is none. */
int self_leash(void);

const char *self_name(void);

#endif
