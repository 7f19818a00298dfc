/* Running items. SPDX-License-Identifier: MIT */
#include "pool/item.h"

#include "memory/heap.h"
#include "os/clock.h"
#include "os/usage.h"
#include "pool/board.h"
#include "pool/job.h"

#include <mproc/bytes.h>
#include <mproc/error.h>
#include <mproc/task.h>
#include <string.h>
#include <unistd.h>

void runner_enter(struct runner *runner, const void *pool, const void *handle)
{
    runner->context.pool = pool;
    runner->context.handle = handle;
    runner->context.outer = task_context;
    runner->context.message[0] = '\0';
    task_context = &runner->context;
}

void runner_leave(struct runner *runner)
{
    task_context = runner->context.outer;
}

static void *result_of(const struct job *job, uint32_t item)
{
    return job->output + item * job->output_size;
}

void item_drop_result(const struct job *job, uint32_t item)
{
    if (job->output_is_bytes)
        mproc_bytes_free(result_of(job, item));
}

void item_drop_results(const struct job *job)
{
    for (uint32_t item = 0; job->output_is_bytes && item < job->n; item++)
        if (atomic_load(&job->status[item]) == item_status(MPROC_OK))
            item_drop_result(job, item);
}

static void write_failure(const struct runner *runner, int code, struct mproc_outcome *outcome)
{
    memset(outcome, 0, sizeof *outcome);
    outcome->code = code;
    outcome->pid = runner->pid;
    outcome->worker = runner->context.worker;
    outcome->attempts = 1;
    if (runner->context.message[0] == '\0')
        return;
    outcome->line = runner->context.line;
    memcpy(outcome->file, runner->context.file, sizeof outcome->file);
    memcpy(outcome->message, runner->context.message, sizeof outcome->message);
}

/* A worker's own memory would be nothing to the caller. */
static int check_bytes(char *output)
{
    struct mproc_bytes *bytes = (struct mproc_bytes *)(void *)output;
    if (!bytes->data || heap_contains(bytes->data, bytes->size))
        return 0;
    *bytes = (struct mproc_bytes) { NULL, 0 };
    return mproc_task_fail_at(NULL, 0, MPROC_E_NOT_ALLOCATED,
                              "the bytes of the result are not from mproc_bytes_allocate or mproc_bytes_copy");
}

/* Calls the task once. A child that it has forked, and that ought to have ended, ends here. */
static inline int call(struct runner *runner, const char *input, char *output, bool is_bytes)
{
    runner->context.message[0] = '\0';
    int code = runner->call(input, output);
    if (__builtin_expect(runner->self && member_current() != runner->self, 0))
        _exit(code & 0xff);
    return __builtin_expect(is_bytes, 0) && code == 0 ? check_bytes(output) : code;
}

static __attribute__((noinline)) void fail(struct runner *runner, struct job *job, uint32_t item, int code)
{
    item_drop_result(job, item);
    if (job->outcomes)
        write_failure(runner, code, &job->outcomes[item]);
    job_end_item(job, item, MPROC_FAILED);
}

/* What is constant is read once: tasks are functions that the compiler does not see. */
uint32_t item_run_range(struct runner *runner, struct job *job, uint32_t first, uint32_t end)
{
    const size_t input_size = job->input_size, output_size = job->output_size;
    const char *input = job->input + first * input_size;
    char *output = job->output + first * output_size;
    _Atomic uint8_t *const status = job->status;
    _Atomic uint32_t *const running = &runner->slot->running;
    const bool is_bytes = job->output_is_bytes;
    uint32_t item = first;
    for (; item < end && !job_is_cancelled(job); item++, input += input_size, output += output_size) {
        atomic_store_explicit(running, item, memory_order_relaxed);
        /* A task that kills its process must not do so before the store above, whatever the compiler thinks; the
         * processor keeps the order for whoever sees the death. */
        atomic_signal_fence(memory_order_seq_cst);
        int code = call(runner, input, output, is_bytes);
        /* As job_end_item: the result comes before the status. */
        if (__builtin_expect(code == 0, 1))
            atomic_store_explicit(&status[item], item_status(MPROC_OK), memory_order_release);
        else
            fail(runner, job, item, code);
        /* Not after the next item is announced: a death in between would run this one again. */
        atomic_signal_fence(memory_order_seq_cst);
    }
    return item;
}

/* ---- watched */

static bool is_terminating(const struct runner *runner)
{
    if (runner->pool) /* processes are killed, and must not seem to have ended by themselves */
        return runner->pool->supervisor_pid == 0 && pool_is_terminating(runner->pool);
    return runner->terminated && atomic_load(runner->terminated);
}

bool runner_is_stopped(const struct task_context *context)
{
    const struct runner *runner = (const struct runner *)(const void *)context;
    const struct job *job = runner->job;
    if (is_terminating(runner))
        return true;
    if (!job)
        return false;
    uint64_t state = atomic_load_explicit(&runner->slot->stop, memory_order_acquire) & STOP_STATE_MASK;
    if (atomic_load_explicit(&job->stop_running, memory_order_acquire) || state == STOP_ASKED || state == STOP_DOOMED)
        return true;
    return job->timeout && os_now() - atomic_load_explicit(&runner->slot->started, memory_order_relaxed) > job->timeout;
}

/* An earlier task has changed the process's user: nobody would be told to stop this one. It goes back. */
static _Noreturn void give_up(struct runner *runner)
{
    atomic_store(&runner->slot->running, NOT_RUNNING);
    atomic_store(&runner->slot->ending, WORKER_TO_BE_REPLACED);
    _exit(0);
}

