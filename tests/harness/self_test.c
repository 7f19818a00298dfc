/* The harness catches what it promises to catch: each of these tests leaves something behind or breaks, and has to
 * fail. SPDX-License-Identifier: MIT */
#include "harness.h"

#include "memory/heap.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void leaves_a_process(void **state)
{
    (void)state;
    if (fork() == 0) {
        sleep(100);
        _exit(0);
    }
}

static void leaves_a_grandchild(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        if (fork() == 0)
            sleep(100);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

static void leaves_a_descriptor(void **state)
{
    (void)state;
    assert_true(open("/dev/null", O_RDONLY) >= 0);
}

static void leaves_heap_memory(void **state)
{
    (void)state;
    assert_non_null(heap_allocate(1, true));
}

static void leaves_a_named_object(void **state)
{
    (void)state;
    int fd = shm_open("/mproc-harness-self-test", O_CREAT | O_RDWR, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void takes_too_long(void **state)
{
    (void)state;
    sleep(100);
}

static void crashes(void **state)
{
    (void)state;
    raise(SIGKILL);
}

static void fails(void **state)
{
    (void)state;
    assert_int_equal(1, 2);
}

static void passes(void **state)
{
    (void)state;
}

static void skips(void **state)
{
    (void)state;
    harness_skip("to see that it can");
}

static const struct CMUnitTest bad[] = {
    cmocka_unit_test(leaves_a_process),
    cmocka_unit_test(leaves_a_grandchild),
    cmocka_unit_test(leaves_a_descriptor),
    cmocka_unit_test(leaves_heap_memory),
    cmocka_unit_test(leaves_a_named_object),
    cmocka_unit_test(takes_too_long),
    cmocka_unit_test(crashes),
    cmocka_unit_test(fails),
    cmocka_unit_test(passes),
    cmocka_unit_test(skips),
};

enum { TESTS = sizeof bad / sizeof bad[0] };

static int run_one(const char *name, int seconds)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        char *arguments[] = { (char *)"self_test", (char *)name, NULL };
        exit(harness_main(2, arguments, bad, TESTS, seconds));
    }
    int status;
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return harness_main(argc, argv, bad, TESTS, 2);
    int wrong = 0;
    for (int i = 0; i < TESTS; i++) {
        bool good = strcmp(bad[i].name, "passes") == 0 || strcmp(bad[i].name, "skips") == 0;
        if ((run_one(bad[i].name, good ? HARNESS_SECONDS : 2) == 0) != good) {
            printf("the harness is wrong about '%s'\n", bad[i].name);
            wrong++;
        }
    }
    shm_unlink("/mproc-harness-self-test");
    printf("self test of the harness: %d passed, %d failed\n", TESTS - wrong, wrong);
    return wrong > 0;
}
