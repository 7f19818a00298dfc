/* Executing the program anew. SPDX-License-Identifier: MIT */
#include "memory/region.h"
#include "os/file.h"
#include "os/process.h"
#include "process/forkserver.h"
#include "process/server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the new program finds in its environment: the numbers of its descriptors, its record, the record's owner. */
#define PROCESS_VARIABLE "MPROC_PROCESS"
#define MARK "--mproc-process" /* as the second argument, to be seen in ps */

enum { VARIABLE_SIZE = 160, STACK_SIZE = 128 << 10 };

/* ---- the letter: strings one behind the other */

static int write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t count = write(fd, bytes, size);
        if (count < 0)
            return -errno;
        bytes += count;
        size -= (size_t)count;
    }
    return 0;
}

static bool is_ours(const char *variable)
{
    return strncmp(variable, PROCESS_VARIABLE "=", sizeof PROCESS_VARIABLE) == 0 ||
           strncmp(variable, REGION_VARIABLE "=", sizeof REGION_VARIABLE) == 0;
}

int spawn_write_letter(const char *program, const char *name, const char *const *environment)
{
    int fd = os_fd_above_standard(memfd_create("mproc-letter", MFD_CLOEXEC));
    if (fd < 0)
        return -errno;
    size_t size = strlen(program) + 1 + strlen(name) + 1;
    for (const char *const *variable = environment; *variable; variable++)
        size += is_ours(*variable) ? 0 : strlen(*variable) + 1;
    char *text = malloc(size);
    int err = !text ? -ENOMEM : os_file_size_limit(size) < size ? -EFBIG : 0;
    if (!err) {
        char *end = stpcpy(stpcpy(text, program) + 1, name) + 1;
        for (const char *const *variable = environment; *variable; variable++)
            if (!is_ours(*variable))
                end = stpcpy(end, *variable) + 1;
        err = write_all(fd, text, size);
    }
    free(text);
    if (err)
        close(fd);
    return err ? err : fd;
}

struct letter {
    char *text;
    size_t size;
    char *arguments[4];
    char **environment; /* room for ours is left at the beginning */
};

/* Its contents, with a NUL behind them in any case. */
static int read_text(struct letter *letter, int fd)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return -errno;
    letter->size = (size_t)status.st_size;
    letter->text = malloc(letter->size + 1);
    if (!letter->text)
        return -ENOMEM;
    letter->text[letter->size] = '\0';
    return pread(fd, letter->text, letter->size, 0) == status.st_size ? 0 : -EIO;
}

static int read_letter(struct letter *letter, int fd)
{
    int err = read_text(letter, fd);
    if (err)
        return err;
    size_t strings = 0, at = 0;
    for (const char *c = letter->text; c < letter->text + letter->size; c++)
        strings += *c == '\0';
    letter->environment = calloc(strings + 4, sizeof *letter->environment);
    if (!letter->environment || strings < 2)
        return -ENOMEM;
    char *string = letter->text;
    letter->arguments[0] = string;
    static char mark[] = MARK;
    letter->arguments[1] = mark;
    letter->arguments[2] = string += strlen(string) + 1;
    for (at = 2; (string += strlen(string) + 1) < letter->text + letter->size; at++)
        letter->environment[at] = string;
    return 0;
}

/* ---- in the server */

/* Shared with the new process, which borrows the server's memory until it executes the program. */
struct execution {
    struct child_setup *setup;
    struct letter letter;
    char family[VARIABLE_SIZE], process[VARIABLE_SIZE];
    int err;
    enum start_step step;
};

static int keep_open(int fd)
{
    return fd < 0 || fcntl(fd, F_SETFD, 0) == 0 ? 0 : -errno;
}

static int execute(void *argument)
{
    struct execution *execution = argument;
    struct child_setup *setup = execution->setup;
    int server, heap = region_descriptor();
    int err = child_set_up(setup, false, &execution->step);
    server = *forkserver_socket();
    snprintf(execution->family, VARIABLE_SIZE, REGION_VARIABLE "=%d", heap);
    snprintf(execution->process, VARIABLE_SIZE, PROCESS_VARIABLE "=%d:%d:%d:%" PRIxPTR ":%" PRIx64, setup->leash,
             setup->report, server, (uintptr_t)setup->record, setup->owner);
    const int kept[] = { heap, setup->leash, setup->report, server };
    for (int i = 0; i < 4 && !err; i++)
        err = keep_open(kept[i]);
    if (!err) {
        os_signals_unblock();
        execution->step = STEP_EXECUTE;
        execve("/proc/self/exe", execution->letter.arguments, execution->letter.environment);
        err = -errno;
    }
    execution->err = err;
    return 127;
}

/* The new process runs in this one's memory, on a stack of its own, while this one stands still, as posix_spawn has it:
 * so it costs the same however much memory there is. What it changes there is put back. */
static pid_t borrow_and_execute(struct execution *execution)
{
    static _Alignas(16) char stack[STACK_SIZE];
    int socket = *forkserver_socket();
    struct child_setup setup = *execution->setup;
    int pid = clone(execute, stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | SIGCHLD, execution);
    int err = errno;
    *forkserver_socket() = socket;
    *execution->setup = setup;
    return pid < 0 ? -err : pid;
}

pid_t spawn_program(struct child_setup *setup, int letter, enum start_step *step)
{
    struct execution execution = { .setup = setup, .step = STEP_EXECUTE };
    pid_t pid = read_letter(&execution.letter, letter);
    if (pid == 0) {
        execution.letter.environment[0] = execution.family;
        execution.letter.environment[1] = execution.process;
        pid = borrow_and_execute(&execution);
    }
    if (pid > 0 && execution.err) {
        os_reap(pid);
        pid = execution.err;
    }
    *step = execution.step;
    free(execution.letter.environment);
    free(execution.letter.text);
    return pid;
}

/* ---- in the new program */

bool spawn_is_pending(void)
{
    return secure_getenv(PROCESS_VARIABLE) != NULL;
}

enum spawned spawn_read(int argc, char **argv, struct child_setup *setup, int *server)
{
    const char *text = secure_getenv(PROCESS_VARIABLE);
    uintptr_t record;
    if (!text)
        return argc > 1 && strcmp(argv[1], MARK) == 0 ? SPAWNED_BY_HAND : NOT_SPAWNED;
    *setup = (struct child_setup) { .directory = -1 };
    if (sscanf(text, "%d:%d:%d:%" SCNxPTR ":%" SCNx64, &setup->leash, &setup->report, server, &record, &setup->owner) !=
        5)
        return SPAWNED_BY_HAND;
    unsetenv(PROCESS_VARIABLE);
    setup->record = (struct process_record *)record;
    fcntl(setup->leash, F_SETFD, FD_CLOEXEC);
    fcntl(setup->report, F_SETFD, FD_CLOEXEC);
    fcntl(*server, F_SETFD, FD_CLOEXEC);
    return SPAWNED;
}
