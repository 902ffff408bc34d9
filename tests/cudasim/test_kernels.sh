#!/usr/bin/env bash
# test_kernels.sh PLUGIN ARCHITECTURES HUNGRY - every kernel of the plugin fits a GPU of each architecture (80-real;90-real;80-virtual) with
# its largest block, and spills nothing; kernels that do not are told from one that does.
set -uo pipefail
plugin=$1 architectures=$2 hungry=$3
here=$(cd "$(dirname "$0")" && pwd)
failed=0

# shellcheck disable=SC2046
python3 "$here/kernels.py" "$plugin" $(tr ';' '\n' <<< "$architectures" | sed -n 's/-real$//p') || failed=1

out=$(python3 "$here/kernels.py" "$hungry" 90)
[ $? -eq 1 ] || { echo "FAILED: kernels that do not fit go through"; failed=1; }
while read -r name words; do
    grep -q "$name.*: .*$words" <<< "$out" || { echo "FAILED: $name: nothing said of '$words'"; failed=1; }
done << 'END'
unbounded x 1024 threads are more than
spilling  in local memory
indexed   in local memory
END
! grep -q '_Z7bounded' <<< "$out" || { echo "FAILED: the kernel that fits is refused"; failed=1; }
[ $failed -eq 0 ] || printf '%s\n' "$out"
exit $failed
