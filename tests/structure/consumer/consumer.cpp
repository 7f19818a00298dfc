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

namespace app
{
static int add(const int *numbers)
{
    return numbers[0] + numbers[1];
}
MPROC_PROCESS(add, int);

static int length(char *text)
{
    int count = 0;
    while (text[count])
        count++;
    return count;
}
MPROC_PROCESS(length);
} // namespace app

static int run_process(const char *name, const void *argument, size_t size)
{
    mproc_process *process = nullptr;
    mproc_outcome outcome = mproc_outcome();
    mproc_process_start_arguments arguments = mproc_process_start_arguments();
    arguments.size = sizeof arguments;
    arguments.process = &process;
    arguments.function_name = name;
    arguments.argument = argument;
    arguments.argument_size = size;
    int err = mproc_process_start_with(&arguments);
    if (err)
        return err;
    mproc_process_join(process, MPROC_FOREVER);
    mproc_process_outcome(process, &outcome);
    mproc_process_close(process);
    return outcome.code;
}

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
    int pair[2] = { 40, 2 };
    char text[] = "twelve bytes";
    bool processes = run_process("add", pair, sizeof pair) == 42 && run_process("length", text, sizeof text) == 12;
    bool right = processes && err == 0 && squares[2] == 9 && halves[1] == 1.5 && unknown != 0;
    std::printf("C++: %s\n", right ? "right" : mproc_strerror(err));
    return right ? 0 : 1;
}
