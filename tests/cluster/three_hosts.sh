#!/bin/sh
# three_hosts.sh FARM: a broker and three hosts, which are network namespaces, lose each other in every way that hosts
# do, and no task is lost that may be repeated, none runs twice that may not. As root. SCENES="2 3" runs these only.
# shellcheck disable=SC1091,SC2034 # hosts.sh, and what only it uses
set -eu
farm=$(realpath "$1")
scenes=${SCENES:-1 2 3 4 5}
port=7000
net=10.77.99
name=mproc-$$
work='' scene='' said=''
broker='' submitter='' agent_a='' agent_b='' agent_c='' # ids of processes; empty: none
. "$(dirname "$0")/hosts.sh"

remove_all() {
    trap - EXIT INT TERM HUP
    for pid in $submitter $agent_a $agent_b $agent_c $broker; do
        kill -9 "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    remove_hosts
    [ -z "$work" ] || rm -rf "$work"
}

# ---- the broker

cli() {
    (in_host bridge timeout 10 redis-cli -h $net.1 -p $port "$@" 2>/dev/null)
}

answers() {
    [ "$(cli PING)" = PONG ]
}

start_broker() {
    in_host bridge redis-server --port $port --bind $net.1 --protected-mode no --appendonly yes --save "" \
        --dir "$work/broker" >>"$work/broker.log" 2>&1 &
    broker=$!
    wait_for 20 "the broker answers" answers
}

# ---- agents

pid_of() {
    eval "echo \$agent_$1"
}

start_agent() {
    FARM_HOST=$1 in_host "$1" "$farm" --mproc-agent "$url" --mproc-workers 2 --mproc-name "$1" >>"$work/agent_$1.log" 2>&1 &
    eval "agent_$1=$!"
}

serves() {
    [ "$(cli EXISTS "mproc:{$scene}:agent:$1")" = 1 ]
}

start_agents() {
    for host in "$@"; do
        start_agent "$host"
    done
    for host in "$@"; do
        wait_for 20 "the agent on $host serves" serves "$host"
    done
}

kill_agent() {
    pid=$(pid_of "$1")
    lives "$pid" || fail "the agent on $1 had ended before it was killed"
    kill -9 "$pid"
    wait "$pid" 2>/dev/null || true
    eval "agent_$1="
}

# They end, and well.
end_agents() {
    for host in "$@"; do
        pid=$(pid_of "$host")
        lives "$pid" || fail "the agent on $host has ended by itself"
        kill -TERM "$pid"
    done
    for host in "$@"; do
        pid=$(pid_of "$host")
        wait_for 20 "the agent on $host ends" ended "$pid"
        status=0
        wait "$pid" || status=$?
        eval "agent_$host="
        [ $status = 0 ] || fail "the agent on $host ended with status $status"
    done
}

# ---- scenes

submit() {
    in_host bridge "$farm" map "$url" "$@" >"$work/$scene.log" 2>&1 &
    submitter=$!
}

# There is a gate before each thousand but the first, so that all that happens does so in the midst, and no host waits
# at the last one when it is lost.
scene_1() {
    begin_scene 1
    url=redis://$net.1:$port/$scene
    gate=$work/gate
    start_agents a b c
    submit 5000 2 5 0 1000 "$gate"
    wait_in_the_midst '[abc]' 300
    wait_in_the_midst b 1
    cut_off b
    cut_at=$(date +%s%3N)
    wait_in_the_midst a 1
    # shellcheck disable=SC2012
    kill -9 "$(ls -t "$FARM_RECORDS"/a.* | sed -n '1s/.*a\.//p')"
    wait_in_the_midst c 1
    kill_agent c
    : >"$gate.1"
    wait_in_the_midst '[ac]' 900
    kill -9 "$broker"
    wait "$broker" 2>/dev/null || true
    start_broker
    : >"$gate.2"
    : >"$gate.3"
    before_c=$(begun c)
    start_agent c
    while [ $(($(date +%s%3N) - cut_at)) -lt 8000 ]; do
        sleep 0.1
    done
    before_b=$(begun b)
    connect_again b
    wait_in_the_midst b $((before_b + 1))
    wait_in_the_midst c $((before_c + 1))
    : >"$gate.4"
    end_submitter 60
    case $said in
    "5000 tasks, 0 lost, 0 recorded twice, "*" ran twice") ;;
    *) fail "scene 1: $said" ;;
    esac
    [ "$(workers_of a | wc -l)" -ge 3 ] || fail "scene 1: the worker that was killed was not replaced"
    end_agents a b c
    end_scene 1 "$said"
}

