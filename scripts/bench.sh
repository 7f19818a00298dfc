#!/bin/sh
# Runs all benchmarks of the release build.
set -eu
cd "$(dirname "$0")/.."

echo "$(uname -srm), $(nproc) CPUs: $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)"
echo "$(date +%F), mproc $(sed -n 's/.*MPROC_VERSION_[A-Z]* //p' include/mproc/version.h | paste -sd.)"
echo
for benchmark in sum_range empty_tasks small_maps open_close locks allocation; do
    "build/release/bench/bench_$benchmark"
done
