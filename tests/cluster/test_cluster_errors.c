/* What keeps pools and agents from a cluster, and what they say. SPDX-License-Identifier: MIT */
#include "cluster_use.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>

/* Longer than any answer takes, and shorter than the default patience. */
enum { SOON_SECONDS = 20 };

/* ---- arguments */

static void what_is_no_url_is_refused(void **state)
{
    static const struct {
        const char *url, *text;
    } urls[] = {
        { "", "URL is missing" },
        { "nonsense", "'nonsense' is not the URL of a cluster" },
        { "://host/farm", "is not the URL of a cluster" },
        { "REDIS://host", "is not the URL of a cluster" },
        { "re dis://host", "is not the URL of a cluster" },
        { "redis:", "begin with redis://" },
        { "redis:/host", "begin with redis://" },
        { "redis:host://farm", "begin with redis://" },
        { "redis://", "host and port" },
        { "redis:///farm", "host and port" },
        { "redis://:6379/farm", "host and port" },
        { "redis://host:0/farm", "host and port" },
        { "redis://host:65536", "host and port" },
        { "redis://host:", "host and port" },
        { "redis://host:12x", "host and port" },
        { "redis://host:-1", "host and port" },
        { "redis://[::1", "host and port" },
        { "redis://[::1]6379", "host and port" },
        { "redis://a%zz@host", "user and password" },
        { "redis://a:%0@host", "user and password" },
        { "redis://host/a b", "'a b'" },
        { "redis://host/{a}", "'{a}'" },
        { "redis://host/a/b", "'a/b'" },
        { "redis://host/0123456789012345678901234567890123456789012345678901234567890123", "up to 63 letters" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        expect_error(OPEN(.cluster = urls[i].url), -EINVAL, urls[i].text);
        expect_error(mproc_agent_run(urls[i].url, .error = &error), -EINVAL, urls[i].text);
    }
    assert_int_equal(mproc_agent_run(NULL), -EINVAL);
}

static void an_unknown_scheme_is_an_engine_that_is_missing(void **state)
{
    (void)state;
    expect_error(OPEN(.cluster = "gopher://host/farm"), MPROC_E_ENGINE_MISSING, "libmproc-gopher.so");
    expect_error(mproc_agent_run("gopher://host/farm", .error = &error), MPROC_E_ENGINE_MISSING, "libmproc-gopher.so");
}

/* Anywhere else than where $MPROC_ENGINE_PATH says. */
static void skip_if_installed(const char *file)
{
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (library) {
        dlclose(library);
        harness_skip("the engine is installed");
    }
}

static void an_engine_that_cannot_be_loaded_is_named(void **state)
{
    (void)state;
    struct server server;
    skip_if_installed("libmproc-redis.so.0");
    server_make(&server);
    setenv("MPROC_ENGINE_PATH", server.folder, 1);
    expect_error(OPEN(.cluster = "redis://host/farm"), MPROC_E_ENGINE_MISSING, "libmproc-redis.so.0");
    assert_non_null(strstr(error.message, "libhiredis-dev"));
    assert_non_null(strstr(error.message, "MPROC_ENGINE_PATH"));
    server_end(&server);
}

/* What is wrong with the one that is there is said, and not that there is none elsewhere. */
static void an_engine_that_is_no_library_is_named(void **state)
{
    (void)state;
    struct server server;
    skip_if_installed("libmproc-redis.so.0");
    server_make(&server);
    FILE *file = fopen(server_file(&server, "libmproc-redis.so.0"), "we");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++)
        fputs("no library\n", file);
    fclose(file);
    setenv("MPROC_ENGINE_PATH", server.folder, 1);
    expect_error(OPEN(.cluster = "redis://host/farm"), MPROC_E_ENGINE_MISSING, "invalid ELF header");
    server_end(&server);
}

static void an_engine_of_another_version_is_refused(void **state)
{
    (void)state;
    setenv("MPROC_ENGINE_PATH", OLD_ENGINE_FOLDER, 1);
    expect_error(OPEN(.cluster = "old://host/farm"), MPROC_E_ENGINE_MISSING,
                 "libmproc-old.so.0 is not an engine of this version");
}

