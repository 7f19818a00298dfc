#!/bin/sh
# three_ranks.sh FARM: mpirun starts a program on a host and on three others, which are network namespaces; workers and
# ranks are killed. As root. SCENES="2 3" runs these only; $MPROC_ENGINE_PATH has the engine.
# shellcheck disable=SC1091,SC2034 # hosts.sh, and what only it uses
set -eu
farm=$(realpath "$1")
scenes=${SCENES:-1 2 3 4 5}
net=10.77.98
name=mproc-$$
work='' scene='' said='' submitter='' recovery=''
. "$(dirname "$0")/hosts.sh"

# ---- hosts

# What runs on a host, as ids; nothing that has ended.
processes_on() {
    for pid in $(ip netns pids "$name-$1" 2>/dev/null); do
        ! lives "$pid" || echo "$pid"
    done
}

processes() {
    for on in bridge a b c; do
        processes_on $on
    done
}

remove_all() {
    trap - EXIT INT TERM HUP
    for pid in $(processes); do
        kill -9 "$pid" 2>/dev/null || true
    done
    [ -z "$submitter" ] || wait "$submitter" 2>/dev/null || true
    remove_hosts
    [ -z "$work" ] || rm -rf "$work"
}

none_left() {
    [ -z "$(processes)" ]
}

# Hosts have names of their own, as MPI takes those of one name for one. What mpirun is told of them: addresses.
write_launcher() {
    mkdir "$work/bridge" "$work/a" "$work/b" "$work/c"
    cat >"$work/launcher" <<END
#!/bin/sh
# HOST COMMAND...: as ssh does it.
case \$1 in
$net.2) host=a ;;
$net.3) host=b ;;
$net.4) host=c ;;
*) exit 1 ;;
esac
shift
FARM_HOST=\$host TMPDIR=$work/\$host
export FARM_HOST TMPDIR
exec ip netns exec $name-\$host unshare --uts sh -c "echo \$host >/proc/sys/kernel/hostname; \$*"
END
    chmod +x "$work/launcher"
    for number in 1 2 3 4; do
        echo "$net.$number slots=1"
    done >"$work/hostfile"
}

# ---- ranks

# start TASKS MILLISECONDS RETRIES CHUNK FROM: mpirun is the submitter. The gate is the scene's. $recovery is an option
# for mpirun, or nothing.
start() {
    gate=$work/gate_$scene
    # shellcheck disable=SC2086
    MPROC_AGENT_WORKERS=2 TMPDIR=$work/bridge in_host bridge mpirun -n 4 --hostfile "$work/hostfile" \
        --allow-run-as-root --bind-to none --map-by node $recovery \
        --mca plm rsh --mca plm_rsh_agent "$work/launcher" --mca plm_rsh_no_tree_spawn 1 \
        --mca btl tcp,self --mca btl_tcp_if_include "$net.0/24" --mca oob_tcp_if_include "$net.0/24" \
        -x MPROC_ENGINE_PATH -x MPROC_AGENT_WORKERS -x FARM_RECORDS \
        "$farm" map mpi: "$@" "$gate" >"$work/$scene.log" 2>"$work/$scene.errors.log" </dev/null &
    submitter=$!
}

open_gate() {
    : >"$gate.1"
}

# end_well SECONDS: mpirun ends, content, and so do all that it has started.
end_well() {
    end_submitter "$1"
    wait_for 10 "$scene: all processes end" none_left
}

# The one process of the host that its daemon of MPI has started.
rank_on() {
    for pid in $(processes_on "$1"); do
        parent=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status" 2>/dev/null) || continue
        case $(cat "/proc/$parent/comm" 2>/dev/null) in
        orted) echo "$pid" ;;
        esac
    done
}

# ---- scenes

# The second half waits at a gate until all hosts have had some, as a host may be slow to begin.
scene_1() {
    begin_scene 1
    start 2000 1 0 0 1000
    for host in a b c; do
        wait_in_the_midst $host 1
    done
    open_gate
    end_well 60
    [ "$said" = "2000 tasks, 0 lost, 0 recorded twice, 0 ran twice" ] || fail "scene 1: $said"
    [ "$(begun '[abc]')" = 2000 ] || fail "scene 1: $(begun '[abc]') have begun"
    end_scene 1 "$said; a $(begun a), b $(begun b), c $(begun c)"
}

