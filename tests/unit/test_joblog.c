/* The log of a call's items. SPDX-License-Identifier: MIT */
#include "scratch.h"

#include "pool/joblog.h"

#include <errno.h>
#include <mproc/error.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define HEADING "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"
#define LINE(seq, end, command) seq "\t:\t1795419238.520\t     0.006\t8\t8\t" end "\t" command "\n"

static const struct mproc_outcome ok = { .kind = MPROC_OK, .worker = 0, .attempts = 1, .ran = 6000000 };

static struct joblog *open_log(const struct scratch *file, const char *task, bool resume)
{
    struct joblog *log;
    assert_int_equal(joblog_open(&log, file->path, task, resume), 0);
    return log;
}

static void add(struct joblog *log, size_t item)
{
    joblog_add(log, item, INT64_C(1795419238520000000), &ok, 8, 8);
}

static void a_new_log_has_parallels_heading(void **state)
{
    (void)state;
    struct scratch file = scratch_make("");
    struct joblog *log = open_log(&file, "square", true);
    scratch_assert_text(&file, HEADING);
    assert_false(joblog_has(log, 0));
    assert_int_equal(joblog_close(log), 0);
    scratch_assert_text(&file, HEADING);
    close(file.fd);
    assert_int_equal(joblog_close(NULL), 0);
}

static void an_item_is_a_line_as_parallel_has_it(void **state)
{
    (void)state;
    struct scratch file = scratch_make("");
    struct joblog *log = open_log(&file, "square", false);
    struct mproc_outcome slow = { .kind = MPROC_OK, .attempts = 1, .ran = INT64_C(123456789500000) };
    add(log, 0);
    joblog_add(log, 41, INT64_C(1795419238520999999), &slow, 100, 0);
    joblog_add(log, 4000000000, 0, &ok, 0, 4000000000);
    scratch_assert_text(&file, HEADING);
    joblog_flush(log);
    scratch_assert_text(&file, HEADING "1\t:\t1795419238.520\t     0.006\t8\t8\t0\t0\tsquare 0\n"
                                       "42\t:\t1795419238.520\t123456.790\t100\t0\t0\t0\tsquare 41\n"
                                       "4000000001\t:\t0.000\t     0.006\t0\t4000000000\t0\t0\tsquare 4000000000\n");
    assert_int_equal(joblog_close(log), 0);
    close(file.fd);
}

static const struct {
    struct mproc_outcome outcome;
    const char *end;
} ends[] = {
    { { .kind = MPROC_OK }, "0\t0" },
    { { .kind = MPROC_FAILED, .code = 1 }, "1\t0" },
    { { .kind = MPROC_FAILED, .code = 254 }, "254\t0" },
    { { .kind = MPROC_FAILED, .code = 256 }, "255\t0" },
    { { .kind = MPROC_FAILED, .code = -EINVAL }, "255\t0" },
    { { .kind = MPROC_CRASHED, .signal = SIGSEGV }, "0\t11" },
    { { .kind = MPROC_CRASHED, .exit_status = 7 }, "7\t0" },
    { { .kind = MPROC_CRASHED, .exit_status = 0 }, "255\t0" },
    { { .kind = MPROC_TIMED_OUT }, "-1\t15" },
    { { .kind = MPROC_OVER_MEMORY }, "0\t9" },
    { { .kind = MPROC_CANCELLED }, "-1\t15" },
    { { .kind = MPROC_LOST }, "-1\t15" },
};
enum { ENDS = sizeof ends / sizeof *ends };

