#!/usr/bin/env bash
# test_threads_on.sh PRLE MPIEXEC - the pipeline with all threads on that are not OpenMP's: loaders that read maps, sums of gradients
# beside backward, checkpoints written meanwhile, the watchdog. The same bits as without them; under ThreadSanitizer no report.
set -euo pipefail
# shellcheck source=train_lib.sh
source "$(dirname "$0")/train_lib.sh"
store_make
common=(--data "$tmp/faces.h5" --threads 1 --log-level warn)
train=(train --net meso4 "${common[@]}" --size 64 --batch 8 --lr 1e-3 --epochs 3)

ranks 2 "${train[@]}" --run "$tmp/zoo" >"$tmp/zoo.log" 2>&1 || fail "train the zoo"
ranks 2 cam --model "$tmp/zoo" "${common[@]}" -o "$tmp/cams" >"$tmp/cam.log" 2>&1 || fail cam
ranks 2 fuse --cams "$tmp/cams" -o "$tmp/maps.h5" --threads 1 >"$tmp/fuse.log" 2>&1 || fail fuse
masked=("${train[@]}" --mask primary --maps "$tmp/maps.h5")
ranks 2 "${masked[@]}" --run "$tmp/many" --loader-threads 3 --grad-sum thread --checkpoint-minutes 0.0001 >"$tmp/many.log" 2>&1 ||
    fail "train with many threads"
ranks 2 "${masked[@]}" --run "$tmp/few" --loader-threads 1 --grad-sum plain --checkpoint-minutes 0 >"$tmp/few.log" 2>&1 ||
    fail "train with few threads"
same_datasets "$tmp/many/last.h5" "$tmp/few/last.h5" /state || fail "threads change the weights"
cmp "$tmp/many/log.jsonl" "$tmp/few/log.jsonl" || fail "threads change the log"
ranks 2 eval --model "$tmp/many" "${common[@]}" --loader-threads 3 >"$tmp/eval.log" 2>&1 || fail eval
if grep -l 'WARNING: ThreadSanitizer' "$tmp"/*.log; then fail "ThreadSanitizer reports"; fi
