/* A task of another source file. SPDX-License-Identifier: MIT */
#include <mproc.h>

int task_of_another_file(const int *in, int *out);

int task_of_another_file(const int *in, int *out)
{
    *out = *in + 100;
    return 0;
}
MPROC_TASK(task_of_another_file, int, int);
