#!/bin/sh
# Four outcomes say what happened, 996 results arrive.
set -eu
for workers in 1 2 7; do
    out=$("$1" -w $workers)
    echo "$out"
    echo "$out" | grep -qE '^item 100 crashed: Floating point exception \(signal 8\) in process [0-9]+$'
    echo "$out" | grep -qE '^item 300 crashed: Segmentation fault \(signal 11\) in process [0-9]+$'
    echo "$out" | grep -qE '^item 500 crashed: Aborted \(signal 6\) in process [0-9]+$'
    echo "$out" | grep -qE '^item 700 crashed: process [0-9]+ exited with status 7$'
    echo "$out" | grep -qx '996 results, 4 items without'
    [ "$(echo "$out" | wc -l)" = 5 ]
done
