/* TLS to the server of a cluster: whom to trust, and what is said if not. SPDX-License-Identifier: MIT */
#include "cluster_use.h"

enum { SOON_SECONDS = 20 };

static struct server server;

static void start(const char *more)
{
    server_make(&server);
    certificates_make(&server);
    server_start_tls(&server, more);
}

#define NO_CLIENTS "tls-auth-clients no\n"

static void with_the_authority_all_works(void **state)
{
    (void)state;
    struct test_agent agent;
    start(NO_CLIENTS);
    setenv("MPROC_CLUSTER_CA", server_file(&server, "ca.crt"), 1);
    AGENT(&agent, .url = server.url);
    OPEN_WELL(.cluster = server.url);
    check_map();
    assert_int_equal(mproc_pool_close(pool), 0);
    unsetenv("MPROC_CLUSTER_CA");
    OPEN_WELL(.cluster = server.url, .cluster_options.ca_file = server_file(&server, "ca.crt"));
    check_map();
    assert_int_equal(mproc_pool_close(pool), 0);
    agent_leave(&agent);
    server_end(&server);
}

static void a_certificate_of_somebody_else_is_not_trusted(void **state)
{
    (void)state;
    struct test_agent agent;
    start(NO_CLIENTS);
    expect_error(OPEN(.cluster = server.url), MPROC_E_SERVER_REFUSES, "not trusted");
    expect_error(OPEN(.cluster = server.url, .cluster_options.ca_file = server_file(&server, "other.crt")),
                 MPROC_E_SERVER_REFUSES, "not trusted");
    setenv("MPROC_CLUSTER_CA", server_file(&server, "other.crt"), 1);
    AGENT(&agent, .url = server.url);
    agent_expect_end(&agent, 1, "not trusted");
    server_end(&server);
}

/* The certificate is for 127.0.0.1. */
static void a_certificate_of_another_name_is_not_trusted(void **state)
{
    (void)state;
    char url[64];
    start(NO_CLIENTS);
    snprintf(url, sizeof url, "rediss://localhost:%d/farm", server.port);
    expect_error(OPEN(.cluster = url, .cluster_options.ca_file = server_file(&server, "ca.crt")),
                 MPROC_E_SERVER_REFUSES, "not trusted");
    assert_non_null(strcasestr(error.message, "hostname mismatch"));
    server_end(&server);
}

static void files_that_cannot_be_read_are_named(void **state)
{
    (void)state;
    start(NO_CLIENTS);
    const char *ca = server_file(&server, "ca.crt"), *missing = server_file(&server, "missing.crt");
    const char *client = server_file(&server, "client.crt");
    expect_error(OPEN(.cluster = server.url, .cluster_options.ca_file = missing), MPROC_E_SERVER_REFUSES, missing);
    expect_error(OPEN(.cluster = server.url, .cluster_options = { .ca_file = ca, .certificate_file = missing }),
                 MPROC_E_SERVER_REFUSES, missing);
    /* Without a key, and with the key of another certificate. */
    expect_error(OPEN(.cluster = server.url, .cluster_options = { .ca_file = ca, .certificate_file = client }),
                 MPROC_E_SERVER_REFUSES, client);
    expect_error(OPEN(.cluster = server.url, .cluster_options = { .ca_file = ca,
                                                                  .certificate_file = client,
                                                                  .key_file = server_file(&server, "ca.key") }),
                 MPROC_E_SERVER_REFUSES, client);
    server_end(&server);
}

static void a_server_may_ask_for_a_certificate(void **state)
{
    (void)state;
    struct test_agent agent;
    start("tls-auth-clients yes\n");
    const char *ca = server_file(&server, "ca.crt");
    double began = harness_now();
    expect_error(OPEN(.cluster = server.url, .cluster_options.ca_file = ca), MPROC_E_SERVER_REFUSES, "certificate");
    assert_true(harness_now() - began < SOON_SECONDS);
    expect_error(OPEN(.cluster = server.url, .cluster_options = { .ca_file = ca,
                                                                  .certificate_file = server_file(&server, "other.crt"),
                                                                  .key_file = server_file(&server, "other.key") }),
                 MPROC_E_SERVER_REFUSES, "the server refuses");
    setenv("MPROC_CLUSTER_CA", ca, 1);
    AGENT(&agent, .url = server.url);
    agent_expect_end(&agent, 1, "MPROC_E_SERVER_REFUSES");
    setenv("MPROC_CLUSTER_CERTIFICATE", server_file(&server, "client.crt"), 1);
    setenv("MPROC_CLUSTER_KEY", server_file(&server, "client.key"), 1);
    AGENT(&agent, .url = server.url);
    OPEN_WELL(.cluster = server.url);
    check_map();
    assert_int_equal(mproc_pool_close(pool), 0);
    agent_leave(&agent);
    server_end(&server);
}

static void tls_and_none_do_not_go_together(void **state)
{
    (void)state;
    struct server plain;
    char url[64];
    start(NO_CLIENTS);
    server_make(&plain);
    server_start(&plain, "%s", "");
    double began = harness_now();
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/farm", server.port);
    expect_error(OPEN(.cluster = url), MPROC_E_SERVER_GONE, "connection");
    assert_true(harness_now() - began < SOON_SECONDS);
    snprintf(url, sizeof url, "rediss://127.0.0.1:%d/farm", plain.port);
    int result = OPEN(.cluster = url); /* it answers something that is not TLS; or waits for the end of a line */
    assert_true(result == MPROC_E_SERVER_GONE || result == MPROC_E_SERVER_REFUSES);
    expect_error(result, result, "TLS");
    assert_true(harness_now() - began < 2 * SOON_SECONDS);
    server_end(&plain);
    server_end(&server);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(with_the_authority_all_works),
    cmocka_unit_test(a_certificate_of_somebody_else_is_not_trusted),
    cmocka_unit_test(a_certificate_of_another_name_is_not_trusted),
    cmocka_unit_test(files_that_cannot_be_read_are_named),
    cmocka_unit_test(a_server_may_ask_for_a_certificate),
    cmocka_unit_test(tls_and_none_do_not_go_together),
};

CLUSTER_MAIN(tests)
