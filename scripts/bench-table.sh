#!/bin/sh
# Puts the tables of the last `make bench` into docs/performance.md.
set -eu
cd "$(dirname "$0")/.."
results=build/bench/results.json
page=docs/performance.md

[ -f "$results" ] || { echo "There is no $results yet: make bench" >&2; exit 1; }
build/release/bench/bench_results markdown "$results" >build/bench/results.md
awk -v tables=build/bench/results.md '
    /<!-- end of tables -->/ { inside = 0 }
    !inside { print }
    /<!-- tables/ { inside = 1; print ""; while ((getline line < tables) > 0) print line; print "" }
' "$page" >build/bench/page.md
cat build/bench/page.md >"$page"
