#!/bin/sh
# cluster_render.sh CLUSTER_RENDER [ENGINE]: the picture is a PNG of the size that was asked for. With the engine and a
# server, two machines render the same one, byte for byte, also when a third is killed on the way. Wrong use is answered.
set -eu
program=$1
work=$(mktemp -d)
server=
agents=
stop() {
    # shellcheck disable=SC2086 # a list of words
    kill $agents $server 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM

fail() {
    echo "$1"
    exit 1
}

numbers() { od -A n -t u1 -j "$1" -N "$2" "$work/local.png" | tr -s ' \n' ' '; }

# ---- this machine

out=$("$program" --size 200x130 "$work/local.png" 2>"$work/progress") || fail "status $?: $(cat "$work/progress")"
echo "$out"
echo "$out" | grep -q '^12 tiles in ' || fail "not 12 tiles"
grep -q '12/12' "$work/progress" || fail "no progress"
[ "$(numbers 0 8)" = ' 137 80 78 71 13 10 26 10 ' ] || fail "not a PNG"
[ "$(numbers 16 8)" = ' 0 0 0 200 0 0 0 130 ' ] || fail "not 200 x 130 pixels"
[ "$(wc -c <"$work/local.png")" -gt 20000 ] || fail "there is not much in the picture"

# ---- wrong use

for wrong in '' 'a b' '--size 200 a' '--size 0x10 a' '--at 1,2 a' '--at 0,0,0 a' '--nonsense a'; do
    status=0
    # shellcheck disable=SC2086 # two words
    "$program" $wrong >/dev/null 2>&1 || status=$?
    [ $status = 2 ] || fail "$wrong: status $status"
done
status=0
"$program" --size 10x10 "$work/nowhere/a.png" >"$work/out" 2>&1 || status=$?
[ $status = 1 ] && grep -q '^cluster_render: ' "$work/out" || fail "nowhere: status $status: $(cat "$work/out")"
status=0
"$program" --cluster nonsense "$work/a.png" >"$work/out" 2>&1 || status=$?
[ $status = 1 ] && grep -q "'nonsense' is not the URL of a cluster" "$work/out" || fail "no URL: $(cat "$work/out")"

# ---- a farm

server_program=$(command -v valkey-server || command -v redis-server || true)
if [ $# -lt 2 ] || [ -z "$server_program" ]; then
    echo "no farm: neither valkey-server nor redis-server, or no engine for them"
    exit 0
fi
export MPROC_ENGINE_PATH="${2%/*}"

# A port that is taken makes the server end at once: try another one.
port=$((20000 + $$ % 20000))
while [ -z "$server" ]; do
    "$server_program" --port $port --bind 127.0.0.1 --save '' --dir "$work" --logfile "$work/log" &
    server=$!
    until grep -q 'Ready to accept connections' "$work/log" 2>/dev/null; do
        kill -0 $server 2>/dev/null || {
            wait $server || true
            server=
            grep -q 'in use' "$work/log" || fail "the server does not start: $(cat "$work/log")"
            rm "$work/log"
            port=$((port + 1))
            break
        }
        sleep 0.05
    done
done
url=redis://127.0.0.1:$port/render

for name in alpha beta; do
    "$program" --mproc-agent "$url" --mproc-workers 2 --mproc-name $name &
    agents="$agents $!"
done
out=$("$program" --cluster "$url" --size 200x130 "$work/farm.png" 2>"$work/progress") ||
    fail "status $?: $(cat "$work/progress")"
echo "$out"
cmp "$work/local.png" "$work/farm.png"
tiles=$(echo "$out" | awk '/^(alpha|beta|others): [0-9]+ tiles$/ { sum += $2 } END { print sum }')
[ "$tiles" = 12 ] || fail "the machines' tiles are not 12"

# A machine that is killed, with all that it has in hand, costs its lease: five seconds.
"$program" --mproc-agent "$url" --mproc-workers 4 --mproc-name gamma &
gamma=$!
agents="$agents $gamma"
"$program" --size 500x300 "$work/local.png" >/dev/null 2>&1
"$program" --cluster "$url" --size 500x300 "$work/farm.png" >"$work/out" 2>"$work/progress" &
render=$!
sleep 0.3 # it may have begun by then, or not: the picture is to be the same
kill -9 $gamma
wait $render || fail "after a kill: status $?: $(cat "$work/progress")"
cat "$work/out"
cmp "$work/local.png" "$work/farm.png"
