/* Holds tasks up until the test lets them go on. SPDX-License-Identifier: MIT */
#include "gate.h"

#include "harness.h"

#include <limits.h>
#include <sys/mman.h>

struct gate *gate_make(void)
{
    void *gate = mmap(NULL, sizeof(struct gate), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(gate, MAP_FAILED);
    return gate;
}

void gate_pass(struct gate *gate)
{
    int number = gate->arrived++;
    while (gate->passes <= number)
        harness_sleep_ms(1);
}

void gate_wait_arrived(struct gate *gate, int count)
{
    while (gate->arrived < count)
        harness_sleep_ms(1);
}

void gate_let(struct gate *gate, int count)
{
    gate->passes += count;
}

void gate_open(struct gate *gate)
{
    gate->passes = INT_MAX;
}
