/* The line that says how far a call has come. SPDX-License-Identifier: MIT */
#include "os/sanitizer.h"
#include "scratch.h"

#include <errno.h>
#include <mproc/progress.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

#define MS INT64_C(1000000)
#define SECOND (1000 * MS)

struct terminal {
    int master;
    FILE *stream;
};

static void resize(const struct terminal *terminal, unsigned columns)
{
    struct winsize size = { .ws_row = 24, .ws_col = (unsigned short)columns };
    assert_int_equal(ioctl(terminal->master, TIOCSWINSZ, &size), 0);
}

static struct terminal open_terminal(unsigned columns)
{
    struct terminal terminal = { .master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC) };
    assert_true(terminal.master >= 0);
    assert_int_equal(grantpt(terminal.master), 0);
    assert_int_equal(unlockpt(terminal.master), 0);
    int slave = open(ptsname(terminal.master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(slave >= 0);
    struct termios settings;
    assert_int_equal(tcgetattr(slave, &settings), 0);
    cfmakeraw(&settings);
    assert_int_equal(tcsetattr(slave, TCSANOW, &settings), 0);
    terminal.stream = fdopen(slave, "r+e");
    assert_non_null(terminal.stream);
    resize(&terminal, columns);
    setenv("NO_COLOR", "1", 1);
    return terminal;
}

static void close_terminal(struct terminal *terminal)
{
    fclose(terminal->stream);
    close(terminal->master);
}

/* What has been drawn since; good until the next call. */
static const char *drawn(const struct terminal *terminal)
{
    static char text[1 << 16];
    size_t length = 0;
    struct pollfd entry = { .fd = terminal->master, .events = POLLIN };
    while (poll(&entry, 1, 0) > 0 && (entry.revents & POLLIN)) {
        ssize_t count = read(terminal->master, text + length, sizeof text - 1 - length);
        assert_true(count > 0);
        length += (size_t)count;
    }
    text[length] = '\0';
    return text;
}

static const struct mproc_progress thumbnail = { .name = "thumbnail",
                                                 .n = 1000,
                                                 .ended = 620,
                                                 .unsuccessful = 3,
                                                 .elapsed = 15 * SECOND,
                                                 .rate = 41.2,
                                                 .left = 9 * SECOND };

static void the_line_is_as_wide_as_the_terminal(void **state)
{
    (void)state;
    struct terminal terminal = open_terminal(75);
    struct mproc_progress progress = thumbnail;
    mproc_progress_bar(&progress, terminal.stream);
    assert_string_equal(drawn(&terminal),
                        "\rthumbnail  62% [############--------]  620/1000  3 failed  41/s  0:09 left");
    resize(&terminal, 100);
    progress.elapsed += 100 * MS;
    mproc_progress_bar(&progress, terminal.stream);
    assert_string_equal(drawn(&terminal), "\rthumbnail  62% [###########################------------------]"
                                          "  620/1000  3 failed  41/s  0:09 left");
    resize(&terminal, 40);
    progress.elapsed += 100 * MS;
    mproc_progress_bar(&progress, terminal.stream);
    assert_string_equal(drawn(&terminal), "\rthumbnail  62%  620/1000  3 failed     ");
    progress.over = true;
    mproc_progress_bar(&progress, terminal.stream);
    drawn(&terminal);
    close_terminal(&terminal);
}

static void the_last_report_ends_the_line(void **state)
{
    (void)state;
    struct terminal terminal = open_terminal(76);
    struct mproc_progress progress = thumbnail;
    mproc_progress_bar(&progress, terminal.stream);
    drawn(&terminal);
    progress = (struct mproc_progress) {
        .name = "thumbnail", .n = 1000, .ended = 1000, .elapsed = progress.elapsed, .left = 0, .over = true
    };
    mproc_progress_bar(&progress, terminal.stream);
    assert_string_equal(drawn(&terminal),
                        "\rthumbnail 100% [######################################]  1000/1000  in 0:15\n");
    mproc_progress_bar(&progress, terminal.stream); /* a call that was over at once */
    assert_string_equal(drawn(&terminal),
                        "\rthumbnail 100% [######################################]  1000/1000  in 0:15\n");
    close_terminal(&terminal);
}

static void without_a_known_number_there_are_counts_only(void **state)
{
    (void)state;
    struct terminal terminal = open_terminal(60);
    struct mproc_progress progress = {
        .name = "page", .n = SIZE_MAX, .ended = 620, .unsuccessful = 3, .elapsed = 75 * SECOND, .rate = 2, .left = -1
    };
    mproc_progress_bar(&progress, terminal.stream);
    assert_string_equal(drawn(&terminal), "\rpage  620  3 failed  2.0/s  1:15 so far                    ");
    progress.n = 620;
    progress.over = true;
    mproc_progress_bar(&progress, terminal.stream);
    assert_string_equal(drawn(&terminal), "\rpage 100% [############]  620/620  3 failed  2.0/s  in 1:15\n");
    close_terminal(&terminal);
}

static void colour_can_be_turned_off(void **state)
{
    (void)state;
    static const char plain[] = "\rthumbnail  62% [############--------]  620/1000  3 failed  41/s  0:09 left\n";
    static const char colourful[] = "\rthumbnail  62% [\033[32m############\033[2m--------\033[0m]  620/1000  "
                                    "\033[31m3 failed\033[0m  41/s  0:09 left\n";
    static const struct {
        const char *no_colour, *terminal, *expected;
    } cases[] = { { NULL, "xterm", colourful },
                  { "", "xterm", colourful },
                  { "1", "xterm", plain },
                  { NULL, "dumb", plain },
                  { NULL, NULL, colourful } };
    struct terminal terminal = open_terminal(75);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mproc_progress progress = thumbnail;
        unsetenv("NO_COLOR");
        unsetenv("TERM");
        if (cases[i].no_colour)
            setenv("NO_COLOR", cases[i].no_colour, 1);
        if (cases[i].terminal)
            setenv("TERM", cases[i].terminal, 1);
        mproc_progress_bar(&progress, terminal.stream);
        char expected[200];
        snprintf(expected, sizeof expected, "%.*s", (int)strlen(cases[i].expected) - 1, cases[i].expected);
        assert_string_equal(drawn(&terminal), expected);
        progress.over = true;
        mproc_progress_bar(&progress, terminal.stream);
        drawn(&terminal);
    }
    close_terminal(&terminal);
}

