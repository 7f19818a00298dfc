/* Named shared memory: names, limits, what is refused. SPDX-License-Identifier: MIT */
#include "shared_memory_use.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>

/* ---- names */

static void of_processes_that_create_at_once_one_succeeds(void **state)
{
    (void)state;
    enum { PROCESSES = 6, ROUNDS = 50 };
    for (int round = 0; round < ROUNDS; round++) {
        const char *name = own_name();
        int made = 0;
        for (int i = 0; i < PROCESSES; i++) {
            mproc_shared_memory *memory;
            if (fork() == 0)
                _exit(-mproc_shared_memory_create(&memory, name, SIZE));
        }
        for (int i = 0; i < PROCESSES; i++) {
            int status = wait_for_child();
            assert_true(status == 0 || status == EEXIST);
            made += status == 0;
        }
        assert_int_equal(made, 1);
        assert_int_equal(mproc_shared_memory_unlink(name), 0);
    }
}

static void whoever_finds_a_name_finds_all_of_the_memory(void **state)
{
    (void)state;
    const char *name = own_name();
    pid_t creator = fork();
    if (creator == 0) {
        for (mproc_shared_memory *memory;;) {
            if (mproc_shared_memory_create(&memory, name, SIZE) != 0 || mproc_shared_memory_close(memory) != 0 ||
                mproc_shared_memory_unlink(name) != 0)
                _exit(1);
        }
    }
    for (int found = 0; found < 500;) {
        mproc_shared_memory *memory;
        int err = mproc_shared_memory_attach(&memory, name);
        if (err == -ENOENT)
            continue;
        assert_int_equal(err, 0);
        assert_int_equal(mproc_shared_memory_size(memory), SIZE);
        assert_int_equal(mproc_shared_memory_close(memory), 0);
        found++;
    }
    kill(creator, SIGKILL);
    assert_int_equal(wait_for_child(), -1);
    int err = mproc_shared_memory_unlink(name);
    assert_true(err == 0 || err == -ENOENT);
}

static void a_leading_slash_makes_no_difference(void **state)
{
    (void)state;
    char slashed[100];
    snprintf(slashed, sizeof slashed, "/%s", own_name());
    mproc_shared_memory *memory = create(slashed, SIZE), *same = attach(own_name());
    assert_string_equal(mproc_shared_memory_name(memory), own_name());
    assert_int_equal(mproc_shared_memory_close(same), 0);
    assert_int_equal(mproc_shared_memory_unlink(slashed), 0);
    assert_int_equal(mproc_shared_memory_close(memory), 0);
}

static void names_that_are_none_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = { "", "/", ".", "..", "/.", "/..", "//", "//a", "a/", "a/b", "../a", "./a" };
    mproc_shared_memory *memory = NULL;
    char longest[258];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(mproc_shared_memory_create(&memory, names[i], SIZE), -EINVAL);
        assert_int_equal(mproc_shared_memory_attach(&memory, names[i]), -EINVAL);
        assert_int_equal(mproc_shared_memory_unlink(names[i]), -EINVAL);
    }
    assert_int_equal(mproc_shared_memory_attach(&memory, NULL), -EINVAL);
    assert_int_equal(mproc_shared_memory_unlink(NULL), -EINVAL);
    memset(longest, 'x', sizeof longest);
    longest[257] = '\0';
    assert_int_equal(mproc_shared_memory_create(&memory, longest + 1, SIZE), -ENAMETOOLONG);
    assert_int_equal(mproc_shared_memory_attach(&memory, longest + 1), -ENAMETOOLONG);
    assert_int_equal(mproc_shared_memory_unlink(longest + 1), -ENAMETOOLONG);
    longest[1] = '/';
    memory = create(longest + 1, SIZE); /* 255 bytes behind the slash */
    assert_string_equal(mproc_shared_memory_name(memory), longest + 2);
    close_and_unlink(memory);
}

/* ---- what is not there, or no memory */

static void what_is_not_there_cannot_be_attached_or_unlinked(void **state)
{
    (void)state;
    mproc_shared_memory *memory = NULL;
    assert_int_equal(mproc_shared_memory_attach(&memory, own_name()), -ENOENT);
    assert_int_equal(mproc_shared_memory_unlink(own_name()), -ENOENT);
    assert_null(memory);
}

/* Between another library's shm_open and its ftruncate. */
static void memory_without_a_size_is_not_ready(void **state)
{
    (void)state;
    mproc_shared_memory *memory = NULL;
    int fd = shm_open(own_name(), O_CREAT | O_EXCL | O_RDWR, 0600);
    assert_int_equal(mproc_shared_memory_attach(&memory, own_name()), -EAGAIN);
    assert_null(memory);
    assert_int_equal(ftruncate(fd, SIZE), 0);
    close(fd);
    memory = attach(own_name());
    assert_int_equal(mproc_shared_memory_size(memory), SIZE);
    close_and_unlink(memory);
}

