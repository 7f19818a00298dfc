/* The dispatcher reads a waiting call's inputs where its caller has them: not when that has returned.
 * SPDX-License-Identifier: MIT */
#include "cluster_use.h"

#include <pthread.h>
#include <sys/mman.h>

enum { N = 40 };

static struct server server;
static struct test_agent agent;
static pthread_t caller;

static void nothing(int number)
{
    (void)number;
}

/* Once two have begun, the server goes, so that all have to be sent again; then the call is interrupted. */
static void *interrupt(void *unused)
{
    struct sigaction action = { .sa_handler = nothing };
    (void)unused;
    sigaction(SIGUSR1, &action, NULL);
    wait_begun(server.folder, N, 2);
    server_kill(&server);
    harness_sleep_ms(300);
    pthread_kill(caller, SIGUSR1);
    return NULL;
}

static void expect_interrupted_map(void)
{
    size_t size = N * sizeof(struct piece);
    struct piece *pieces = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int results[N] = { 0 };
    pthread_t thread;
    assert_true(pieces != MAP_FAILED);
    for (int i = 0; i < N; i++) {
        pieces[i].number = i;
        memcpy(pieces[i].folder, server.folder, sizeof pieces[i].folder);
    }
    caller = pthread_self();
    assert_int_equal(pthread_create(&thread, NULL, interrupt, NULL), 0);
    int result = mproc_map(pool, work, pieces, results, N, .chunk = 1, .retries = 5, .error = &error);
    munmap(pieces, size); /* who reads it now, dies */
    pthread_join(thread, NULL);
    expect_error(result, -EINTR, "mproc_map of 'work'");
}

static void an_interrupted_map_takes_its_inputs_along(void **state)
{
    (void)state;
    server_make(&server);
    server_start(&server, "%s", "");
    AGENT(&agent, .url = server.url);
    OPEN_WELL(.cluster = server.url);
    wait_machines(1);
    expect_interrupted_map();
    server_start_again(&server); /* with nothing of what it had */
    file_make(server.folder, "go", 0);
    check_map();
    assert_int_equal(mproc_pool_close(pool), 0);
    agent_leave(&agent);
    server_end(&server);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_interrupted_map_takes_its_inputs_along),
};

CLUSTER_MAIN(tests)
