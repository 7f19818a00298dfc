#!/bin/sh
# The table is complete and the totals are right; wrong use is answered.
set -eu
program=$1

fail() {
    echo "$1"
    exit 1
}

out=$("$program" -n 200000 -r 1)
echo "$out"
[ "$(echo "$out" | grep -c ' 39999800000$')" = 3 ] || fail "three right totals are missing"
for row in 'one after the other' threads processes; do
    echo "$out" | grep -q "^$row  " || fail "row '$row' is missing"
done
out=$("$program" -n 1000 -w 5 -b processes -r 1)
[ "$(echo "$out" | grep -c ' 2497500$')" = 2 ] || fail "-w 5 -b processes: wrong totals: $out"
"$program" -n 1000 -b serial -r 3 >/dev/null
for wrong in '-b nonsense' '-n 0' '-n x' '-w 0' '-w 65' '-r 0' '-x' 'argument'; do
    status=0
    # shellcheck disable=SC2086 # two words
    "$program" $wrong >/dev/null 2>&1 || status=$?
    [ $status = 2 ] || fail "$wrong: status $status"
done
