#!/usr/bin/env bash
# test_train_kill.sh PRLE MPIEXEC [KILLS] - training killed with SIGKILL at random moments and resumed ends with the same weights,
# optimiser and log, bit for bit. Also: SIGUSR1 makes a checkpoint and exits with 75; a run is not overwritten.
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
