#!/usr/bin/env bash
# train_lib.sh - sourced by the tests of training and maps: a small store of synthetic faces, ranks, comparison of results.
# shellcheck shell=bash disable=SC2034

prle=$1
mpiexec=$2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
RANDOM=7 # the same kills every time

fail() {
    echo "FAILED: $1"
    for log in "$tmp"/*.log; do [ -f "$log" ] && { echo "-- $log"; tail -n 5 "$log"; }; done
    exit 1
}

# 64 x 64 PNG pictures of colour gradients and noise; a fake has a bright patch. 50 training images: batches of 8 leave 2.
store_make() {
    python3 - "$tmp/tree" <<'P'
import os, random, struct, sys, zlib
def chunk(kind, data): return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
random.seed(1)
for split, n in (("train", 25), ("val", 8), ("test", 8)):
    for kind in ("real/r%d", "fake/patch/f%d"):
        for i in range(n):
            folder = os.path.join(sys.argv[1], split, kind % i)
            os.makedirs(folder)
            a, b, c = (random.random() * 2 for _ in range(3))
            rows = b""
            for y in range(64):
                rows += b"\0"
                for x in range(64):
                    patch = 60 if "fake" in kind and 20 <= x < 40 and 30 <= y < 50 else 0
                    rows += bytes(min(255, int(40 + a * x + k * b * y / 2 + c * 8 + random.random() * 30 + patch)) for k in (0, 1, 2))
            open(os.path.join(folder, "000.png"), "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
P
    "$prle" pack "$tmp/tree" -o "$tmp/faces.h5" >"$tmp/pack.log" 2>&1 || fail pack
}

ranks() {
    local n=$1
    shift
    "$mpiexec" -n "$n" --timeout 120 "$prle" "$@"
}

# Same weights and statistics, same optimiser: datasets compared bit for bit.
same_datasets() { h5diff "$1" "$2" "$3" "$3" >"$tmp/diff.log" 2>&1; }

milliseconds() { echo $(($(date +%s%N) / 1000000)); }

# killed_until_done KILLS PATTERN START WHOLE CHECK COMMAND...: runs the command again and again until it succeeds, and kills all
# processes whose command line matches, KILLS times, each at a random moment: after START ms (launch and set-up) and so that the work,
# which takes WHOLE ms in all, lasts for all kills. Should it be done before, CHECK is called (which looks at the result and removes
# it), and it begins anew.
killed_until_done() {
    local kills=$1 pattern=$2 start=$3 whole=$4 check=$5 killed=0 job delay
    shift 5
    while :; do
        setsid "$@" >"$tmp/killed.log" 2>&1 &
        job=$!
        if [ "$killed" -lt "$kills" ]; then
            delay=$((start * 8 / 10 + RANDOM % (2 * (whole - start) / (kills + 10) + 1)))
            sleep "$((delay / 1000)).$(printf '%03d' $((delay % 1000)))"
            pkill -KILL -f -- "$pattern" 2>/dev/null && killed=$((killed + 1))
        fi
        if wait "$job"; then
            "$check"
            [ "$killed" -lt "$kills" ] || break
        fi
    done 2>>"$tmp/shell.log" # where the shell tells of each killed job
}
