#!/usr/bin/env bash
# test_rank_trouble.sh PRLE MPIEXEC - one rank of two is killed, or stopped, in the middle of train, cam and fuse: the job ends by
# itself, in time, and says which rank (the launcher of a killed one; for a stopped one the watchdog of the rank that waits, with
# host and operation). What is begun is ended by the next run.
set -euo pipefail
# shellcheck source=train_lib.sh
source "$(dirname "$0")/train_lib.sh"
deadline=3
store_make
"$prle" train --net meso4 --data "$tmp/faces.h5" --run "$tmp/run" --size 64 --batch 8 --epochs 1 >"$tmp/train.log" 2>&1 || fail train
# A store with units enough to be in their middle: each video's frame many times over.
python3 - "$tmp/tree" <<'P'
import glob, shutil, sys
for path in glob.glob(sys.argv[1] + "/*/*/**/000.png", recursive=True):
    for i in range(1, 20):
        shutil.copyfile(path, path.replace("000.png", f"{i:03d}.png"))
P
"$prle" pack "$tmp/tree" -o "$tmp/many.h5" >"$tmp/pack.log" 2>&1 || fail pack

# The process that is rank 1 of the job whose command line has the word.
rank_1() {
    local pid
    for pid in $(pgrep -f -- "^$prle .*$1"); do
        tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -qx 'OMPI_COMM_WORLD_RANK=1' && echo "$pid"
    done
    return 0
}

# trouble SIGNAL MOST_SECONDS REGEX WORD SIGN COMMAND...: once SIGN is there, rank 1 gets the signal. A job that ended before is
# begun again.
trouble() {
    local signal=$1 most=$2 regex=$3 word=$4 sign=$5 job pid begin code=0 took
    shift 5
    for _ in 1 2 3 4 5; do
        rm -rf "${sign%/*}"
        ranks 2 "$@" --deadline "$deadline" >"$tmp/trouble.log" 2>&1 &
        job=$! pid="" code=0
        while kill -0 "$job" 2>/dev/null && [ ! -s "$sign" ] && [ ! -e "$sign/lock" ]; do sleep 0.01; done
        pid=$(rank_1 "$word")
        begin=$(milliseconds)
        [ -z "$pid" ] || kill -"$signal" "$pid" 2>/dev/null || true
        wait "$job" || code=$?
        took=$(($(milliseconds) - begin))
        [ "$code" -eq 0 ] || break
    done 2>>"$tmp/shell.log"
    [ "$code" -ne 0 ] || fail "$1: SIG$signal: the job was never in its middle"
    [ "$took" -le $((most * 1000)) ] || fail "$1: SIG$signal: ended after $took ms only"
    grep -qE -- "$regex" "$tmp/trouble.log" || fail "$1: SIG$signal: no /$regex/"
    sleep 0.2
    [ -z "$(pgrep -f -- "$word")" ] || fail "$1: SIG$signal: a process is left"
    echo "$1, SIG$signal: ended after $took ms: $(grep -oE -- "$regex" "$tmp/trouble.log" | head -n 1)"
}

train=(train --net meso4 --data "$tmp/faces.h5" --size 64 --batch 8 --threads 1 --epochs 100000 --run "$tmp/long")
cam=(cam --model "$tmp/run" --data "$tmp/many.h5" --split any --threads 1 -o "$tmp/cams")
fuse=(fuse --cams "$tmp/cams" -o "$tmp/maps/maps.h5" --rule average --tau1 0.1 --threads 1)
killed='process rank 1 .*signal 9 \(Killed\)'
stopped="rank 0 on $(hostname): [a-z ]+ number [0-9]+ has not ended within $deadline s"
trouble KILL 30 "$killed" "$tmp/long" "$tmp/long/log.jsonl" "${train[@]}"
trouble STOP $((deadline + 20)) "$stopped" "$tmp/long" "$tmp/long/log.jsonl" "${train[@]}"
trouble KILL 30 "$killed" "$tmp/cams" "$tmp/cams/meso4.parts" "${cam[@]}"
trouble STOP $((deadline + 20)) "$stopped" "$tmp/cams" "$tmp/cams/meso4.parts" "${cam[@]}"
ranks 2 "${cam[@]}" >"$tmp/cam.log" 2>&1 || fail "maps after all"
trouble KILL 30 "$killed" "$tmp/maps/" "$tmp/maps/maps.h5.parts" "${fuse[@]}"
trouble STOP $((deadline + 20)) "$stopped" "$tmp/maps/" "$tmp/maps/maps.h5.parts" "${fuse[@]}"
ranks 2 "${fuse[@]}" >"$tmp/fuse.log" 2>&1 || fail "fused maps after all"
