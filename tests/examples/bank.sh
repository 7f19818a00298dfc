#!/bin/sh
# One transfer is broken off, the next holder of the lock repairs it, and no cent is lost.
set -eu
for workers in 1 2 5; do
    out=$("$1" -w $workers)
    echo "$out"
    echo "$out" | grep -qx '1000000 cents before'
    echo "$out" | grep -qx '10000 transfers, 1 of them broken off by a kill, 1 repaired'
    echo "$out" | grep -qx '1000000 cents after'
done
