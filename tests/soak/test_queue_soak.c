/* Many processes that put into a queue and take from it by all calls there are, with random options, and are killed at
 * random, for as long as is wished: MPROC_SOAK_SECONDS. MPROC_SOAK_SEED repeats what a run has printed.
 * SPDX-License-Identifier: MIT
 *
 * Checked: what was put by a call that returned is taken exactly once, or is gone with who took it; delivered again, it
 * is finished exactly once; nothing else is taken; bytes and order are right; nobody waits for ever; in the end the
 * queue is empty, and so is the heap.
 */
#include "queue_soak.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PLAYERS_MOST = 10, RESERVE = 300 /* journals for the end of a round */ };

struct player {
    pid_t pid;
    bool consumes;
    uint32_t journal;
};

struct game {
    struct round round;
    struct player players[PLAYERS_MOST];
    int count, consumers;
    unsigned seed;
};

enum ending { CLOSED, NO_WRITERS, NO_READERS, ENDINGS };

static int pick(struct game *game, int count)
{
    return rand_r(&game->seed) % count;
}

/* ---- processes */

static uint32_t new_journal(struct game *game, bool consumes)
{
    struct journals *journals = game->round.journals;
    assert_true(journals->count < JOURNALS);
    journals->all[journals->count].consumes = consumes;
    return journals->count++;
}

static void start(struct game *game, struct player *player, bool consumes)
{
    player->consumes = consumes;
    player->journal = new_journal(game, consumes);
    player->pid = fork();
    assert_true(player->pid >= 0);
    if (player->pid != 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (consumes)
        be_consumer(&game->round, player->journal);
    be_producer(&game->round, player->journal);
}

/* True if it has ended. */
static bool reap(struct game *game, struct player *player, int options)
{
    int status;
    if (player->pid == 0 || waitpid(player->pid, &status, options) == 0)
        return player->pid == 0;
    player->pid = 0;
    struct journal *journal = &game->round.journals->all[player->journal];
    journal->killed = WIFSIGNALED(status);
    if (journal->killed ? WTERMSIG(status) != SIGKILL : WEXITSTATUS(status) != 0) /* it found something wrong */
        fail_msg("status %#x; MPROC_SOAK_SEED=%u", (unsigned)status, game->round.seed);
    return true;
}

static void kill_someone(struct game *game, struct totals *totals)
{
    struct player *player = &game->players[pick(game, game->count)];
    if (player->pid == 0)
        return;
    kill(player->pid, SIGKILL);
    reap(game, player, 0);
    totals->kills++;
}

/* ---- a round */

static void choose_options(struct game *game)
{
    struct mproc_queue_arguments *options = &game->round.options;
    *options = (struct mproc_queue_arguments) { .size = sizeof *options };
    if (pick(game, 3))
        options->messages = 1 + (size_t)pick(game, pick(game, 2) ? 4 : 200);
    if (pick(game, 2))
        options->bytes = 1 + (size_t)pick(game, 300000);
    options->redeliver = pick(game, 3) == 0;
    options->joinable = pick(game, 3) == 0;
    if (options->redeliver && pick(game, 3) == 0)
        options->deliveries = 1 + (unsigned)pick(game, 4);
    game->round.joinable = options->redeliver || options->joinable;
}

static void begin(struct game *game, unsigned seed)
{
    struct round *round = &game->round;
    memset(game, 0, sizeof *game);
    game->seed = round->seed = seed;
    choose_options(game);
    round->journals =
        mmap(NULL, sizeof *round->journals, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(round->journals, MAP_FAILED);
    round->slots = mproc_calloc(JOURNALS, sizeof *round->slots);
    assert_non_null(round->slots);
    assert_int_equal(mproc_queue_create_with(&round->queue, &round->options), 0);
    game->consumers = 1 + pick(game, PLAYERS_MOST / 2);
    game->count = game->consumers + 1 + pick(game, PLAYERS_MOST / 2);
    for (int i = 0; i < game->count; i++)
        start(game, &game->players[i], i < game->consumers);
}

static uint32_t operations(const struct game *game)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < game->round.journals->count; i++)
        sum += atomic_load(&game->round.journals->all[i].operations);
    return sum;
}