static void a_terminal_that_does_not_know_its_width_is_asked_of_the_environment(void **state)
{
    (void)state;
    static const struct {
        const char *columns;
        size_t width;
    } cases[] = { { "100", 100 }, { NULL, 80 }, { "", 80 }, { "wide", 80 }, { "-5", 80 }, { "100000", 1000 } };
    struct terminal terminal = open_terminal(0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mproc_progress progress = thumbnail;
        progress.over = true;
        unsetenv("COLUMNS");
        if (cases[i].columns)
            setenv("COLUMNS", cases[i].columns, 1);
        mproc_progress_bar(&progress, terminal.stream);
        assert_int_equal(strlen(drawn(&terminal)), 1 + cases[i].width - 1 + 1);
    }
    close_terminal(&terminal);
}

/* Columns of a text if it is UTF-8, or -1. */
static int columns_of(const char *text)
{
    int columns = 0;
    for (int missing = 0; *text || missing > 0; text++) {
        unsigned char byte = (unsigned char)*text;
        if ((missing > 0) != ((byte & 0xc0) == 0x80))
            return -1;
        columns += missing == 0;
        missing = missing > 0 ? missing - 1 : byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : byte >= 0xc0 ? 1 : 0;
    }
    return columns;
}

static void any_name_fits_any_width(void **state)
{
    (void)state;
    static const char *const names[] = {
        "x",
        "",
        NULL,
        "thumbnail",
        "a_task_whose_name_is_longer_than_a_name_should_be_so_that_it_has_to_be_cut",
        "gr\xc3\xb6\xc3\x9f\x65r \xe2\x82\xac \xf0\x9f\x8c\x8d "
        "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac",
    };
    struct terminal terminal = open_terminal(1);
    for (unsigned width = 1; width < 150; width++) {
        resize(&terminal, width);
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            for (int known = 0; known < 2; known++) {
                struct mproc_progress progress = thumbnail;
                progress.name = names[i];
                progress.n = known ? progress.n : SIZE_MAX;
                mproc_progress_bar(&progress, terminal.stream);
                const char *line = drawn(&terminal);
                assert_int_equal(line[0], '\r');
                assert_int_equal(columns_of(line + 1), (int)width - 1);
                if (width >= 20)
                    assert_non_null(strstr(line, known ? " 62%" : "  3 failed"));
                if (width >= 30)
                    assert_non_null(strstr(line, "  3 failed"));
                progress.over = true;
                mproc_progress_bar(&progress, terminal.stream);
                drawn(&terminal);
            }
        }
    }
    close_terminal(&terminal);
}

