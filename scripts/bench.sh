#!/bin/sh
# Runs all benchmarks of the release build.
set -eu
cd "$(dirname "$0")/.."

echo "$(uname -srm), $(nproc) CPUs: $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)"
echo "$(date +%F), mproc $(sed -n 's/.*MPROC_VERSION_[A-Z]* //p' include/mproc/version.h | paste -sd.)"
echo
for benchmark in sum_range empty_tasks small_maps open_close processes locks allocation queue; do
    "build/release/bench/bench_$benchmark"
done
huge=$(sed -n 's/.*\[\(.*\)\].*/\1/p' /sys/kernel/mm/transparent_hugepage/shmem_enabled 2>/dev/null || true)
echo "With MPROC_HEAP_HUGE_PAGES=1, where the kernel's shmem_enabled is '$huge' (never: it makes no difference):"
MPROC_HEAP_HUGE_PAGES=1 build/release/bench/bench_allocation touch
