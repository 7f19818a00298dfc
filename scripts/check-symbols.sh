#!/bin/sh
# check-symbols.sh LIBRARY: everything it exports starts with mproc_, and is what the headers declare.
set -eu
cd "$(dirname "$0")/.."

exported=$(nm -D --defined-only "$1" | awk '$2 != "A" { print $3 }' | sed 's/@.*//' | sort)
foreign=$(echo "$exported" | grep -v '^mproc_' || true)
declared=$(grep -hoE '^MPROC_API [^;(]*\(' include/mproc/*.h | sed -E 's/.*[ *](mproc_[a-z_]+)\($/\1/' | sort -u)

[ -z "$foreign" ] || echo "exported without the prefix: $foreign"
if [ "$exported" != "$declared" ]; then
    echo "exported, but not declared, or the other way round:"
    echo "$exported" >build/exported.txt
    echo "$declared" | diff build/exported.txt - || true
    exit 1
fi
[ -z "$foreign" ] && [ -n "$exported" ]
