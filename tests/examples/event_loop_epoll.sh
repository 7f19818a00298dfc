#!/bin/sh
# Each number once and in order, the event, and the end.
set -eu
out=$("$1")
echo "$out"
[ "$(echo "$out" | grep '^number' | tr -d '\n')" = 'number 1number 2number 3number 4number 5' ]
[ "$(echo "$out" | grep -c '^half way$')" = 1 ]
[ "$(echo "$out" | tail -n 1)" = 'the process has ended' ]