static void a_name_cannot_steer_the_terminal(void **state)
{
    (void)state;
    struct terminal terminal = open_terminal(60);
    struct mproc_progress progress = { .name = "a\nb\033[2Jc\td", .n = 1, .left = -1 };
    mproc_progress_bar(&progress, terminal.stream);
    assert_string_equal(drawn(&terminal), "\ra?b?[2Jc?d   0% [------------------------------------]  0/1");
    progress.over = true;
    mproc_progress_bar(&progress, terminal.stream);
    drawn(&terminal);
    close_terminal(&terminal);
}

static void rates_and_times_are_for_humans(void **state)
{
    (void)state;
    static const struct {
        double rate;
        int64_t left;
        const char *expected;
    } cases[] = {
        { 41.2, 9 * SECOND, "41/s  0:09 left" },
        { 1234, 3723 * SECOND, "1.2k/s  1:02:03 left" },
        { 9.94, 59 * SECOND + 499 * MS, "9.9/s  0:59 left" },
        { 9.96, 59 * SECOND + 500 * MS, "10/s  1:00 left" },
        { 0.5, 0, "0.5/s  0:00 left" },
        { 0.05, 3599 * SECOND, "3.0/min  59:59 left" },
        { 0.0005, 3600 * SECOND, "1.8/h  1:00:00 left" },
        { 999.4, 100 * 3600 * SECOND, "999/s  100:00:00 left" },
        { 999.6, -1, "1.0k/s" },
        { 12345, -1, "12k/s" },
        { 2.5e6, -1, "2.5M/s" },
        { 7e9, -1, "7.0G/s" },
        { 0, 9 * SECOND, "0:09 left" },
        { 0, -1, "" },
    };
    struct terminal terminal = open_terminal(100);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mproc_progress progress = { .name = "x", .n = 2, .rate = cases[i].rate, .left = cases[i].left };
        mproc_progress_bar(&progress, terminal.stream);
        const char *behind = strstr(drawn(&terminal), "  0/2");
        assert_non_null(behind);
        assert_string_equal(behind + 5 + (behind[5] ? 2 : 0), cases[i].expected);
        progress.over = true;
        mproc_progress_bar(&progress, terminal.stream);
        drawn(&terminal);
    }
    close_terminal(&terminal);
}

static void percentages_are_not_ahead(void **state)
{
    (void)state;
    static const struct {
        size_t ended, n;
        const char *expected;
    } cases[] = {
        { 0, 0, "\rx 100%" },
        { 0, 3, "\rx   0%" },
        { 29, 100, "\rx  29%" },
        { 999, 1000, "\rx  99%" },
        { 1000, 1000, "\rx 100%" },
        { 1, 3, "\rx  33%" },
        { 58, 200, "\rx  29%" },
        { 999999, 1000000, "\rx  99%" },
        { (size_t)1 << 31, (size_t)1 << 31, "\rx 100%" },
    };
    struct terminal terminal = open_terminal(100);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mproc_progress progress = { .name = "x", .n = cases[i].n, .ended = cases[i].ended, .over = true };
        mproc_progress_bar(&progress, terminal.stream);
        assert_memory_equal(drawn(&terminal), cases[i].expected, strlen(cases[i].expected));
    }
    close_terminal(&terminal);
}

static void it_is_drawn_ten_times_a_second_at_most(void **state)
{
    (void)state;
    int count = 0;
    struct terminal terminal = open_terminal(80);
    struct mproc_progress progress = thumbnail;
    for (progress.elapsed = 0; progress.elapsed < SECOND; progress.elapsed += MS) {
        mproc_progress_bar(&progress, terminal.stream);
        count += drawn(&terminal)[0] != '\0';
    }
    assert_int_equal(count, 10);
    progress.over = true;
    mproc_progress_bar(&progress, terminal.stream);
    assert_string_not_equal(drawn(&terminal), "");
    close_terminal(&terminal);
}

/* Whether the file has that text, and nothing before or behind it; empties it. */
static void assert_written(const struct scratch *file, const char *expected)
{
    scratch_assert_text(file, expected);
    assert_int_equal(ftruncate(file->fd, 0), 0);
}

