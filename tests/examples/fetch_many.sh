#!/bin/sh
# Three rows, with each page in each; wrong use is answered. That processes and threads are faster is no test's business.
set -eu
program=$1

fail() {
    echo "$1"
    exit 1
}

for count in 1 20; do
    out=$("$program" -n $count -w 20)
    echo "$out"
    echo "$out" | grep -q "^one after the other  *1 .* $count *\$" || fail "one after the other is missing"
    for row in processes threads; do
        echo "$out" | grep -q "^$row  *20 .* $count *\$" || fail "row '$row' is missing"
    done
done
http_proxy=http://127.0.0.1:1 "$program" -n 3 -w 2 >/dev/null || fail "it asks a proxy"
for wrong in '-n 0' '-n x' '-w 0' '-w 201' '-x' 'argument'; do
    status=0
    # shellcheck disable=SC2086 # two words
    "$program" $wrong >/dev/null 2>&1 || status=$?
    [ $status = 2 ] || fail "$wrong: status $status"
done
