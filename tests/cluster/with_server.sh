#!/bin/sh
# Runs a command beside a Redis or Valkey server of its own, whose URL is in $MPROC_TEST_SERVER.
set -eu
program=$(command -v valkey-server || command -v redis-server) || {
    echo "skipped: neither valkey-server nor redis-server is there"
    exit 77
}
folder=$(mktemp -d)
server=
stop() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$server" ] || wait "$server" 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT TERM

# A port that is taken makes the server end at once: try another one.
port=$((20000 + $$ % 20000))
for _ in 1 2 3 4 5 6 7 8 9 10; do
    "$program" --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$folder" --logfile "$folder/log" &
    server=$!
    for _ in $(seq 100); do
        ! grep -q 'Ready to accept connections' "$folder/log" 2>/dev/null || break 2
        kill -0 "$server" 2>/dev/null || break
        sleep 0.05
    done
    wait "$server" 2>/dev/null || true
    server=
    rm -f "$folder/log"
    port=$((port + 1))
done
[ -n "$server" ] || {
    echo "the server does not start"
    exit 1
}
MPROC_TEST_SERVER=redis://127.0.0.1:$port "$@"
