/* Runs each test in a process of its own. SPDX-License-Identifier: MIT */
#include "harness.h"

#include "memory/heap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- what tests use */

_Noreturn void harness_skip(const char *reason)
{
    printf("skipped: %s\n", reason);
    fflush(stdout);
    _exit(HARNESS_SKIPPED);
}

static bool uses_default_pool;

void harness_uses_default_pool(void)
{
    uses_default_pool = true;
}

static bool leaves_memory;

void harness_leaves_memory(void)
{
    leaves_memory = true;
}

static const char *running;

void harness_restart_with(const char *variable, const char *value)
{
    if (getenv(variable))
        return;
    setenv(variable, value, 1);
    char *arguments[] = { (char *)"test", (char *)"--run", (char *)(uintptr_t)running, NULL };
    execv("/proc/self/exe", arguments);
    _exit(126);
}

static int count_entries(const char *path)
{
    int count = 0;
    DIR *directory = opendir(path);
    if (!directory)
        return -1;
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

int harness_count_descriptors(void)
{
    return count_entries("/proc/self/fd");
}

int harness_children(int pid, int *children, int most)
{
    char path[64];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    while (count < most && fscanf(file, "%d", &children[count]) == 1)
        count++;
    fclose(file);
    return count;
}

char harness_process_state(int pid)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
    char *name_end = strrchr(text, ')');
    return name_end && name_end[1] ? name_end[2] : 0;
}

void harness_sleep_ms(int milliseconds)
{
    struct timespec time = { milliseconds / 1000, milliseconds % 1000 * 1000000L };
    while (nanosleep(&time, &time) != 0 && errno == EINTR) {
    }
}

bool harness_wait_asleep(int id, int milliseconds)
{
    for (; milliseconds >= 0; milliseconds--) {
        if (harness_process_state(id) == 'S')
            return true;
        harness_sleep_ms(1);
    }
    return false;
}

bool harness_wait_gone(int pid, int milliseconds)
{
    for (;; milliseconds--) {
        char state = harness_process_state(pid);
        if (state == 0 || state == 'Z' || state == 'X')
            return true;
        if (milliseconds <= 0)
            return false;
        harness_sleep_ms(1);
    }
}

bool harness_wait_children(int pid, int count, int milliseconds)
{
    int children[64];
    for (; milliseconds >= 0; milliseconds--) {
        if (harness_children(pid, children, 64) == count)
            return true;
        harness_sleep_ms(1);
    }
    return false;
}

double harness_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Seconds that what is on its way out has to vanish: a third of the time limit. */
static double patience;

/* ---- in the test's process */

static void (*at_end)(void);

void harness_at_end(void (*call)(void))
{
    at_end = call;
}

struct resources {
    int descriptors;
    size_t heap_bytes;
};

static struct resources resources_now(void)
{
    return (struct resources) { harness_count_descriptors(), heap_bytes_in_use() };
}

static int run_in_this_process(const struct CMUnitTest *test)
{
    running = test->name;
    struct resources before = resources_now();
    struct CMUnitTest one[1] = { *test };
    int failed = cmocka_run_group_tests(one, NULL, NULL);
    if (at_end)
        at_end();
    struct resources after = resources_now();
    /* Processes that are on their way out keep what they work in. */
    bool may_leave_memory = uses_default_pool || leaves_memory || failed;
    double deadline = harness_now() + (may_leave_memory ? 0 : patience);
    while (after.heap_bytes > before.heap_bytes && harness_now() < deadline) {
        harness_sleep_ms(1);
        after = resources_now();
    }
    if (!uses_default_pool && before.descriptors != after.descriptors) {
        printf("left behind: %d descriptors, there were %d\n", after.descriptors, before.descriptors);
        failed = 1;
    }
    if (!uses_default_pool && !leaves_memory && before.heap_bytes != after.heap_bytes) {
        printf("left behind: %zu bytes of heap in use, there were %zu\n", after.heap_bytes, before.heap_bytes);
        failed = 1;
    }
    return failed ? 1 : 0;
}

/* ---- in the process that watches it */

static pid_t start(const char *name, int output)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    char path[4096] = "", *launcher = getenv("HARNESS_LAUNCHER");
    char *arguments[] = { launcher, path, (char *)"--run", (char *)name, NULL };
    if (readlink("/proc/self/exe", path, sizeof path - 1) < 0)
        _exit(126);
    if (launcher)
        execv(launcher, arguments);
    else
        execv("/proc/self/exe", arguments + 1);
    _exit(126);
}

/* Returns the wait status, or -1 when the time is up. */
static int wait_for(pid_t pid, int seconds)
{
    int status;
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd entry = { .fd = pidfd, .events = POLLIN };
    bool ended = poll(&entry, 1, seconds * 1000) == 1;
    close(pidfd);
    if (!ended)
        kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return ended ? status : -1;
}

