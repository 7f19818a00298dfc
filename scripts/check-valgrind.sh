#!/bin/sh
# check-valgrind.sh BUILD: memory errors and leaks in a subset of the tests, and in what they fork.
set -eu
cd "$(dirname "$0")/.."

tests="heap:freed_memory_is_used_again_before_new_pages heap:children_see_the_same_memory_at_the_same_address
    map_threads:a_failed_item_says_its_code_and_message map_threads:sixteen_threads_map_on_one_pool
    use_threads:terminating_breaks_off_the_maps_in_progress use_threads:a_closed_pool_is_recognised
    map_serial:a_failed_item_says_its_code_and_message use_serial:the_plain_function_refuses_other_sizes
    registry_threads:a_shared_library_brings_its_tasks cpu:version_1_quotas_count
    memory:realloc_keeps_what_the_block_held family:what_was_published_stays
    memory:alignments_are_kept locks_processes:a_lock_lets_one_in_at_a_time
    locks_threads:a_recursive_lock_counts_and_belongs_to_its_holder counts_threads:a_barrier_counts_its_parties
    connection:empty_messages_have_an_address_too connection_receive:nothing_of_the_next_message_is_taken
    connection_receive:a_message_that_is_cut_off_anywhere_is_told
    connection_fds:they_may_come_with_any_byte_and_between_timeouts
    shared_memory:memory_survives_its_name texts:outcomes_are_put_into_words"

# Older ones do not know pidfd_open, without which there is no supervisor.
version=$(valgrind --version | sed 's/valgrind-//')
if [ "$(printf '3.22\n%s\n' "$version" | sort -V | head -n 1)" = 3.22 ]; then
    tests="$tests map_processes:every_item_is_done_once_and_in_its_place
        map_processes:a_failed_item_says_its_code_and_message use_processes:a_closed_pool_is_recognised"
else
    echo "valgrind $version cannot run process pools: threads, serial and the heap only"
fi

for test in $tests; do
    echo "$test"
    valgrind --quiet --error-exitcode=99 --leak-check=full "$1/tests/test_${test%:*}" --run "${test#*:}"
done
