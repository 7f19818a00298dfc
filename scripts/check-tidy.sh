#!/bin/sh
# check-tidy.sh BUILD: clang-tidy over the library, the examples and the benchmarks, as .clang-tidy says.
set -eu
cd "$(dirname "$0")/.."
git ls-files 'src/*.c' 'examples/*.c' 'bench/*.c' | xargs -P "$(nproc)" -n 4 clang-tidy --quiet -p "$1" --warnings-as-errors='*'