/* The watcher is a subreaper, so whatever the test left comes to it. Gives it time to vanish, then kills it. Returns
 * how many had to be killed. */
static int reap_leftovers(FILE *report, double seconds)
{
    int children[64], count = 0;
    double deadline = harness_now() + seconds;
    for (;;) {
        while (waitpid(-1, NULL, WNOHANG | __WALL) > 0) {
        }
        count = harness_children(getpid(), children, 64);
        if (count == 0 || harness_now() > deadline)
            break;
        harness_sleep_ms(5);
    }
    for (int i = 0; i < count; i++) {
        char command[32];
        snprintf(command, sizeof command, "/proc/%d/comm", children[i]);
        FILE *file = fopen(command, "re");
        char name[32] = "?";
        if (file && fscanf(file, "%31s", name) == 1)
            fprintf(report, "left behind: process %d (%s)\n", children[i], name);
        if (file)
            fclose(file);
        kill(children[i], SIGKILL);
    }
    while (waitpid(-1, NULL, __WALL) > 0) {
    }
    return count;
}

static void copy_output(int output)
{
    char text[4096];
    lseek(output, 0, SEEK_SET);
    for (ssize_t count; (count = read(output, text, sizeof text)) > 0;)
        fwrite(text, 1, (size_t)count, stdout);
}

/* The names in /dev/shm, each with a newline behind it. To be freed. */
static char *named_objects(void)
{
    char *text = NULL;
    size_t length;
    FILE *list = open_memstream(&text, &length);
    DIR *folder = opendir("/dev/shm");
    fputc('\n', list);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        fprintf(list, "%s\n", entry->d_name);
    if (folder)
        closedir(folder);
    fclose(list);
    return text;
}

/* True if there is a name that was not there before. */
static bool has_new_name(const char *before)
{
    bool found = false;
    char *now = named_objects(), *rest = now;
    for (char *name; (name = strtok_r(NULL, "\n", &rest));) {
        char line[300];
        snprintf(line, sizeof line, "\n%s\n", name);
        found |= !strstr(before, line);
    }
    free(now);
    return found;
}

/* Other programs may come and go: a name counts if it stays. */
static bool leaves_a_name(const char *before, double seconds)
{
    for (double deadline = harness_now() + seconds; has_new_name(before); harness_sleep_ms(50))
        if (harness_now() > deadline)
            return true;
    return false;
}

enum verdict { PASSED, FAILED, SKIPPED };

static enum verdict watch(const struct CMUnitTest *test, int seconds)
{
    int output = memfd_create("output", MFD_CLOEXEC);
    char *named_before = named_objects();
    double start_time = harness_now();
    int status = wait_for(start(test->name, output), seconds);
    double took = harness_now() - start_time;

    char *text = NULL;
    size_t length;
    FILE *report = open_memstream(&text, &length);
    if (status == -1)
        fprintf(report, "no end after %d seconds\n", seconds);
    else if (WIFSIGNALED(status))
        fprintf(report, "ended by signal %d\n", WTERMSIG(status));
    bool skipped = status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == HARNESS_SKIPPED;
    bool failed = status != 0 && !skipped; /* whatever else there is to say, which is not worth waiting for */
    reap_leftovers(report, failed ? 1 : patience);
    if (leaves_a_name(named_before, failed ? 1 : patience))
        fprintf(report, "left behind: entries in /dev/shm\n");
    free(named_before);
    fclose(report);

    bool passed = status == 0 && length == 0;
    printf("%-8s %-60s %6.2f s\n", skipped ? "skipped" : passed ? "ok" : "FAILED", test->name, took);
    if (!passed || getenv("HARNESS_VERBOSE"))
        copy_output(output);
    fputs(text, stdout);
    fflush(stdout);
    free(text);
    close(output);
    return skipped && length == 0 ? SKIPPED : passed ? PASSED : FAILED;
}

static const struct CMUnitTest *find(const struct CMUnitTest *tests, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(tests[i].name, name) == 0)
            return &tests[i];
    fprintf(stderr, "there is no test '%s'\n", name);
    exit(2);
}

int harness_main(int argc, char **argv, const struct CMUnitTest *tests, size_t count, int seconds)
{
    int results[3] = { 0 };
    patience = seconds / 3.0;
    if (argc == 3 && strcmp(argv[1], "--run") == 0)
        return run_in_this_process(find(tests, count, argv[2]));
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (size_t i = 0; i < count; i++) {
        bool wanted = argc == 1;
        for (int j = 1; j < argc; j++)
            wanted |= find(tests, count, argv[j]) == &tests[i];
        if (wanted)
            results[watch(&tests[i], seconds)]++;
    }
    printf("%d passed, %d failed, %d skipped\n", results[PASSED], results[FAILED], results[SKIPPED]);
    return results[FAILED] > 0;
}
