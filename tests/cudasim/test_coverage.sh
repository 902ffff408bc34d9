#!/usr/bin/env bash
# test_coverage.sh PLUGIN LIBPRLE CUDASIM - every function that the plugin takes from a CUDA library is the simulator's, so that no call
# of it goes unexecuted: what nm finds undefined in PLUGIN, less what LIBPRLE, CUDASIM and the system have, is empty. Three of cuDNN's
# functions need no GPU and are its own.
set -euo pipefail
plugin=$1 libprle=$2 cudasim=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

defined() { nm -D --defined-only "$1" | awk '{print $NF}' | sed 's/@.*//'; }

nm -D -u "$plugin" | awk '$1 == "U" {print $2}' | sed 's/@.*//' | sort -u > "$work/wanted"
{
    printf '%s\n' cudnnGetErrorString cudnnGetLastErrorString cudnnGetVersion
    defined "$libprle"
    defined "$cudasim"
    ldd "$plugin" | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | grep -vE '/lib(cudart|cudnn|cublas|cublasLt|nccl|cuda|prle)[._a-z]*\.so' |
        while read -r library; do defined "$library"; done
} | sort -u > "$work/there"
missing=$(comm -23 "$work/wanted" "$work/there")
calls=$(grep -cE '^(cuda|cudnn|cublas|nccl)' "$work/wanted")
echo "$calls functions of CUDA libraries; not simulated: ${missing:-none}"
[ -z "$missing" ] && [ "$calls" -gt 20 ]
