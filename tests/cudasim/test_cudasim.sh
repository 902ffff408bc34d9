#!/usr/bin/env bash
# test_cudasim.sh LIBCUDASIM DRIVER FEATURES BUGS LIBRARIES MPIEXEC - the simulator's own tests: kernels compute what the host computes, each planted bug is
# caught with the right words, each right twin passes; under every schedule.
set -uo pipefail
library=$1 driver=$2 features=$3 bugs=$4 libraries=$5 mpiexec=$6
here=$(cd "$(dirname "$0")" && pwd)
export CUDASIM_DEVICE_JSON=$here/devices/a100.json CUDASIM_MAX_STEPS=2000000 LD_LIBRARY_PATH=$driver
failed=0 checked=0

# simulated SCHEDULE COMMAND...: its output in $out, its exit code in $rc
simulated() {
    local schedule=$1
    shift
    out=$(LD_PRELOAD=$library CUDASIM_SCHED=$schedule timeout 100 "$@" 2>&1)
    rc=$?
}

fail() {
    echo "FAILED: $*"
    printf '%s\n' "$out" | head -3 | cut -c1-200
    failed=$((failed + 1))
}

schedules="eager lazy random:1 random:2 random:3"
for schedule in $schedules; do
    simulated "$schedule" "$features"
    checked=$((checked + 1))
    [ $rc -eq 0 ] || fail "features under $schedule: exit $rc"
done

# expect PROGRAM SCHEDULES NAME EXIT [WORDS]
expect() {
    local program=$1 name=$3 expected=$4 words=$5 schedule
    for schedule in $2; do
        # shellcheck disable=SC2086
        simulated "$schedule" $program "$name"
        checked=$((checked + 1))
        if [ "$rc" -ne "$expected" ]; then
            fail "$name under $schedule: exit $rc, not $expected"
        elif ! grep -q -- "$words" <<< "$out"; then
            fail "$name under $schedule: does not say '$words'"
        fi
    done
}

# name, exit code, words; a bug that only shows when work is late is planted for the lazy schedule
while read -r name expected words; do
    case $expected in
    late*) expect "$bugs" lazy "$name" "${expected#late}" "$words" ;;
    *) expect "$bugs" "$schedules" "$name" "$expected" "$words" ;;
    esac
done << 'END'
shared_no_barrier     95 race in shared memory
shared_barrier        0
warp_no_sync          95 race in shared memory
warp_sync             0
read_then_write       95 race in shared memory (write after read)
read_barrier_write    0
shared_unwritten      95 shared memory that nobody wrote
shared_past_end       97 past the end of shared memory
two_barriers          95 wait at different __syncthreads()
return_before_barrier 95 after some threads of the block have returned
absent_lanes          97 lanes which have ended
named_lanes           0
endless               97 too many instructions
sum_without_atomics   95 race in global memory
sum_with_atomics      0
blocks_collide        95 race in global memory (write after write)
blocks_apart          0
neighbour_in_place    95 race in global memory
own_in_place          0
bytes_side_by_side    0
past_end              97 past the end of its memory
misaligned            97 misaligned access
unwritten             95 device memory that nobody wrote
after_free            97 already freed
host_pointer          97 outside of any device memory
host_reads_device     96 host code touches device memory
leak                  95 leak: device memory
freed_twice           97 freed twice
wrong_direction       97 memcpy of kind
copy_past_end         97 overrun device memory
pinned_reused         late96 while a copy of it is in flight
pinned_waited         0
result_not_waited     late96 while a copy of it is in flight
result_waited         0
streams_not_ordered   late1
streams_ordered       0
never_waited          late95 that nobody waited for
too_many_threads      95 of at most 1024 threads
shared_not_allowed    95 bytes of dynamic shared memory
shared_allowed        0
graph_allocates       95 allocated while a stream captures
graph_waits           95 while a stream captures
graph_not_joined      95 not joined
graph_joined          0
graph_pageable        95 pageable side
graph_pinned          0
END

while read -r name expected words; do
    expect "$libraries" "eager lazy" "$name" "$expected" "$words"
done << 'END'
forward         0
data_gradient   0
filter_gradient 0
small_workspace 97 workspace.*overrun device memory
small_output    97 overrun device memory
unwritten_input 95 nobody has written
wrong_shape     95 the real cuDNN refuses
product         0
product_leading 95 leading dimensions
END

expect "$mpiexec -n 2 $libraries" "eager lazy random:1" sum 0 ''
expect "$mpiexec -n 2 $libraries" lazy sum_counts_differ 97 'elements of type'
echo "$((checked - failed)) passed, $failed failed"
[ $failed -eq 0 ]
