#!/bin/sh
# Builds and tests everything. The last line counts the tests of all builds.
set -u
cd "$(dirname "$0")/.."

passed=0
failed=0

# count NAME COMMAND...: one check with one verdict
count() {
    name=$1
    shift
    if "$@" >build/check.log 2>&1; then
        passed=$((passed + 1))
        echo "ok       $name"
    else
        failed=$((failed + 1))
        echo "FAILED   $name"
        cat build/check.log
    fi
}

# suite PRESET [ctest options]: the tests of one build
suite() {
    preset=$1
    shift
    if ! scripts/build.sh "$preset"; then
        failed=$((failed + 1))
        return
    fi
    echo "Testing '$preset'"
    ctest --test-dir "build/$preset" --output-on-failure --no-tests=error -j "$(nproc)" "$@" 2>&1 |
        tee build/suite.log | grep -v '^ *Start\|^Internal ctest\|^$'
    total=$(sed -n 's/.*tests passed, \([0-9]*\) tests* failed out of \([0-9]*\).*/\1 \2/p' build/suite.log)
    bad=${total% *}
    all=${total#* }
    if [ -z "$total" ]; then
        failed=$((failed + 1))
    else
        passed=$((passed + all - bad))
        failed=$((failed + bad))
    fi
}

mkdir -p build
# What takes long (the crash tests; clusters, which wait for leases most of the time) is run by one build only.
suite dev -LE 'slow|cluster'
suite release -LE cluster
suite release -L cluster -j "$((2 * $(nproc)))"
suite clang -LE 'slow|cluster'
suite asan -LE 'slow|cluster'
suite tsan
count "layers: each folder includes only what it may" scripts/check-layers.sh
count "symbols: only mproc's own are exported" scripts/check-symbols.sh build/release/libmproc.so
count "format: clang-format changes nothing" scripts/check-format.sh
count "clang-tidy finds nothing" scripts/check-tidy.sh build/clang
count "valgrind finds nothing" scripts/check-valgrind.sh build/dev
count "installation: found by CMake, by pkg-config and as a subproject" scripts/check-install.sh
count "models: locks and queues with processes that die at any step" scripts/check-models.sh
count "reference manual: Doxygen has nothing to complain of" make manual
count "README and manual: their programs compile, and run" scripts/check-readme.sh

echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
