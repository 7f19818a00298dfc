#!/bin/sh
# check-valgrind.sh BUILD: memory errors and leaks in a subset of the tests, and in what they fork.
set -eu
cd "$(dirname "$0")/.."

for test in map_processes:every_item_is_done_once_and_in_its_place map_processes:a_failed_item_says_its_code_and_message \
    map_processes:null_arrays_are_refused map_processes:a_closed_pool_is_recognised \
    map_threads:a_failed_item_says_its_code_and_message map_threads:sixteen_threads_map_on_one_pool \
    map_serial:a_failed_item_says_its_code_and_message; do
    echo "$test"
    valgrind --quiet --error-exitcode=99 --leak-check=full --trace-children=no --child-silent-after-fork=no \
        "$1/tests/test_${test%:*}" --run "${test#*:}"
done