static void elsewhere_there_is_a_line_now_and_then(void **state)
{
    (void)state;
    struct scratch file = scratch_make("");
    FILE *stream = fopen(file.path, "ae");
    struct mproc_progress progress = { .name = "thumbnail", .n = 1000, .left = -1 };
    for (; progress.elapsed < 10 * SECOND; progress.elapsed += 100 * MS) {
        progress.ended++;
        mproc_progress_bar(&progress, stream);
    }
    assert_written(&file, ""); /* no ten seconds yet */
    progress.rate = 10;
    progress.left = 90 * SECOND;
    mproc_progress_bar(&progress, stream);
    assert_written(&file, "thumbnail  10%  100/1000  10/s  1:30 left\n");
    progress.elapsed += 100 * SECOND;
    mproc_progress_bar(&progress, stream);
    assert_written(&file, ""); /* no tenth yet */
    progress.ended = 250;
    progress.unsuccessful = 2;
    mproc_progress_bar(&progress, stream);
    assert_written(&file, "thumbnail  25%  250/1000  2 failed  10/s  1:30 left\n");
    progress.ended = 900;
    progress.elapsed += 9 * SECOND;
    mproc_progress_bar(&progress, stream);
    assert_written(&file, "");
    progress.over = true;
    progress.ended = 1000;
    mproc_progress_bar(&progress, stream);
    assert_written(&file, "thumbnail 100%  1000/1000  2 failed  10/s  in 1:59\n");
    fclose(stream);
    close(file.fd);
}

static void elsewhere_an_unknown_number_is_reported_every_ten_seconds(void **state)
{
    (void)state;
    struct scratch file = scratch_make("");
    FILE *stream = fopen(file.path, "ae");
    struct mproc_progress progress = { .name = "page", .n = SIZE_MAX, .left = -1 };
    for (; progress.elapsed <= 25 * SECOND; progress.elapsed += 100 * MS) {
        progress.ended++;
        mproc_progress_bar(&progress, stream);
    }
    assert_written(&file, "page  101  0:10 so far\npage  201  0:20 so far\n");
    fclose(stream);
    close(file.fd);
}

static void it_draws_on_standard_error(void **state)
{
    (void)state;
    struct scratch file = scratch_make("");
    struct mproc_progress progress = thumbnail;
    progress.over = true;
    int saved = dup(STDERR_FILENO);
    dup2(file.fd, STDERR_FILENO);
    mproc_progress_bar(&progress, NULL);
    dup2(saved, STDERR_FILENO);
    close(saved);
    scratch_assert_text(&file, "thumbnail  62%  620/1000  3 failed  41/s  in 0:15\n");
    close(file.fd);
}

static void errno_is_kept(void **state)
{
    (void)state;
    struct mproc_progress progress = thumbnail;
    progress.over = true;
    FILE *full = fopen("/dev/full", "we");
    errno = ENXIO;
    mproc_progress_bar(&progress, full);
    assert_int_equal(errno, ENXIO);
    fclose(full);
}

static void of_calls_at_a_time_the_first_has_the_line(void **state)
{
    (void)state;
    struct terminal terminal = open_terminal(60);
    struct mproc_progress first = { .name = "first", .n = 2, .left = -1 }, second = first;
    second.name = "second";
    mproc_progress_bar(&first, terminal.stream);
    mproc_progress_bar(&second, terminal.stream);
    assert_string_equal(drawn(&terminal), "\rfirst   0% [-----------------------------------------]  0/2");
    second.over = true;
    second.ended = 2;
    mproc_progress_bar(&second, terminal.stream);
    assert_string_equal(drawn(&terminal), "\rsecond 100% [###############################]  2/2  in 0:00\n");
    first.elapsed += SECOND;
    first.ended = 1;
    mproc_progress_bar(&first, terminal.stream);
    assert_string_equal(drawn(&terminal), "\rfirst  50% [####################---------------------]  1/2");
    second.over = false;
    mproc_progress_bar(&second, terminal.stream);
    assert_string_equal(drawn(&terminal), "");
    first.over = true;
    mproc_progress_bar(&first, terminal.stream);
    drawn(&terminal);
    second.elapsed += SECOND;
    mproc_progress_bar(&second, terminal.stream);
    assert_string_equal(drawn(&terminal), "\rsecond 100% [########################################]  2/2");
    close_terminal(&terminal);
}

