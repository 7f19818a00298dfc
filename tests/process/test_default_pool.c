/* The pool of those who name none, whose supervisor is killed. SPDX-License-Identifier: MIT */
#include "harness.h"

#include <mproc.h>
#include <signal.h>
#include <stdint.h>
#include <unistd.h>

static int identity(const uint32_t *in, uint32_t *out)
{
    *out = *in + 1;
    return 0;
}
MPROC_TASK(identity);

/* The newest child: pools are children of the test. */
static int supervisor_pid(void)
{
    int children[8];
    int count = harness_children(getpid(), children, 8);
    assert_true(count > 0);
    return children[count - 1];
}

static void the_default_pool_opens_again_after_its_supervisor_was_killed(void **state)
{
    (void)state;
    harness_uses_default_pool();
    uint32_t in[2] = { 1, 2 }, out[2];
    for (int round = 0; round < 3; round++) {
        assert_int_equal(mproc_map(NULL, identity, in, out, 2), 0);
        int supervisor = supervisor_pid();
        kill(supervisor, SIGKILL);
        assert_true(harness_wait_gone(supervisor, HARNESS_PATIENCE));
    }
    assert_int_equal(mproc_map(NULL, identity, in, out, 2), 0);
}

static int nap(const uint32_t *milliseconds, uint32_t *result)
{
    harness_sleep_ms((int)*milliseconds);
    *result = *milliseconds;
    return 0;
}
MPROC_TASK(nap);

static void kill_and_use(const struct mproc_progress *progress, void *context)
{
    uint32_t in[2] = { 1, 2 }, out[2];
    int *result = context, supervisor = supervisor_pid();
    if (*result != 77)
        return;
    (void)progress;
    kill(supervisor, SIGKILL);
    assert_true(harness_wait_gone(supervisor, HARNESS_PATIENCE));
    *result = mproc_map(NULL, identity, in, out, 2);
}

static void the_default_pool_opens_again_in_a_callback_of_a_call_on_it(void **state)
{
    (void)state;
    harness_uses_default_pool();
    int result = 77;
    uint32_t in[1] = { 100000 }, out[1];
    assert_int_equal(mproc_map(NULL, nap, in, out, 1, .progress = kill_and_use, .progress_context = &result),
                     MPROC_E_SUPERVISOR_DIED);
    assert_int_equal(result, 0);
    in[0] = 1;
    assert_int_equal(mproc_map(NULL, nap, in, out, 1), 0); /* which closes the broken one */
    assert_int_equal(harness_children(getpid(), (int[4]) { 0 }, 4), 1);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_default_pool_opens_again_after_its_supervisor_was_killed),
    cmocka_unit_test(the_default_pool_opens_again_in_a_callback_of_a_call_on_it),
};

HARNESS_MAIN(tests)
