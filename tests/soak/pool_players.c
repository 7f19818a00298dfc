/* A caller that uses pools at random, and checks each outcome. SPDX-License-Identifier: MIT */
#include "pool_soak.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { THREADS = 4, MOST = 300, FUTURES = 16, CALLBACKS = 64, UNTOUCHED = -1 };

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s; seed %u\n", __FILE__, __LINE__, #condition, caller_seed);                      \
            _exit(100);                                                                                                \
        }                                                                                                              \
    } while (0)

static unsigned caller_seed;
static struct totals *totals;

/* ---- tasks */

enum deed { WORK, FAIL, LINGER, UNTIL_ASKED, CRASH, EXIT, DEEDS };

struct item {
    _Atomic int *starts; /* in memory that is shared with workers: how often it was started */
    enum deed deed;
    int value;
};

static int plus_one(const int *in, int *out)
{
    *out = *in + 1;
    return 0;
}
MPROC_TASK(plus_one);

static int do_item(const struct item *item, int *result)
{
    int inner_in = item->value, inner_out = 0;
    atomic_fetch_add(item->starts, 1);
    switch (item->deed) {
    case WORK: break;
    case FAIL: return mproc_task_fail(item->value, "%d fails", item->value);
    case LINGER: usleep((useconds_t)(item->value % 2000)); break;
    case UNTIL_ASKED:
        while (!mproc_stop_requested())
            usleep(200);
        break;
    case CRASH: raise(SIGKILL); break;
    case EXIT: exit(3);
    case DEEDS: break;
    }
    if (item->value % 50 == 0 &&
        (mproc_map(NULL, plus_one, &inner_in, &inner_out, 1) != 0 || inner_out != inner_in + 1))
        return -1;
    *result = item->value + 1;
    return 0;
}
MPROC_TASK(do_item);

static int double_bytes(const struct mproc_bytes *in, struct mproc_bytes *out)
{
    char *room = mproc_bytes_allocate(out, 2 * in->size);
    if (!room)
        return mproc_task_fail(errno, "no room");
    memcpy(room, in->data, in->size);
    memcpy(room + in->size, in->data, in->size);
    if (in->size % 7 == 0)
        return mproc_task_fail(7, "seven");
    if (in->size % 31 == 0)
        raise(SIGKILL);
    return 0;
}
MPROC_TASK(double_bytes);

/* ---- a thread of a caller, and the calls that it makes */

struct callback {
    _Atomic int calls;
    bool expected;
};

struct player {
    mproc_pool *pool;
    pthread_t thread;
    unsigned seed;
    bool bytes, threads; /* uses bytes; the pool's workers are threads */
    bool broken;         /* the pool was, and no more calls are made */
    _Atomic int *starts; /* MOST of them; and one for items that may be started after the call has ended */
    bool counted;        /* starts are those of the items */
    struct item items[MOST];
    int results[MOST];
    struct mproc_outcome outcomes[MOST];
    struct callback callbacks[CALLBACKS];
    int callbacks_used;
    /* Of the call under way: */
    struct mproc_map_arguments call;
    bool cancelled;
};

static int pick(struct player *player, int count)
{
    return rand_r(&player->seed) % count;
}

/* Fills the items, and chooses options; the items may run for ever only if there is a timeout. */
static void prepare(struct player *player, int n, bool may_hang, bool counted)
{
    struct mproc_map_arguments *call = &player->call;
    *call = (struct mproc_map_arguments) {
        .size = sizeof *call,
        .function = (mproc_function *)do_item,
        .name = "do_item",
        .input = player->items,
        .input_size = sizeof player->items[0],
        .output = player->results,
        .output_size = sizeof player->results[0],
        .types_checked = true,
        .n = (size_t)n,
        .outcomes = player->outcomes,
        .chunk = (size_t)pick(player, 5),
        .priority = pick(player, 7) - 3,
        .usage = pick(player, 4) == 0,
    };
    if (pick(player, 3) == 0) {
        call->retries = pick(player, 4);
        call->retry_on = (unsigned)pick(player, 16);
    }
    if (pick(player, 3) == 0)
        call->timeout = MPROC_MS(1 + pick(player, 10));
    bool dull = pick(player, 2);
    for (int i = 0; i < n; i++) {
        enum deed deed = dull || pick(player, 20) ? WORK : (enum deed)pick(player, player->threads ? CRASH : DEEDS);
        if (deed == UNTIL_ASKED && !(call->timeout || may_hang))
            deed = LINGER;
        player->items[i] = (struct item) { &player->starts[counted ? i : MOST], deed, 1 + pick(player, 1000) };
        player->results[i] = UNTOUCHED;
        atomic_store(&player->starts[i], 0);
    }
    memset(player->outcomes, 0x55, sizeof player->outcomes);
    player->cancelled = false;
    player->counted = counted;
}

