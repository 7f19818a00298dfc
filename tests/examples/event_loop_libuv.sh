#!/bin/sh
# Each number once and in order, and the end.
set -eu
out=$("$1")
echo "$out"
[ "$(echo "$out" | sed -n 's/^from the queue //p' | tr '\n' ' ')" = '1 3 5 7 9 ' ]
[ "$(echo "$out" | sed -n 's/^from the connection //p' | tr '\n' ' ')" = '2 4 6 8 10 ' ]
[ "$(echo "$out" | tail -n 1)" = 'the process has ended' ]