static void each_way_to_end_has_its_exit_value_and_signal(void **state)
{
    (void)state;
    struct scratch file = scratch_make("");
    struct joblog *log = open_log(&file, "square", false);
    for (size_t i = 0; i < ENDS; i++) {
        struct mproc_outcome outcome = ends[i].outcome;
        outcome.attempts = 1;
        joblog_add(log, i, 0, &outcome, 0, 0);
    }
    assert_int_equal(joblog_close(log), 0);
    char *text = scratch_text(&file);
    for (size_t i = 0; i < ENDS; i++) {
        char part[100];
        snprintf(part, sizeof part, "\t%s\tsquare %zu\n", ends[i].end, i);
        assert_non_null(strstr(text, part));
    }
    free(text);
    log = open_log(&file, "square", true);
    for (size_t i = 0; i < ENDS; i++)
        assert_int_equal(joblog_has(log, i), ends[i].outcome.kind == MPROC_OK);
    assert_int_equal(joblog_close(log), 0);
    close(file.fd);
}

static void what_did_not_start_is_not_added(void **state)
{
    (void)state;
    struct scratch file = scratch_make("");
    struct joblog *log = open_log(&file, "square", false);
    joblog_add(log, 0, 0, &(struct mproc_outcome) { .kind = MPROC_CANCELLED, .worker = -1 }, 0, 0);
    joblog_add(log, 1, 0, &(struct mproc_outcome) { .kind = MPROC_SKIPPED, .worker = -1 }, 0, 0);
    assert_int_equal(joblog_close(log), 0);
    scratch_assert_text(&file, HEADING);
    close(file.fd);
}

static void it_goes_on_where_it_was(void **state)
{
    (void)state;
    struct scratch file = scratch_make("");
    struct joblog *log = open_log(&file, "square", true);
    for (size_t i = 0; i < 10; i += 2)
        add(log, i);
    assert_false(joblog_has(log, 0)); /* not when it was opened */
    assert_int_equal(joblog_close(log), 0);
    log = open_log(&file, "square", true);
    for (size_t i = 0; i < 1000000; i++)
        assert_int_equal(joblog_has(log, i), i < 10 && i % 2 == 0);
    assert_false(joblog_has(log, SIZE_MAX));
    add(log, 1);
    assert_int_equal(joblog_close(log), 0);
    log = open_log(&file, "square", false);
    assert_false(joblog_has(log, 0));
    assert_int_equal(joblog_close(log), 0);
    log = open_log(&file, "square", true);
    assert_true(joblog_has(log, 0) && joblog_has(log, 1));
    assert_int_equal(joblog_close(log), 0);
    close(file.fd);
}

/* It was done, was done again because the caller did not resume, and then it failed. */
static void an_items_last_line_counts(void **state)
{
    (void)state;
    struct scratch file = scratch_make(HEADING LINE("1", "1\t0", "square 0") LINE("2", "0\t0", "square 1") LINE(
        "1", "0\t0", "square 0") LINE("2", "0\t11", "square 1") LINE("900000", "5\t0", "square 899999"));
    struct joblog *log = open_log(&file, "square", true);
    assert_true(joblog_has(log, 0));
    assert_false(joblog_has(log, 1));
    assert_int_equal(joblog_close(log), 0);
    close(file.fd);
}

static void a_line_that_is_cut_is_dropped(void **state)
{
    (void)state;
    static const char whole[] = HEADING LINE("1", "0\t0", "square 0"), line[] = LINE("20", "0\t0", "square 19");
    for (size_t length = 0; length < sizeof line - 1; length++) {
        struct scratch file = scratch_make(whole);
        assert_int_equal(write(file.fd, line, length), length);
        struct joblog *log = open_log(&file, "square", true);
        scratch_assert_text(&file, whole);
        assert_true(joblog_has(log, 0));
        assert_false(joblog_has(log, 19));
        add(log, 1);
        assert_int_equal(joblog_close(log), 0);
        scratch_assert_text(&file, HEADING LINE("1", "0\t0", "square 0") LINE("2", "0\t0", "square 1"));
        close(file.fd);
    }
}

static void a_heading_that_is_cut_is_written_anew(void **state)
{
    (void)state;
    for (size_t length = 0; length < sizeof HEADING - 1; length++) {
        struct scratch file = scratch_make("");
        assert_int_equal(write(file.fd, HEADING, length), length);
        assert_int_equal(joblog_close(open_log(&file, "square", true)), 0);
        scratch_assert_text(&file, HEADING);
        close(file.fd);
    }
}

