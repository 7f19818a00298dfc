/* Which jobs there are: where workers find work, and callers hear that it is done. SPDX-License-Identifier: MIT */
#ifndef POOL_BOARD_H
#define POOL_BOARD_H

#include "pool/shared.h"

#include <stdbool.h>

/* Makes a job enterable, and calls workers. Its struct is complete. */
void board_publish(struct pool_shared *pool, struct job *job);

/* After a source of an active job was filled, or by who cannot go on with it. */
void board_open(struct pool_shared *pool, const struct job *job);

/* Where all sources of the job were found empty. */
void board_close(struct pool_shared *pool, const struct job *job);

/* No worker enters the job any more. By the caller only. */
void board_withdraw(struct pool_shared *pool, uint32_t index, uint32_t level);

/* A job that may have items to take, of the highest priority that there is, in turn, and its level; -1 if there is
 * none. */
int board_pick(struct pool_shared *pool, uint32_t *level);

/* Where a worker that has entered what it picked found that there is no such job on that level. */
void board_forget(struct pool_shared *pool, uint32_t index, uint32_t level);

/* True if board_pick might find one. */
bool board_has_work(const struct pool_shared *pool);

/* True if it might find one of a higher priority. */
bool board_has_work_above(const struct pool_shared *pool, uint32_t level);

/* Says that a job is over, if all its items have ended, and tells those who wait. A worker that dies on the way leaves
 * the rest to the supervisor (board_repair). */
void board_announce_if_done(struct pool_shared *pool, struct job *job);

/* Says so in any case. */
void board_announce(struct pool_shared *pool, struct job *job);

/* In the supervisor, after a worker's death: derives anew what it may have left half done. */
void board_repair(struct pool_shared *pool);

/* A bell that a job rings. */
_Atomic uint32_t *board_bell(struct pool_shared *pool, const struct job *job);

/* Wakes all who sleep on a bell. */
void board_ring(_Atomic uint32_t *bell);

/* Has idle workers look for work: wakes one, if some sleep and none spins, which wakes the next. */
void board_call(struct pool_shared *pool);
void board_call_next(struct pool_shared *pool);

/* The same where a job that the caller is in, or the caller's own, may have items for another worker. */
void board_call_for(struct pool_shared *pool, const struct job *job);

/* ---- the worker that spins */

/* Makes a worker the one that spins. False if another one is. */
bool board_begin_spinning(struct pool_shared *pool, unsigned slot);

/* True if the one that spins has been handed a job. */
static inline bool board_has_handed_over(const struct pool_shared *pool)
{
    return atomic_load_explicit(&pool->spinner, memory_order_relaxed) >> 32 != 0;
}

/* Gives up the role. Returns the index of the job that it was handed, which is published in its slot; or -1. */
int board_end_spinning(struct pool_shared *pool, struct worker_slot *slot);

/* In the supervisor, for a worker that has died. */
void board_relieve(struct pool_shared *pool, unsigned slot);

/* All that sleep. */
void board_call_all(struct pool_shared *pool);

/* True if a worker sleeps or spins. */
bool board_has_idle(const struct pool_shared *pool);

/* True if the supervisor is to be told to look, because it would not by itself before a time. Who asks tells it. */
bool board_needs_attention(struct pool_shared *pool, int64_t before);

/* For workers that are processes: tells it, if need be. False if this process may not signal it. */
bool board_call_supervisor(struct pool_shared *pool, int64_t before);

#endif
