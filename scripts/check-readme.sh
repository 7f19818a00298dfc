#!/bin/sh
# The program in the README compiles without a warning and prints what it should; those in the manual compile, and run,
# but for the one that waits for Ctrl-C.
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

# Each block of the manual that is a whole program.
awk -v folder="$work" '
    /^```c$/ { inside = 1; text = ""; next }
    /^```$/ { if (inside && text ~ /#include/ && text ~ /int main/) printf "%s", text > (folder "/manual" ++count ".c"); inside = 0 }
    inside { text = text $0 "\n" }' docs/manual.md
[ -e "$work/manual2.c" ]
for program in "$work"/manual*.c; do
    gcc -std=gnu11 -Wall -Wextra -Werror -Iinclude "$program" -o "$work/manual" build/release/libmproc.a -pthread
    grep -q SIGINT "$program" || timeout 60 "$work/manual" >/dev/null
done
