/* The plain functions, from C++. SPDX-License-Identifier: MIT */
#include <cstdio>
#include <mproc.h>

static int square(const int *number, long *result)
{
    *result = static_cast<long>(*number) * *number;
    return 0;
}
MPROC_TASK(square, int, long);

static int half(const double *number, double *result)
{
    *result = *number / 2;
    return 0;
}
MPROC_TASK(half);

int main()
{
    int numbers[3] = { 1, 2, 3 };
    long squares[3] = { 0, 0, 0 };
    double doubles[2] = { 1, 3 }, halves[2];
    mproc_map_arguments arguments = mproc_map_arguments();
    arguments.size = sizeof arguments;
    arguments.name = "square";
    arguments.input = numbers;
    arguments.input_size = sizeof *numbers;
    arguments.output = squares;
    arguments.output_size = sizeof *squares;
    arguments.n = 3;
    int err = mproc_map_with(nullptr, &arguments);
    arguments.name = "half";
    arguments.input = doubles;
    arguments.output = halves;
    arguments.n = 2;
    int unknown = mproc_map_with(nullptr, &arguments);
    arguments.input_size = arguments.output_size = sizeof(double);
    arguments.types_checked = true;
    arguments.function = reinterpret_cast<mproc_function *>(half);
    err |= mproc_map_with(nullptr, &arguments);
    bool right = err == 0 && squares[2] == 9 && halves[1] == 1.5 && unknown != 0;
    std::printf("C++: %s\n", right ? "right" : mproc_strerror(err));
    return right ? 0 : 1;
}