static void options_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const char url[] = "redis://127.0.0.1:1/farm";
    char long_name[65];
    memset(long_name, 'a', 64);
    long_name[64] = '\0';
    expect_error(OPEN(.cluster = url, .backend = MPROC_THREADS), -EINVAL, ".backend");
    expect_error(OPEN(.cluster = url, .backend = MPROC_SERIAL), -EINVAL, ".backend");
    expect_error(OPEN(.backend = MPROC_CLUSTER), -EINVAL, ".cluster");
    expect_error(OPEN(.cluster = url, .cluster_options.patience = -1), -EINVAL, ".patience");
    expect_error(OPEN(.cluster = url, .cluster_options.lease = -1), -EINVAL, ".lease");
    expect_error(OPEN(.cluster = url, .cluster_options.lease = MPROC_MS(99)), -EINVAL, ".lease");
    expect_error(OPEN(.cluster = url, .workers = -1), -EINVAL, "workers");
    expect_error(OPEN(.cluster = url, .workers = 4, .workers_least = 5), -EINVAL, ".workers_least");
    expect_error(OPEN(.cluster = url, .fork_with_threads = true), -EINVAL, ".fork_with_threads");
    expect_error(mproc_agent_run(url, .workers = -1, .error = &error), -EINVAL, "-1 workers");
    expect_error(mproc_agent_run(url, .workers = MPROC_WORKERS_MAX + 1, .error = &error), -EINVAL, "workers");
    expect_error(mproc_agent_run(url, .name = "", .error = &error), -EINVAL, "name");
    expect_error(mproc_agent_run(url, .name = long_name, .error = &error), -EINVAL, long_name);
    struct mproc_agent_arguments arguments = { .url = url };
    assert_int_equal(mproc_agent_run_with(NULL), -EINVAL);
    assert_int_equal(mproc_agent_run_with(&arguments), MPROC_E_STRUCT_SIZE);
}

static void a_pool_of_this_machine_has_no_machines(void **state)
{
    (void)state;
    struct mproc_machine_statistics machine;
    assert_int_equal(OPEN(.backend = MPROC_SERIAL), 0);
    assert_int_equal(mproc_pool_machines(pool, &machine, 1), -ENOTSUP);
    assert_int_equal(mproc_pool_machines(pool, NULL, 1), -EINVAL);
    assert_int_equal(mproc_pool_machines(NULL, &machine, 1), -EINVAL);
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_machines(pool, &machine, 1), MPROC_E_CLOSED);
}

/* ---- no server */

static void without_a_server_a_pool_fails_soon(void **state)
{
    (void)state;
    char url[64], port[16];
    snprintf(port, sizeof port, ":%d ", port_find());
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/farm", atoi(port + 1));
    double began = harness_now();
    expect_error(OPEN(.cluster = url), MPROC_E_SERVER_GONE, "Connection refused");
    assert_non_null(strstr(error.message, "127.0.0.1:"));
    assert_true(harness_now() - began < SOON_SECONDS);
    url[5] = '\0'; /* and with TLS */
    snprintf(url, sizeof url, "rediss://127.0.0.1:%d", atoi(port + 1));
    expect_error(OPEN(.cluster = url), MPROC_E_SERVER_GONE, "Connection refused");
}

/* Connects, and hears nothing. */
static void a_server_that_does_not_answer_is_given_up(void **state)
{
    (void)state;
    struct server server;
    server_make(&server);
    server_start(&server, "%s", "");
    kill(server.pid, SIGSTOP);
    double began = harness_now();
    expect_error(OPEN(.cluster = server.url), MPROC_E_SERVER_GONE, "no answer");
    assert_true(harness_now() - began < SOON_SECONDS);
    began = harness_now();
    expect_error(OPEN(.cluster = server.url, .cluster_options.password = "secret"), MPROC_E_SERVER_GONE,
                 "did not answer");
    assert_true(harness_now() - began < SOON_SECONDS);
    server_end(&server);
}

static void an_agent_waits_for_a_server_as_long_as_its_patience(void **state)
{
    (void)state;
    struct test_agent agent;
    struct server server;
    server_make(&server);
    double began = harness_now();
    AGENT(&agent, .url = server.url, .patience = 1500);
    agent_expect_end(&agent, 1, "MPROC_E_SERVER_GONE");
    assert_true(harness_now() - began >= 1.5);
    AGENT(&agent, .url = server.url);
    harness_sleep_ms(500);
    server_start(&server, "%s", "");
    OPEN_WELL(.cluster = server.url);
    check_map();
    assert_int_equal(mproc_pool_close(pool), 0);
    agent_leave(&agent);
    server_end(&server);
}

static void an_agent_of_the_command_line_gives_up_too(void **state)
{
    (void)state;
    struct test_agent agent;
    char url[64];
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/farm", port_find());
    AGENT(&agent, .url = url, .by_option = true);
    agent_expect_end(&agent, 1, "Connection refused");
    AGENT(&agent, .url = "nonsense", .by_option = true);
    agent_expect_end(&agent, 1, "'nonsense' is not the URL of a cluster");
    AGENT(&agent, .url = url, .workers = -2, .by_option = true);
    agent_expect_end(&agent, 2, "usage: ");
}

/* ---- passwords */

static void a_password_is_asked_for(void **state)
{
    (void)state;
    struct server server;
    struct test_agent agent;
    server_make(&server);
    server_start(&server, "requirepass sesame\n");
    expect_error(OPEN(.cluster = server.url), MPROC_E_SERVER_REFUSES, "wants a password");
    expect_error(OPEN(.cluster = server.url, .cluster_options.password = "simsim"), MPROC_E_SERVER_REFUSES,
                 "WRONGPASS");
    expect_error(OPEN(.cluster = server_url_as(&server, ":simsim")), MPROC_E_SERVER_REFUSES, "WRONGPASS");
    expect_error(OPEN(.cluster = server_url_as(&server, "nobody:sesame")), MPROC_E_SERVER_REFUSES, "WRONGPASS");
    assert_null(strstr(error.message, "sesame"));
    AGENT(&agent, .url = server.url);
    agent_expect_end(&agent, 1, "wants a password");
    AGENT(&agent, .url = server_url_as(&server, ":simsim"), .by_option = true);
    agent_expect_end(&agent, 1, "WRONGPASS");
    server_end(&server);
}

