/* The record of a pool's run. PYTHON is an interpreter, to read it with. SPDX-License-Identifier: MIT */
#include "scratch.h"

#include "os/clock.h"
#include "pool/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static const struct mproc_outcome ok = { .kind = MPROC_OK, .pid = 4711, .worker = 3, .attempts = 1, .ran = 41007 };

/* Whether Python finds valid JSON in the file and `condition` true of its events and those that are items. */
static bool holds(const struct scratch *file, const char *condition)
{
    char command[1000];
    snprintf(command, sizeof command,
             "%s -c 'import json; events = json.load(open(\"%s\", encoding=\"utf-8\"));"
             "items = [e for e in events if e[\"ph\"] == \"X\"]; assert %s'",
             PYTHON, file->path, condition);
    return system(command) == 0;
}

static int count(const char *text, const char *part)
{
    int found = 0;
    for (; (text = strstr(text, part)); text += strlen(part))
        found++;
    return found;
}

static void a_file_without_items_is_valid(void **state)
{
    (void)state;
    char expected[200];
    struct trace *trace;
    struct scratch file = scratch_make("what was there before");
    assert_int_equal(trace_open(&trace, file.path, "pictures"), 0);
    assert_int_equal(trace_close(trace), 0);
    snprintf(expected, sizeof expected,
             "[\n{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%d,\"args\":{\"name\":\"pictures\"}}\n]\n",
             (int)getpid());
    scratch_assert_text(&file, expected);
    assert_true(holds(&file, "len(events) == 1"));
    close(file.fd);
    assert_int_equal(trace_close(NULL), 0);
}

static void an_item_is_an_event_on_its_workers_row(void **state)
{
    (void)state;
    char expected[500];
    struct trace *trace;
    struct scratch file = scratch_make("");
    int64_t before = os_now();
    assert_int_equal(trace_open(&trace, file.path, "pool"), 0);
    int64_t after = os_now(), start = after + 1000000;
    trace_item(trace, "square", 7, start, &ok);
    assert_int_equal(trace_close(trace), 0);
    char *text = scratch_text(&file), *event = strstr(text, "{\"name\":\"square\"");
    assert_non_null(event);
    unsigned long long whole;
    unsigned decimals;
    assert_int_equal(sscanf(strstr(event, "\"ts\":"), "\"ts\":%llu.%3u", &whole, &decimals), 2);
    int64_t since = (int64_t)whole * 1000 + decimals;
    assert_true(since >= start - after && since <= start - before);
    snprintf(expected, sizeof expected,
             "{\"name\":\"square\",\"cat\":\"item\",\"ph\":\"X\",\"ts\":%llu.%03u,\"dur\":41.007,\"pid\":%d,\"tid\":3,"
             "\"args\":{\"item\":7,\"outcome\":\"ok\",\"process\":4711,\"attempts\":1}}\n]\n",
             whole, decimals, (int)getpid());
    assert_string_equal(event, expected);
    free(text);
    close(file.fd);
}

static void starts_are_kept_to_the_nanosecond(void **state)
{
    (void)state;
    struct trace *trace;
    struct scratch file = scratch_make("");
    assert_int_equal(trace_open(&trace, file.path, "pool"), 0);
    int64_t start = os_now();
    trace_item(trace, "square", 0, start, &ok);
    trace_item(trace, "square", 1, start + 1000000001, &ok);
    trace_item(trace, "square", 2, start - INT64_C(3600000000000), &ok);
    assert_int_equal(trace_close(trace), 0);
    assert_true(holds(&file, "round(1000 * (items[1][\"ts\"] - items[0][\"ts\"])) == 1000000001"));
    assert_true(holds(&file, "round(1000 * (items[0][\"ts\"] - items[2][\"ts\"])) == 3600000000000"));
    close(file.fd);
}

static void trace_outcome(struct trace *trace, struct mproc_outcome outcome)
{
    outcome.attempts = 1;
    trace_item(trace, "task", 0, os_now(), &outcome);
}

