/* An agent of a program whose task has the same name, but another size. SPDX-License-Identifier: MIT */
#include "agents.h"

#include <mproc.h>

struct piece {
    int number;
};

static int work(const struct piece *piece, int *result)
{
    *result = piece->number;
    return 0;
}
MPROC_TASK(work, struct piece, int);

int main(int argc, char **argv)
{
    return agent_main(argc, argv);
}
