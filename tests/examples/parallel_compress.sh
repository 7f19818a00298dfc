#!/bin/sh
# gunzip gives back what was compressed, whatever its size; a file far larger than what is on its way takes no more
# memory; a worker that is killed costs nothing.
set -eu
program=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
    echo "$1"
    exit 1
}

head -c 3000000 "$program" >text
python3 -c 'import random; random.seed(1); open("noise", "wb").write(random.randbytes(3000000))'
cat text noise text noise text noise text noise text noise text noise >large
block=$((256 * 1024))
for size in 0 1 1000 $((block - 1)) $block $((block + 1)) $((4 * block)) 10000000 30000000; do
    head -c "$size" large >file
    "$program" file >file.gz || fail "$size bytes: status $?"
    gzip -dc file.gz | cmp - file || fail "$size bytes: they do not come back"
    "$program" <file | cmp - file.gz || fail "$size bytes: standard input is compressed otherwise"
done

# ---- memory, on two CPUs: a file a hundred times as large as another, and as what is on its way, takes no more

head -c 3000000 noise >small
for _ in 1 2 3 4 5 6 7 8 9 10; do cat large; done >huge
cat >memory.py <<'END'
import os, resource, subprocess, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
most = []
for name in "small", "huge":
    with open(name + ".gz", "wb") as out:
        subprocess.run([sys.argv[1], name], stdout=out, check=True)
    most.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
print("at most", *most, "KB in a process")
assert most[1] - most[0] < 16 << 10
END
python3 memory.py "$program" || fail "it takes too much memory"
gzip -dc huge.gz | cmp - huge

# ---- all workers are killed when some blocks are written, some on their way, and some to come

mkfifo slow
"$program" slow >slow.gz &
pid=$!
exec 3>slow
head -c 5000000 large >&3
killed=0
for supervisor in $(pgrep -P $pid); do
    for worker in $(pgrep -P "$supervisor"); do
        kill -9 "$worker" && killed=$((killed + 1))
    done
done
[ $killed -gt 0 ] || fail "there are no workers"
tail -c +5000001 large >&3
exec 3>&-
wait $pid || fail "after a kill: status $?"
gzip -dc slow.gz | cmp - large
echo "$killed workers killed"

# ---- what cannot be read or written

for name in nowhere .; do
    status=0
    out=$("$program" $name 2>&1 >out) || status=$?
    [ $status = 1 ] && echo "$out" | grep -q "^parallel_compress: $name: " || fail "$name: status $status: $out"
    [ ! -s out ] || fail "$name: there is output"
done
status=0
out=$("$program" large 2>&1 >/dev/full) || status=$?
[ $status = 1 ] && echo "$out" | grep -q 'No space left on device' || fail "/dev/full: status $status: $out"
