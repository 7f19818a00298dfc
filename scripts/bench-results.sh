#!/bin/sh
# bench-results.sh DIRECTORY: one file of all rows that are there, and pictures of them.
set -eu
cd "$(dirname "$0")/.."
tool=build/release/bench/bench_results

if [ ! -x "$tool" ]; then
    echo "jansson was not there when this was built: no results are written (make bench-deps installs it)"
    exit 0
fi
"$tool" merge "$1" >"$1/results.json"
echo "Results: $1/results.json"
if ! command -v gnuplot >/dev/null; then
    echo "gnuplot is not there: nothing is drawn (make bench-deps installs it)"
    exit 0
fi
"$tool" gnuplot "$1/results.json" "$1" >"$1/results.gnuplot"
gnuplot "$1/results.gnuplot"
echo "Pictures: $(echo "$1"/*.svg)"