static bool is_broken(int err)
{
    return err == MPROC_E_SUPERVISOR_DIED || err == MPROC_E_TERMINATED || err == MPROC_E_CLOSED;
}

/* One outcome: that it can be, and that the result and the number of starts go with it. */
static void check_item(struct player *player, int i, const struct mproc_outcome *outcome, int result, int err)
{
    const struct item *item = &player->items[i];
    int starts = atomic_load(item->starts), most = 1 + player->call.retries;
    switch ((int)outcome->kind) {
    case MPROC_OK:
        CHECK(item->deed == WORK || item->deed == LINGER || item->deed == UNTIL_ASKED);
        CHECK(item->deed != UNTIL_ASKED || player->cancelled || is_broken(err));
        CHECK(!player->counted || starts >= 1);
        totals->ok++;
        break;
    case MPROC_FAILED: CHECK(item->deed == FAIL && outcome->code == item->value); break;
    case MPROC_CRASHED:
        CHECK(outcome->signal == SIGKILL || (outcome->signal == 0 && item->deed == EXIT && outcome->exit_status == 3));
        CHECK(outcome->pid > 0);
        totals->crashed++;
        break;
    case MPROC_TIMED_OUT:
        CHECK(player->call.timeout > 0);
        totals->timed_out++;
        break;
    case MPROC_CANCELLED:
        CHECK(player->cancelled || is_broken(err));
        CHECK(!player->counted || outcome->attempts > 0 || starts == 0);
        totals->cancelled++;
        break;
    case MPROC_LOST:
        CHECK(is_broken(err));
        totals->lost++;
        break;
    default: CHECK(!"a kind of outcome that there cannot be");
    }
    CHECK(outcome->attempts >= 0 && outcome->attempts <= most);
    CHECK(!player->counted || starts <= (outcome->attempts > 0 ? outcome->attempts : most));
    CHECK(outcome->attempts > 0 || outcome->kind == MPROC_CANCELLED || outcome->kind == MPROC_LOST);
    if (!player->threads)
        CHECK(outcome->kind == MPROC_OK ? result == item->value + 1 : result == UNTOUCHED);
    else
        CHECK(outcome->kind != MPROC_OK || result == item->value + 1);
    totals->items++;
}

/* All of the call that has returned `err`. */
static void check_call(struct player *player, int err)
{
    int bad = 0;
    if (err == MPROC_E_CLOSED) { /* it did not begin */
        player->broken = true;
        return;
    }
    CHECK(err >= 0 || is_broken(err));
    player->broken |= err < 0;
    for (size_t i = 0; i < player->call.n; i++) {
        check_item(player, (int)i, &player->outcomes[i], player->results[i], err);
        bad += player->outcomes[i].kind != MPROC_OK;
    }
    CHECK(err < 0 || err == bad);
}

static void call_map(struct player *player)
{
    prepare(player, 1 + pick(player, pick(player, 3) ? 20 : MOST), false, true);
    check_call(player, mproc_map_with(player->pool, &player->call));
}

static void call_map_async(struct player *player)
{
    mproc_future *future = NULL;
    prepare(player, 1 + pick(player, MOST), true, true);
    bool hangs = !player->call.timeout;
    int err = mproc_map_async_with(&future, player->pool, &player->call);
    if (err) {
        CHECK(is_broken(err));
        player->broken = true;
        return;
    }
    for (int i = pick(player, 4); i > 0; i--) {
        err = mproc_future_wait(future, MPROC_US(pick(player, 3000)));
        if (err != -ETIMEDOUT)
            break;
    }
    if (hangs || pick(player, 3) == 0) {
        player->cancelled = true;
        CHECK(mproc_future_cancel(future) == 0);
    }
    err = mproc_future_wait(future, MPROC_FOREVER);
    CHECK(err == mproc_future_wait(future, 0));
    check_call(player, err);
    for (size_t i = 0; i < player->call.n; i++) {
        struct mproc_outcome outcome;
        CHECK(mproc_future_outcome(future, i, &outcome) == 0 && outcome.kind == player->outcomes[i].kind);
    }
    CHECK(mproc_future_free(future) == 0);
}

static void note_done(mproc_future *future, void *context)
{
    struct mproc_outcome outcome;
    struct callback *callback = context;
    int err = future ? mproc_future_outcome(future, 0, &outcome) : MPROC_E_CLOSED;
    CHECK(err == 0 || err == MPROC_E_CLOSED); /* freed, by a thread that does not wait for it */
    callback->calls++;
}

/* Several futures, of which some are cancelled, some freed, and one has a callback; all items of one prepared
 * call. */