static void failures_say_what_belongs_to_them(void **state)
{
    (void)state;
    static const char *const args[] = {
        "\"bad\",\"args\":{\"item\":0,\"outcome\":\"failed\",\"attempts\":1,\"code\":-5}}",
        "\"bad\",\"args\":{\"item\":0,\"outcome\":\"failed\",\"attempts\":1,\"code\":7,\"message\":\"no luck\","
        "\"where\":\"luck.c:12\"}}",
        "\"terrible\",\"args\":{\"item\":0,\"outcome\":\"crashed\",\"process\":17,\"attempts\":1,\"signal\":9,"
        "\"out_of_memory\":true}}",
        "\"terrible\",\"args\":{\"item\":0,\"outcome\":\"crashed\",\"process\":17,\"attempts\":1,\"exit_status\":0}}",
    };
    struct trace *trace;
    struct scratch file = scratch_make("");
    assert_int_equal(trace_open(&trace, file.path, "pool"), 0);
    trace_outcome(trace, (struct mproc_outcome) { .kind = MPROC_FAILED, .code = -5 });
    trace_outcome(trace, (struct mproc_outcome) {
                             .kind = MPROC_FAILED, .code = 7, .message = "no luck", .file = "luck.c", .line = 12 });
    trace_outcome(
        trace, (struct mproc_outcome) { .kind = MPROC_CRASHED, .signal = SIGKILL, .pid = 17, .out_of_memory = true });
    trace_outcome(trace, (struct mproc_outcome) { .kind = MPROC_CRASHED, .pid = 17 });
    for (int kind = MPROC_TIMED_OUT; kind <= MPROC_LOST; kind++)
        trace_outcome(trace, (struct mproc_outcome) { .kind = (enum mproc_outcome_kind)kind });
    assert_int_equal(trace_close(trace), 0);
    char *text = scratch_text(&file);
    for (size_t i = 0; i < sizeof args / sizeof *args; i++)
        assert_non_null(strstr(text, args[i]));
    assert_int_equal(count(text, "\"cname\":\"bad\""), 2 + MPROC_LOST - MPROC_TIMED_OUT + 1);
    assert_int_equal(count(text, "\"cname\":\"terrible\""), 2);
    free(text);
    assert_true(holds(&file, "len(items) == 8"));
    close(file.fd);
}

static void usage_is_there_where_it_was_measured(void **state)
{
    (void)state;
    struct trace *trace;
    struct scratch file = scratch_make("");
    assert_int_equal(trace_open(&trace, file.path, "pool"), 0);
    trace_outcome(trace, (struct mproc_outcome) { .cpu_time = 1234567, .peak_memory = INT64_C(5000000000) });
    assert_int_equal(trace_close(trace), 0);
    assert_true(holds(&file, "items[0][\"args\"][\"cpu_us\"] == 1234.567"));
    assert_true(holds(&file, "items[0][\"args\"][\"peak_memory\"] == 5000000000"));
    close(file.fd);
}

static void each_worker_is_named_once(void **state)
{
    (void)state;
    static const int workers[] = { 0, 3, 1023, 3, 64, 63, 0, 1023, 5000, 5000 };
    struct trace *trace;
    struct scratch file = scratch_make("");
    assert_int_equal(trace_open(&trace, file.path, "pool"), 0);
    for (size_t i = 0; i < sizeof workers / sizeof *workers; i++)
        trace_outcome(trace, (struct mproc_outcome) { .worker = workers[i] });
    assert_int_equal(trace_close(trace), 0);
    char *text = scratch_text(&file);
    assert_int_equal(count(text, "\"thread_name\""), 6);
    assert_int_equal(count(text, "\"thread_sort_index\""), 6);
    assert_int_equal(count(text, "\"tid\":3,\"args\":{\"name\":\"worker 3\"}"), 1);
    assert_int_equal(count(text, "\"tid\":1023,\"args\":{\"sort_index\":1023}"), 1);
    free(text);
    assert_true(holds(&file, "len(items) == 10"));
    close(file.fd);
}

static void items_that_no_worker_started_are_left_out(void **state)
{
    (void)state;
    struct trace *trace;
    struct scratch file = scratch_make("");
    assert_int_equal(trace_open(&trace, file.path, "pool"), 0);
    trace_outcome(trace, (struct mproc_outcome) { .kind = MPROC_CANCELLED, .worker = -1 });
    trace_outcome(trace, (struct mproc_outcome) { .kind = MPROC_SKIPPED, .worker = -1 });
    assert_int_equal(trace_close(trace), 0);
    assert_true(holds(&file, "len(events) == 1"));
    close(file.fd);
}

