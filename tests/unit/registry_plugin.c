/* A task of a shared library that is loaded while the program runs. SPDX-License-Identifier: MIT */
#include <mproc.h>

static int task_of_plugin(const int *in, int *out)
{
    *out = *in + 1000;
    return 0;
}
MPROC_TASK(task_of_plugin, int, int);

static int process_of_plugin(const void *nothing)
{
    return nothing ? 1 : 0;
}
MPROC_PROCESS(process_of_plugin);
