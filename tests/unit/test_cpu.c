/* Affinity mask and cgroup quota. SPDX-License-Identifier: MIT */
#include "harness.h"

#include "os/cpu.h"

#include <mproc.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void the_affinity_mask_counts(void **state)
{
    (void)state;
    cpu_set_t mask, one;
    assert_int_equal(sched_getaffinity(0, sizeof mask, &mask), 0);
    assert_true(mproc_cpu_count() >= 1 && mproc_cpu_count() <= CPU_COUNT(&mask));
    CPU_ZERO(&one);
    for (int cpu = 0; CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &mask))
            CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(mproc_cpu_count(), 1);
    assert_int_equal(mproc_machine_cpu_count(), sysconf(_SC_NPROCESSORS_ONLN));
}

/* ---- cgroups, as files in a folder of the test's own */

static char mount[64];

static int make_mount(void **state)
{
    (void)state;
    snprintf(mount, sizeof mount, "/tmp/mproc-cgroup-XXXXXX");
    return mkdtemp(mount) ? 0 : -1;
}

static int remove_mount(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", mount);
    return system(command);
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "mkdir -p %s/%s", mount, folder);
    assert_int_equal(system(path), 0);
    snprintf(path, sizeof path, "%s/%s/%s", mount, folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void version_2_quotas_are_rounded_up(void **state)
{
    (void)state;
    write_file("a", "cpu.max", "150000 100000\n");
    assert_int_equal(os_cgroup_cpu_quota(mount, "0::/a\n"), 2);
    write_file("a", "cpu.max", "max 100000\n");
    assert_int_equal(os_cgroup_cpu_quota(mount, "0::/a\n"), 0);
    write_file("a", "cpu.max", "1000 100000\n");
    assert_int_equal(os_cgroup_cpu_quota(mount, "0::/a\n"), 1);
}

static void a_quota_further_up_binds_too(void **state)
{
    (void)state;
    write_file("a/b/c", "cpu.max", "800000 100000\n");
    write_file("a", "cpu.max", "300000 100000\n");
    assert_int_equal(os_cgroup_cpu_quota(mount, "0::/a/b/c\n"), 3);
    write_file(".", "cpu.max", "100000 100000\n");
    assert_int_equal(os_cgroup_cpu_quota(mount, "0::/a/b/c\n"), 1);
}

static void a_path_that_is_not_below_the_mount_means_the_mount(void **state)
{
    (void)state;
    write_file(".", "cpu.max", "200000 100000\n");
    assert_int_equal(os_cgroup_cpu_quota(mount, "0::/docker/0123456789\n"), 2);
}

static void version_1_quotas_count(void **state)
{
    (void)state;
    write_file("cpu,cpuacct/x", "cpu.cfs_quota_us", "250000\n");
    write_file("cpu,cpuacct/x", "cpu.cfs_period_us", "100000\n");
    assert_int_equal(os_cgroup_cpu_quota(mount, "5:memory:/x\n4:cpu,cpuacct:/x\n0::/\n"), 3);
    write_file("cpu,cpuacct/x", "cpu.cfs_quota_us", "-1\n");
    assert_int_equal(os_cgroup_cpu_quota(mount, "4:cpu,cpuacct:/x\n"), 0);
    write_file("cpu/y", "cpu.cfs_quota_us", "100000\n");
    write_file("cpu/y", "cpu.cfs_period_us", "100000\n");
    assert_int_equal(os_cgroup_cpu_quota(mount, "1:cpu:/y\n"), 1);
}

static void nonsense_is_no_quota(void **state)
{
    (void)state;
    write_file("a", "cpu.max", "hello\n");
    assert_int_equal(os_cgroup_cpu_quota(mount, "0::/a\n"), 0);
    write_file("a", "cpu.max", "100000 0\n");
    assert_int_equal(os_cgroup_cpu_quota(mount, "0::/a\n"), 0);
    write_file("a", "cpu.max", "");
    assert_int_equal(os_cgroup_cpu_quota(mount, "0::/a\n"), 0);
    assert_int_equal(os_cgroup_cpu_quota(mount, ""), 0);
    assert_int_equal(os_cgroup_cpu_quota(mount, "no colons\n\n:\n::\n"), 0);
    static char long_line[9000];
    memset(long_line, 'x', sizeof long_line - 1);
    memcpy(long_line, "0::/", 4);
    assert_int_equal(os_cgroup_cpu_quota(mount, long_line), 0);
}

#define WITH_MOUNT(test) cmocka_unit_test_setup_teardown(test, make_mount, remove_mount)

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_affinity_mask_counts), WITH_MOUNT(version_2_quotas_are_rounded_up),
    WITH_MOUNT(a_quota_further_up_binds_too),   WITH_MOUNT(a_path_that_is_not_below_the_mount_means_the_mount),
    WITH_MOUNT(version_1_quotas_count),         WITH_MOUNT(nonsense_is_no_quota),
};

HARNESS_MAIN(tests)
