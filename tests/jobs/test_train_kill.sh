#!/usr/bin/env bash
# test_train_kill.sh PRLE MPIEXEC [KILLS] - training killed with SIGKILL at random moments and resumed ends with the same weights,
# optimiser and log, bit for bit; also from the checkpoint before, when the last one is damaged. Also: SIGUSR1 makes a checkpoint and exits with 75; a run is not overwritten.
set -euo pipefail
# shellcheck source=train_lib.sh
source "$(dirname "$0")/train_lib.sh"
kills=${3:-20}
store_make
train=(train --net meso4 --data "$tmp/faces.h5" --size 64 --batch 8 --lr 1e-3 --mask random --clip 5 --threads 1 --checkpoint-minutes 0.001)

begin=$(milliseconds)
ranks 2 "${train[@]}" --epochs 1 --run "$tmp/short" >"$tmp/short.log" 2>&1 || fail "one epoch"
start=$(($(milliseconds) - begin))
begin=$(milliseconds)
ranks 2 "${train[@]}" --epochs 80 --run "$tmp/whole" >"$tmp/whole.log" 2>&1 || fail "the run that is not killed"
whole=$(($(milliseconds) - begin))
check() {
    same_datasets "$tmp/whole/last.h5" "$tmp/killed/last.h5" /state || fail "weights differ after kills"
    same_datasets "$tmp/whole/last.h5" "$tmp/killed/last.h5" /optim || fail "the optimiser differs after kills"
    cmp "$tmp/whole/log.jsonl" "$tmp/killed/log.jsonl" || fail "the log differs after kills"
    rm -rf "$tmp/killed"
}
killed_until_done "$kills" "--run $tmp/killed " "$start" "$whole" check "$mpiexec" -n 2 "$prle" "${train[@]}" --epochs 80 --run "$tmp/killed" --resume

# A damaged checkpoint: the one before is used, to the same end; when that is damaged as well, one error says so.
flip() { printf '\377\377\377\377' | dd of="$1" bs=1 seek=$(($(stat -c %s "$1") / 2)) conv=notrunc 2>/dev/null; }
ranks 2 "${train[@]}" --epochs 40 --run "$tmp/killed" >"$tmp/half.log" 2>&1 || fail "half of the run"
"$prle" inspect "$tmp/killed/previous.h5" --verify >"$tmp/inspect.log" 2>&1 || fail "previous.h5 is not whole"
flip "$tmp/killed/last.h5"
"$prle" inspect "$tmp/killed/last.h5" --verify >"$tmp/inspect.log" 2>&1 && fail "the damage is not seen"
cp -r "$tmp/killed" "$tmp/broken"
ranks 2 "${train[@]}" --epochs 80 --run "$tmp/killed" --resume >"$tmp/damaged.log" 2>&1 || fail "from the checkpoint before"
grep -q 'last.h5: .*going on from the checkpoint before' "$tmp/damaged.log" || fail "no warning of the damaged checkpoint"
check
truncate -s 50000 "$tmp/broken/previous.h5"
code=0
ranks 2 "${train[@]}" --epochs 80 --run "$tmp/broken" --resume >"$tmp/broken.log" 2>&1 || code=$?
if [ "$code" -ne 3 ] || ! grep -q 'previous.h5: ' "$tmp/broken.log"; then fail "both checkpoints are damaged: exit code $code"; fi

code=0
"$prle" "${train[@]}" --epochs 80 --run "$tmp/whole" >"$tmp/again.log" 2>&1 || code=$?
if [ "$code" -ne 2 ] || ! grep -q -- '--resume' "$tmp/again.log"; then fail "a finished run was not refused: exit code $code"; fi

"$prle" "${train[@]}" --epochs 100000 --run "$tmp/stopped" >"$tmp/stopped.log" 2>&1 &
job=$!
sleep 1.5
kill -USR1 "$job"
code=0
wait "$job" || code=$?
[ "$code" -eq 75 ] || fail "SIGUSR1: exit code $code, expected 75"
[ -f "$tmp/stopped/last.h5" ] || fail "SIGUSR1 left no checkpoint"
echo "$kills kills, same bits"
