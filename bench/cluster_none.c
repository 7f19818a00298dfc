/* Without hiredis no cluster is measured. SPDX-License-Identifier: MIT */
#include "bench.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    bench_begin(argc, argv);
    printf(
        "Clusters are not measured, as hiredis or OpenSSL was not there when this was built (make bench-deps installs "
        "them).\n\n");
    return bench_end();
}
