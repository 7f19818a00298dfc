#!/bin/sh
# clang-format would change nothing.
set -eu
cd "$(dirname "$0")/.."
# shellcheck disable=SC2046 # a list of words
clang-format --dry-run -Werror $(git ls-files '*.c' '*.h' '*.cpp')
