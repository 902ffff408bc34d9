#!/usr/bin/env bash
# test_full_disk.sh - each command that writes, on a disk that is full now or soon, in a folder that cannot be written, and beside
# another run: one error that names the file and the way out, nothing torn under a final name; with room, run again, it ends as it
# should. In a mount namespace of its own. Usage: test_full_disk.sh PRLE MPIRUN
set -uo pipefail
if [ -z "${PRLE_NAMESPACE:-}" ]; then
    unshare -rm true 2> /dev/null || { echo "SKIP: no mount namespace can be made here (unshare -rm)" && exit 77; }
    PRLE_NAMESPACE=1 exec unshare -rm bash "$0" "$@"
fi
unset PRLE_NAMESPACE
# shellcheck source=train_lib.sh
source "$(dirname "$0")/train_lib.sh"
# shellcheck source=user_lib.sh
source "$(dirname "$0")/user_lib.sh"
disk=$tmp/disk
trap 'umount "$disk"; rm -rf "$tmp"' EXIT
mkdir "$disk"
mount -t tmpfs -o size=4m tmpfs "$disk" || { echo "SKIP: no tmpfs can be mounted here" && exit 77; }

python3 "$(dirname "$0")/odd_faces.py" "$tmp" || fail "photographs"
store_make
train=("$prle" train --net meso4 --size 64 --batch 10 --data "$tmp/faces.h5")
"${train[@]}" --epochs 1 --run "$tmp/run" > "$tmp/train.log" 2>&1 || fail "train"
"$prle" cam --model "$tmp/run" --data "$tmp/faces.h5" --split any -o "$tmp/cams" > "$tmp/cam.log" 2>&1 || fail "cam"

# What lies under a final name is whole: stores and checkpoints by their checksums, pictures by their being read.
whole() {
    local file
    while read -r file; do
        case $file in
        */unit-*.h5) h5dump -H "$file" > "$tmp/out" 2> "$tmp/err" || complain "$file is torn" ;;
        *.h5) "$prle" inspect "$file" --verify > "$tmp/out" 2> "$tmp/err" || complain "$file is torn" ;;
        *.jsonl) [ "$(tail -c 1 "$file" | wc -l)" -eq "$(head -c 1 "$file" | wc -c)" ] || complain "$file ends in half a line" ;;
        *.png | *.jpg) "$prle" predict --model "$tmp/run" "$file" > "$tmp/out" 2> "$tmp/err" || complain "$file is torn" ;;
        esac
    done < <(find "$disk" -type f -not -name '.*' -not -path '*/.*' | head -n 5)
}

# full "KIB ..." COMMAND...: with so many KiB left it fails, with a free disk it ends.
full() {
    local left kib
    for left in $1; do
        find "$disk" -mindepth 1 -delete
        kib=$(df --output=avail -k "$disk" | tail -n 1)
        head -c "$(((kib - left) * 1024))" /dev/zero > "$disk/ballast"
        run 1 "^prle [a-z]*: .*$disk/.*: cannot .*: No space left on device: free some, then run again" "${@:2}"
        whole
        rm "$disk/ballast"
        run 0 '' "${@:2}"
        whole
        [ -z "$(find "$disk" -name '.*.tmp.*')" ] || complain "${*:2}: a temporary file is left"
    done
}
full '4 300' "$prle" pack "$tmp/tree" -o "$disk/faces.h5"
full '4 100' "${train[@]}" --epochs 2 --resume --run "$disk/run"
full '4' "$prle" cam --model "$tmp/run" --data "$tmp/faces.h5" --split any -o "$disk/cams"
full '4 200' "$prle" fuse --cams "$tmp/cams" -o "$disk/maps.h5" --rule average --tau1 0.1
full '60' "$prle" forge "$tmp/photos" -o "$disk/set" --size 64 --frames 1
full '4' "$prle" predict --model "$tmp/run" "$tmp/tree/test/real/r0" "$tmp/tree/test/real/r1" --heatmap "$disk/heat"
full '0' "$prle" eval --model "$tmp/run" --data "$tmp/faces.h5" --out "$disk/eval"
full '40' "$prle" show --model "$tmp/run" --data "$tmp/faces.h5" -o "$disk/show"

# Two runs on one folder: the second says so, and the first is not disturbed.
find "$disk" -mindepth 1 -delete
"${train[@]}" --epochs 100000 --run "$disk/run" > "$tmp/first.log" 2>&1 &
first=$!
for ((i = 0; i < 100; i++)); do
    [ -s "$disk/run/log.jsonl" ] && break
    sleep 0.1
done
run 1 "^prle train: $disk/run/: another run works there .*: wait for its end or stop it" "${train[@]}" --epochs 2 --resume --run "$disk/run"
kill -USR1 "$first"
wait "$first"
[ $? -eq 75 ] || complain 'the first run was disturbed'
mkdir -p "$disk/set" "$disk/faces.h5.parts"
exec 8> "$disk/set/.lock" 9> "$disk/faces.h5.parts/lock"
flock -x 8 && flock -x 9
run 1 "^prle forge: $disk/set/: another run works there" "$prle" forge "$tmp/photos" -o "$disk/set" --size 64 --frames 1
run 1 "^prle pack: $disk/faces.h5.parts/: another run works there" "$prle" pack "$tmp/tree" -o "$disk/faces.h5"
exec 8>&- 9>&-

# A folder that cannot be written.
mount -o remount,ro "$disk"
readonly_run() { run 1 "^prle [a-z]*: .*$disk/.*: Read-only file system" "$@"; }
readonly_run "$prle" pack "$tmp/tree" -o "$disk/other.h5"
readonly_run "${train[@]}" --epochs 100000 --resume --run "$disk/run"
readonly_run "${train[@]}" --run "$disk/another"
readonly_run "$prle" cam --model "$tmp/run" --data "$tmp/faces.h5" --split any -o "$disk/cams"
readonly_run "$prle" fuse --cams "$tmp/cams" -o "$disk/maps.h5"
readonly_run "$prle" forge "$tmp/photos" -o "$disk/other"
readonly_run "$prle" predict --model "$tmp/run" "$tmp/tree/test/real/r0" --heatmap "$disk/heat"
readonly_run "$prle" eval --model "$tmp/run" --data "$tmp/faces.h5" --out "$disk/eval"
readonly_run "$prle" show --model "$tmp/run" --data "$tmp/faces.h5" -o "$disk/show"

[ "$failures" -eq 0 ] && echo "full disk: all as expected"
exit $((failures > 0))