static int64_t begin(struct runner *runner, struct job *job, uint32_t item)
{
    struct worker_slot *slot = runner->slot;
    int64_t now = os_now();
    unsigned before = job->records ? job->records[item].attempts : 0;
    if (job->records) {
        struct item_record *record = &job->records[item];
        record->pid = (uint32_t)runner->pid;
        record->worker = (uint16_t)runner->context.worker;
        record->started = now;
    }
    runner->context.attempt = (int)before + 1;
    runner->number = (atomic_load_explicit(&slot->stop, memory_order_relaxed) >> STOP_NUMBER_SHIFT) + 1;
    atomic_store_explicit(&slot->started, now, memory_order_relaxed);
    atomic_store_explicit(&slot->running, item, memory_order_relaxed);
    /* Sequentially consistent: the supervisor, which is about to look, sees it, or this sees when it looks next. */
    atomic_store(&slot->stop, runner->number << STOP_NUMBER_SHIFT | STOP_NONE);
    int64_t due = atomic_load(&job->stop_running)       ? INT64_MIN
                  : job->timeout >= INT64_MAX - now - 1 ? INT64_MAX
                                                        : now + job->timeout + 1;
    if ((job->timeout || due == INT64_MIN) && runner->pool && runner->pool->supervisor_pid &&
        !board_call_supervisor(runner->pool, due))
        give_up(runner);
    runner->cpu_started = job->usage ? os_thread_cpu_time() : 0;
    atomic_signal_fence(memory_order_seq_cst);
    return now;
}

/* Nobody stops the item from here on. Returns whether it was asked to stop. One that was doomed ends its process: how
 * the item ended is the supervisor's to say. */
static bool end(struct runner *runner)
{
    uint64_t seen = runner->number << STOP_NUMBER_SHIFT | STOP_NONE;
    uint64_t ended = runner->number << STOP_NUMBER_SHIFT | STOP_ENDED;
    if (atomic_compare_exchange_strong(&runner->slot->stop, &seen, ended))
        return false;
    if ((seen & STOP_STATE_MASK) == STOP_ASKED && atomic_compare_exchange_strong(&runner->slot->stop, &seen, ended))
        return true;
    _exit(0);
}

static enum mproc_outcome_kind kind_of(const struct runner *runner, const struct job *job, int code, int64_t ran,
                                       bool asked)
{
    bool cancelled = atomic_load(&job->stop_running);
    if (job->timeout && (ran > job->timeout || (asked && !cancelled)))
        return MPROC_TIMED_OUT;
    if (asked || cancelled)
        return MPROC_CANCELLED;
    if (code == 0)
        return MPROC_OK;
    return is_terminating(runner) ? MPROC_CANCELLED : MPROC_FAILED;
}

static bool is_retried(const struct job *job, uint32_t item, enum mproc_outcome_kind kind)
{
    unsigned reason = kind == MPROC_FAILED ? MPROC_RETRY_FAILED : kind == MPROC_TIMED_OUT ? MPROC_RETRY_TIMED_OUT : 0;
    return (job->retry_on & reason) && !job_is_cancelled(job) && job->records[item].attempts + 1 < job->attempts_most;
}

static void measure(const struct runner *runner, struct job *job, uint32_t item, int64_t ran)
{
    if (!job->records)
        return;
    struct item_record *record = &job->records[item];
    record->ran = ran;
    if (job->usage) {
        record->cpu_time = os_thread_cpu_time() - runner->cpu_started;
        record->peak_memory = os_peak_memory();
    }
}

int64_t item_run_watched(struct runner *runner, struct job *job, uint32_t item)
{
    int64_t first = 0;
    for (;;) {
        int64_t started = begin(runner, job, item);
        first = first ? first : started;
        int code = call(runner, job->input + item * job->input_size, result_of(job, item), job->output_is_bytes);
        int64_t ended = os_now();
        bool asked = end(runner);
        enum mproc_outcome_kind kind = kind_of(runner, job, code, ended - started, asked);
        measure(runner, job, item, ended - started);
        if (kind != MPROC_OK)
            item_drop_result(job, item);
        if (is_retried(job, item, kind)) {
            job->records[item].attempts++;
            runner->retried++;
            continue;
        }
        if (kind != MPROC_OK && job->outcomes)
            write_failure(runner, kind == MPROC_FAILED ? code : 0, &job->outcomes[item]);
        job_end_item(job, item, kind);
        atomic_signal_fence(memory_order_seq_cst);
        return ended - first;
    }
}

/* ---- afterwards */

struct mproc_outcome item_outcome(const struct job *job, uint32_t item, enum mproc_outcome_kind kind)
{
    struct mproc_outcome outcome = { .worker = -1 };
    bool has_detail =
        kind == MPROC_FAILED || kind == MPROC_CRASHED || kind == MPROC_TIMED_OUT || kind == MPROC_OVER_MEMORY;
    if (has_detail && job->outcomes)
        outcome = job->outcomes[item];
    outcome.kind = kind;
    const struct item_record *record = job->records ? &job->records[item] : NULL;
    if (record && record->started) {
        outcome.pid = (pid_t)record->pid;
        outcome.worker = record->worker;
        outcome.attempts = record->attempts + 1;
        outcome.waited = record->started - job->submitted;
        outcome.ran = record->ran;
        outcome.cpu_time = record->cpu_time;
        outcome.peak_memory = record->peak_memory;
    }
    return outcome;
}
