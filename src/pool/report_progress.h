/* Telling how far a call has come, and logging what has ended. SPDX-License-Identifier: MIT */
#ifndef POOL_REPORT_PROGRESS_H
#define POOL_REPORT_PROGRESS_H

#include "pool/work.h"

/* How often progress is reported, and logs are written, while results are waited for. */
#define PROGRESS_INTERVAL INT64_C(100000000)

/* While results are waited for; does nothing if it has been called just now. */
void progress_tick(struct work *work, struct pool *pool);

/* When they are there. */
void progress_end(struct work *work, struct pool *pool);

/* Adds what has ended, and is not in the log yet, to it. */
void progress_log(struct work *work);

/* A moment of os_now() in nanoseconds of CLOCK_REALTIME; 0 stays 0. */
int64_t progress_real_time(int64_t monotonic);

/* A report: calls the caller's function. */
void progress_report(struct progress_state *state, const struct mproc_map_arguments *call, bool over);

#endif
