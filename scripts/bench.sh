#!/bin/sh
# Runs all benchmarks of the release build: in full, or with "quick" in less than three minutes.
set -eu
cd "$(dirname "$0")/.."
programs=build/release/bench
results=build/bench
option=
[ "${1:-}" != quick ] || option=--quick
rm -rf "$results"
mkdir -p "$results/rows"

# Who takes part, as NAME=VERSION
versions() {
    echo "mproc=$(sed -n 's/.*MPROC_VERSION_[A-Z]* //p' include/mproc/version.h | paste -sd.)"
    for peer in "$programs"/peer_*; do
        [ ! -x "$peer" ] || "$peer" --version | sed 's/\([^ ]*\) /\1=/'
    done
    ! command -v python3 >/dev/null || python3 --version | sed 's/ /=/'
    dpkg-query -W -f '${Package}=${Version}\n' redis-server libhiredis-dev libboost-dev libzmq3-dev libnng-dev \
        libopenmpi-dev 2>/dev/null || true
    echo "libc=$(getconf GNU_LIBC_VERSION 2>/dev/null || echo unknown)"
}

versions >"$results/versions"
echo "$(uname -srm), $(nproc) CPUs: $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)"
date +%F
cat "$results/versions"
echo

failed=0
run() {
    name=$1
    program=$2
    shift 2
    # shellcheck disable=SC2086 # no word, or one
    "$programs/bench_$program" $option --json "$results/rows/$name.json" "$@" || failed=1
}
number=10
for program in empty_tasks task_lengths small_calls open_close own_memory growth sum_range cluster isolation processes \
    locks allocation queue limits; do
    run "$number-$program" "$program"
    number=$((number + 1))
done
huge=$(sed -n 's/.*\[\(.*\)\].*/\1/p' /sys/kernel/mm/transparent_hugepage/shmem_enabled 2>/dev/null || true)
echo "The kernel's shmem_enabled is '$huge' (never: MPROC_HEAP_HUGE_PAGES=1 makes no difference)."
MPROC_HEAP_HUGE_PAGES=1
export MPROC_HEAP_HUGE_PAGES
run "$number-huge" allocation 'first touch'

scripts/bench-results.sh "$results"
exit "$failed"
