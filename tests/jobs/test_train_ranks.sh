#!/usr/bin/env bash
# test_train_ranks.sh PRLE MPIEXEC - in double precision with synchronised batch norm, 1, 2 and 4 ranks train alike: losses of 21
# steps within 1e-9, ragged last batches (a rank without a share among them) included.
set -euo pipefail
# shellcheck source=train_lib.sh
source "$(dirname "$0")/train_lib.sh"
store_make
for n in 1 2 4; do
    ranks "$n" train --net meso4 --data "$tmp/faces.h5" --run "$tmp/run$n" --size 64 --batch 8 --epochs 3 --lr 1e-3 --dtype f64 --sync-bn \
        --mask random --threads 1 >"$tmp/$n.log" 2>&1 || fail "$n ranks"
done
python3 - "$tmp" <<'P'
import json, sys
runs = [[json.loads(line) for line in open(f"{sys.argv[1]}/run{n}/log.jsonl")] for n in (1, 2, 4)]
steps = [[r for r in run if r["record"] == "step"] for run in runs]
assert len(steps[0]) == 21 and steps[0][6]["samples"] == 2, steps[0]
assert sum(r["masked"] for r in steps[0]) > 30
worst = 0.0
for a, b, c in zip(*steps, strict=True):
    assert a["masked"] == b["masked"] == c["masked"] and a["samples"] == b["samples"] == c["samples"]
    for other in (b, c):
        diff = abs(a["loss_nats"] - other["loss_nats"])
        assert diff <= 1e-9, (a, other)
        worst = max(worst, diff)
assert steps[0][0]["loss_nats"] != steps[0][-1]["loss_nats"]
print(f"largest difference of losses {worst:.2e}")
P