static void open_and_close(struct mproc_pool_open_arguments arguments)
{
    open_well(arguments);
    wait_machines(1);
    check_map();
    assert_int_equal(mproc_pool_close(pool), 0);
}

static void a_password_is_taken_from_wherever_it_may_be(void **state)
{
    (void)state;
    struct server server;
    struct test_agent agent;
    server_make(&server);
    server_start(&server, "requirepass se@ame\n");
    setenv("MPROC_CLUSTER_PASSWORD", "se@ame", 1);
    AGENT(&agent, .url = server.url);
    unsetenv("MPROC_CLUSTER_PASSWORD");
    open_and_close((struct mproc_pool_open_arguments) { .cluster = server_url_as(&server, ":se%40ame") });
    open_and_close((struct mproc_pool_open_arguments) { .cluster = server_url_as(&server, "default:se%40ame") });
    open_and_close((struct mproc_pool_open_arguments) { .cluster = server.url, .cluster_options.password = "se@ame" });
    /* What is given to the call counts for more than the URL. */
    open_and_close((struct mproc_pool_open_arguments) { .cluster = server_url_as(&server, ":wrong"),
                                                        .cluster_options.password = "se@ame" });
    setenv("MPROC_CLUSTER_PASSWORD", "se@ame", 1);
    open_and_close((struct mproc_pool_open_arguments) { .cluster = server.url });
    unsetenv("MPROC_CLUSTER_PASSWORD");

    const char *path = server_file(&server, "password");
    FILE *file = fopen(path, "we");
    fputs("se@ame\n", file);
    fclose(file);
    setenv("MPROC_CLUSTER_PASSWORD_FILE", path, 1);
    open_and_close((struct mproc_pool_open_arguments) { .cluster = server.url });
    unlink(path);
    expect_error(OPEN(.cluster = server.url), -ENOENT, path);
    agent_leave(&agent);
    server_end(&server);
}

static void a_user_without_permissions_is_refused(void **state)
{
    (void)state;
    struct server server;
    struct test_agent agent;
    server_make(&server);
    server_start(&server, "user default off\n"
                          "user good on >pw ~mproc:* +@all\n"
                          "user weak on >pw ~* +ping +auth\n"
                          "user half on >pw ~* +eval +ping +smembers\n"
                          "user elsewhere on >pw ~other:* +@all\n");
    expect_error(OPEN(.cluster = server.url), MPROC_E_SERVER_REFUSES, "wants a password");
    expect_error(OPEN(.cluster = server_url_as(&server, "weak:pw")), MPROC_E_SERVER_REFUSES, "NOPERM");
    expect_error(OPEN(.cluster = server_url_as(&server, "elsewhere:pw")), MPROC_E_SERVER_REFUSES, "NOPERM");
    expect_error(OPEN(.cluster = server_url_as(&server, "half:pw")), MPROC_E_SERVER_REFUSES, "can't run this command");
    AGENT(&agent, .url = server_url_as(&server, "weak:pw"));
    agent_expect_end(&agent, 1, "NOPERM");
    AGENT(&agent, .url = server_url_as(&server, "half:pw"));
    agent_expect_end(&agent, 1, "MPROC_E_SERVER_REFUSES");
    AGENT(&agent, .url = server_url_as(&server, "good:pw"));
    setenv("MPROC_CLUSTER_USER", "good", 1);
    open_and_close((struct mproc_pool_open_arguments) { .cluster = server.url, .cluster_options.password = "pw" });
    open_and_close((struct mproc_pool_open_arguments) { .cluster = server.url,
                                                        .cluster_options = { .user = "good", .password = "pw" } });
    agent_leave(&agent);
    server_end(&server);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_no_url_is_refused),
    cmocka_unit_test(an_unknown_scheme_is_an_engine_that_is_missing),
    cmocka_unit_test(an_engine_that_cannot_be_loaded_is_named),
    cmocka_unit_test(an_engine_that_is_no_library_is_named),
    cmocka_unit_test(an_engine_of_another_version_is_refused),
    cmocka_unit_test(options_that_cannot_be_are_refused),
    cmocka_unit_test(a_pool_of_this_machine_has_no_machines),
    cmocka_unit_test(without_a_server_a_pool_fails_soon),
    cmocka_unit_test(a_server_that_does_not_answer_is_given_up),
    cmocka_unit_test(an_agent_waits_for_a_server_as_long_as_its_patience),
    cmocka_unit_test(an_agent_of_the_command_line_gives_up_too),
    cmocka_unit_test(a_password_is_asked_for),
    cmocka_unit_test(a_password_is_taken_from_wherever_it_may_be),
    cmocka_unit_test(a_user_without_permissions_is_refused),
};

CLUSTER_MAIN(tests)