static void call_submit(struct player *player)
{
    mproc_future *futures[FUTURES] = { NULL };
    int count = 1 + pick(player, FUTURES), begun = 0, err;
    prepare(player, count, false, true);
    struct mproc_map_arguments all = player->call;
    for (; begun < count; begun++) {
        struct mproc_map_arguments one = all;
        one.input = &player->items[begun];
        one.output = &player->results[begun];
        one.outcomes = &player->outcomes[begun];
        one.n = 1;
        if (pick(player, 8) == 0 && player->callbacks_used < CALLBACKS) {
            one.on_done = note_done;
            one.on_done_context = &player->callbacks[player->callbacks_used++];
            ((struct callback *)one.on_done_context)->expected = true;
        }
        err = mproc_map_async_with(&futures[begun], player->pool, &one);
        if (err == 0)
            continue;
        if (one.on_done)
            ((struct callback *)one.on_done_context)->expected = false;
        CHECK(is_broken(err));
        player->broken = true;
        break;
    }
    player->call.n = 1; /* outcomes are of one item each */
    for (int left = begun; left > 0; left--) {
        int i = mproc_future_wait_any(futures, begun, MPROC_FOREVER);
        CHECK(i >= 0 && i < begun && futures[i]);
        err = mproc_future_wait(futures[i], 0);
        CHECK(err == 0 || err == 1 || is_broken(err));
        player->broken |= err < 0;
        CHECK(err < 0 || err == (player->outcomes[i].kind != MPROC_OK));
        check_item(player, i, &player->outcomes[i], player->results[i], err);
        CHECK(mproc_future_free(futures[i]) == 0);
        futures[i] = NULL;
    }
}

/* Nobody asks for these, so that their results and starts stay unknown. */
static void call_and_forget(struct player *player)
{
    static int ignored; /* written by some thread or other */
    mproc_future *future = NULL;
    int number = pick(player, 100), err;
    if (player->callbacks_used == CALLBACKS || pick(player, 2)) {
        err = mproc_submit(&future, player->pool, plus_one, &number, &ignored);
        CHECK(err == 0 || is_broken(err));
        player->broken |= err != 0;
        CHECK(mproc_future_free(future) == 0);
        return;
    }
    struct callback *callback = &player->callbacks[player->callbacks_used++];
    callback->expected = true;
    err = mproc_submit(NULL, player->pool, plus_one, &number, &ignored, .on_done = note_done,
                       .on_done_context = callback);
    CHECK(err == 0 || is_broken(err));
    callback->expected = err == 0;
    player->broken |= err != 0;
}

static void call_imap(struct player *player)
{
    struct mproc_imap_item item;
    mproc_imap *results = NULL;
    int result = UNTOUCHED, n = 1 + pick(player, MOST), take = pick(player, 3) ? n : pick(player, n + 1), err = 1;
    prepare(player, n, false, take == n);
    struct mproc_map_arguments call = player->call;
    call.output = &result;
    call.outcomes = NULL;
    call.unordered = pick(player, 2);
    call.window = (size_t)pick(player, 40);
    char seen[MOST] = { 0 };
    int begun = mproc_imap_with(&results, player->pool, &call);
    CHECK(begun == 0 || is_broken(begun));
    for (int i = 0; begun == 0 && i < take && err == 1; i++) {
        result = UNTOUCHED;
        err = mproc_imap_next(results, &item, MPROC_FOREVER);
        if (err != 1)
            break;
        CHECK(item.index < (size_t)n && !seen[item.index]++);
        CHECK(call.unordered || item.index == (size_t)i);
        check_item(player, (int)item.index, &item.outcome, result, MPROC_E_TERMINATED); /* may be about to be */
    }
    CHECK(err == 1 || is_broken(err));
    player->broken |= begun != 0 || err != 1;
    if (begun == 0 && err == 1 && take == n)
        CHECK((err = mproc_imap_next(results, &item, MPROC_FOREVER)) == 0 || is_broken(err));
    CHECK(mproc_imap_free(results) == 0);
}

static void call_bytes(struct player *player)
{
    enum { N = 20 };
    char text[1000];
    struct mproc_bytes in[N], out[N];
    struct mproc_outcome outcomes[N];
    memset(text, 'x', sizeof text);
    for (int i = 0; i < N; i++)
        in[i] = (struct mproc_bytes) { text, (size_t)(1 + pick(player, player->threads ? 30 : 1000)) };
    int err = mproc_map(player->pool, double_bytes, in, out, N, .outcomes = outcomes, .chunk = 3);
    CHECK(err >= 0 || is_broken(err));
    player->broken |= err < 0;
    for (int i = 0; i < N && err != MPROC_E_CLOSED; i++) {
        if (outcomes[i].kind != MPROC_OK)
            continue;
        CHECK(out[i].size == 2 * in[i].size && in[i].size % 7 != 0);
        CHECK(memcmp(out[i].data, text, in[i].size) == 0);
        CHECK(mproc_bytes_free(&out[i]) == 0);
    }
}

