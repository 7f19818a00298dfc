#!/bin/sh
# Two processes, each with its half, and the whole sum.
set -eu
out=$("$1")
echo "$out"
[ "$(echo "$out" | grep -c '^started sum_half-[12], pid [0-9]*$')" = 2 ]
echo "$out" | grep -qx 'sum_half-1: ok, total 1249999975000000'
echo "$out" | grep -qx 'sum_half-2: ok, total 3749999975000000'
echo "$out" | grep -qx 'sum 4999999950000000'
