# shellcheck shell=sh disable=SC2034,SC2154 # variables of the scripts
# hosts.sh: hosts, which are network namespaces, and the records of a farm that runs there, for three_hosts.sh and
# three_ranks.sh. These say what the namespaces are called ($name), the network of the hosts ($net), the folder for all
# that is written ($work, empty at first), and which process has the pool ($submitter).

skip() {
    echo "skipped: $1"
    exit 77
}

fail() {
    echo "FAILED: $1"
    for log in "$work"/*.log; do
        [ -s "$log" ] && echo "---- $log" && tail -n 15 "$log"
    done
    exit 1
}

# ---- processes

lives() {
    grep -q '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status" 2>/dev/null
}

ended() {
    ! lives "$1"
}

# wait_for SECONDS WHAT CONDITION...: until it is so.
wait_for() {
    limit=$(($(date +%s) + $1))
    what=$2
    shift 2
    until "$@"; do
        [ "$(date +%s)" -le $limit ] || fail "$what: not in time"
        sleep 0.02
    done
}

in_host() {
    host=$1
    shift
    exec ip netns exec "$name-$host" "$@"
}

# ---- hosts

remove_hosts() {
    for host in a b c bridge; do
        ip netns delete "$name-$host" 2>/dev/null || true
    done
}

# The bridge is in a namespace of its own, which is a host as well, so that this machine's own network is left alone.
make_hosts() {
    ip netns add "$name-bridge" || return 1
    ip -n "$name-bridge" link add bridge type bridge || return 1
    ip -n "$name-bridge" address add "$net.1/24" dev bridge
    ip -n "$name-bridge" link set lo up
    ip -n "$name-bridge" link set bridge up
    number=2
    for host in a b c; do
        ip netns add "$name-$host"
        ip link add name "to_$host" netns "$name-bridge" type veth peer name eth0 netns "$name-$host" || return 1
        ip -n "$name-bridge" link set "to_$host" master bridge up
        ip -n "$name-$host" link set lo up
        ip -n "$name-$host" address add "$net.$number/24" dev eth0
        ip -n "$name-$host" link set eth0 up
        number=$((number + 1))
    done
}

# make_all COMMAND...: what there has to be, the folder and the hosts. What is left is removed at the end.
make_all() {
    [ "$(id -u)" = 0 ] || skip "only root can make hosts"
    for command in ip "$@"; do
        command -v "$command" >/dev/null || skip "there is no $command"
    done
    trap remove_all EXIT
    trap 'exit 1' INT TERM HUP
    work=$(mktemp -d)
    make_hosts 2>"$work/hosts.txt" || skip "no network namespaces: $(head -n 1 "$work/hosts.txt")"
}

run_scenes() {
    for number in $scenes; do
        "scene_$number"
    done
    echo ok
}

cut_off() {
    ip -n "$name-bridge" link set "to_$1" down
}

connect_again() {
    ip -n "$name-bridge" link set "to_$1" up
}

# ---- records

# How many tasks have begun, on some hosts or all.
begun() {
    # shellcheck disable=SC2086 # a pattern
    cat "$FARM_RECORDS"/$1.* 2>/dev/null | grep -c '^b' || true
}

have_begun() {
    [ "$(begun "$1")" -ge "$2" ]
}

workers_of() {
    # shellcheck disable=SC2012 # they are numbers
    ls "$FARM_RECORDS" | sed -n "s/^$1\\.//p"
}

# wait_in_the_midst HOSTS COUNT: until so many tasks have begun; and the submitter still works.
wait_in_the_midst() {
    wait_for 30 "$scene: $2 tasks begin on $1" have_begun "$1" "$2"
    lives "$submitter" || fail "$scene: it was over too soon: $(cat "$work/$scene.log")"
}

ran_twice() {
    cat "$FARM_RECORDS"/* | awk '$1 == "b" && ++begun[$2] == 2 { twice++ } END { print twice + 0 }'
}

# ---- scenes

# begin_scene NUMBER: with records of its own.
begin_scene() {
    scene=scene$1
    began=$(date +%s%3N)
    FARM_RECORDS=$work/$scene
    export FARM_RECORDS
    mkdir "$FARM_RECORDS"
}

end_scene() {
    took=$(($(date +%s%3N) - began))
    echo "scene $1: $2 ($((took / 1000)).$((took % 1000 / 100)) s)"
}

# end_submitter SECONDS: it ends within that time, and is content.
end_submitter() {
    wait_for "$1" "$scene: the submitter ends" ended "$submitter"
    status=0
    wait "$submitter" || status=$?
    submitter=
    [ $status = 0 ] || fail "$scene: the submitter's status is $status: $(cat "$work/$scene.log")"
    said=$(cat "$work/$scene.log")
}
