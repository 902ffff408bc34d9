#!/usr/bin/env bash
# test_store.sh - pack and inspect as a user meets them: a tree to a store, killed at random and run again. Usage: test_store.sh PRLE
set -uo pipefail

prle=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
# shellcheck source=user_lib.sh
source "$(dirname "$0")/user_lib.sh"

# An 8 x 8 gray PNG, once for each frame.
png_make() { python3 -c '
import struct, sys, zlib
def chunk(kind, data): return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
rows = b"".join(b"\0" + bytes((i * 8 + j) * 3 % 256 for j in range(8)) for i in range(8))
open(sys.argv[1], "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))' "$1"; }
png_make "$tmp/face.png"
for split in train val test; do
    for video in real/a real/b fake/swap/a fake/mouth/b; do
        mkdir -p "$tmp/tree/$split/$video"
        for frame in $(seq 100 150); do
            cp "$tmp/face.png" "$tmp/tree/$split/$video/$frame.png"
        done
    done
done
echo rubbish > "$tmp/tree/val/real/a/200.jpg"

run 2 'DIR is missing' "$prle" pack
run 1 'no/such: is no folder' "$prle" pack "$tmp/no/such" -o "$tmp/x.h5"
run 2 'no images at' "$prle" pack "$tmp/tree/train" -o "$tmp/x.h5"
run 0 'val +102 +102' "$prle" pack "$tmp/tree" -o "$tmp/faces.h5"
run 0 'skipped 1,' "$prle" pack "$tmp/tree" -o "$tmp/faces.h5"
run 0 'already there' "$prle" pack "$tmp/tree" -o "$tmp/faces.h5"
run 0 '"packed": 612,' "$prle" pack "$tmp/tree" -o "$tmp/faces.h5" --json
run 0 '612 images of 4 x 4' "$prle" pack "$tmp/tree" -o "$tmp/small.h5" --size 4
run 0 '"chosen": 24,' "$prle" pack "$tmp/tree" -o "$tmp/few.h5" --frames 2 --json

run 0 'mouth +51 \(1\) +51 \(1\) +51 \(1\)' "$prle" inspect "$tmp/faces.h5"
run 0 'everything agrees' "$prle" inspect "$tmp/faces.h5" --verify
run 0 '"images": 51' "$prle" inspect "$tmp/faces.h5" --json
python3 -m json.tool "$tmp/out" > /dev/null || complain 'inspect --json is not JSON'
run 3 'cannot open as HDF5' "$prle" inspect "$tmp/face.png"
head -c 20000 "$tmp/faces.h5" > "$tmp/cut.h5"
run 3 'cut.h5: cannot open as HDF5' "$prle" inspect "$tmp/cut.h5"
run 1 'none.h5: cannot open' "$prle" inspect "$tmp/none.h5"

# Killed at random moments, it ends with the same store; asked to stop, it says how to go on.
hash_of() { "$prle" inspect "$1" --json | grep content_hash; }
for turn in 1 2 3; do
    rm -rf "$tmp/again.h5" "$tmp/again.h5.parts"
    for _ in 1 2 3; do
        "$prle" pack "$tmp/tree" -o "$tmp/again.h5" > "$tmp/out" 2> "$tmp/err" &
        sleep "0.0$((RANDOM % 10))"
        kill -9 $! 2> /dev/null
        wait $! 2> /dev/null
    done
    run 0 '612 images' "$prle" pack "$tmp/tree" -o "$tmp/again.h5"
    [ "$(hash_of "$tmp/again.h5")" = "$(hash_of "$tmp/faces.h5")" ] || complain "turn $turn: killed and resumed, another store"
    [ -z "$(find "$tmp" -name '*again.h5?*')" ] || complain "turn $turn: something is left behind"
done

[ "$failures" -eq 0 ]