# A worker that has begun a task and cannot end it before the gate is open.
find_waiting() {
    waiting=
    for file in "$FARM_RECORDS/$1".*; do
        if [ -f "$file" ] && tail -n 1 "$file" | awk '{ exit !($1 == "b" && $2 >= 150) }'; then
            waiting=${file##*.}
        fi
    done
    [ -n "$waiting" ]
}

has_more_workers() {
    [ "$(workers_of "$1" | wc -l)" -ge "$2" ]
}

# map_and_kill_worker RETRIES: on host b.
map_and_kill_worker() {
    start 300 2 "$1" 0 150
    for host in a b c; do
        wait_in_the_midst $host 1
    done
    wait_for 30 "$scene: a worker on b waits at the gate" find_waiting b
    [ "$waiting" != "$(rank_on b)" ] || fail "$scene: the rank itself runs tasks"
    number=$(workers_of b | wc -l)
    kill -9 "$waiting"
    wait_for 30 "$scene: another worker on b replaces it" has_more_workers b $((number + 1))
    open_gate
    end_well 60
}

scene_2() {
    begin_scene 2
    map_and_kill_worker 3
    [ "$said" = "300 tasks, 0 lost, 0 recorded twice, 1 ran twice" ] || fail "scene 2: $said"
    with="$said"
    begin_scene 2b
    map_and_kill_worker 0
    [ "$said" = "300 tasks, 0 lost, 0 recorded twice, 0 ran twice, 1 crashed" ] || fail "scene 2: $said"
    end_scene 2 "with retries: $with; without: $said"
}

# map_and_kill_rank: the one on b, which is rank 2. The gate stays shut.
map_and_kill_rank() {
    start 2000 1 3 0 1000
    for host in a b c; do
        wait_in_the_midst $host 1
    done
    rank=$(rank_on b)
    [ -n "$rank" ] || fail "$scene: there is no rank on b"
    count=$(processes | wc -l)
    killed_at=$(date +%s%3N)
    kill -9 "$rank"
    wait_for 30 "$scene: mpirun ends" ended "$submitter"
    ended_after=$(($(date +%s%3N) - killed_at))
    status=0
    wait "$submitter" || status=$?
    submitter=
    wait_for 10 "$scene: all processes end" none_left
    all_after=$(($(date +%s%3N) - killed_at))
}

scene_3() {
    begin_scene 3
    map_and_kill_rank
    [ $status != 0 ] || fail "scene 3: mpirun does not mind that a rank is lost"
    grep -q "rank 2 .*signal 9" "$work/$scene.errors.log" || fail "scene 3: mpirun does not say which rank is lost"
    end_scene 3 "rank killed, mpirun's status $status after $ended_after ms, all $count processes gone after $all_after ms"
}

# The pool breaks, and the ranks that are left end as the program does. What mpirun's status is then, is its own matter.
scene_4() {
    begin_scene 4
    recovery=--enable-recovery
    map_and_kill_rank
    recovery=
    said=$(grep "rank 2 .*has not been heard of" "$work/$scene.log") || fail "scene 4: the pool does not say why it breaks"
    end_scene 4 "rank killed, mpirun goes on: \"$said\"; all $count processes gone after $all_after ms"
}

# As Slurm suspends a job: all of it stands still for longer than a rank may be silent.
scene_5() {
    begin_scene 5
    start 300 1 0 0 150
    for host in a b c; do
        wait_in_the_midst $host 1
    done
    all=$(processes)
    # shellcheck disable=SC2086
    kill -STOP $all
    sleep 7
    # shellcheck disable=SC2086
    kill -CONT $all
    open_gate
    end_well 60
    [ "$said" = "300 tasks, 0 lost, 0 recorded twice, 0 ran twice" ] || fail "scene 5: $said"
    end_scene 5 "suspended for 7 s: $said"
}

# ---- all of it

make_all unshare mpirun
write_launcher
run_scenes
