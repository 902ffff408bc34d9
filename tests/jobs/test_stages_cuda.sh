#!/usr/bin/env bash
# test_stages_cuda.sh PRLE MPIEXEC - `prle cam` and `prle fuse` with --device cuda on the simulator: maps are the processor's but for
# rounding, fused maps are the processor's bit for bit, on one rank and on two. Without the simulator (PRLE_CUDASIM unset): on the GPUs
# of this machine; skipped where there is none.
set -euo pipefail
# shellcheck source=train_lib.sh
source "$(dirname "$0")/train_lib.sh"
here=$(cd "$(dirname "$0")/.." && pwd)
export CUDASIM_DEVICES=2
n_gpus=2
if [ -z "${PRLE_CUDASIM:-}" ]; then
    "$prle" doctor --device cuda >"$tmp/doctor.log" 2>&1 || { echo "SKIP: no GPU"; exit 77; }
    n_gpus=$(nvidia-smi -L | wc -l)
fi
store_make

# on DEVICE NAME COMMAND...: prle on that device, its log in NAME.log; ranks: how many
on() {
    local device=$1 name=$2 start=()
    shift 2
    [ "$device" = cpu ] || [ -z "${PRLE_CUDASIM:-}" ] || start=(bash "$here/simulate.sh" "${schedule:-lazy}")
    [ "${ranks:-1}" -eq 1 ] || start+=("$mpiexec" -n "$ranks" --timeout 120)
    "${start[@]}" "$prle" "$@" --device "$device" >"$tmp/$name.log" 2>&1 || fail "$name"
}

on cpu train train --net meso4 --data "$tmp/faces.h5" --run "$tmp/run" --size 64 --batch 8 --epochs 1 --lr 1e-3 --threads 1
for method in gradcam gradcam++ eigencam; do
    on cpu "cam_$method" cam --model "$tmp/run" --data "$tmp/faces.h5" --method "$method" --batch 12 -o "$tmp/cpu_$method"
    on cuda "cam_gpu_$method" cam --model "$tmp/run" --data "$tmp/faces.h5" --method "$method" --batch 12 -o "$tmp/gpu_$method"
    # f32 sums in another order, float16 on disk
    h5diff -d 2e-3 "$tmp/cpu_$method/meso4.h5" "$tmp/gpu_$method/meso4.h5" cam cam >"$tmp/diff.log" 2>&1 || fail "maps differ: $method"
    mkdir -p "$tmp/cams"
    cp "$tmp/cpu_$method/meso4.h5" "$tmp/cams/$method.h5"
done
if [ "$n_gpus" -ge 2 ]; then
    ranks=2 on cuda cam_ranks cam --model "$tmp/run" --data "$tmp/faces.h5" --batch 12 -o "$tmp/ranks"
    h5diff -d 2e-3 "$tmp/cpu_gradcam/meso4.h5" "$tmp/ranks/meso4.h5" cam cam >"$tmp/diff.log" 2>&1 || fail "maps of two ranks differ"
fi

# fused RUN: the same integers as the processor's, for that rule
fused() {
    local dataset
    for dataset in rank attention area; do
        h5diff "$tmp/fused.h5" "$tmp/$1.h5" "$dataset" "$dataset" >"$tmp/diff.log" 2>&1 || fail "$1: $dataset differs"
    done
}
for rule in expand hysteresis; do
    rm -f "$tmp"/fused*.h5
    on cpu fused fuse --cams "$tmp/cams" --rule "$rule" --tau1 0.4 -o "$tmp/fused.h5"
    on cuda fused_gpu fuse --cams "$tmp/cams" --rule "$rule" --tau1 0.4 -o "$tmp/fused_gpu.h5"
    fused fused_gpu
done
if [ "$n_gpus" -ge 2 ]; then
    schedule=random:1 ranks=2 on cuda fused_ranks fuse --cams "$tmp/cams" --rule hysteresis --tau1 0.4 -o "$tmp/fused_ranks.h5"
    fused fused_ranks
fi
echo "all right"
