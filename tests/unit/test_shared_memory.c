/* Named shared memory between unrelated processes. SPDX-License-Identifier: MIT
 *
 * They are this program, started again with --other, and Python.
 */
#include "shared_memory_use.h"

#include <sys/stat.h>

/* ---- other programs */

/* What --other does; its exit status. */
static int be_other(const char *action, const char *name)
{
    mproc_shared_memory *memory = NULL;
    int err;
    if (strcmp(action, "unlink") == 0)
        return -mproc_shared_memory_unlink(name);
    if (strcmp(action, "create") == 0)
        err = mproc_shared_memory_create(&memory, name, SIZE);
    else
        err = mproc_shared_memory_attach(&memory, name);
    if (err)
        return -err;
    if (mproc_shared_memory_size(memory) != SIZE)
        return 1;
    atomic_fetch_add(number_in(memory), 1);
    if (strcmp(action, "crash") == 0)
        raise(SIGKILL);
    return -mproc_shared_memory_close(memory);
}

static int run_program(const char *program, const char *first, const char *second, const char *third)
{
    if (fork() == 0) {
        execlp(program, program, first, second, third, (char *)NULL);
        _exit(127);
    }
    return wait_for_child();
}

static int run_other(const char *action, const char *name)
{
    return run_program("/proc/self/exe", "--other", action, name);
}

/* `attach` keeps Python up to 3.12 from unlinking at its end what it attached to. */
static int run_python(const char *script, const char *name)
{
    static const char prologue[] = "import sys\n"
                                   "from multiprocessing import resource_tracker\n"
                                   "from multiprocessing.shared_memory import SharedMemory\n"
                                   "def untracked(**arguments):\n"
                                   "    try:\n"
                                   "        return SharedMemory(sys.argv[1], track=False, **arguments)\n"
                                   "    except TypeError:\n"
                                   "        memory = SharedMemory(sys.argv[1], **arguments)\n"
                                   "        resource_tracker.unregister(memory._name, 'shared_memory')\n"
                                   "        return memory\n";
    char program[2000];
    snprintf(program, sizeof program, "%s%s", prologue, script);
    int status = run_program("python3", "-c", program, name);
    if (status == 127)
        harness_skip("python3 is missing");
    return status;
}

/* ---- sharing */

static void an_unrelated_process_shares_the_memory(void **state)
{
    (void)state;
    mproc_shared_memory *memory = create(own_name(), SIZE);
    *number_in(memory) = 41;
    assert_int_equal(run_other("attach", own_name()), 0);
    assert_int_equal(*number_in(memory), 42);
    close_and_unlink(memory);
}

static void memory_that_an_unrelated_process_created_outlives_it(void **state)
{
    (void)state;
    assert_int_equal(run_other("create", own_name()), 0);
    mproc_shared_memory *memory = attach(own_name());
    assert_int_equal(mproc_shared_memory_size(memory), SIZE);
    assert_int_equal(*number_in(memory), 1);
    close_and_unlink(memory);
}

static void new_memory_is_zeroed_writable_and_of_the_size_asked_for(void **state)
{
    (void)state;
    mproc_shared_memory *memory = create(own_name(), SIZE);
    char *bytes = mproc_shared_memory_address(memory), path[300];
    struct stat status;
    assert_int_equal(mproc_shared_memory_size(memory), SIZE);
    assert_string_equal(mproc_shared_memory_name(memory), own_name());
    for (int i = 0; i < SIZE; i++)
        assert_int_equal(bytes[i]++, 0);
    path_in_folder(own_name(), path);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, SIZE);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_true(status.st_blocks * 512 >= SIZE); /* reserved */
    close_and_unlink(memory);
}

static void a_forked_child_inherits_the_memory_and_closes_its_own(void **state)
{
    (void)state;
    mproc_shared_memory *memory = create(own_name(), SIZE);
    if (fork() == 0) {
        *number_in(memory) = 7;
        _exit(mproc_shared_memory_close(memory) == 0 && mproc_shared_memory_close(memory) == MPROC_E_CLOSED ? 0 : 1);
    }
    assert_int_equal(wait_for_child(), 0);
    assert_int_equal(*number_in(memory), 7);
    close_and_unlink(memory);
}

