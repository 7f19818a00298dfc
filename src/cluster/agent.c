/* An agent, from its start to its end. SPDX-License-Identifier: MIT */
#include "cluster/agent.h"

#include "base/report.h"
#include "cluster/program.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/file.h"
#include "process/init.h"

#include <errno.h>
#include <malloc.h>
#include <mproc/error.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)

/* Batches that are so short come a few at a time, so that workers need not wait for the next. */
#define SHORT_BATCH (SECOND / 20)

enum { WATCHED_MOST = 64, ENGINE_DESCRIPTORS_MOST = 4 };

static unsigned room(const struct agent *agent)
{
    unsigned most = agent->self.workers * (agent->batch_took < SHORT_BATCH ? 2 : 1);
    return !agent->leaving && agent->batches < most ? most - agent->batches : 0;
}

static bool has_unsent(const struct agent *agent)
{
    for (const struct session *session = agent->sessions; session; session = session->next)
        for (const struct agent_batch *batch = session->batches; batch; batch = batch->next)
            if (batch->is_done)
                return true;
    return false;
}

/* Until something comes, or it is time. */
static void wait_for_news(struct agent *agent, int signals, int64_t until)
{
    struct pollfd watched[WATCHED_MOST] = { { .fd = signals, .events = POLLIN } };
    int descriptors[ENGINE_DESCRIPTORS_MOST];
    nfds_t count = 1;
    int of_engine = agent->engine->descriptors(agent->connection, descriptors, ENGINE_DESCRIPTORS_MOST);
    for (int i = 0; i < of_engine; i++)
        watched[count++] = (struct pollfd) { .fd = descriptors[i], .events = POLLIN };
    for (const struct session *session = agent->sessions; session && count < WATCHED_MOST; session = session->next)
        if (session->local)
            watched[count++] = (struct pollfd) { .fd = mproc_pool_fd(session->local), .events = POLLIN };
    int64_t wait = until - os_now();
    int64_t most = has_unsent(agent) ? SECOND / 20 : SECOND / 5;
    if (of_engine == 0)
        most = cluster_ask_again_in(&agent->asking, agent->batch_took);
    if (most == 0)
        os_yield();
    wait = wait < 0 ? 0 : wait > most ? most : wait;
    struct timespec time = { wait / SECOND, wait % SECOND };
    if (ppoll(watched, count, &time, NULL) > 0 && watched[0].revents) {
        struct signalfd_siginfo info;
        if (read(signals, &info, sizeof info) == sizeof info)
            agent->leaving = true;
    }
}

static int announce(struct agent *agent, int64_t *next, int64_t now)
{
    int64_t lease = agent->access.options.lease, interval = lease / 5 < SECOND ? lease / 5 : SECOND;
    int64_t early = *next - interval * 3 / 4; /* of news: at most four times as often */
    if (now < early || (now < *next && agent->self.running == agent->batches))
        return 0;
    *next = now + interval;
    agent->self.running = agent->batches;
    if (agent->leaving)
        agent->self.workers = 0;
    int err = agent->engine->announce(agent->connection, &agent->self);
    return err == -EAGAIN ? 0 : err;
}

static int step(struct agent *agent, int64_t *next_tend, int64_t *next_announcement)
{
    int64_t now = os_now();
    int err = 0;
    if (now >= *next_tend) {
        err = agent->engine->tend(agent->connection);
        *next_tend = now + agent->access.options.lease / 5;
    }
    if (!err || err == -EAGAIN)
        err = announce(agent, next_announcement, now);
    if (!err)
        err = agent_send_results(agent);
    if (!err)
        err = agent->engine->fetch(agent->connection, room(agent), &agent_tasks, agent);
    return err == -EAGAIN ? 0 : err;
}

static int serve(struct agent *agent, int signals)
{
    int64_t next_tend = 0, next_announcement = 0;
    int err = 0;
    while (!err && !(agent->leaving && agent->batches == 0)) {
        unsigned before = agent->batches;
        err = step(agent, &next_tend, &next_announcement);
        if (err == MPROC_E_CLOSED)
            return 0;
        if (agent->batches != before)
            agent->asking = (struct asking) { 0, 0 };
        if (!err && !(agent->leaving && agent->batches == 0))
            wait_for_news(agent, signals, next_tend < next_announcement ? next_tend : next_announcement);
    }
    return err;
}

