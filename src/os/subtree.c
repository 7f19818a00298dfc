/* What a process has started. SPDX-License-Identifier: MIT */
#include "os/subtree.h"

#include "os/clock.h"
#include "os/file.h"
#include "os/process.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What /proc says of a process; two with the same number are told apart by when they began. */
struct entry {
    pid_t pid, parent, group;
    unsigned long long began;
};

struct os_subtree_process {
    pid_t pid;
    unsigned long long began;
    int pidfd;
};

struct entries {
    struct entry *list;
    unsigned count, room;
};

/* After the name, which may hold anything: state, parent, group, and as the 20th field the beginning. */
static bool read_entry(pid_t pid, struct entry *entry)
{
    char path[64], text[1024], state;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (os_read_file(path, text, sizeof text) <= 0)
        return false;
    const char *rest = strrchr(text, ')');
    int parent, group;
    unsigned long long began;
    if (!rest || sscanf(rest + 1, " %c %d %d %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
                        &state, &parent, &group, &began) != 4)
        return false;
    *entry = (struct entry) { pid, parent, group, began };
    return state != 'Z' && state != 'X';
}

static bool make_room(void **list, unsigned count, unsigned *room, size_t size)
{
    if (count < *room)
        return true;
    unsigned more = *room ? *room * 2 : 64;
    void *larger = realloc(*list, more * size);
    if (!larger)
        return false;
    *list = larger;
    *room = more;
    return true;
}

static int read_all(struct entries *entries)
{
    DIR *directory = opendir("/proc");
    if (!directory)
        return -errno;
    int err = 0;
    for (struct dirent *name; !err && (name = readdir(directory));) {
        pid_t pid = (pid_t)atoi(name->d_name);
        void *list = entries->list;
        if (!make_room(&list, entries->count, &entries->room, sizeof *entries->list))
            err = -ENOMEM;
        entries->list = list;
        if (!err && pid > 0 && read_entry(pid, &entries->list[entries->count]))
            entries->count++;
    }
    closedir(directory);
    return err;
}

static bool is_found(const struct os_subtree *subtree, const struct entry *entry)
{
    for (unsigned i = 0; i < subtree->count; i++)
        if (subtree->processes[i].pid == entry->pid && subtree->processes[i].began == entry->began)
            return true;
    return false;
}

static bool descends(const struct os_subtree *subtree, const struct entry *entry, pid_t root)
{
    if (root > 0 && (entry->parent == root || entry->group == root))
        return true;
    for (unsigned i = 0; i < subtree->count; i++)
        if (subtree->processes[i].pid == entry->parent && subtree->processes[i].began <= entry->began)
            return true;
    return false;
}

/* The number may have gone to another process between the look and the descriptor; not after. */
static int add(struct os_subtree *subtree, const struct entry *entry)
{
    void *list = subtree->processes;
    if (!make_room(&list, subtree->count, &subtree->room, sizeof *subtree->processes))
        return -ENOMEM;
    subtree->processes = list;
    int pidfd = os_pidfd_open(entry->pid);
    if (pidfd < 0)
        return pidfd == -ESRCH ? 0 : pidfd;
    struct entry again;
    if (!read_entry(entry->pid, &again) || again.began != entry->began) {
        close(pidfd);
        return 0;
    }
    subtree->processes[subtree->count++] = (struct os_subtree_process) { entry->pid, entry->began, pidfd };
    return 1;
}

int os_subtree_look(struct os_subtree *subtree, pid_t root)
{
    struct entries entries = { 0 };
    int result = read_all(&entries), found = 0;
    /* Parents need not come before their children. */
    for (bool more = true; result >= 0 && more;) {
        more = false;
        for (unsigned i = 0; i < entries.count && result >= 0; i++) {
            const struct entry *entry = &entries.list[i];
            if (entry->pid == root || entry->pid == getpid() || !descends(subtree, entry, root) ||
                is_found(subtree, entry))
                continue;
            result = add(subtree, entry);
            more = more || result > 0;
            found += result > 0;
        }
    }
    free(entries.list);
    return result < 0 ? result : found;
}

void os_subtree_signal(const struct os_subtree *subtree, pid_t root, int root_fd, int signal)
{
    bool group = root > 1 && kill(-root, signal) == 0; /* -1 would be everybody */
    if (!group)
        os_pidfd_kill(root_fd, signal);
    /* A second SIGKILL does no harm; a second signal of another kind might. */
    for (unsigned i = 0; i < subtree->count; i++)
        if (!group || signal == SIGKILL || getpgid(subtree->processes[i].pid) != root)
            os_pidfd_kill(subtree->processes[i].pidfd, signal);
}

void os_subtree_signal_from(const struct os_subtree *subtree, unsigned first, int signal)
{
    for (unsigned i = first; i < subtree->count; i++)
        os_pidfd_kill(subtree->processes[i].pidfd, signal);
}

int os_subtree_wait(const struct os_subtree *subtree, int root_fd, int64_t timeout)
{
    int64_t deadline = os_deadline(timeout);
    int result = os_poll_readable(root_fd, timeout);
    for (unsigned i = 0; i < subtree->count && result == 0; i++)
        result = os_poll_readable(subtree->processes[i].pidfd, os_left(deadline));
    return result;
}

void os_subtree_forget(struct os_subtree *subtree)
{
    for (unsigned i = 0; i < subtree->count; i++)
        close(subtree->processes[i].pidfd);
    free(subtree->processes);
    *subtree = (struct os_subtree) { 0 };
}
