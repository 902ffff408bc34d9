#!/usr/bin/env bash
# test_train_cuda.sh PRLE MPIEXEC - `prle train --device cuda` on the simulator: the losses of meso4 are the processor's within 1e-3,
# on one rank and on several; a checkpoint of one device goes on on the other. Without the simulator (PRLE_CUDASIM unset): on the GPUs of
# this machine; skipped where there is none.
set -euo pipefail
# shellcheck source=train_lib.sh
source "$(dirname "$0")/train_lib.sh"
here=$(cd "$(dirname "$0")/.." && pwd)
n_gpus=4
if [ -z "${PRLE_CUDASIM:-}" ]; then
    "$prle" doctor --device cuda >"$tmp/doctor.log" 2>&1 || { echo "SKIP: no GPU"; exit 77; }
    n_gpus=$(nvidia-smi -L | wc -l)
fi
store_make

# on_gpu COMMAND...: on the simulator, or as it is
on_gpu() {
    if [ -n "${PRLE_CUDASIM:-}" ]; then
        bash "$here/simulate.sh" "${schedule:-lazy}" "$@"
    else
        "$@"
    fi
}

# train_on DEVICE RUN STEPS [OPTION]...; size: ranks
train_on() {
    local device=$1 run=$2 steps=$3 start=()
    shift 3
    [ "$device" = cpu ] || start=(on_gpu)
    [ "${size:-1}" -eq 1 ] || start+=("$mpiexec" -n "$size")
    "${start[@]}" "$prle" train --device "$device" --net meso4 --data "$tmp/faces.h5" --run "$tmp/$run" --size 64 --batch 8 --epochs 3 \
        --max-steps "$steps" --lr 1e-3 --mask random --clip 5 --threads 1 "$@" >"$tmp/$run.log" 2>&1 || fail "$run: $*"
}

# losses RUN A B TOLERANCE: those of two runs agree, relatively; there are COUNT of them.
compare() {
    python3 - "$tmp/$1/log.jsonl" "$tmp/$2/log.jsonl" "$3" "$4" <<'P' || fail "losses of $1 and $2"
import json, sys
a, b = ([r for r in map(json.loads, open(path)) if r["record"] == "step"] for path in sys.argv[1:3])
assert len(a) == len(b) == int(sys.argv[3]), (len(a), len(b))
worst = 0.0
for x, y in zip(a, b):
    assert x["step"] == y["step"] and x["samples"] == y["samples"] and x["masked"] == y["masked"], (x, y)
    for key in ("loss_nats", "grad_norm"):
        worst = max(worst, abs(x[key] - y[key]) / abs(y[key]))
print(f"{sys.argv[1].split('/')[-2]} and {sys.argv[2].split('/')[-2]}: losses and norms differ by {worst:.1e}")
assert worst <= float(sys.argv[4])
P
}

# 9 steps: two of warm-up, captured ones, the ragged end of an epoch, captured ones again
train_on cpu cpu 9
train_on cuda gpu 9
compare gpu cpu 9 1e-3
for seed in 1 2 3; do
    schedule=random:$seed train_on cuda "random$seed" 9 --metrics-every "$seed"
    compare "random$seed" gpu 9 0
done
grep -q 'computing on GPU 0' "$tmp/gpu.log" || fail "no GPU was used"

# across devices
train_on cpu there 5
train_on cuda there 9 --resume
compare there cpu 9 1e-3
train_on cuda back 5
train_on cpu back 9 --resume
compare back cpu 9 1e-3

# a GPU for each rank; the ragged step has a rank with one image and, on four, ranks with none
export CUDASIM_DEVICES=4
for size in 2 4; do
    [ "$size" -le "$n_gpus" ] || continue
    train_on cpu "cpu$size" 9
    train_on cuda "gpu$size" 9
    compare "gpu$size" "cpu$size" 9 1e-3
done
if [ "$n_gpus" -ge 2 ]; then # with batch norm over all ranks they train as one does
    size=2
    train_on cuda sync 9 --sync-bn
    compare sync cpu 9 1e-3
fi
size=1

# the second process takes its plans of convolutions from the disk, and trains to the bit as the first
export PRLE_CACHE=$tmp/cache
for run in plans_made plans_kept; do
    train_on cuda "$run" 3 --log-level debug:op
done
unset PRLE_CACHE
compare plans_kept plans_made 3 0
plans() { grep -c "cuDNN engine.*$1" "$tmp/$2.log" || true; }
[ "$(plans kept plans_made)" -eq 0 ] || fail "the first process found plans on disk"
[ "$(plans '' plans_kept)" -gt 0 ] && [ "$(plans kept plans_kept)" -eq "$(plans '' plans_kept)" ] || fail "the second process made plans anew"

# a loss that is not finite
if on_gpu "$prle" train --device cuda --net meso4 --data "$tmp/faces.h5" --run "$tmp/nan" --size 64 --batch 8 \
    --optim sgd --lr 100 --weight-decay 1 --max-steps 7 >"$tmp/nan.log" 2>&1; then
    fail "a learning rate of 100 went well"
fi
grep -qE 'epoch 1, step [2-4]: the (loss is|gradient is not finite)' "$tmp/nan.log" || fail "no word of what is not finite"

# what was trained on a GPU answers alike on both: scores of eval and predict within 1e-4, attention maps within 1e-3
answers() { # DEVICE [COMMAND to run on it]
    local device=$1
    shift
    "$@" "$prle" eval --model "$tmp/gpu" --data "$tmp/faces.h5" --json --device "$device" >"$tmp/eval_$device.json" 2>"$tmp/eval_$device.log" || fail eval
    "$@" "$prle" predict --model "$tmp/gpu" "$tmp"/tree/test/real/r[0-4] --json --device "$device" --heatmap "$tmp/looks_$device" \
        >"$tmp/predict_$device.json" 2>"$tmp/predict_$device.log" || fail predict
    "$@" "$prle" cam --model "$tmp/gpu" --data "$tmp/faces.h5" -o "$tmp/cams_$device" --split val --device "$device" >"$tmp/cam_$device.log" 2>&1 ||
        fail cam
    "$@" "$prle" show --model "$tmp/gpu" --data "$tmp/faces.h5" --out "$tmp/show_$device" --device "$device" >"$tmp/show_$device.log" 2>&1 || fail show
}
answers cpu
answers cuda on_gpu
python3 - "$tmp" <<'P' || fail "answers differ"
import json, sys
def numbers(x):
    if isinstance(x, dict): return [n for k, v in sorted(x.items()) for n in numbers(v)]
    if isinstance(x, list): return [n for v in x for n in numbers(v)]
    return [x] if isinstance(x, float) else []
for what in ("eval", "predict"):
    a, b = (numbers(json.load(open(f"{sys.argv[1]}/{what}_{d}.json"))) for d in ("cpu", "cuda"))
    assert len(a) == len(b) > 3 and all(abs(x - y) <= 1e-4 for x, y in zip(a, b)), (what, a, b)
P
h5diff -d 1e-3 "$tmp/cams_cpu/meso4.h5" "$tmp/cams_cuda/meso4.h5" /cam /cam >"$tmp/h5diff.log" 2>&1 || fail "attention maps differ"

# every suite of networks runs
on_gpu "$prle" bench train infer cam ops --device cuda --net meso4 --size 64 --batch 2 --seconds 0 --rounds 1 --dtypes f32,bf16 --ceiling \
    >"$tmp/bench.log" 2>&1 || fail bench
grep -q 'conv2d cudnn' "$tmp/bench.log" || fail "bench ran something else"