static void assert_refused(const char *text)
{
    struct joblog *log = NULL;
    struct scratch file = scratch_make(text);
    assert_int_equal(joblog_open(&log, file.path, "square", true), MPROC_E_JOBLOG);
    assert_int_equal(joblog_open(&log, file.path, "square", false), MPROC_E_JOBLOG);
    assert_null(log);
    scratch_assert_text(&file, text);
    close(file.fd);
}

static void what_is_no_log_of_the_task_is_refused_and_left_alone(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "\n",
        "a letter to a friend, of whom I have not heard for years",
        "a letter\nto a friend",
        "Seq\tHost\n",
        HEADING "\n",
        HEADING "1\n",
        HEADING LINE("1", "0\t0", "cube 0"),
        HEADING LINE("1", "0\t0", "squares 0"),
        HEADING LINE("1", "0\t0", "squar 0"),
        HEADING LINE("1", "0\t0", "square 1"),
        HEADING LINE("1", "0\t0", "square"),
        HEADING LINE("1", "0\t0", "square 0 "),
        HEADING LINE("0", "0\t0", "square 0"),
        HEADING LINE("-1", "0\t0", "square 0"),
        HEADING LINE("", "0\t0", "square 0"),
        HEADING LINE("1", "\t0", "square 0"),
        HEADING LINE("1", "0\t", "square 0"),
        HEADING LINE("1", "0", "square 0"),
        HEADING LINE("1", "x\t0", "square 0"),
        HEADING LINE("99999999999999999999999", "0\t0", "square 99999999999999999999998"),
        HEADING LINE("1", "0\t0", "square 0") LINE("1", "0\t0", "cube 0") LINE("1", "0\t0", "square 0") "2\t:\t",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_refused(texts[i]);
    char *endless = malloc(200001);
    memset(endless, 'x', 200000);
    memcpy(endless, HEADING, sizeof HEADING - 1);
    endless[200000] = '\0';
    assert_refused(endless);
    free(endless);
}

static void names_are_kept_to_their_column(void **state)
{
    (void)state;
    char large[3000];
    memset(large, 'a', sizeof large);
    large[sizeof large - 1] = '\0';
    const char *names[] = { "with\ttabs and\nlines", "with spaces 7", "", large };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct scratch file = scratch_make("");
        struct joblog *log = open_log(&file, names[i], true);
        add(log, 5);
        assert_int_equal(joblog_close(log), 0);
        log = open_log(&file, names[i], true);
        assert_true(joblog_has(log, 5));
        assert_int_equal(joblog_close(log), 0);
        close(file.fd);
    }
}

enum { MANY = 400000 };

static void long_logs_are_read(void **state)
{
    (void)state;
    struct scratch file = scratch_make("");
    struct joblog *log = open_log(&file, "square", true);
    for (size_t i = 0; i < MANY; i++)
        if (i % 3 != 0)
            add(log, MANY - 1 - i);
    add(log, (size_t)1 << 31);
    assert_int_equal(joblog_close(log), 0);
    log = open_log(&file, "square", true);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(joblog_has(log, MANY - 1 - i), i % 3 != 0);
    assert_true(joblog_has(log, (size_t)1 << 31));
    assert_false(joblog_has(log, ((size_t)1 << 31) - 1));
    assert_int_equal(joblog_close(log), 0);
    close(file.fd);
}

enum { THREADS = 4, EACH = 5000 };

struct adder {
    struct joblog *log;
    size_t first;
};

static void *add_many(void *argument)
{
    const struct adder *adder = argument;
    for (size_t i = 0; i < EACH; i++) {
        add(adder->log, adder->first + i);
        if (i % 1000 == 0)
            joblog_flush(adder->log);
    }
    return NULL;
}

