/* What the README promises, from outside. SPDX-License-Identifier: MIT */
#include <mproc.h>
#include <stdio.h>
#include <string.h>

static int square(const int *number, long *result)
{
    *result = (long)*number * *number;
    return 0;
}
MPROC_TASK(square);

int main(void)
{
    int numbers[1000];
    long squares[1000] = { 0 };
    for (int i = 0; i < 1000; i++)
        numbers[i] = i;
    int err = mproc_map(NULL, square, numbers, squares, 1000);
    for (int i = 0; i < 1000; i++)
        err |= squares[i] != (long)i * i;
    printf("mproc %s: %s\n", mproc_version(), err ? "WRONG" : "right");
    return err || strcmp(mproc_version(), "0.1.0") != 0;
}