static void call_others(struct player *player)
{
    struct mproc_pool_statistics statistics = { .size = sizeof statistics };
    int err = mproc_pool_statistics(player->pool, &statistics);
    CHECK(err == 0 || is_broken(err));
    err = mproc_pool_resize(player->pool, 1 + pick(player, 6));
    CHECK(err == 0 || is_broken(err));
    err = mproc_pool_dispatch(player->pool);
    CHECK(err >= 0 || is_broken(err));
    err = mproc_pool_join(player->pool, MPROC_US(pick(player, 2000)));
    CHECK(err == 0 || err == -ETIMEDOUT || is_broken(err));
}

static void *play(void *argument)
{
    struct player *player = argument;
    for (int steps = 1 + pick(player, 60); steps > 0 && !player->broken && !totals->stop; steps--) {
        switch (pick(player, 8)) {
        case 0:
        case 1: call_map(player); break;
        case 2: call_map_async(player); break;
        case 3: call_submit(player); break;
        case 4: call_and_forget(player); break;
        case 5: call_imap(player); break;
        case 6:
            if (player->bytes)
                call_bytes(player);
            break;
        default: call_others(player);
        }
        totals->operations++;
    }
    return NULL;
}

/* ---- the caller */

static void open_some_pool(struct player *first)
{
    unsigned *seed = &first->seed;
    first->threads = rand_r(seed) % 4 == 0;
    int workers = 1 + rand_r(seed) % 5, err;
    do
        err = mproc_pool_open(&first->pool, .backend = first->threads ? MPROC_THREADS : MPROC_PROCESSES,
                              .workers = workers, .workers_least = rand_r(seed) % 3 ? 0 : 1,
                              .idle_timeout = MPROC_MS(1 + rand_r(seed) % 20),
                              .items_per_worker = rand_r(seed) % 3 ? 0 : 1 + (size_t)rand_r(seed) % 50,
                              .backlog = rand_r(seed) % 2 ? 0 : 1 + (size_t)rand_r(seed) % 10,
                              .start_failures = 1000000, .ask_grace = MPROC_MS(1), .terminate_grace = MPROC_MS(1));
    while (err == MPROC_E_SUPERVISOR_DIED);
    if (err)
        fprintf(stderr, "mproc_pool_open: %s\n", mproc_strerror(err));
    CHECK(err == 0);
    totals->pools++;
}

static void check_callbacks(struct player *player, bool terminated)
{
    for (int i = 0; i < player->callbacks_used; i++) {
        struct callback *callback = &player->callbacks[i];
        CHECK(callback->calls <= callback->expected);
        CHECK(terminated || callback->calls == callback->expected);
    }
}

static void use_a_pool(unsigned seed, bool bytes)
{
    static struct player players[THREADS];
    size_t size = THREADS * (MOST + 1) * sizeof(int);
    _Atomic int *starts = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(starts != MAP_FAILED);
    memset(players, 0, sizeof players);
    players[0].seed = seed;
    open_some_pool(&players[0]);
    int threads = 1 + rand_r(&players[0].seed) % THREADS;
    bool terminates = rand_r(&players[0].seed) % 4 == 0;
    for (int i = 0; i < threads; i++) {
        players[i].pool = players[0].pool;
        players[i].threads = players[0].threads;
        players[i].seed = seed + 1000 * (unsigned)i;
        players[i].starts = starts + i * (MOST + 1);
        players[i].bytes = bytes;
    }
    for (int i = 0; i < threads; i++)
        CHECK(pthread_create(&players[i].thread, NULL, play, &players[i]) == 0);
    if (terminates) {
        usleep((useconds_t)rand_r(&seed) % 50000);
        int err = mproc_pool_terminate(players[0].pool);
        CHECK(err == 0 || err == MPROC_E_SUPERVISOR_DIED);
        totals->terminated++;
    }
    for (int i = 0; i < threads; i++)
        pthread_join(players[i].thread, NULL);
    if (!terminates) {
        int err = mproc_pool_close(players[0].pool);
        CHECK(err == 0 || err == MPROC_E_SUPERVISOR_DIED);
        totals->broken += err != 0;
    }
    for (int i = 0; i < threads; i++)
        check_callbacks(&players[i], terminates);
    CHECK(munmap((void *)starts, size) == 0);
}

_Noreturn void be_caller(struct totals *all, unsigned seed, bool bytes)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    totals = all;
    caller_seed = seed;
    while (!totals->stop)
        use_a_pool(seed += 7777, bytes);
    _exit(0);
}
