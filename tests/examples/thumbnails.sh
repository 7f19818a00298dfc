#!/bin/sh
# thumbnails.sh THUMBNAILS [MPROC-TIMELINE]: six pictures fail, each in its way, and the others' thumbnails are whole; the
# trace can be read, and drawn. A picture that would fill the memory is stopped.
set -eu
program=$1
work=$(mktemp -d)
made=
trap 'rm -rf "$work" "$made"' EXIT
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}handle_segv=0" # a signal is to end the worker, as without it

fail() {
    echo "$1"
    exit 1
}

# ---- its own pictures

out=$("$program" -t 10 2>"$work/progress") || fail "status $?: $(cat "$work/progress")"
echo "$out"
cat "$work/progress"
made=$(echo "$out" | sed -n 's,^in \(/tmp/thumbnails-......\):$,\1,p')
[ -n "$made" ] || fail "it does not say where"
cat >"$work/expected" <<'END'
cut-off.jpg failed .*Premature end of JPEG file
cut-off.png failed .*gd-png
empty.jpg failed .*neither PNG nor JPEG
long.png crashed: .*signal 11
never.jpg timed out
text.png failed .*neither PNG nor JPEG
END
while read -r name why; do
    echo "$out" | grep -q "^$name  *$why" || fail "$name is not said to have $why"
done <"$work/expected"
[ "$(echo "$out" | wc -l)" = 10 ] || fail "not ten lines"
echo "$out" | grep -q '^40 thumbnails, .* are in thumbnails$' || fail "not 40 thumbnails"
grep -q '46/46.*6 failed' "$work/progress" || fail "no progress"

# Is each thumbnail a whole PNG of the size that its picture's size asks for, and does the trace have each item?
cat >"$work/check.py" <<'END'
import json, os, struct, sys, zlib

def png_size(data):
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, kinds, packed = 8, [], b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0] == zlib.crc32(kind + body)
        kinds.append(kind)
        if kind == b"IHDR":
            width, height, depth, colors = struct.unpack(">IIBB", body[:10])
        if kind == b"IDAT":
            packed += body
        at += 12 + size
    assert kinds[0] == b"IHDR" and kinds[-1] == b"IEND"
    row = (width * depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colors] + 7) // 8
    assert len(zlib.decompress(packed)) == (row + 1) * height
    return width, height

def jpeg_size(data):
    at = 2
    while data[at + 1] not in (0xC0, 0xC1, 0xC2):
        at += 2 + struct.unpack(">H", data[at + 2:at + 4])[0]
    height, width = struct.unpack(">HH", data[at + 5:at + 9])
    return width, height

pictures, thumbnails, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
names = sorted(os.listdir(thumbnails))
assert len(names) == count, names
for name in names:
    with open(os.path.join(pictures, name[:-4]), "rb") as file:
        data = file.read()
    width, height = jpeg_size(data) if data[0] == 0xFF else png_size(data)
    with open(os.path.join(thumbnails, name), "rb") as file:
        got = png_size(file.read())
    longer = max(width, height)
    assert got == (160 * width // longer, 160 * height // longer), (name, width, height, got)
with open(sys.argv[4]) as file:
    trace = json.load(file)
events = trace["traceEvents"] if isinstance(trace, dict) else trace
assert all("ph" in event and "pid" in event for event in events)
items = [event for event in events if event["ph"] == "X"]
assert len(items) >= count, len(items)
assert all(item["dur"] >= 0 and item["ts"] >= 0 for item in items)
print(count, "thumbnails are whole,", len(items), "items are in the trace")
END
python3 "$work/check.py" "$made/pictures" "$made/thumbnails" 40 "$made/run.json"
if [ $# = 2 ]; then
    "$2" "$made/run.json" >"$work/run.svg"
    python3 - "$work/run.svg" <<'END'
import sys, xml.etree.ElementTree
assert xml.etree.ElementTree.parse(sys.argv[1]).getroot().tag.endswith("svg")
END
fi

# ---- somebody's pictures

rm "$made"/pictures/[!p]*
cd "$work"
out=$("$program" "$made/pictures" mine 2>/dev/null) || fail "good pictures: status $?"
python3 "$work/check.py" "$made/pictures" mine 40 run.json
for name in "$made"/thumbnails/p*; do
    cmp "$name" "mine/$(basename "$name")"
done

# 3 gigabytes in a file of 100 KB: the worker gets to half of one.
mkdir bomb
python3 - <<'END'
import struct, zlib
side = 30000
def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
packer = zlib.compressobj(9)
packed = b"".join(packer.compress(bytes(1 + side // 8)) for _ in range(side)) + packer.flush()
with open("bomb/bomb.png", "wb") as file:
    file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)) +
               chunk(b"IDAT", packed) + chunk(b"IEND", b""))
END
status=0
out=$("$program" -t 60 bomb mine 2>/dev/null) || status=$?
[ $status = 1 ] && echo "$out" | grep '^bomb.png  *over memory' || fail "the bomb: status $status: $out"

# ---- wrong use

status=0
"$program" "$work/nowhere" >"$work/out" 2>&1 || status=$?
[ $status = 2 ] && grep -q 'nowhere: No such file or directory' "$work/out" || fail "nowhere: status $status"
for wrong in '-t 0' '-x' 'a b c'; do
    status=0
    # shellcheck disable=SC2086 # two words
    "$program" $wrong >/dev/null 2>&1 || status=$?
    [ $status = 2 ] || fail "$wrong: status $status"
done