# An agent with two workers has at most four batches in hand, here of two tasks each.
scene_2() {
    begin_scene 2
    url=redis://$net.1:$port/$scene
    start_agents a b c
    submit 600 10 0 2
    wait_in_the_midst '[abc]' 100
    wait_in_the_midst b 1
    kill_agent b
    end_submitter 60
    end_agents a c
    lost=$(echo "$said" | sed -n 's/^600 tasks, \([0-9]*\) lost, 0 recorded twice, 0 ran twice.*$/\1/p')
    [ -n "$lost" ] || fail "scene 2: $said"
    [ "$(ran_twice)" = 0 ] || fail "scene 2: $(ran_twice) ran twice: $said"
    [ "$lost" -le 8 ] || fail "scene 2: more is lost than the host had: $said"
    end_scene 2 "$said"
}

all_gone() {
    for pid in $(workers_of '[abc]'); do
        ended "$pid" || return 1
    done
}

# Batches that are in hand, by what an agent says of itself.
is_idle() {
    [ "$(cli GET "mproc:{$scene}:agent:$1" | awk '{ print $4 }')" = 0 ]
}

no_keys() {
    [ -z "$(cli KEYS "mproc:{$scene}:pool:*")" ] && [ "$(cli SCARD "mproc:{$scene}:pools")" = 0 ]
}

# Some tasks end after the submitter has, and leave results; from number 12 on they never end.
scene_3() {
    begin_scene 3
    url=redis://$net.1:$port/$scene
    start_agents a b c
    FARM_PATIENCE=8
    export FARM_PATIENCE
    submit 300 1000 0 0 12 "$work/never"
    unset FARM_PATIENCE
    wait_in_the_midst '[abc]' 8
    [ -n "$(cli KEYS "mproc:{$scene}:pool:*")" ] || fail "scene 3: the pool has no keys"
    kill -9 "$submitter"
    wait "$submitter" 2>/dev/null || true
    submitter=
    killed_at=$(date +%s%3N)
    wait_for 13 "scene 3: nothing of the pool is left on the broker" no_keys
    no_keys_after=$(($(date +%s%3N) - killed_at))
    wait_for 10 "scene 3: the pool's workers end" all_gone
    for host in a b c; do
        wait_for 10 "scene 3: the agent on $host is idle" is_idle $host
    done
    workers=$(workers_of '[abc]' | wc -l)
    end_agents a b c
    end_scene 3 "submitter killed, its keys gone after $no_keys_after ms, its $workers workers ended"
}

first_end() {
    cat "$FARM_RECORDS/$1".* 2>/dev/null | awk '$1 == "e" && (!first || $3 < first) { first = $3 } END { printf "%.0f", first }'
}

has_ended_one() {
    [ "$(first_end "$1")" != 0 ]
}

scene_4() {
    begin_scene 4
    url=redis://$net.1:$port/$scene
    start_agents a
    submit 200 50 5 0
    wait_in_the_midst a 20
    started_at=$(date +%s%3N)
    start_agents b
    wait_for 30 "scene 4: the host that joins ends a task" has_ended_one b
    took=$(($(first_end b) - started_at))
    [ $took -le 1500 ] || fail "scene 4: the host that joins has ended its first task after $took ms"
    end_submitter 60
    end_agents a b
    case $said in
    "200 tasks, 0 lost, 0 recorded twice, 0 ran twice") ;;
    *) fail "scene 4: $said" ;;
    esac
    end_scene 4 "the host that joined had ended its first task $took ms after it had started; $said"
}

scene_5() {
    begin_scene 5
    url=redis://$net.1:$port/$scene
    start_agents a b c
    submit 1500 5 5 0
    wait_in_the_midst '[abc]' 300
    [ "$(cli FLUSHALL)" = OK ] || fail "scene 5: the broker is not emptied"
    end_submitter 60
    end_agents a b c
    case $said in
    "1500 tasks, 0 lost, 0 recorded twice, "*" ran twice") ;;
    *) fail "scene 5: $said" ;;
    esac
    end_scene 5 "$said"
}

# ---- all of it

make_all redis-server redis-cli
mkdir "$work/broker"
start_broker
run_scenes
