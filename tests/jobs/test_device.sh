#!/usr/bin/env bash
# test_device.sh PRLE MPIEXEC - `--device`: one clear line for each thing that may be missing; cuda fails with exit code 2, auto goes on on the
# processor. With the simulator (PRLE_CUDASIM, PRLE_CUDASIM_DRIVER, tests/simulate.sh) also drivers without devices, a GPU, and ranks of
# which some have one.
set -uo pipefail
prle=$1 mpiexec=$2
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# expect EXIT WORDS COMMAND...: the exit code, one line on stderr with these words
expect() {
    local code=$1 words=$2 rc lines
    shift 2
    "$@" >"$work/out" 2>"$work/err"
    rc=$?
    lines=$(wc -l <"$work/err")
    if [ "$rc" -ne "$code" ] || { [ -n "$words" ] && ! grep -qE -- "$words" "$work/err"; } || { [ "$code" -eq 2 ] && [ "$lines" -ne 1 ]; }; then
        echo "FAILED: $*: exit $rc, expected $code and one line with '$words'; got:"
        cat "$work/err"
        failed=$((failed + 1))
    fi
}

# A bench that measures nothing: the shortest command that computes.
bench=("$prle" bench --model meso4 --size 64 --seconds 0 --dtypes f32)
cuda=("${bench[@]}" --device cuda)
auto=("${bench[@]}" --device auto --log-level debug:device)
mkdir "$work/driver" "$work/hidden"
cc -shared -o "$work/driver/libcuda.so.1" -x c /dev/null
driven=(env LD_LIBRARY_PATH="$work/driver${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}")

expect 0 '' "${bench[@]}" --device cpu

# no plugin
none=$work/none/libprle_cuda.so
expect 2 "option device = \"cuda\": $none is not there" env PRLE_CUDA_PLUGIN="$none" "${cuda[@]}"
expect 0 "computing on the processor: $none is not there" env PRLE_CUDA_PLUGIN="$none" "${auto[@]}"

# a plugin, no driver
touch "$work/libprle_cuda.so"
if ! ldconfig -p | grep -q 'libcuda\.so\.1'; then
    expect 2 'no NVIDIA driver' env PRLE_CUDA_PLUGIN="$work/libprle_cuda.so" "${cuda[@]}"
    expect 0 'computing on the processor: there is no NVIDIA driver' env PRLE_CUDA_PLUGIN="$work/libprle_cuda.so" "${auto[@]}"
fi

# a plugin that lacks a library
cc -shared -o "$work/hidden/libcudnn_of_tests.so.9" -x c /dev/null
cc -shared -o "$work/lacking.so" -x c /dev/null -Wl,--no-as-needed -L"$work/hidden" -l:libcudnn_of_tests.so.9
expect 2 'cannot load .*lacking.so: libcudnn_of_tests.so.9: cannot open' "${driven[@]}" PRLE_CUDA_PLUGIN="$work/lacking.so" "${cuda[@]}"
expect 0 'computing on the processor: cannot load' "${driven[@]}" PRLE_CUDA_PLUGIN="$work/lacking.so" "${auto[@]}"

# no plugin of ours; one of another revision; of another interface
cc -shared -o "$work/foreign.so" -x c /dev/null
expect 2 'foreign.so is no plugin of prle' "${driven[@]}" PRLE_CUDA_PLUGIN="$work/foreign.so" "${cuda[@]}"
printf '#include "core/device/plugin.h"\nconst prle_plugin prle_cuda_plugin = {.abi = PRLE_PLUGIN_ABI, .revision = "0000000"};\n' >"$work/other.c"
cc -shared -fPIC -D_GNU_SOURCE -I"$here/.." -o "$work/other.so" "$work/other.c"
expect 2 'other.so is of another build \(git 0000000, interface' "${driven[@]}" PRLE_CUDA_PLUGIN="$work/other.so" "${cuda[@]}"
expect 0 'computing on the processor: .* is of another build' "${driven[@]}" PRLE_CUDA_PLUGIN="$work/other.so" "${auto[@]}"

# f64 is the processor's
expect 2 'not in f64; use --device cpu' "${cuda[@]}" --dtype f64