/* Processes come in the place of those that were killed, or have filled their journals. */
static void play(struct game *game, struct totals *totals)
{
    int pause = 1 << pick(game, 15); /* microseconds */
    double end = harness_now() + 0.2 + pick(game, 1000) / 1000.0, progress = harness_now();
    uint32_t seen = 0;
    while (harness_now() < end && game->round.journals->count < JOURNALS - RESERVE) {
        usleep((useconds_t)pick(game, pause));
        kill_someone(game, totals);
        for (int i = 0; i < game->count; i++)
            if (reap(game, &game->players[i], WNOHANG))
                start(game, &game->players[i], game->players[i].consumes);
        uint32_t now = operations(game);
        if (now != seen)
            progress = harness_now();
        seen = now;
        if (harness_now() - progress > HARNESS_PATIENCE / 1000.0)
            fail_msg("nobody gets on; MPROC_SOAK_SEED=%u", game->round.seed);
    }
}

/* Returns what take_one does once it takes no more. */
static int drain(struct game *game, int64_t timeout)
{
    struct journals *journals = game->round.journals;
    uint32_t me = new_journal(game, true);
    for (int err;;) {
        if (atomic_load(&journals->all[me].count) == ENTRIES)
            me = new_journal(game, true);
        if ((err = take_one(&game->round, me, timeout)) != 0)
            return err;
    }
}

/* Waits for the processes to end, and kills some of them now and then. */
static void await(struct game *game, bool consumers, bool drains, struct totals *totals)
{
    double end = harness_now() + HARNESS_PATIENCE / 1000.0;
    bool kills = pick(game, 2);
    int drained = 0, from = consumers ? 0 : game->consumers;
    for (bool all = false; !all;) {
        all = true;
        for (int i = from; i < game->count; i++)
            all &= reap(game, &game->players[i], WNOHANG);
        if (harness_now() > end)
            fail_msg("somebody does not end; MPROC_SOAK_SEED=%u", game->round.seed);
        if (!all && kills && pick(game, 20) == 0)
            kill_someone(game, totals);
        if (!all && drains && drained++ < RESERVE / 2)
            drain(game, 0);
        if (!all)
            usleep(500);
    }
}

/* In one of the ways in which a queue's use ends. */
static void end(struct game *game, struct totals *totals)
{
    struct journals *journals = game->round.journals;
    mproc_queue *queue = game->round.queue;
    enum ending ending = (enum ending)pick(game, ENDINGS);
    bool limited = game->round.options.messages || game->round.options.bytes;
    atomic_store(&journals->ending, true);
    if (ending == NO_READERS) {
        atomic_store(&journals->stop_taking, true);
        atomic_store(&journals->stop_putting, !limited);
        assert_int_equal(mproc_queue_detach(queue, MPROC_QUEUE_READER), 0);
        await(game, false, false, totals);
    }
    if (ending == NO_WRITERS) {
        atomic_store(&journals->stop_putting, true);
        assert_int_equal(mproc_queue_detach(queue, MPROC_QUEUE_WRITER), 0);
    } else
        assert_int_equal(mproc_queue_close(queue), 0);
    await(game, true, ending == NO_WRITERS, totals);
    int err = drain(game, MPROC_MS(HARNESS_PATIENCE));
    if (err != (ending == NO_WRITERS ? MPROC_E_NO_WRITERS : MPROC_E_CLOSED))
        fail_msg("the end is told by %d; MPROC_SOAK_SEED=%u", err, game->round.seed);
}

static void finish(struct game *game, struct totals *totals)
{
    struct round *round = &game->round;
    struct doubts doubts = { 0 };
    check_messages(round, &doubts, totals);
    assert_int_equal(mproc_queue_free(round->queue), 0);
    check_heap(round, &doubts, totals);
    mproc_free(round->slots);
    munmap(round->journals, sizeof *round->journals);
    totals->rounds++;
}

static double seconds(void)
{
    const char *text = getenv("MPROC_SOAK_SECONDS");
    return text ? atof(text) : 60;
}

static void every_message_is_taken_once_whoever_is_killed(void **state)
{
    (void)state;
    static struct game game;
    struct totals totals = { 0 };
    const char *text = getenv("MPROC_SOAK_SEED");
    unsigned seed = text ? (unsigned)strtoul(text, NULL, 10) : (unsigned)time(NULL);
    printf("seed %u\n", seed);
    for (double until = harness_now() + seconds(); harness_now() < until || totals.rounds == 0;) {
        begin(&game, seed++);
        play(&game, &totals);
        end(&game, &totals);
        finish(&game, &totals);
    }
    printf("%ld rounds, %ld processes killed; %ld messages put, %ld taken, %ld of them again; %ld lost with who took "
           "them, and %ld blocks\n",
           totals.rounds, totals.kills, totals.put, totals.taken, totals.again, totals.lost, totals.blocks_left);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_message_is_taken_once_whoever_is_killed),
};

HARNESS_MAIN_SECONDS(tests, 300 + (int)seconds())