static _Atomic int *task_memory;

static int count_in_memory(const int *in, int *out)
{
    *out = atomic_fetch_add(task_memory, *in);
    return 0;
}
MPROC_TASK(count_in_memory);

static void workers_see_what_was_attached_before_the_pool_opened(void **state)
{
    (void)state;
    int in[10] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 }, out[10];
    mproc_shared_memory *memory = create(own_name(), SIZE);
    mproc_pool *pool;
    task_memory = number_in(memory);
    assert_int_equal(mproc_pool_open(&pool, .workers = 2), 0);
    assert_int_equal(mproc_map(pool, count_in_memory, in, out, 10), 0);
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(*number_in(memory), 10);
    close_and_unlink(memory);
}

/* ---- ownership */

static void closing_and_dying_leave_the_name_alone(void **state)
{
    (void)state;
    mproc_shared_memory_close(create(own_name(), SIZE));
    assert_int_equal(run_other("attach", own_name()), 0);
    assert_int_equal(run_other("crash", own_name()), -1);
    mproc_shared_memory *memory = attach(own_name());
    assert_int_equal(*number_in(memory), 2);
    close_and_unlink(memory);
}

static void memory_survives_its_name(void **state)
{
    (void)state;
    mproc_shared_memory *memory = create(own_name(), SIZE), *same = attach(own_name()), *none = NULL;
    assert_int_equal(mproc_shared_memory_unlink(own_name()), 0);
    assert_int_equal(mproc_shared_memory_attach(&none, own_name()), -ENOENT);
    assert_int_equal(mproc_shared_memory_unlink(own_name()), -ENOENT);
    assert_null(none);
    *number_in(memory) = 3;
    assert_int_equal(mproc_shared_memory_close(memory), 0);
    assert_int_equal(*number_in(same), 3);
    mproc_shared_memory *other = create(own_name(), SIZE); /* the name is free, and stands for something else now */
    assert_int_equal(*number_in(other), 0);
    assert_int_equal(mproc_shared_memory_close(same), 0);
    close_and_unlink(other);
}

static void whoever_attached_may_unlink(void **state)
{
    (void)state;
    mproc_shared_memory *memory = create(own_name(), SIZE), *none;
    assert_int_equal(run_other("unlink", own_name()), 0);
    assert_int_equal(mproc_shared_memory_attach(&none, own_name()), -ENOENT);
    assert_int_equal(mproc_shared_memory_close(memory), 0);
}

static void other_users_are_refused(void **state)
{
    (void)state;
    if (getuid() != 0)
        harness_skip("only root can be another user");
    mproc_shared_memory *memory = create(own_name(), SIZE);
    const char *name = own_name();
    if (fork() == 0) {
        mproc_shared_memory *none;
        if (setgid(65534) != 0 || setuid(65534) != 0 || mproc_shared_memory_attach(&none, name) != -EACCES)
            _exit(1);
        int err = mproc_shared_memory_unlink(name);
        _exit(err == -EPERM || err == -EACCES ? 0 : 2);
    }
    assert_int_equal(wait_for_child(), 0);
    close_and_unlink(memory);
}

static void a_name_is_given_once(void **state)
{
    (void)state;
    mproc_shared_memory *memory = create(own_name(), SIZE), *untouched = memory;
    *number_in(memory) = 5;
    assert_int_equal(mproc_shared_memory_create(&untouched, own_name(), 1), -EEXIST);
    assert_ptr_equal(untouched, memory);
    assert_int_equal(run_other("create", own_name()), EEXIST);
    assert_int_equal(*number_in(memory), 5);
    close_and_unlink(memory);
}

