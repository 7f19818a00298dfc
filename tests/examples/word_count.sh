#!/bin/sh
# The same totals as wc over the same files, on every backend; unreadable files are named.
set -eu
program=$1
sources=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

fail() {
    echo "$1"
    exit 1
}

# Files with and without a last newline, empty, of one long line, and the sources themselves.
cp -r "$sources/src" "$sources/include" "$sources/examples" "$folder"
printf 'no newline' >"$folder/a"
: >"$folder/empty"
head -c 300000 /dev/zero | tr '\0' 'x' >"$folder/long"
printf '  spaces \t tabs\n\n\nlines\v\f\r words ' >"$folder/white"
mkdir "$folder/.hidden" && echo hidden >"$folder/.hidden/file"

expected=$(find "$folder" -name '.?*' -prune -o -type f -print0 | LC_ALL=C wc --files0-from=- | tail -n 1 |
    awk '{ print $1, $2, $3 }')
count=$(find "$folder" -name '.?*' -prune -o -type f -print | wc -l)
for backend in serial threads processes; do
    out=$("$program" -b $backend -w 3 "$folder")
    got=$(echo "$out" | awk '/ total of / { print $1, $2, $3 }')
    [ "$got" = "$expected" ] || fail "$backend: $got, but wc says $expected"
    echo "$out" | grep -q "total of $count files" || fail "$backend: not $count files: $out"
    [ "$(echo "$out" | wc -l)" = 12 ] || fail "not ten files and two more lines: $out"
    echo "$out" | sed -n 2p | grep -q '/long$' || fail "the largest is not first: $out"
done

status=0
out=$("$program" "$folder/a" "$folder/nowhere" 2>&1) || status=$?
[ $status = 1 ] || fail "an unreadable file: status $status"
echo "$out" | grep -q 'word_count: .*/nowhere: No such file or directory' || fail "it is not named: $out"
echo "$out" | grep -q 'total of 1 files' || fail "the rest is not counted: $out"

# One that can be found but not opened; root can open all but what is no file any more when it is its turn.
if [ "$(id -u)" != 0 ]; then
    chmod 0 "$folder/a"
    status=0
    out=$("$program" "$folder" 2>&1) || status=$?
    [ $status = 1 ] && echo "$out" | grep -q '/a: Permission denied' || fail "permission: $status $out"
fi
"$program" >/dev/null || fail "the default, the repository, cannot be counted"
status=0
"$program" -b nonsense >/dev/null 2>&1 || status=$?
[ $status = 2 ] || fail "wrong use: status $status"
