#!/bin/sh
# The program in the README compiles without a warning and prints what it should.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sed -n '/^```c$/,/^```$/p' README.md | sed '/^```/d' >"$work/readme.c"
grep -q 'int main' "$work/readme.c"
for compiler in gcc clang; do
    $compiler -std=c11 -pedantic -Wall -Wextra -Werror -Iinclude "$work/readme.c" -o "$work/readme" build/release/libmproc.a \
        -pthread
    [ "$("$work/readme")" = "1 4 9 16" ]
done