static void without_a_name_one_is_made_up(void **state)
{
    (void)state;
    mproc_shared_memory *one = create(NULL, SIZE), *two = create(NULL, SIZE);
    assert_string_not_equal(mproc_shared_memory_name(one), mproc_shared_memory_name(two));
    assert_int_equal(run_other("attach", mproc_shared_memory_name(one)), 0);
    assert_int_equal(*number_in(one), 1);
    assert_int_equal(*number_in(two), 0);
    close_and_unlink(one);
    close_and_unlink(two);
}

/* ---- Python */

static void python_attaches_to_what_c_created(void **state)
{
    (void)state;
    mproc_shared_memory *memory = create(own_name(), SIZE);
    char *bytes = mproc_shared_memory_address(memory);
    memcpy(bytes, "from C", 6);
    assert_int_equal(run_python("memory = untracked()\n"
                                "assert memory.size == 10000 and memory.name == sys.argv[1]\n"
                                "assert bytes(memory.buf[:6]) == b'from C'\n"
                                "memory.buf[9990:10000] = b'and Python'\n"
                                "memory.close()\n",
                                own_name()),
                     0);
    assert_memory_equal(bytes + SIZE - 10, "and Python", 10);
    close_and_unlink(memory);
}

static void c_attaches_to_what_python_created(void **state)
{
    (void)state;
    assert_int_equal(run_python("memory = untracked(create=True, size=10000)\n"
                                "memory.buf[:11] = b'from Python'\n"
                                "memory.close()\n",
                                own_name()),
                     0);
    mproc_shared_memory *memory = attach(own_name());
    assert_int_equal(mproc_shared_memory_size(memory), SIZE);
    assert_memory_equal(mproc_shared_memory_address(memory), "from Python", 11);
    close_and_unlink(memory);
}

static void python_unlinks_what_c_created(void **state)
{
    (void)state;
    mproc_shared_memory *memory = create(NULL, SIZE), *none;
    assert_int_equal(run_python("memory = SharedMemory(sys.argv[1])\n"
                                "memory.close()\n"
                                "memory.unlink()\n",
                                mproc_shared_memory_name(memory)),
                     0);
    assert_int_equal(mproc_shared_memory_attach(&none, mproc_shared_memory_name(memory)), -ENOENT);
    assert_int_equal(mproc_shared_memory_close(memory), 0);
}

static void python_finds_what_c_created_in_use(void **state)
{
    (void)state;
    mproc_shared_memory *memory = create(own_name(), SIZE);
    assert_int_equal(run_python("try:\n"
                                "    SharedMemory(sys.argv[1], create=True, size=1)\n"
                                "except FileExistsError:\n"
                                "    sys.exit(0)\n"
                                "sys.exit(1)\n",
                                own_name()),
                     0);
    close_and_unlink(memory);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_unrelated_process_shares_the_memory),
    cmocka_unit_test(memory_that_an_unrelated_process_created_outlives_it),
    cmocka_unit_test(new_memory_is_zeroed_writable_and_of_the_size_asked_for),
    cmocka_unit_test(a_forked_child_inherits_the_memory_and_closes_its_own),
    cmocka_unit_test(workers_see_what_was_attached_before_the_pool_opened),
    cmocka_unit_test(closing_and_dying_leave_the_name_alone),
    cmocka_unit_test(memory_survives_its_name),
    cmocka_unit_test(whoever_attached_may_unlink),
    cmocka_unit_test(other_users_are_refused),
    cmocka_unit_test(a_name_is_given_once),
    cmocka_unit_test(without_a_name_one_is_made_up),
    cmocka_unit_test(python_attaches_to_what_c_created),
    cmocka_unit_test(c_attaches_to_what_python_created),
    cmocka_unit_test(python_unlinks_what_c_created),
    cmocka_unit_test(python_finds_what_c_created_in_use),
};

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--other") == 0)
        return be_other(argv[2], argv[3]);
    return harness_main(argc, argv, tests, sizeof tests / sizeof tests[0], HARNESS_SECONDS);
}