static void any_text_is_valid(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "a \"quoted\" \\ word\n\t\r\b\x01\x1f\x7f",
        "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x8c\x8d",
        "\xff\xfe",
        "\xc3",
        "\xe2\x82",
        "\xf0\x9f",
        "\xc0\x80",
        "\xed\xa0\x80",
        "\xf4\x90zz",
        "\xe0\x80\x80",
        "\xf8\x88\x80\x80\x80",
    };
    struct trace *trace;
    struct scratch file = scratch_make("");
    assert_int_equal(trace_open(&trace, file.path, texts[1]), 0);
    char every[256], large[5000];
    for (int i = 0; i < 255; i++)
        every[i] = (char)(i + 1);
    every[255] = '\0';
    memset(large, '\x01', sizeof large);
    large[sizeof large - 1] = '\0';
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct mproc_outcome outcome = { .kind = MPROC_FAILED, .line = 1 };
        snprintf(outcome.message, sizeof outcome.message, "%s", texts[i]);
        memset(outcome.file, '\xc3', sizeof outcome.file - 1);
        trace_item(trace, texts[i], i, os_now(), &outcome);
    }
    struct mproc_outcome full = { .kind = MPROC_FAILED };
    memset(full.message, '\x02', sizeof full.message - 1);
    trace_item(trace, every, 100, os_now(), &full);
    trace_item(trace, large, 101, os_now(), &full);
    assert_int_equal(trace_close(trace), 0);
    assert_true(holds(&file, "items[1][\"name\"] == \"a \\\"quoted\\\" \\\\ word\\n\\t\\r\\b\\x01\\x1f\\x7f\""));
    assert_true(holds(&file, "items[2][\"name\"] == items[2][\"args\"][\"message\"] == \"gr\\xfc\\xdf "
                             "\\u20ac \\U0001f30d\""));
    assert_true(holds(&file, "[i[\"name\"] for i in items[3:12]] == [n.replace(\"?\", \"\\ufffd\") for n in "
                             "[\"??\", \"?\", \"??\", \"??\", \"??\", \"???\", \"??zz\", \"???\", \"?????\"]]"));
    assert_true(holds(&file, "items[12][\"args\"][\"message\"] == 103 * \"\\x02\""));
    close(file.fd);
}

/* As it is for whoever reads it while the pool is open, and after this process was killed. */
static void what_was_flushed_lacks_only_the_bracket(void **state)
{
    (void)state;
    struct trace *trace;
    struct scratch file = scratch_make("");
    assert_int_equal(trace_open(&trace, file.path, "pool"), 0);
    for (int i = 0; i < 5000; i++)
        trace_item(trace, "task", (size_t)i, os_now(), &ok);
    trace_flush(trace);
    char *text = scratch_text(&file), *rest = text, *line = strsep(&rest, "\n");
    assert_string_equal(line, "[");
    for (int lines = 1; (line = strsep(&rest, "\n")); lines++) {
        size_t length = strlen(line);
        assert_int_equal(line[0], '{');
        assert_string_equal(line + length - (rest ? 2 : 1), rest ? "}," : "}");
        if (!rest)
            assert_int_equal(lines, 1 + 2 + 5000);
    }
    free(text);
    assert_int_equal(trace_close(trace), 0);
    assert_true(holds(&file, "[i[\"args\"][\"item\"] for i in items] == list(range(5000))"));
    close(file.fd);
}

