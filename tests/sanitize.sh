#!/usr/bin/env bash
# sanitize.sh TOOL PROGRAM - a GPU test under NVIDIA's compute-sanitizer (memcheck, racecheck, initcheck, synccheck) on this machine's GPU.
# Skipped (77) where there is no compute-sanitizer, and, by the program's own word, where there is no GPU.
set -uo pipefail
tool=$1 program=$2
command -v compute-sanitizer >/dev/null || PATH=$PATH:/usr/local/cuda/bin
command -v compute-sanitizer >/dev/null || { echo "SKIP: no compute-sanitizer on this machine (it comes with the CUDA toolkit)"; exit 77; }
nvidia-smi -L 2>/dev/null | grep -q '^GPU' || { echo "SKIP: no GPU"; exit 77; }
exec compute-sanitizer --tool "$tool" --error-exitcode 99 "$program"
