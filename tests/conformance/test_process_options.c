/* What a process is given, in each start method: METHOD. SPDX-License-Identifier: MIT */
#include "process_shared.h"

#include "os/sanitizer.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* A folder of the test's own, removed at its end. */
static char folder[] = "/tmp/mproc-test-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[100];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static const char *in_folder(const char *name)
{
    static char path[100];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void expect_file(const char *name, const char *expected)
{
    char text[200] = "";
    FILE *file = fopen(in_folder(name), "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(text, expected);
}

static void expect_read(int fd, const char *expected)
{
    char text[200] = "";
    size_t length = 0;
    for (ssize_t count; (count = read(fd, text + length, sizeof text - 1 - length)) > 0;)
        length += (size_t)count;
    assert_string_equal(text, expected);
    assert_int_equal(close(fd), 0);
}

/* ---- descriptors */

struct descriptors {
    int expected[8];
    int count;
};

static bool is_expected(const struct descriptors *descriptors, int fd)
{
    for (int i = 0; i < descriptors->count; i++)
        if (descriptors->expected[i] == fd)
            return true;
    return fd <= 2;
}

/* The library's own are close-on-exec, but for the one that ties the process to its parent. */
static int look_at_descriptors(const struct descriptors *descriptors)
{
    int tie = mproc_process_fd(mproc_parent_process());
    EXPECT(fcntl(tie, F_GETFD) == 0);
    for (int fd = 0; fd < 1024; fd++) {
        int flags = fd == tie ? -1 : fcntl(fd, F_GETFD);
        if (is_expected(descriptors, fd) && flags < 0)
            return mproc_task_fail(1, "descriptor %d is not open", fd);
        if (!is_expected(descriptors, fd) && flags >= 0 && !(flags & FD_CLOEXEC))
            return mproc_task_fail(1, "descriptor %d is open", fd);
        if (!is_expected(descriptors, fd) && flags >= 0 && fd > 20 && fd < 490)
            return mproc_task_fail(1, "descriptor %d is open, close-on-exec", fd);
    }
    for (int i = 0; i < descriptors->count; i++) {
        char number[16];
        snprintf(number, sizeof number, "(%d)", descriptors->expected[i]);
        EXPECT(write(descriptors->expected[i], number, strlen(number)) > 0);
    }
    return 0;
}
MPROC_PROCESS(look_at_descriptors);

static void only_wanted_descriptors_stay_open(void **state)
{
    (void)state;
    int file = open(in_folder("out"), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_int_equal(dup2(file, 30), 30);
    assert_int_equal(dup2(file, 300), 300);
    assert_int_equal(dup2(file, 31), 31);
    struct descriptors descriptors = { { file, 30, 300 }, 3 };
    const int kept[] = { 300, file, 30, 30, 1 };
    mproc_process *process = NULL;
    START(&process, look_at_descriptors, &descriptors, .keep_fds = kept, .keep_fds_count = 5);
    finish_well(process);
    char expected[60];
    snprintf(expected, sizeof expected, "(%d)(30)(300)", file);
    expect_file("out", expected);
    descriptors.count = 0;
    START(&process, look_at_descriptors, &descriptors);
    finish_well(process);
    close(file);
    close(30);
    close(300);
    close(31);
}

/* As low as the ones that the library uses on the way. */
static void kept_descriptors_can_be_any(void **state)
{
    (void)state;
    for (int first = 3; first < 16; first++) {
        int file = open(in_folder("out"), O_RDWR | O_CREAT | O_TRUNC, 0600), kept[3];
        for (int i = 0; i < 3; i++)
            kept[i] = fcntl(file, F_DUPFD, first + 2 * i);
        struct descriptors descriptors = { { kept[0], kept[1], kept[2] }, 3 };
        mproc_process *process = NULL;
        START(&process, look_at_descriptors, &descriptors, .keep_fds = kept, .keep_fds_count = 3);
        finish_well(process);
        char expected[60];
        snprintf(expected, sizeof expected, "(%d)(%d)(%d)", kept[0], kept[1], kept[2]);
        expect_file("out", expected);
        close(file);
        for (int i = 0; i < 3; i++)
            close(kept[i]);
    }
}

/* ---- standard streams */

static int echo(const char *what)
{
    char line[100] = "nothing";
    if (!fgets(line, sizeof line, stdin))
        strcpy(line, feof(stdin) ? "end" : "error");
    printf("%s: %s", what, line);
    fprintf(stderr, "error of %s", what);
    return 0;
}
MPROC_PROCESS(echo);

static void streams_can_be_pipes(void **state)
{
    (void)state;
    int in, out, err;
    mproc_process *process = NULL;
    START(&process, echo, "pipe", .standard_input = MPROC_TO_PIPE(&in), .standard_output = MPROC_TO_PIPE(&out),
          .standard_error = MPROC_TO_PIPE(&err));
    assert_int_equal(fcntl(in, F_GETFD), FD_CLOEXEC);
    assert_int_equal(write(in, "hello\n", 6), 6);
    assert_int_equal(close(in), 0);
    expect_read(out, "pipe: hello\n");
    expect_read(err, "error of pipe");
    finish_well(process);
}

static void streams_can_be_files_and_descriptors(void **state)
{
    (void)state;
    mproc_process *process = NULL;
    char out[100];
    FILE *file = fopen(in_folder("in"), "w");
    fputs("from a file\n", file);
    fclose(file);
    strcpy(out, in_folder("out"));
    START(&process, echo, "first", .standard_input = MPROC_TO_FILE(in_folder("in")),
          .standard_output = MPROC_TO_FILE(out), .standard_error = MPROC_TO_NULL);
    finish_well(process);
    expect_file("out", "first: from a file\n");
    START(&process, echo, "second", .standard_output = MPROC_TO_END_OF_FILE(out), .standard_error = MPROC_TO_NULL);
    finish_well(process);
    expect_file("out", "first: from a file\nsecond: end");
    int fd = open(out, O_WRONLY | O_TRUNC);
    START(&process, echo, "third", .standard_output = MPROC_TO_DESCRIPTOR(fd),
          .standard_error = MPROC_TO_DESCRIPTOR(fd));
    finish_well(process);
    assert_int_equal(close(fd), 0);
    struct stat status;
    assert_int_equal(stat(out, &status), 0);
    assert_int_equal(status.st_size, strlen("third: end") + strlen("error of third"));
}

/* Not of what the program was begun with. */
static void streams_are_those_that_the_caller_has_now(void **state)
{
    (void)state;
    int saved = dup(1), file = open(in_folder("out"), O_WRONLY | O_CREAT, 0600);
    assert_int_equal(dup2(file, 1), 1);
    mproc_process *process = NULL;
    START(&process, echo, "now", .standard_error = MPROC_TO_NULL);
    finish_well(process);
    assert_int_equal(dup2(saved, 1), 1);
    close(saved);
    close(file);
    expect_file("out", "now: end");
}

static int say(const char *what)
{
    printf("%s", what);
    return 0;
}
MPROC_PROCESS(say);

static void what_was_not_flushed_is_printed_once(void **state)
{
    (void)state;
    int saved = dup(1), file = open(in_folder("out"), O_WRONLY | O_CREAT, 0600);
    fflush(stdout);
    assert_int_equal(dup2(file, 1), 1);
    setvbuf(stdout, NULL, _IOFBF, 4096);
    printf("before, ");
    mproc_process *process = NULL;
    START(&process, say, "in between, ");
    finish_well(process);
    printf("after");
    fflush(stdout);
    assert_int_equal(dup2(saved, 1), 1);
    close(saved);
    close(file);
    char text[100] = "";
    FILE *out = fopen(in_folder("out"), "r");
    text[fread(text, 1, 99, out)] = '\0';
    fclose(out);
    /* A server's child does not share this process's buffer, which is written when this process likes. */
    if (METHOD == MPROC_FORK)
        assert_string_equal(text, "before, in between, after");
    else
        assert_int_equal(strlen(text), strlen("before, in between, after"));
}

/* ---- directory, environment */

static int tell_directory(struct shared *shared)
{
    EXPECT(getcwd(shared->text, sizeof shared->text));
    return 0;
}
MPROC_PROCESS(tell_directory);

static void the_directory_can_be_chosen(void **state)
{
    (void)state;
    struct shared *shared = share();
    char here[PATH_MAX];
    assert_non_null(getcwd(here, sizeof here));
    mproc_process *process = NULL;
    START(&process, tell_directory, shared);
    finish_well(process);
    assert_string_equal(shared->text, here);
    START(&process, tell_directory, shared, .directory = folder);
    finish_well(process);
    assert_string_equal(shared->text, folder);
    assert_int_equal(chdir("/usr"), 0);
    START(&process, tell_directory, shared);
    finish_well(process);
    assert_string_equal(shared->text, "/usr");
    START(&process, tell_directory, shared, .directory = "lib");
    finish_well(process);
    assert_string_equal(shared->text, "/usr/lib");
    mproc_free(shared);
}

static int tell_environment(struct shared *shared)
{
    const char *chosen = getenv("CHOSEN"), *set = getenv("SET_BY_PARENT");
    snprintf(shared->text, sizeof shared->text, "%s %s %s %s", chosen ? chosen : "-", set ? set : "-",
             getenv("MPROC_FAMILY") ? "leaked" : "clean", getenv("MPROC_PROCESS") ? "leaked" : "clean");
    return 0;
}
MPROC_PROCESS(tell_environment);

static void the_environment_can_be_chosen_for_spawn(void **state)
{
    (void)state;
    struct shared *shared = share();
    mproc_process *process = NULL;
    setenv("SET_BY_PARENT", "yes", 1);
    START(&process, tell_environment, shared);
    finish_well(process);
    /* The server's snapshot was taken before. */
    assert_string_equal(shared->text, METHOD == MPROC_FORKSERVER ? "- - clean clean" : "- yes clean clean");
    const char *path = getenv("PATH");
    char path_variable[4096];
    snprintf(path_variable, sizeof path_variable, "PATH=%s", path ? path : "");
    const char *const environment[] = { "CHOSEN=1", "MPROC_FAMILY=77", "MPROC_PROCESS=1", path_variable, NULL };
    struct mproc_error error;
    int err = mproc_process_start(&process, tell_environment, shared, .method = METHOD, .environment = environment,
                                  .error = &error);
    if (METHOD == MPROC_SPAWN) {
        assert_int_equal(err, 0);
        finish_well(process);
        assert_string_equal(shared->text, "1 - clean clean");
    } else {
        assert_int_equal(err, -EINVAL);
        assert_non_null(strstr(error.message, ".environment"));
    }
    mproc_free(shared);
}

/* ---- priority, CPUs, limits */

static int tell_limits(struct shared *shared)
{
    struct rlimit limit;
    cpu_set_t cpus;
    shared->numbers[0] = getpriority(PRIO_PROCESS, 0);
    EXPECT(sched_getaffinity(0, sizeof cpus, &cpus) == 0);
    shared->numbers[1] = CPU_COUNT(&cpus);
    shared->numbers[2] = CPU_ISSET(0, &cpus) ? 1 : 0;
    EXPECT(getrlimit(RLIMIT_DATA, &limit) == 0);
    shared->numbers[3] = (int)(limit.rlim_cur >> 20);
    EXPECT(getrlimit(RLIMIT_CPU, &limit) == 0);
    shared->numbers[4] = (int)limit.rlim_cur;
    EXPECT(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    shared->numbers[5] = (int)limit.rlim_cur;
    void *volatile too_much = malloc((size_t)1 << 30);
    shared->numbers[6] = too_much == NULL;
    free(too_much);
    shared->numbers[7] = mproc_cpu_count();
    return 0;
}
MPROC_PROCESS(tell_limits);

static int burn(const void *nothing)
{
    (void)nothing;
    volatile unsigned long i = 1;
    while (i != 0)
        i += 2;
    return 0;
}
MPROC_PROCESS(burn);

static void priority_and_limits_are_set(void **state)
{
    (void)state;
    struct shared *shared = share();
    int nice_here = getpriority(PRIO_PROCESS, 0);
    size_t memory = OS_ADDRESS_SANITIZER ? 0 : (size_t)512 << 20; /* a sanitizer needs terabytes */
    mproc_process *process = NULL;
    START(&process, tell_limits, shared, .nice = 1, .cpus = (const int[]) { 0 }, .cpus_count = 1,
          .memory_limit = memory, .cpu_time_limit = MPROC_MS(2500), .open_files_limit = 700);
    finish_well(process);
    assert_int_equal(shared->numbers[0], nice_here == 19 ? 19 : nice_here + 1);
    assert_int_equal(shared->numbers[1], 1);
    assert_int_equal(shared->numbers[2], 1);
    if (memory)
        assert_int_equal(shared->numbers[3], 512);
    assert_int_equal(shared->numbers[4], 3);
    assert_int_equal(shared->numbers[5], 700);
    if (memory)
        assert_int_equal(shared->numbers[6], 1);
    assert_int_equal(shared->numbers[7], 1);
    START(&process, burn, NULL, .cpu_time_limit = 1);
    struct mproc_outcome outcome = finish(process);
    assert_int_equal(outcome.kind, MPROC_CRASHED);
    assert_int_equal(outcome.signal, SIGXCPU);
    mproc_free(shared);
}

static int expect_start_error(const struct mproc_process_start_arguments *given, int code, const char *word)
{
    struct mproc_error error;
    mproc_process *process = NULL;
    struct mproc_process_start_arguments arguments = *given;
    arguments.size = sizeof arguments;
    arguments.process = &process;
    arguments.function_name = arguments.function_name ? arguments.function_name : "burn";
    arguments.method = METHOD;
    arguments.error = &error;
    int err = mproc_process_start_with(&arguments);
    if (err != code)
        fail_msg("%d (%s) in place of %d for %s", err, err ? error.message : "", code, word);
    if (!strstr(error.message, word))
        fail_msg("'%s' does not speak of %s", error.message, word);
    assert_null(process);
    assert_int_equal(error.code, code);
    assert_int_equal(mproc_active_children(NULL, 0), 0);
    return 0;
}

#define EXPECT_START_ERROR(code, word, ...)                                                                            \
    expect_start_error(&(const struct mproc_process_start_arguments) { __VA_ARGS__ }, code, word)

static void what_cannot_be_set_is_named(void **state)
{
    (void)state;
    struct rlimit limit = { .rlim_cur = 600, .rlim_max = 600 };
    EXPECT_START_ERROR(-ENOENT, "/no/such/place", .directory = "/no/such/place");
    EXPECT_START_ERROR(-ENOTDIR, "/dev/null", .directory = "/dev/null");
    EXPECT_START_ERROR(-ENOENT, "/no/such/file", .standard_input = MPROC_TO_FILE("/no/such/file"));
    EXPECT_START_ERROR(-EISDIR, "/tmp", .standard_output = MPROC_TO_FILE("/tmp"));
    EXPECT_START_ERROR(-EBADF, "77", .standard_output = MPROC_TO_DESCRIPTOR(77));
    EXPECT_START_ERROR(-EBADF, ".keep_fds[0]", .keep_fds = (const int[]) { 77 }, .keep_fds_count = 1);
    EXPECT_START_ERROR(-EINVAL, ".keep_fds", .keep_fds_count = 1);
    EXPECT_START_ERROR(-EINVAL, "MPROC_KEEP_FDS_MAX", .keep_fds = (const int[]) { 1 }, .keep_fds_count = 1000);
    EXPECT_START_ERROR(-EINVAL, ".cpus", .cpus_count = 1);
    EXPECT_START_ERROR(-EINVAL, ".cpus", .cpus = (const int[]) { 1024 }, .cpus_count = 1);
    EXPECT_START_ERROR(-EINVAL, ".cpus", .cpus = (const int[]) { 1000 }, .cpus_count = 1);
    EXPECT_START_ERROR(-EINVAL, "limit", .cpu_time_limit = -1);
    EXPECT_START_ERROR(-EINVAL, "limit", .open_files_limit = -1);
    EXPECT_START_ERROR(-EINVAL, "path is NULL", .standard_input = MPROC_TO_FILE(NULL));
    EXPECT_START_ERROR(-EINVAL, "pipe", .standard_input = MPROC_TO_PIPE(NULL));
    EXPECT_START_ERROR(-EINVAL, "unknown kind", .standard_error = { .kind = (enum mproc_stream_kind)99 });
    EXPECT_START_ERROR(MPROC_E_UNREGISTERED, "MPROC_PROCESS(no_such)", .function_name = "no_such");
    if (METHOD != MPROC_FORK)
        EXPECT_START_ERROR(-EINVAL, ".fork_with_threads", .fork_with_threads = true);
    /* As somebody who may raise no limit: the server is, too, if it was begun as that. */
    if (METHOD == MPROC_FORK) {
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        if (geteuid() == 0)
            assert_int_equal(seteuid(65534), 0);
        EXPECT_START_ERROR(-EPERM, ".open_files_limit", .open_files_limit = 601);
        EXPECT_START_ERROR(-EACCES, ".nice", .nice = -1);
        assert_int_equal(seteuid(getuid()), 0);
    }
}

static void nothing_is_left_of_starts_that_fail(void **state)
{
    (void)state;
    int before = harness_count_descriptors();
    for (int i = 0; i < 20; i++)
        EXPECT_START_ERROR(-EINVAL, ".cpus", .cpus = (const int[]) { 1000 }, .cpus_count = 1);
    assert_int_equal(harness_count_descriptors(), before);
}

static void descriptors_used_up_are_an_error(void **state)
{
    (void)state;
    int opened[64], count = 0, before = harness_count_descriptors();
    struct rlimit limit = { .rlim_cur = 40, .rlim_max = 1000 };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while ((opened[count] = dup(0)) >= 0)
        count++;
    int failed = 0, err;
    mproc_process *process = NULL;
    /* Each time one more is free, until there are enough. */
    while ((err = mproc_process_start(&process, say, "", .method = METHOD)) != 0) {
        if (err != -EMFILE)
            fail_msg("%s", mproc_strerror(err));
        failed++;
        assert_true(count > 0);
        close(opened[--count]);
    }
    assert_true(failed > 2);
    finish_well(process);
    while (count > 0)
        close(opened[--count]);
    assert_int_equal(harness_count_descriptors(), before);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(only_wanted_descriptors_stay_open, make_folder, remove_folder),
    cmocka_unit_test_setup_teardown(kept_descriptors_can_be_any, make_folder, remove_folder),
    cmocka_unit_test(streams_can_be_pipes),
    cmocka_unit_test_setup_teardown(streams_can_be_files_and_descriptors, make_folder, remove_folder),
    cmocka_unit_test_setup_teardown(streams_are_those_that_the_caller_has_now, make_folder, remove_folder),
    cmocka_unit_test_setup_teardown(what_was_not_flushed_is_printed_once, make_folder, remove_folder),
    cmocka_unit_test_setup_teardown(the_directory_can_be_chosen, make_folder, remove_folder),
    cmocka_unit_test(the_environment_can_be_chosen_for_spawn),
    cmocka_unit_test(priority_and_limits_are_set),
    cmocka_unit_test(what_cannot_be_set_is_named),
    cmocka_unit_test(nothing_is_left_of_starts_that_fail),
    cmocka_unit_test(descriptors_used_up_are_an_error),
};

HARNESS_MAIN_WITH_INIT(tests)