static int run(struct agent *agent, struct mproc_error *error)
{
    sigset_t ends, before;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, &before);
    int signals = os_fd_above_standard(signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK));
    int slack = prctl(PR_GET_TIMERSLACK);
    prctl(PR_SET_TIMERSLACK, 1000); /* nanoseconds */
    int err = signals < 0 ? -errno : serve(agent, signals);
    prctl(PR_SET_TIMERSLACK, slack);
    if (err && signals >= 0)
        report_text(error, err, "mproc_agent_run: %s", agent->engine->message(agent->connection));
    else if (err)
        report(error, err, "mproc_agent_run");
    while (agent->sessions)
        agent_end_session(agent, agent->sessions);
    agent_wait_for_closings(agent);
    if (signals >= 0)
        close(signals);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

static void name_machine(struct agent *agent, const char *name)
{
    char host[40] = "machine";
    gethostname(host, sizeof host - 1);
    if (name)
        snprintf(agent->self.name, sizeof agent->self.name, "%s", name);
    else
        snprintf(agent->self.name, sizeof agent->self.name, "%s:%d", host, (int)getpid());
}

int mproc_agent_run_with(const struct mproc_agent_arguments *arguments)
{
    static const char what[] = "mproc_agent_run";
    if (!arguments)
        return -EINVAL;
    if (arguments->size == 0 || arguments->size > sizeof *arguments)
        return MPROC_E_STRUCT_SIZE;
    struct mproc_agent_arguments full = { 0 };
    memcpy(&full, arguments, arguments->size);
    if (full.workers < 0 || full.workers > MPROC_WORKERS_MAX)
        return report(full.error, -EINVAL, "%s: %d workers, but 1 to %d are possible", what, full.workers,
                      MPROC_WORKERS_MAX);
    if (full.name && (strlen(full.name) >= MPROC_MACHINE_NAME_SIZE || full.name[0] == '\0'))
        return report(full.error, -EINVAL, "%s: the name '%.80s' is empty or too long", what, full.name);
    struct agent agent = { .digest = program_digest(), .family = program_family() };
    agent.self.workers = full.workers ? (uint32_t)full.workers : (uint32_t)os_cpu_count();
    agent.self.digest = agent.digest;
    name_machine(&agent, full.name);
    int err = cluster_access_make(&agent.access, what, full.url, &full.cluster_options, full.error);
    if (err)
        return err;
    agent.access.options.name = agent.self.name;
    err = cluster_find_engine(&agent.engine, what, full.url, full.error);
    if (!err)
        err = cluster_connect(agent.engine, &agent.connection, &agent.access, what, full.error);
    if (!err)
        err = run(&agent, full.error);
    if (agent.connection)
        agent.engine->close(agent.connection);
    cluster_access_free(&agent.access);
    return err;
}

/* ---- the command line */

static _Noreturn void refuse(const char *program, const char *what)
{
    fprintf(stderr, "%s: %s\nusage: %s --mproc-agent URL [--mproc-workers N] [--mproc-name NAME]\n", program, what,
            program);
    exit(2);
}

bool agent_read_workers(const char *text, int *workers)
{
    char *end;
    long number = strtol(text, &end, 10);
    if (*end || end == text || number < 1 || number > MPROC_WORKERS_MAX)
        return false;
    *workers = (int)number;
    return true;
}

/* A process that is nothing but an agent keeps the memory of a batch for the next one, rather than give it back to the
 * system and have it zeroed again, page by page. */
static void keep_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, 4 << 20);
    mallopt(M_TRIM_THRESHOLD, 16 << 20);
}

_Noreturn void agent_serve(const char *program, struct mproc_agent_arguments *arguments)
{
    struct mproc_error error = { .message = "" };
    arguments->error = &error;
    keep_memory();
    int err = mproc_agent_run_with(arguments);
    if (err)
        fprintf(stderr, "%s: %s\n", program, error.message[0] ? error.message : mproc_strerror(err));
    exit(err ? 1 : 0);
}

void init_be_agent_if_told(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--mproc-agent") != 0)
        return;
    struct mproc_agent_arguments arguments = { .size = sizeof arguments };
    char wrong_workers[64];
    snprintf(wrong_workers, sizeof wrong_workers, "--mproc-workers needs a number from 1 to %d", MPROC_WORKERS_MAX);
    if (argc < 3)
        refuse(argv[0], "--mproc-agent needs a URL");
    arguments.url = argv[2];
    for (int i = 3; i < argc; i += 2) {
        bool workers = strcmp(argv[i], "--mproc-workers") == 0;
        if ((!workers && strcmp(argv[i], "--mproc-name") != 0) || i + 1 == argc)
            refuse(argv[0], "an option of the agent is unknown, or has no value");
        if (!workers) {
            arguments.name = argv[i + 1];
            continue;
        }
        if (!agent_read_workers(argv[i + 1], &arguments.workers))
            refuse(argv[0], wrong_workers);
    }
    agent_serve(argv[0], &arguments);
}
