/* The creation of named memory, killed at each machine instruction in turn. SPDX-License-Identifier: MIT
 *
 * Afterwards there is either nothing of that name or all of the memory; and nothing else in /dev/shm.
 */
#include "harness.h"
#include "stepper.h"

#include <dirent.h>
#include <errno.h>
#include <mproc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 10000 };

static char name[64];

static int entries(void)
{
    int count = 0;
    DIR *folder = opendir("/dev/shm");
    assert_non_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

/* A child that stops itself where the stepping begins and where it ends. */
static pid_t start_creator(void)
{
    int status;
    pid_t creator = fork();
    if (creator == 0) {
        mproc_shared_memory *memory;
        raise(SIGSTOP);
        int err = mproc_shared_memory_create(&memory, name, SIZE);
        raise(SIGSTOP);
        _exit(err != 0);
    }
    waitpid(creator, &status, WUNTRACED);
    assert_true(WIFSTOPPED(status) && stepper_attach(creator));
    kill(creator, SIGCONT);
    return creator;
}

/* Returns whether the memory is there. */
static bool check_whole_or_absent(int entries_before)
{
    mproc_shared_memory *memory;
    int err = mproc_shared_memory_attach(&memory, name);
    if (err == -ENOENT) {
        assert_int_equal(entries(), entries_before);
        return false;
    }
    assert_int_equal(err, 0);
    assert_int_equal(mproc_shared_memory_size(memory), SIZE);
    const char *bytes = mproc_shared_memory_address(memory);
    for (int i = 0; i < SIZE; i++)
        assert_int_equal(bytes[i], 0);
    assert_int_equal(mproc_shared_memory_close(memory), 0);
    assert_int_equal(mproc_shared_memory_unlink(name), 0);
    assert_int_equal(entries(), entries_before);
    return true;
}

static void the_creator_is_killed_at_every_instruction(void **state)
{
    (void)state;
    if (!stepper_is_possible())
        harness_skip("this machine does not allow ptrace");
    snprintf(name, sizeof name, "mproc-steps-%d", (int)getpid());
    int before = entries();
    long points = 0, there = 0, stride = stepper_stride(13);
    for (long k = 0;; k += stride, points++) {
        pid_t creator = start_creator();
        bool whole = stepper_step(creator, k, HARNESS_PATIENCE) < k;
        stepper_kill(creator);
        bool found = check_whole_or_absent(before);
        assert_true(found || there == 0); /* once there, always there */
        there += found;
        if (whole)
            break;
    }
    printf("points: %ld, at %ld of them the memory was there\n", points, there);
    assert_true(points > 50 && there > 1 && there < points);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_creator_is_killed_at_every_instruction),
};

HARNESS_MAIN_SECONDS(tests, getenv("MPROC_CRASH_ALL") ? 7200 : 600)