static void what_is_no_memory_is_not_attached(void **state)
{
    (void)state;
    char path[300];
    mproc_shared_memory *memory = NULL;
    path_in_folder(own_name(), path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(mproc_shared_memory_attach(&memory, own_name()), -EINVAL);
    assert_int_equal(mproc_shared_memory_unlink(own_name()), -EINVAL);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(mproc_shared_memory_attach(&memory, own_name()), -EINVAL);
    assert_int_equal(mproc_shared_memory_create(&memory, own_name(), SIZE), -EEXIST);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(mproc_shared_memory_attach(&memory, own_name()), -EINVAL);
    assert_int_equal(unlink(path), 0);
    assert_null(memory);
}

static void wrong_arguments_are_refused(void **state)
{
    (void)state;
    mproc_shared_memory *memory = NULL;
    assert_int_equal(mproc_shared_memory_create(&memory, own_name(), 0), -EINVAL);
    assert_int_equal(mproc_shared_memory_create(NULL, own_name(), SIZE), -EINVAL);
    assert_int_equal(mproc_shared_memory_attach(NULL, own_name()), -EINVAL);
    assert_int_equal(mproc_shared_memory_attach(&memory, own_name()), -ENOENT);
    assert_null(memory);
}

/* ---- limits */

static void more_than_there_is_memory_is_refused_and_leaves_nothing(void **state)
{
    (void)state;
    mproc_shared_memory *memory = NULL;
    static const size_t sizes[] = { (size_t)1 << 50, PTRDIFF_MAX, SIZE_MAX };
    for (int i = 0; i < 3; i++) {
        int err = mproc_shared_memory_create(&memory, own_name(), sizes[i]);
        assert_true(err == -ENOMEM || err == -ENOSPC);
        assert_int_equal(mproc_shared_memory_attach(&memory, own_name()), -ENOENT);
    }
    assert_null(memory);
}

static void a_full_file_system_is_an_error_and_no_sigbus(void **state)
{
    (void)state;
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=1m") != 0)
        harness_skip("only root can mount a small file system");
    mproc_shared_memory *large = create("large", 768 << 10), *more = NULL;
    assert_int_equal(mproc_shared_memory_create(&more, "more", 512 << 10), -ENOSPC);
    assert_null(more);
    mproc_shared_memory *small = create("small", 256 << 10); /* what the failed one had reserved is back */
    memset(mproc_shared_memory_address(large), 1, 768 << 10);
    memset(mproc_shared_memory_address(small), 1, 256 << 10);
    assert_int_equal(mproc_shared_memory_create(&more, "more", 1), -ENOSPC);
    close_and_unlink(large);
    close_and_unlink(small);
    assert_int_equal(rmdir("/dev/shm/more"), -1);
    assert_int_equal(errno, ENOENT);
    close_and_unlink(create("all", 1 << 20));
}

static void a_limit_on_file_sizes_is_an_error_and_no_signal(void **state)
{
    (void)state;
    mproc_shared_memory *memory = NULL;
    struct rlimit limit = { SIZE, RLIM_INFINITY };
    setrlimit(RLIMIT_FSIZE, &limit);
    assert_int_equal(mproc_shared_memory_create(&memory, own_name(), SIZE + 1), -EFBIG);
    close_and_unlink(create(own_name(), SIZE));
}

static void without_descriptors_nothing_is_opened(void **state)
{
    (void)state;
    mproc_shared_memory *memory = create(own_name(), SIZE), *none = NULL;
    struct rlimit before, limit = { 0, 0 };
    getrlimit(RLIMIT_NOFILE, &before);
    limit.rlim_max = before.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int attached = mproc_shared_memory_attach(&none, own_name()),
        created = mproc_shared_memory_create(&none, NULL, SIZE);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(attached, -EMFILE);
    assert_int_equal(created, -EMFILE);
    close_and_unlink(memory);
}

static volatile sig_atomic_t alarms;

static void count_alarm(int signal)
{
    (void)signal;
    alarms++;
}

static void signals_do_not_break_it_off(void **state)
{
    (void)state;
    struct sigaction action = { .sa_handler = count_alarm };
    struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, never = { 0 };
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    mproc_shared_memory *memory = create(own_name(), (size_t)64 << 20);
    setitimer(ITIMER_REAL, &never, NULL);
    printf("%d signals\n", (int)alarms);
    close_and_unlink(memory);
}

/* The system call filter answers as a file system that knows no files without a name. */
static void without_unnamed_files_it_works_too(void **state)
{
    (void)state;
    struct sock_filter lines[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_TMPFILE & ~O_DIRECTORY, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = { sizeof lines / sizeof lines[0], lines };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
        harness_skip("system calls cannot be filtered here");
    assert_int_equal(open("/dev/shm", O_TMPFILE | O_RDWR, 0600), -1);
    mproc_shared_memory *memory = create(own_name(), SIZE), *none;
    assert_int_equal(mproc_shared_memory_create(&none, own_name(), SIZE), -EEXIST);
    *number_in(memory) = 41;
    mproc_shared_memory *again = attach(own_name());
    *number_in(again) += 1;
    assert_int_equal(mproc_shared_memory_close(again), 0);
    assert_int_equal(*number_in(memory), 42);
    close_and_unlink(memory);
}

/* ---- handles */

static void a_closed_handle_is_recognised(void **state)
{
    (void)state;
    mproc_shared_memory *stale = create(own_name(), SIZE);
    assert_int_equal(mproc_shared_memory_close(stale), 0);
    mproc_shared_memory *memory = attach(own_name()); /* takes the same place */
    assert_int_equal(mproc_shared_memory_close(stale), MPROC_E_CLOSED);
    assert_null(mproc_shared_memory_address(stale));
    assert_null(mproc_shared_memory_name(stale));
    assert_int_equal(mproc_shared_memory_size(stale), 0);
    assert_int_equal(*number_in(memory), 0);
    close_and_unlink(memory);
}

static void null_is_no_handle(void **state)
{
    (void)state;
    assert_int_equal(mproc_shared_memory_close(NULL), 0);
    assert_null(mproc_shared_memory_address(NULL));
    assert_null(mproc_shared_memory_name(NULL));
    assert_int_equal(mproc_shared_memory_size(NULL), 0);
    assert_int_equal(mproc_shared_memory_close((mproc_shared_memory *)state), MPROC_E_CLOSED);
    assert_int_equal(mproc_shared_memory_close((mproc_shared_memory *)UINTPTR_MAX), MPROC_E_CLOSED);
}

static void there_is_a_limit_to_open_handles(void **state)
{
    (void)state;
    static mproc_shared_memory *handles[MPROC_SHARED_MEMORY_MAX];
    mproc_shared_memory *one_more = NULL;
    handles[0] = create(own_name(), SIZE);
    for (int i = 1; i < MPROC_SHARED_MEMORY_MAX; i++)
        handles[i] = attach(own_name());
    assert_int_equal(mproc_shared_memory_attach(&one_more, own_name()), -EMFILE);
    assert_int_equal(mproc_shared_memory_create(&one_more, NULL, SIZE), -EMFILE);
    assert_int_equal(mproc_shared_memory_close(handles[99]), 0);
    handles[99] = attach(own_name());
    for (int i = 1; i < MPROC_SHARED_MEMORY_MAX; i++)
        assert_int_equal(mproc_shared_memory_close(handles[i]), 0);
    close_and_unlink(handles[0]);
}

static mproc_shared_memory *_Atomic contested;
static _Atomic int closed;

static void *attach_and_close(void *name)
{
    for (int i = 0; i < 2000; i++) {
        mproc_shared_memory *memory;
        int err = mproc_shared_memory_attach(&memory, name);
        if (err != 0 || mproc_shared_memory_size(memory) != SIZE) {
            printf("round %d: %s\n", i, mproc_strerror(err));
            return name;
        }
        contested = memory;
        if (mproc_shared_memory_close(memory) == 0)
            closed++;
        if (mproc_shared_memory_close(contested) == 0)
            closed++;
    }
    return NULL;
}

static void threads_close_each_handle_once(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    const char *name = own_name(); /* once: it is written anew at each call */
    mproc_shared_memory *memory = create(name, SIZE);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, attach_and_close, (void *)(uintptr_t)name), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        if (failed)
            closed = -1;
    }
    assert_int_equal(closed, THREADS * 2000);
    close_and_unlink(memory);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(of_processes_that_create_at_once_one_succeeds),
    cmocka_unit_test(whoever_finds_a_name_finds_all_of_the_memory),
    cmocka_unit_test(a_leading_slash_makes_no_difference),
    cmocka_unit_test(names_that_are_none_are_refused),
    cmocka_unit_test(what_is_not_there_cannot_be_attached_or_unlinked),
    cmocka_unit_test(memory_without_a_size_is_not_ready),
    cmocka_unit_test(what_is_no_memory_is_not_attached),
    cmocka_unit_test(wrong_arguments_are_refused),
    cmocka_unit_test(more_than_there_is_memory_is_refused_and_leaves_nothing),
    cmocka_unit_test(a_full_file_system_is_an_error_and_no_sigbus),
    cmocka_unit_test(a_limit_on_file_sizes_is_an_error_and_no_signal),
    cmocka_unit_test(without_descriptors_nothing_is_opened),
    cmocka_unit_test(signals_do_not_break_it_off),
    cmocka_unit_test(without_unnamed_files_it_works_too),
    cmocka_unit_test(a_closed_handle_is_recognised),
    cmocka_unit_test(null_is_no_handle),
    cmocka_unit_test(there_is_a_limit_to_open_handles),
    cmocka_unit_test(threads_close_each_handle_once),
};

HARNESS_MAIN(tests)