static void threads_may_add_at_once(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    struct adder adders[THREADS];
    struct scratch file = scratch_make("");
    struct joblog *log = open_log(&file, "square", true);
    for (size_t i = 0; i < THREADS; i++) {
        adders[i] = (struct adder) { log, EACH * i };
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, &adders[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(joblog_close(log), 0);
    log = open_log(&file, "square", true);
    for (size_t i = 0; i < THREADS * EACH; i++)
        assert_true(joblog_has(log, i));
    assert_int_equal(joblog_close(log), 0);
    close(file.fd);
}

static void a_forked_child_writes_nothing(void **state)
{
    (void)state;
    int status;
    struct scratch file = scratch_make("");
    struct joblog *log = open_log(&file, "square", false);
    add(log, 0);
    pid_t pid = fork();
    if (pid == 0) {
        add(log, 1);
        joblog_flush(log);
        joblog_close(log);
        exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(joblog_close(log), 0);
    scratch_assert_text(&file, HEADING LINE("1", "0\t0", "square 0"));
    close(file.fd);
}

static void what_cannot_be_read_or_written_is_told(void **state)
{
    (void)state;
    struct joblog *log = NULL;
    assert_int_equal(joblog_open(&log, "/nowhere/at/all", "square", false), -ENOENT);
    assert_int_equal(joblog_open(&log, "/", "square", true), -EISDIR);
    assert_int_equal(joblog_open(&log, "/dev/full", "square", false), -ENOSPC);
    assert_null(log);
    assert_int_equal(joblog_open(&log, "/dev/null", "square", true), 0);
    add(log, 0);
    assert_int_equal(joblog_close(log), 0);
}

static void a_limit_on_file_sizes_is_an_error(void **state)
{
    (void)state;
    struct scratch file = scratch_make("");
    struct joblog *log = open_log(&file, "square", false);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit) { 300000, RLIM_INFINITY }), 0);
    for (size_t i = 0; i < 10000; i++)
        add(log, i);
    assert_int_equal(joblog_close(log), -EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit) { RLIM_INFINITY, RLIM_INFINITY }), 0);
    log = open_log(&file, "square", true);
    assert_true(joblog_has(log, 1000));
    assert_int_equal(joblog_close(log), 0);
    close(file.fd);
}

static void the_descriptor_is_out_of_the_programs_way(void **state)
{
    (void)state;
    struct scratch file = scratch_make("");
    int saved = dup(STDIN_FILENO);
    close(STDIN_FILENO);
    struct joblog *log = open_log(&file, "square", true);
    int fd = scratch_find_other_descriptor(&file);
    assert_true(fd > STDERR_FILENO);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(joblog_close(log), 0);
    dup2(saved, STDIN_FILENO);
    close(saved);
    close(file.fd);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_new_log_has_parallels_heading),
    cmocka_unit_test(an_item_is_a_line_as_parallel_has_it),
    cmocka_unit_test(each_way_to_end_has_its_exit_value_and_signal),
    cmocka_unit_test(what_did_not_start_is_not_added),
    cmocka_unit_test(it_goes_on_where_it_was),
    cmocka_unit_test(an_items_last_line_counts),
    cmocka_unit_test(a_line_that_is_cut_is_dropped),
    cmocka_unit_test(a_heading_that_is_cut_is_written_anew),
    cmocka_unit_test(what_is_no_log_of_the_task_is_refused_and_left_alone),
    cmocka_unit_test(names_are_kept_to_their_column),
    cmocka_unit_test(long_logs_are_read),
    cmocka_unit_test(threads_may_add_at_once),
    cmocka_unit_test(a_forked_child_writes_nothing),
    cmocka_unit_test(what_cannot_be_read_or_written_is_told),
    cmocka_unit_test(a_limit_on_file_sizes_is_an_error),
    cmocka_unit_test(the_descriptor_is_out_of_the_programs_way),
};

HARNESS_MAIN(tests)
