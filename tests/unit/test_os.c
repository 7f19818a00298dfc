/* The contract with the kernel. SPDX-License-Identifier: MIT */
#include "harness.h"

#include "os/clock.h"
#include "os/file.h"
#include "os/fork.h"
#include "os/futex.h"
#include "os/map.h"
#include "os/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void a_quiet_child_is_unseen_until_it_is_reaped(void **state)
{
    (void)state;
    pid_t pid = os_fork_quiet();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(0);
    int pidfd = os_pidfd_open(pid);
    assert_true(pidfd > STDERR_FILENO);
    assert_int_equal(os_pidfd_wait(pidfd, HARNESS_PATIENCE * INT64_C(1000000)), 0);
    assert_int_equal(waitpid(-1, NULL, 0), -1);
    assert_int_equal(errno, ECHILD);
    assert_int_equal(os_reap(pid), 0);
    assert_int_equal(os_reap(pid), -ECHILD);
    close(pidfd);
}

static void a_quiet_child_can_fork_ordinary_ones(void **state)
{
    (void)state;
    pid_t pid = os_fork_quiet();
    if (pid == 0) {
        int status;
        pid_t child = fork();
        if (child == 0)
            abort(); /* needs libc to know its thread */
        _exit(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, __WALL), pid);
    assert_int_equal(status, 0);
}

static void a_futex_wait_ends_for_each_of_its_reasons(void **state)
{
    (void)state;
    _Atomic uint32_t word = 5;
    assert_int_equal(os_futex_wait(&word, 4, -1), -EAGAIN);
    int64_t start = os_now();
    assert_int_equal(os_futex_wait(&word, 5, 20000000), -ETIMEDOUT);
    assert_true(os_now() - start >= 20000000);
}

/* A robust word of a process that is killed while it holds it. */
static void a_robust_word_wakes_its_waiter_when_its_owner_is_killed(void **state)
{
    (void)state;
    enum { WORDS = 3 };
    struct os_robust_word *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid = fork();
    if (pid == 0) {
        static struct os_robust_list list;
        for (int i = 0; i < WORDS; i++)
            words[i].word = (uint32_t)getpid();
        os_robust_begin(&list);
        os_robust_add(&list, words, WORDS, sizeof *words);
        words[1].word = 0;
        while (!(words[2].word & FUTEX_WAITERS))
            harness_sleep_ms(1);
        harness_wait_asleep(getppid(), HARNESS_PATIENCE);
        raise(SIGKILL);
    }
    while (words[1].word != 0 || words[2].word == 0)
        os_sleep(1000000);
    uint32_t seen = words[2].word;
    words[2].word = seen | FUTEX_WAITERS;
    assert_int_equal(os_futex_wait(&words[2].word, seen | FUTEX_WAITERS, HARNESS_PATIENCE * INT64_C(1000000)), 0);
    assert_true(words[2].word & FUTEX_OWNER_DIED);
    assert_true(words[0].word & FUTEX_OWNER_DIED);
    assert_int_equal(words[1].word, 0);
    waitpid(pid, NULL, 0);
    munmap(words, 4096);
}

static void *wait_on_pipe(void *fd)
{
    char byte;
    assert_int_equal(read(*(int *)fd, &byte, 1), 1);
    return NULL;
}

static void threads_are_counted(void **state)
{
    (void)state;
    int fds[2];
    pthread_t thread;
    int alone = os_thread_count();
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(pthread_create(&thread, NULL, wait_on_pipe, &fds[0]), 0);
    assert_int_equal(os_thread_count(), alone + 1);
    assert_int_equal(os_has_other_threads(), 1);
    assert_int_equal(write(fds[1], "x", 1), 1);
    pthread_join(thread, NULL);
    if (alone == 1)
        assert_int_equal(os_has_other_threads(), 0);
    close(fds[0]);
    close(fds[1]);
}

static void descriptors_are_moved_above_the_standard_ones(void **state)
{
    (void)state;
    int saved = dup(STDIN_FILENO);
    close(STDIN_FILENO);
    int fd = os_fd_above_standard(open("/dev/null", O_RDONLY));
    assert_true(fd > STDERR_FILENO);
    assert_int_equal(fcntl(STDIN_FILENO, F_GETFD), -1);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close(fd);
    if (saved >= 0) {
        dup2(saved, STDIN_FILENO);
        close(saved);
    }
    assert_int_equal(os_fd_above_standard(-1), -1);
}

static void hanging_up_is_noticed(void **state)
{
    (void)state;
    int link[2];
    assert_int_equal(os_socket_pair(SOCK_STREAM, link), 0);
    assert_int_equal(os_wait_hang_up(link[0], 1000000), -ETIMEDOUT);
    assert_int_equal(write(link[1], "left over", 9), 9);
    assert_int_equal(os_wait_hang_up(link[0], 1000000), -ETIMEDOUT);
    close(link[1]);
    assert_int_equal(os_wait_hang_up(link[0], HARNESS_PATIENCE * INT64_C(1000000)), 0);
    close(link[0]);
}

static void small_files_are_read_whole_or_cut(void **state)
{
    (void)state;
    char text[64], cut[4];
    assert_true(os_read_file("/proc/self/comm", text, sizeof text) > 0);
    assert_int_equal(os_read_file("/proc/self/comm", cut, sizeof cut), 3);
    assert_memory_equal(cut, text, 3);
    assert_int_equal(os_read_file("/nonexistent", text, sizeof text), -ENOENT);
}

static void mapped_memory_is_zeroed_shared_and_given_back(void **state)
{
    (void)state;
    void *base;
    size_t size;
    int fd;
    assert_int_equal(os_map_reserve((size_t)1 << 30, 1 << 20, &base, &size, &fd), 0);
    assert_int_equal(size, (size_t)1 << 30);
    char *bytes = base;
    assert_int_equal(bytes[size - 1], 0);
    assert_int_equal(os_map_populate(bytes, 1 << 20), 0);
    memset(bytes, 1, 1 << 20);
    os_map_release(bytes, 1 << 20);
    assert_int_equal(bytes[12345], 0);
    assert_int_equal(os_map_join(fd, base, size), -EEXIST);
    os_map_unreserve(base, size);
    assert_int_equal(os_map_join(fd, base, size), 0);
    os_map_unreserve(base, size);
    close(fd);
    assert_int_equal(os_map_reserve((size_t)1 << 62, (size_t)1 << 61, &base, &size, &fd), -ENOMEM);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_quiet_child_is_unseen_until_it_is_reaped),
    cmocka_unit_test(a_quiet_child_can_fork_ordinary_ones),
    cmocka_unit_test(a_robust_word_wakes_its_waiter_when_its_owner_is_killed),
    cmocka_unit_test(a_futex_wait_ends_for_each_of_its_reasons),
    cmocka_unit_test(threads_are_counted),
    cmocka_unit_test(descriptors_are_moved_above_the_standard_ones),
    cmocka_unit_test(hanging_up_is_noticed),
    cmocka_unit_test(small_files_are_read_whole_or_cut),
    cmocka_unit_test(mapped_memory_is_zeroed_shared_and_given_back),
};

HARNESS_MAIN(tests)
