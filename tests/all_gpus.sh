#!/usr/bin/env bash
# all_gpus.sh MPIEXEC PROGRAM - a test of ranks with one rank for each GPU of this machine; skipped (77) where there is none.
set -uo pipefail
n=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU')
[ "$n" -gt 0 ] || { echo "SKIP: no GPU"; exit 77; }
exec "$1" -n "$n" --timeout 280 "$2"
