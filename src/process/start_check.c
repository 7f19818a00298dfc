/* Looking at the arguments of a start. SPDX-License-Identifier: MIT */
#include "base/report.h"
#include "process/process.h"
#include "process/registry.h"
#include "process/start.h"

#include <errno.h>
#include <fcntl.h>
#include <mproc/error.h>
#include <mproc/memory.h>
#include <string.h>
#include <unistd.h>

enum { QUEUES_MOST = 65536 };

static int refuse(const struct start *start, const char *what)
{
    return report_text(start->arguments->error, -EINVAL, "mproc_process_start: %s", what);
}

const struct mproc_stream *start_stream(const struct start *start, int number)
{
    const struct mproc_process_start_arguments *arguments = start->arguments;
    return number == STDIN_FILENO    ? &arguments->standard_input
           : number == STDOUT_FILENO ? &arguments->standard_output
                                     : &arguments->standard_error;
}

const char *start_stream_name(int number)
{
    static const char *const names[] = { ".standard_input", ".standard_output", ".standard_error" };
    return names[number];
}

static int check_method(const struct start *start)
{
    const struct mproc_process_start_arguments *arguments = start->arguments;
    if (arguments->method != MPROC_FORK && arguments->method != MPROC_FORKSERVER && arguments->method != MPROC_SPAWN)
        return refuse(start, ".method is none of MPROC_FORK, MPROC_FORKSERVER and MPROC_SPAWN");
    if (arguments->environment && arguments->method != MPROC_SPAWN)
        return refuse(start, ".environment can be chosen with .method = MPROC_SPAWN only");
    if (arguments->fork_with_threads && arguments->method != MPROC_FORK)
        return refuse(start, ".fork_with_threads goes with MPROC_FORK only: the other methods need no such thing");
    return 0;
}

static int check_queues(const struct start *start)
{
    const struct mproc_process_start_arguments *arguments = start->arguments;
    if ((arguments->reads_from_count > 0 && !arguments->reads_from) ||
        (arguments->writes_to_count > 0 && !arguments->writes_to))
        return refuse(start, ".reads_from or .writes_to is NULL, and its count is not 0");
    if (arguments->reads_from_count > QUEUES_MOST || arguments->writes_to_count > QUEUES_MOST)
        return refuse(start, ".reads_from and .writes_to hold 65536 queues at most");
    return 0;
}

static int check_limits(const struct start *start)
{
    const struct mproc_process_start_arguments *arguments = start->arguments;
    if (arguments->cpu_time_limit < 0 || arguments->open_files_limit < 0)
        return refuse(start, ".cpu_time_limit and .open_files_limit cannot be negative");
    if (arguments->cpus_count > 0 && !arguments->cpus)
        return refuse(start, ".cpus is NULL, and .cpus_count is not 0");
    for (size_t i = 0; i < arguments->cpus_count; i++)
        if (arguments->cpus[i] < 0 || arguments->cpus[i] >= CPU_SETSIZE)
            return refuse(start, ".cpus holds a number that is no CPU's: they go from 0 to 1023");
    return 0;
}

static int check_keep_fds(const struct start *start)
{
    const struct mproc_process_start_arguments *arguments = start->arguments;
    if (arguments->keep_fds_count > 0 && !arguments->keep_fds)
        return refuse(start, ".keep_fds is NULL, and .keep_fds_count is not 0");
    if (arguments->keep_fds && arguments->keep_fds_count == 0)
        return refuse(start, ".keep_fds is given, and .keep_fds_count is 0");
    if (arguments->keep_fds_count > MPROC_KEEP_FDS_MAX)
        return refuse(start, ".keep_fds_count is more than MPROC_KEEP_FDS_MAX");
    for (size_t i = 0; i < arguments->keep_fds_count; i++)
        if (fcntl(arguments->keep_fds[i], F_GETFD) < 0)
            return report_text(arguments->error, -EBADF, "mproc_process_start: .keep_fds[%zu] is %d, which is not open",
                               i, arguments->keep_fds[i]);
    return 0;
}

static int refuse_stream(const struct start *start, int number, const char *what)
{
    return report_text(start->arguments->error, -EINVAL, "mproc_process_start: %s %s", start_stream_name(number), what);
}

static int check_stream(const struct start *start, int number)
{
    const struct mproc_stream *stream = start_stream(start, number);
    bool is_file = stream->kind == MPROC_STREAM_FILE || stream->kind == MPROC_STREAM_APPEND;
    if (number == STDIN_FILENO && stream->kind == MPROC_STREAM_APPEND)
        return refuse(start, ".standard_input cannot be the end of a file");
    if ((int)stream->kind < 0 || stream->kind > MPROC_STREAM_DESCRIPTOR)
        return refuse_stream(start, number, "is of an unknown kind");
    if (is_file && !stream->path)
        return refuse_stream(start, number, "is to be a file, and its path is NULL");
    if (stream->kind == MPROC_STREAM_PIPE && !stream->pipe)
        return refuse_stream(start, number, "is to be a pipe, and the address for the caller's end is NULL");
    if (stream->kind == MPROC_STREAM_DESCRIPTOR && fcntl(stream->descriptor, F_GETFD) < 0)
        return report_text(start->arguments->error, -EBADF,
                           "mproc_process_start: %s is to be descriptor %d, which is not open",
                           start_stream_name(number), stream->descriptor);
    return 0;
}

