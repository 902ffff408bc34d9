#!/usr/bin/env bash
# test_cam_kill.sh PRLE MPIEXEC [KILLS] - maps are the same for 1, 2 and 4 ranks, and for runs killed with SIGKILL at random moments
# and resumed with other numbers of ranks; closed form and backward agree; a finished file is left alone.
set -euo pipefail
# shellcheck source=train_lib.sh
source "$(dirname "$0")/train_lib.sh"
kills=${3:-20}
store_make
"$prle" train --net meso4 --data "$tmp/faces.h5" --run "$tmp/run" --size 64 --batch 8 --epochs 1 >"$tmp/train.log" 2>&1 || fail train
# A store with more units than kills: each video's frame many times over.
python3 - "$tmp/tree" <<'P'
import glob, os, shutil, sys
for path in glob.glob(sys.argv[1] + "/*/*/**/000.png", recursive=True):
    for i in range(1, 40):
        shutil.copyfile(path, path.replace("000.png", f"{i:03d}.png"))
P
"$prle" pack "$tmp/tree" -o "$tmp/many.h5" >"$tmp/pack.log" 2>&1 || fail pack
cam=(cam --model "$tmp/run" --data "$tmp/many.h5" --split any --threads 1)
begin=$(milliseconds)
"$prle" cam --model "$tmp/run" --data "$tmp/faces.h5" --split val --threads 1 -o "$tmp/few" >"$tmp/few.log" 2>&1 || fail "a few maps"
start=$(($(milliseconds) - begin + 200))
begin=$(milliseconds)
for n in 1 2 4; do
    ranks "$n" "${cam[@]}" -o "$tmp/cams$n" >"$tmp/cam$n.log" 2>&1 || fail "maps on $n ranks"
    [ "$n" -ne 1 ] || whole=$(($(milliseconds) - begin))
    [ "$n" -eq 1 ] || same_datasets "$tmp/cams1/meso4.h5" "$tmp/cams$n/meso4.h5" /cam || fail "maps of $n ranks differ"
done
check() {
    same_datasets "$tmp/cams1/meso4.h5" "$tmp/killed/meso4.h5" /cam || fail "maps differ after kills"
    same_datasets "$tmp/cams1/meso4.h5" "$tmp/killed/meso4.h5" /written || fail "images are missing after kills"
    rm -rf "$tmp/killed"
}
# shellcheck disable=SC2016
killed_until_done "$kills" "-o $tmp/killed" "$start" "$whole" check bash -c 'exec "$1" -n $((RANDOM % 3 + 1)) "${@:2}"' bash "$mpiexec" "$prle" "${cam[@]}" -o "$tmp/killed"
"$prle" "${cam[@]}" -o "$tmp/cams1" | grep -q 'all there already' || fail "finished maps were made again"
echo "$kills kills, same maps"
