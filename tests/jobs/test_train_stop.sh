#!/usr/bin/env bash
# test_train_stop.sh PRLE MPIEXEC [STOPS] - training asked to stop (SIGUSR1) at random moments, the last validation among them, makes
# a checkpoint, exits with 75, and ends, when resumed, as a run that was never stopped: weights, best checkpoint, log. A run can be
# made longer, but not go on with other options.
set -euo pipefail
# shellcheck source=train_lib.sh
source "$(dirname "$0")/train_lib.sh"
stops=${3:-12}
store_make
train=(train --net meso4 --data "$tmp/faces.h5" --size 64 --batch 8 --lr 1e-3 --mask random --threads 1 --eval-batch 1 --log-level warn)
state_is() { same_datasets "$1/$3" "$2/$3" /state || fail "$3 of $1 and $2 differ"; }

# 7 steps an epoch: the run ends inside one. Each stop comes at a random moment of what a whole run takes, often in its end.
steps=72
begin=$(milliseconds)
ranks 2 "${train[@]}" --max-steps "$steps" --run "$tmp/whole" >"$tmp/whole.log" 2>&1 || fail "the run that is not stopped"
whole=$(($(milliseconds) - begin))
codes=""
for ((i = 0; i < stops; i++)); do
    setsid "$mpiexec" -n 2 "$prle" "${train[@]}" --max-steps "$steps" --run "$tmp/stopped" --resume >"$tmp/stopped.log" 2>&1 &
    job=$!
    delay=$((whole / 4 + RANDOM % (whole * 3 / 4)))
    sleep "$((delay / 1000)).$(printf '%03d' $((delay % 1000)))"
    pkill -USR1 -f -- "^$prle .*--run $tmp/stopped " || true
    code=0
    wait "$job" || code=$?
    codes="$codes $code"
    [ "$code" -ne 0 ] || rm -rf "$tmp/stopped" # done: the next stop has a new run
done
ranks 2 "${train[@]}" --max-steps "$steps" --run "$tmp/stopped" --resume >"$tmp/stopped.log" 2>&1 || fail "resumed"
state_is "$tmp/whole" "$tmp/stopped" last.h5
state_is "$tmp/whole" "$tmp/stopped" best.h5
cmp "$tmp/whole/log.jsonl" "$tmp/stopped/log.jsonl" || fail "the log differs"

# Longer, from the middle of an epoch.
"$prle" "${train[@]}" --max-steps 14 --run "$tmp/long" >"$tmp/long.log" 2>&1 || fail "14 steps"
"$prle" "${train[@]}" --max-steps 9 --run "$tmp/longer" >"$tmp/longer.log" 2>&1 || fail "9 steps"
"$prle" "${train[@]}" --max-steps 14 --run "$tmp/longer" --resume >"$tmp/longer.log" 2>&1 || fail "9 steps and 5 more"
state_is "$tmp/long" "$tmp/longer" last.h5

code=0
"$prle" "${train[@]}" --max-steps 14 --run "$tmp/longer" --resume --mask-p 0.25 >"$tmp/other.log" 2>&1 || code=$?
if [ "$code" -ne 2 ] || ! grep -q -- 'config.yaml:.*--mask-p 0.5, now it is 0.25' "$tmp/other.log"; then fail "another option: exit code $code"; fi
[[ $codes == *75* ]] || fail "no stop was in time: $codes"
echo "exit codes of stopped runs:$codes"