/* Those that were broken off without a last report. */
static void calls_that_were_left_do_not_keep_the_line(void **state)
{
    (void)state;
    static struct mproc_progress left[100];
    struct terminal terminal = open_terminal(60);
    for (int i = 0; i < 100; i++) {
        left[i] = thumbnail;
        mproc_progress_bar(&left[i], terminal.stream);
    }
    harness_sleep_ms(1100);
    drawn(&terminal);
    struct mproc_progress progress = { .name = "later", .n = 2, .left = -1 };
    mproc_progress_bar(&progress, terminal.stream);
    assert_string_equal(drawn(&terminal), "\rlater   0% [-----------------------------------------]  0/2");
    left[99].elapsed = 0; /* another call at the same address */
    mproc_progress_bar(&left[99], terminal.stream);
    assert_string_equal(drawn(&terminal), "");
    close_terminal(&terminal);
}

static struct scratch shared_file;
static FILE *shared_stream;

static void *report_many(void *name)
{
    for (int call = 0; call < 200; call++) {
        struct mproc_progress progress = { .name = name, .n = 1000, .left = -1 };
        for (; progress.ended < 1000; progress.ended += 100) {
            progress.elapsed += 3 * SECOND;
            mproc_progress_bar(&progress, shared_stream);
        }
        progress.over = true;
        mproc_progress_bar(&progress, shared_stream);
    }
    return NULL;
}

static void threads_do_not_mix_their_lines(void **state)
{
    (void)state;
    static char names[8][8] = { "a", "bb", "ccc", "dddd", "eeeee", "ffffff", "ggggggg", "hhhh" };
    pthread_t threads[8];
    int lines = 0;
    shared_file = scratch_make("");
    shared_stream = fopen(shared_file.path, "ae");
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, report_many, names[i]), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    char *text = scratch_text(&shared_file), *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) && *line; lines++) {
        size_t length = strcspn(line, " ");
        assert_true(length > 0 && strspn(line, (char[]) { line[0], '\0' }) == length);
        assert_non_null(strstr(line, "/1000"));
        assert_true(strstr(line, "in 0:30") || line[strlen(line) - 1] == '0');
    }
    assert_int_equal(lines, 8 * 200 * (1 + 2));
    free(text);
    fclose(shared_stream);
    close(shared_file.fd);
}

static _Atomic bool enough;

static void *report_until_enough(void *name)
{
    while (!enough) {
        struct mproc_progress progress = { .name = name, .n = 1000, .left = -1, .over = true };
        mproc_progress_bar(&progress, shared_stream);
    }
    return NULL;
}

/* Whatever the other threads are doing at that instant. */
static void a_forked_child_draws_too(void **state)
{
    (void)state;
    if (OS_ADDRESS_SANITIZER)
        harness_skip("a fork may catch the sanitizer's own locks");
    static char name[] = "task";
    pthread_t thread;
    shared_stream = fopen("/dev/null", "we");
    assert_int_equal(pthread_create(&thread, NULL, report_until_enough, name), 0);
    for (int i = 0; i < 300; i++) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            struct mproc_progress progress = { .name = "child", .n = 1, .left = -1, .over = true };
            mproc_progress_bar(&progress, shared_stream);
            _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
    enough = true;
    pthread_join(thread, NULL);
    fclose(shared_stream);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_line_is_as_wide_as_the_terminal),
    cmocka_unit_test(the_last_report_ends_the_line),
    cmocka_unit_test(without_a_known_number_there_are_counts_only),
    cmocka_unit_test(colour_can_be_turned_off),
    cmocka_unit_test(a_terminal_that_does_not_know_its_width_is_asked_of_the_environment),
    cmocka_unit_test(any_name_fits_any_width),
    cmocka_unit_test(a_name_cannot_steer_the_terminal),
    cmocka_unit_test(rates_and_times_are_for_humans),
    cmocka_unit_test(percentages_are_not_ahead),
    cmocka_unit_test(it_is_drawn_ten_times_a_second_at_most),
    cmocka_unit_test(elsewhere_there_is_a_line_now_and_then),
    cmocka_unit_test(elsewhere_an_unknown_number_is_reported_every_ten_seconds),
    cmocka_unit_test(it_draws_on_standard_error),
    cmocka_unit_test(errno_is_kept),
    cmocka_unit_test(of_calls_at_a_time_the_first_has_the_line),
    cmocka_unit_test(calls_that_were_left_do_not_keep_the_line),
    cmocka_unit_test(threads_do_not_mix_their_lines),
    cmocka_unit_test(a_forked_child_draws_too),
};

HARNESS_MAIN(tests)
