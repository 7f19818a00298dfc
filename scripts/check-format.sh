#!/bin/sh
# clang-format would change nothing. Its releases differ in details, so only the one that .clang-format was written for
# is asked.
set -eu
cd "$(dirname "$0")/.."
if ! clang-format --version | grep -q 'version 14\.'; then
    echo "skipped: this is not clang-format 14"
    exit 0
fi
# shellcheck disable=SC2046 # a list of words
clang-format --dry-run -Werror $(git ls-files '*.c' '*.h' '*.cpp')
