#!/usr/bin/env bash
# test_bench.sh - prle bench: what it refuses, the shape of its answers, and the paper's figures on the model card. No figure here
# depends on the clock. Usage: test_bench.sh PRLE
set -uo pipefail

prle=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export TMPDIR=$tmp
failures=0

complain() {
    echo "FAILED: $1"
    head -n 5 "$tmp/err"
    failures=$((failures + 1))
}

# refuses REGEX ARGUMENT...
refuses() {
    local regex=$1
    shift
    "$prle" bench "$@" > "$tmp/out" 2> "$tmp/err"
    [ $? -eq 2 ] && [ ! -s "$tmp/out" ] && grep -qE -- "$regex" "$tmp/err" || complain "bench $*: not refused with /$regex/"
}

refuses '"trian".*(train|did you mean)' trian
refuses 'resnet51.*did you mean resnet50' --net resnet51
refuses 'resnet51.*did you mean resnet50' --model resnet51
refuses 'one of f32, f64, bf16' --dtypes f16
refuses '--maps x.h5 needs' loader --maps x.h5
refuses 'rounds = "0"' --rounds 0

# A figure of each suite, all of it in the answer; every number is finite and positive.
"$prle" bench --threads 1 train infer cam fuse loader ops --net meso4 --size 64 --batch 2 --rounds 3 --seconds 0 --ceiling --json > "$tmp/out" \
    2> "$tmp/err" || complain "all suites"
python3 - "$tmp/out" << 'P' || complain "the answer's shape"
import json, math, sys
answer = json.load(open(sys.argv[1]))
cells = answer["cells"]
suites = [c["suite"] for c in cells]
assert [s for i, s in enumerate(suites) if i == 0 or suites[i - 1] != s] == ["train", "infer", "cam", "fuse", "loader"], suites
for suite in ("train", "infer", "cam"):
    assert [(c["what"], c["dtype"]) for c in cells if c["suite"] == suite] == [("meso4", "f32"), ("meso4", "bf16")]
assert all(0 < c["low"] <= c["median"] <= c["high"] < math.inf for c in cells), cells
assert all(("ceiling" in c) == (c["suite"] in ("train", "infer")) for c in cells)
assert sum(c["suite"] == "fuse" for c in cells) == 9 and all(c["dtype"] is None for c in cells if c["suite"] == "fuse")
assert (answer["batch"], answer["size_px"], answer["rounds"]) == (2, 64, 3)
for dtype in ("f32", "bf16"):
    ops = [o for o in answer["ops"] if o["dtype"] == dtype]
    assert {o["pass"] for o in ops} >= {"forward", "backward", "weights", "step"}
    conv = [sum(o["flop"] for o in ops if o["operator"].startswith("conv2d") and o["pass"] == p) for p in ("forward", "weights")]
    assert conv[0] == conv[1] > 0 # each weight's gradient is as many products as its use
P

# One step each: the plan's own order, every node by name.
"$prle" bench ops --threads 1 --net meso4 --size 64 --batch 2 --seconds 0 --dtype f32 --nodes > "$tmp/out" 2> "$tmp/err" || complain "ops --nodes"
for words in '^meso4 f32: a training step, ' '^conv3 conv2d ' '^norm and adam +step '; do
    grep -qE "$words" "$tmp/out" || complain "ops --nodes does not show /$words/"
done

# Logits alone: no gradients, no optimiser; batch norm and relu are gone into the convolutions.
"$prle" bench ops --infer --threads 1 --net meso4 --size 64 --batch 2 --seconds 0 --dtype f32 --nodes > "$tmp/out" 2> "$tmp/err" ||
    complain "ops --infer"
for words in '^meso4 f32: logits, ' '^conv3 conv2d [a-z]+ +forward ' '^all else +step '; do
    grep -qE "$words" "$tmp/out" || complain "ops --infer does not show /$words/"
done
! grep -qE ' (backward|weights) |adam' "$tmp/out" || complain "ops --infer shows a training step"

# Table VIII of arXiv 2307.12534.
card() { "$prle" bench --model "$1" --logits "$2" --size 299 --batch 64 --seconds 0 --dtype f32 > "$tmp/out" 2> "$tmp/err"; }
card xception 2 && grep -q '540\.15 G a batch' "$tmp/out" && grep -q '20\.81 M (20811050)' "$tmp/out" || complain "card of xception"
card resnet50 1000 && grep -q '493\.38 G a batch' "$tmp/out" && grep -q '25\.56 M (25557032)' "$tmp/out" || complain "card of resnet50"
# beside the paper's: counts alike, speeds measured at the same size and batch only
row() { grep -E "^$1 " "$tmp/out" | tail -n 1 | tr -s ' '; }
card xception 2
[[ $(row 'parameters, M') == 'parameters, M 20.81 20.81 1.00'* && $(row 'GFLOPs by its rule') == *' 540.15 540.15 1.00'* &&
    $(row 'training, images/s') == *' f32 269.72 - -'* && $(row 'inference, images/s') == *' f32 902.98 - -'* ]] || complain "xception beside the paper"
card resnet50 1000
[[ $(row 'GFLOPs by its rule') == *' 493.38 493.38 1.00'* && $(row 'training, images/s') == *' f32 281.19 - -'* ]] || complain "resnet50 beside the paper"
"$prle" bench --model xception --size 299 --batch 64 --seconds 0 --dtypes f32,bf16 --json > "$tmp/out" 2> "$tmp/err" &&
    python3 -c 'import json, sys
paper = json.load(open(sys.argv[1]))["model"]["paper"]
assert paper == {"logits": 2, "parameters": 20810000.0, "batch_macs": 540150000000.0, "training_images_per_s": 269.72,
                 "training_masked_images_per_s": 262.42, "inference_images_per_s": 902.98}, paper' "$tmp/out" || complain "the paper as JSON"
"$prle" bench --model xception --size 256 --batch 64 --seconds 0 --dtype f32 > "$tmp/out" 2> "$tmp/err"
! grep -q 'Table VIII  ' "$tmp/out" || complain "the paper beside another size"
"$prle" bench --model meso4 --threads 1 --size 64 --batch 2 --rounds 1 --seconds 0.01 --dtype f32 --json > "$tmp/out" 2> "$tmp/err" &&
    python3 -c 'import json, sys
card = json.load(open(sys.argv[1]))["model"]
assert card["parameters"] == 12538 and card["runs"][0]["training_images_per_s"] > 0, card
assert card["runs"][0]["training_bytes"] > card["runs"][0]["inference_bytes"] > 0, card' "$tmp/out" || complain "card as JSON"

[ -z "$(find "$tmp" -name 'prle-bench-*')" ] || complain "a made-up store was left behind"
[ "$failures" -eq 0 ] && echo "bench: all as expected"
exit $((failures > 0))
