/* Agents of a test. SPDX-License-Identifier: MIT */
#include "agents.h"

#include <mproc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void become(const struct agent_options *options, int output)
{
    char workers[16], patience[16], lease[16];
    const char *program = options->program ? options->program : "/proc/self/exe";
    snprintf(workers, sizeof workers, "%d", options->workers ? options->workers : 2);
    snprintf(patience, sizeof patience, "%d", options->patience ? options->patience : 30000);
    snprintf(lease, sizeof lease, "%d", options->lease ? options->lease : 1000);
    const char *name = options->name ? options->name : "agent";
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(output, STDERR_FILENO);
    if (options->by_option)
        execl(program, program, "--mproc-agent", options->url, "--mproc-workers", workers, "--mproc-name", name, NULL);
    else
        execl(program, program, "--agent", options->url, name, workers, patience, lease, NULL);
    _exit(126);
}

void agent_start(struct test_agent *agent, struct agent_options options)
{
    agent->output = memfd_create("agent", MFD_CLOEXEC);
    assert_true(agent->output >= 0);
    agent->pid = fork();
    assert_true(agent->pid >= 0);
    if (agent->pid == 0)
        become(&options, agent->output);
}

static char *what_it_said(const struct test_agent *agent)
{
    struct stat file;
    assert_int_equal(fstat(agent->output, &file), 0);
    char *said = calloc(1, (size_t)file.st_size + 1);
    assert_non_null(said);
    assert_int_equal(pread(agent->output, said, (size_t)file.st_size, 0), file.st_size);
    return said;
}

void agent_show(const struct test_agent *agent)
{
    char *said = what_it_said(agent);
    if (*said)
        fprintf(stderr, "agent: %s", said);
    free(said);
}

void agent_expect_end(struct test_agent *agent, int exit_status, const char *text)
{
    int status;
    assert_true(harness_wait_gone(agent->pid, HARNESS_PATIENCE));
    assert_int_equal(waitpid(agent->pid, &status, 0), agent->pid);
    agent_show(agent);
    char *said = what_it_said(agent);
    close(agent->output);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), exit_status);
    if (!strstr(said, text))
        fail_msg("the agent does not say '%s'", text);
    free(said);
}

void agent_leave(struct test_agent *agent)
{
    kill(agent->pid, SIGTERM);
    agent_expect_end(agent, 0, "");
}

void agent_kill(struct test_agent *agent)
{
    kill(agent->pid, SIGKILL);
    assert_int_equal(waitpid(agent->pid, NULL, 0), agent->pid);
    close(agent->output);
}

/* ---- in the agent */

bool agent_is_meant(int argc, char **argv)
{
    return argc > 1 && (strcmp(argv[1], "--agent") == 0 || strcmp(argv[1], "--mproc-agent") == 0);
}

int agent_main(int argc, char **argv)
{
    struct mproc_error error = { .message = "" };
    if (mproc_init(&argc, &argv) != 0 || argc != 7)
        return 3;
    int err = mproc_agent_run(
        argv[2], .name = argv[3], .workers = atoi(argv[4]),
        .cluster_options = { .patience = MPROC_MS(atoi(argv[5])), .lease = MPROC_MS(atoi(argv[6])) }, .error = &error);
    if (err)
        fprintf(stderr, "%s: %s\n", mproc_error_name(err), error.message);
    return err ? 1 : 0;
}
