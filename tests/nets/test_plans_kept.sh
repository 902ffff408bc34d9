#!/usr/bin/env bash
# test_plans_kept.sh PLAN_CHECK - the real cuDNN, for a GPU that is not here: a second process takes every plan of a network from the
# disk, those with kernels compiled here too, and they are the plans that the first one found.
set -euo pipefail
cd "$(dirname "$0")/../cudasim/devices"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PRLE_CACHE=$folder/plans PRLE_TEST_VERBOSE=1
for turn in first second; do
    "$1" h100.json bf16 256 xception,meso4 > "$folder/$turn" || { cat "$folder/$turn"; exit 1; }
done
kept() { # of the lines that a plan has in a file
    awk '/engine/ {plans++; kept += / kept/; compiled += /compiled/} END {print kept + 0, plans + 0, compiled + 0}' "$1"
}
read -r kept plans compiled <<< "$(kept "$folder/first")"
[ "$kept" -eq 0 ] && [ "$compiled" -gt 10 ] || { echo "the first process: $kept of $plans from the disk, $compiled compiled"; exit 1; }
read -r kept plans compiled <<< "$(kept "$folder/second")"
[ "$kept" -eq "$plans" ] || { echo "the second process: $kept of $plans from the disk"; exit 1; }
diff <(grep engine "$folder/first") <(grep engine "$folder/second" | sed 's/, kept//')
echo "$plans plans, $compiled with kernels compiled once"
