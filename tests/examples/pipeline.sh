#!/bin/sh
# Every file comes out as tr would have it; a file that is not there is said, and the others come out all the same.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/in" "$folder/out"
for i in 1 2 3 4 5 6; do
    head -c $((i * 100000)) "$1" >"$folder/in/$i"
done
: >"$folder/in/empty"
echo 'just a line' >"$folder/in/line"
for count in 1 3; do
    rm -f "$folder"/out/*
    "$1" -n "$count" "$folder/out" "$folder"/in/*
    for file in "$folder"/in/*; do
        LC_ALL=C tr a-z A-Z <"$file" | cmp - "$folder/out/$(basename "$file")"
    done
done
rm -f "$folder"/out/*
if out=$("$1" "$folder/out" "$folder/nowhere" "$folder/in/line" 2>&1); then
    echo "a missing file is no failure?"
    exit 1
fi
echo "$out"
echo "$out" | grep -q 'nowhere: No such file or directory'
[ "$(cat "$folder/out/line")" = 'JUST A LINE' ]