static int find_task(struct start *start)
{
    const struct mproc_process_start_arguments *arguments = start->arguments;
    const char *name = arguments->function_name ? arguments->function_name : "?";
    if (!arguments->function && !arguments->function_name)
        return refuse(start, "neither a function nor a function_name is given");
    start->task = registry_find(arguments->function, arguments->function_name);
    if (!start->task)
        return report_text(arguments->error, MPROC_E_UNREGISTERED,
                           "'%s' is not registered: write MPROC_PROCESS(%s); after its definition", name, name);
    if (start->task->kind != MPROC_KIND_PROCESS)
        return report_text(arguments->error, MPROC_E_UNREGISTERED,
                           "'%s' is a task, an item of a map: a process's function takes one argument, and is "
                           "registered with MPROC_PROCESS",
                           start->task->name);
    const struct mproc_task *other = registry_find_namesake(start->task);
    return other ? registry_report_duplicate(arguments->error, start->task, other) : 0;
}

/* How much of the argument is copied; 0 if it is passed as it is. */
static int measure_argument(struct start *start)
{
    const struct mproc_process_start_arguments *arguments = start->arguments;
    size_t size = arguments->argument_size ? arguments->argument_size : arguments->argument_type_size;
    if (size == 0)
        size = start->task->input_size;
    bool copied = arguments->argument && !mproc_is_shared(arguments->argument);
    if (copied && size == 0)
        return report_text(
            arguments->error, MPROC_E_TYPE_UNKNOWN,
            "mproc_process_start: the argument of '%s' is a void pointer to private memory: pass a typed "
            "pointer, or state .argument_size",
            start->task->name);
    if (copied && size == SIZE_MAX)
        size = strlen(arguments->argument) + 1; /* of no type's size */
    else if (size != SIZE_MAX && size != 0 && arguments->argument && start->task->input_size != 0 &&
             size % start->task->input_size != 0)
        return report_text(
            arguments->error, MPROC_E_TYPE_MISMATCH,
            "mproc_process_start: '%s' takes an argument of %zu bytes, or an array of such, and is given %zu bytes",
            start->task->name, start->task->input_size, size);
    start->argument_size = copied ? size : 0;
    return 0;
}

/* The variable may hold anything that was a handle once. */
static int check_unused(const struct start *start)
{
    const struct mproc_process_start_arguments *arguments = start->arguments;
    struct process *process;
    if (!arguments->process)
        return refuse(start, "the address for the handle is NULL");
    if (process_acquire(*arguments->process, &process) != 0)
        return 0;
    process_release(*arguments->process);
    return report(arguments->error, MPROC_E_ALREADY_STARTED, "mproc_process_start");
}

int start_check(struct start *start)
{
    int err = check_unused(start);
    if (!err)
        err = find_task(start);
    if (!err)
        err = check_method(start);
    if (!err)
        err = check_queues(start);
    if (!err)
        err = check_limits(start);
    if (!err)
        err = check_keep_fds(start);
    for (int number = 0; number < 3 && !err; number++)
        err = check_stream(start, number);
    return err ? err : measure_argument(start);
}

/* ---- messages */

static const char *const step_names[] = {
    [STEP_NONE] = "start the process",
    [STEP_LEASH] = "tie the process to its parent",
    [STEP_DESCRIPTORS] = "arrange its descriptors",
    [STEP_DIRECTORY] = "enter .directory",
    [STEP_NICE] = "set .nice",
    [STEP_CPUS] = "set .cpus",
    [STEP_MEMORY_LIMIT] = "set .memory_limit",
    [STEP_CPU_TIME_LIMIT] = "set .cpu_time_limit",
    [STEP_OPEN_FILES_LIMIT] = "set .open_files_limit",
    [STEP_FORK] = "fork",
    [STEP_EXECUTE] = "execute the program",
    [STEP_USER] = "use the server of mproc_init, which has another user id than this process has now",
    [STEP_FAMILY] = "join the shared heap",
    [STEP_FUNCTION] = "find the function",
    [STEP_ARGUMENT] = "pass the argument, whose size there is another one",
};

int start_report_step(const struct start *start, int err, enum start_step step)
{
    const char *name = (unsigned)step < sizeof step_names / sizeof *step_names ? step_names[step] : step_names[0];
    return report(start->arguments->error, err, "mproc_process_start: '%s': cannot %s", start->task->name, name);
}

int start_report(const struct start *start, int err)
{
    return report(start->arguments->error, err, "mproc_process_start: '%s'", start->task->name);
}
