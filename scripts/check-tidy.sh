#!/bin/sh
# check-tidy.sh BUILD: clang-tidy over the library, its engines, the examples and the benchmarks, as .clang-tidy says.
set -eu
cd "$(dirname "$0")/.."

# Of the benchmarks and engines those that are built: peers may be missing.
files() {
    git ls-files 'src/*.c' 'examples/*.c'
    git ls-files 'bench/*.c' 'engines/*.c' | while read -r file; do
        ! grep -q "/$file\"" "$1/compile_commands.json" || echo "$file"
    done
}
files "$1" | xargs -P "$(nproc)" -n 4 clang-tidy --quiet -p "$1" --warnings-as-errors='*'