# doctor looks for GPUs only when asked
expect 0 '' "$prle" doctor
grep -q 'not looked for: add --device cuda' "$work/out" || { echo "FAILED: doctor says nothing of GPUs"; failed=$((failed + 1)); }
expect 2 'is not there' env PRLE_CUDA_PLUGIN="$none" "$prle" doctor --device cuda
grep -q "$none is not there" "$work/out" || { echo "FAILED: doctor's table lacks the reason"; failed=$((failed + 1)); }

if [ -n "${PRLE_CUDASIM:-}" ]; then
    simulate=(bash "$here/simulate.sh" lazy)
    simulated=(env LD_LIBRARY_PATH="$PRLE_CUDASIM_DRIVER" LD_PRELOAD="$PRLE_CUDASIM" CUDASIM_DEVICE_JSON="$here/cudasim/devices/h100.json")
    expect 2 'NVIDIA driver, but no GPU' "${simulated[@]}" CUDASIM_DEVICES=0 "${cuda[@]}"
    expect 0 'computing on the processor: there is an NVIDIA driver, but no GPU' "${simulated[@]}" CUDASIM_DEVICES=0 "${auto[@]}"
    expect 2 'no NVIDIA driver on this machine, or it does not work' "${simulated[@]}" CUDASIM_DEVICES=-1 "${cuda[@]}"
    expect 2 'driver serves CUDA 12.4, this build needs CUDA 1.*: install a newer driver' "${simulated[@]}" CUDASIM_DEVICES=-2 "${cuda[@]}"
    expect 0 'computing on GPU 0, .*H100' "${simulate[@]}" "$prle" doctor --device cuda
    grep -q 'cudnn .*9\.' "$work/out" || { echo "FAILED: doctor does not say cuDNN's version"; failed=$((failed + 1)); }

    # Ranks: FEW of them (by number) see no GPU, the others DEVICES. All end with 2, one says why.
    touch "$work/none.h5"
    cat >"$work/rank.sh" <<'END'
[[ " $FEW " != *" $OMPI_COMM_WORLD_RANK "* ]] || export CUDASIM_DEVICES=0
"$@" 2>"$WORK/rank$OMPI_COMM_WORLD_RANK"
echo $? >"$WORK/code$OMPI_COMM_WORLD_RANK"
END
    ranks() { # RANKS DEVICES FEW WORDS COMMAND...
        local n=$1 devices=$2 few=$3 words=$4 r
        shift 4
        rm -f "$work"/rank[0-9] "$work"/code[0-9]
        CUDASIM_DEVICES=$devices FEW=$few WORK=$work timeout 60 "$mpiexec" -n "$n" "${simulate[@]}" bash "$work/rank.sh" "$@" >"$work/out" 2>&1
        for ((r = 0; r < n; r++)); do
            [ "$(cat "$work/code$r" 2>/dev/null)" = 2 ] || { echo "FAILED: $words: rank $r ends with $(cat "$work/code$r" 2>&1), not 2"; failed=$((failed + 1)); }
        done
        if [ "$(cat "$work"/rank[0-9] | grep -c '^prle ')" -ne 1 ] || ! cat "$work"/rank[0-9] | grep -qE -- "^prle $words"; then
            echo "FAILED: $n ranks, $devices GPUs, none for '$few': not one line with '$words' but"
            cat "$work/out" "$work"/rank[0-9]
            failed=$((failed + 1))
        fi
    }
    train=("$prle" train --net meso4 --data "$work/none.h5" --run "$work/run" --device auto)
    ranks 2 2 1 'train: rank 0 has a GPU, rank 1 has none: choose machines alike, or --device cpu' "${train[@]}"
    ranks 2 2 0 'train: rank 1 has a GPU, rank 0 has none' "${train[@]}"
    ranks 4 4 '1 3' 'fuse: rank 0 has a GPU, rank 1 has none' "$prle" fuse --cams "$work" -o "$work/maps.h5" --device auto
    ranks 3 1 1 'train: rank 2 of this machine has no GPU: 1 GPUs are here; start at most one rank for each' "${train[@]}" # and mixed
fi
exit $((failed > 0))