static void a_forked_child_writes_nothing(void **state)
{
    (void)state;
    int status;
    struct trace *trace;
    struct scratch file = scratch_make("");
    assert_int_equal(trace_open(&trace, file.path, "pool"), 0);
    trace_item(trace, "task", 0, os_now(), &ok);
    pid_t pid = fork();
    if (pid == 0) {
        trace_item(trace, "task", 1, os_now(), &ok);
        trace_flush(trace);
        for (int i = 0; i < 5000; i++)
            trace_item(trace, "task", 2, os_now(), &ok);
        trace_close(trace);
        exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(trace_close(trace), 0);
    assert_true(holds(&file, "len(items) == 1"));
    close(file.fd);
}

enum { THREADS = 4, EACH = 3000 };

static void *add_many(void *trace)
{
    for (int i = 0; i < EACH; i++) {
        struct mproc_outcome outcome = { .worker = i % 7 };
        trace_item(trace, "task", (size_t)i, os_now(), &outcome);
        if (i % 1000 == 0)
            trace_flush(trace);
    }
    return NULL;
}

static void threads_may_add_at_once(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    struct trace *trace;
    struct scratch file = scratch_make("");
    assert_int_equal(trace_open(&trace, file.path, "pool"), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, trace), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(trace_close(trace), 0);
    assert_true(holds(&file, "len(items) == 12000 and len(events) == 12000 + 1 + 2 * 7"));
    assert_true(holds(&file, "sum(i[\"args\"][\"item\"] for i in items) == 4 * sum(range(3000))"));
    close(file.fd);
}

static void what_cannot_be_written_is_told(void **state)
{
    (void)state;
    struct trace *trace = NULL;
    assert_int_equal(trace_open(&trace, "/nowhere/at/all", "pool"), -ENOENT);
    assert_int_equal(trace_open(&trace, "/", "pool"), -EISDIR);
    assert_int_equal(trace_open(&trace, "/dev/full", "pool"), -ENOSPC);
    assert_null(trace);
}

/* Instead of the signal that would end the program. */
static void a_limit_on_file_sizes_is_an_error(void **state)
{
    (void)state;
    struct trace *trace;
    struct scratch file = scratch_make("");
    assert_int_equal(trace_open(&trace, file.path, "pool"), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit) { 300000, RLIM_INFINITY }), 0);
    for (int i = 0; i < 5000; i++)
        trace_item(trace, "task", (size_t)i, os_now(), &ok);
    assert_int_equal(trace_close(trace), -EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit) { RLIM_INFINITY, RLIM_INFINITY }), 0);
    char *text = scratch_text(&file);
    assert_true(strlen(text) > 200000 && strlen(text) <= 300000);
    assert_int_equal(text[strlen(text) - 1], '}');
    free(text);
    close(file.fd);
}

static void a_reader_that_goes_away_is_an_error(void **state)
{
    (void)state;
    int ends[2];
    char path[64];
    struct trace *trace;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), ends[1]);
    assert_int_equal(trace_open(&trace, path, "pool"), 0);
    close(ends[0]);
    trace_item(trace, "task", 0, os_now(), &ok);
    assert_int_equal(trace_close(trace), -EPIPE);
    close(ends[1]);
}

static void the_descriptor_is_out_of_the_programs_way(void **state)
{
    (void)state;
    struct trace *trace;
    struct scratch file = scratch_make("");
    int saved = dup(STDIN_FILENO);
    close(STDIN_FILENO);
    assert_int_equal(trace_open(&trace, file.path, "pool"), 0);
    int fd = scratch_find_other_descriptor(&file);
    assert_true(fd > STDERR_FILENO);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(trace_close(trace), 0);
    assert_int_equal(scratch_find_other_descriptor(&file), -1);
    dup2(saved, STDIN_FILENO);
    close(saved);
    close(file.fd);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_file_without_items_is_valid),
    cmocka_unit_test(an_item_is_an_event_on_its_workers_row),
    cmocka_unit_test(starts_are_kept_to_the_nanosecond),
    cmocka_unit_test(failures_say_what_belongs_to_them),
    cmocka_unit_test(usage_is_there_where_it_was_measured),
    cmocka_unit_test(each_worker_is_named_once),
    cmocka_unit_test(items_that_no_worker_started_are_left_out),
    cmocka_unit_test(any_text_is_valid),
    cmocka_unit_test(what_was_flushed_lacks_only_the_bracket),
    cmocka_unit_test(a_forked_child_writes_nothing),
    cmocka_unit_test(threads_may_add_at_once),
    cmocka_unit_test(what_cannot_be_written_is_told),
    cmocka_unit_test(a_limit_on_file_sizes_is_an_error),
    cmocka_unit_test(a_reader_that_goes_away_is_an_error),
    cmocka_unit_test(the_descriptor_is_out_of_the_programs_way),
};

HARNESS_MAIN(tests)
