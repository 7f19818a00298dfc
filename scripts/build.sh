#!/bin/sh
# Configures and builds the named presets, quietly unless something goes wrong.
set -eu
cd "$(dirname "$0")/.."

for preset in "$@"; do
    echo "Building '$preset'"
    mkdir -p build
    log=build/$preset.log
    if ! { cmake --preset "$preset" && cmake --build --preset "$preset" -j "$(nproc)"; } >"$log" 2>&1; then
        cat "$log"
        exit 1
    fi
done
