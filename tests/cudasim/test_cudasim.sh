#!/usr/bin/env bash
# test_cudasim.sh LIBCUDASIM DRIVER FEATURES BUGS LIBRARIES MPIEXEC - the simulator's own tests: kernels compute what the host computes, each planted bug is
# caught with the right words, each right twin passes; under every schedule. Then every message of the simulator has been seen.
set -uo pipefail
library=$1 driver=$2 features=$3 bugs=$4 libraries=$5 mpiexec=$6
here=$(cd "$(dirname "$0")" && pwd)
export CUDASIM_DEVICE_JSON=$here/devices/a100.json CUDASIM_MAX_STEPS=2000000 LD_LIBRARY_PATH=$driver
failed=0 checked=0
said=$(mktemp)
trap 'rm -f "$said"' EXIT

# simulated SCHEDULE COMMAND...: its output in $out, its exit code in $rc
simulated() {
    local schedule=$1
    shift
    out=$(LD_PRELOAD=$library CUDASIM_SCHED=$schedule timeout 100 "$@" 2>&1 < /dev/null)
    rc=$?
    grep 'cudasim: ' <<< "$out" >> "$said"
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
shared_no_barrier     95 race in shared memory (read after write)
shared_barrier        0
read_then_write       95 race in shared memory (write after read)
read_barrier_write    0
shared_two_writers    95 race in shared memory (write after write)
shared_one_writer     0
warp_no_sync          95 race in shared memory
warp_sync             0
shared_unwritten      95 shared memory that nobody wrote
shared_all_written    0
shared_past_end       97 past the end of shared memory
shared_within         0
local_past_end        97 past the end of local memory
local_within          0
two_barriers          95 wait at different __syncthreads()
one_barrier           0
return_before_barrier 95 after some threads of the block have returned
return_after_barrier  0
absent_lanes          97 lanes which have ended
shuffle_outside_mask  95 a lane outside of its mask
named_lanes           0
mask_lacks_caller     97 whose mask lacks the calling lane
mask_has_caller       0
warp_waits_for_block  97 waits for ever
endless               97 too many instructions
ends                  0
trap                  97 trap, block
no_trap               0
barrier_by_number     97 a barrier that is not __syncthreads() is not simulated
unknown_instruction   97 instruction 'cp' is not simulated
sum_without_atomics   95 race in global memory
sum_with_atomics      0
blocks_collide        95 race in global memory (write after write)
blocks_apart          0
mirror                95 race in global memory (read after another thread's write)
mirror                95 race in global memory (write after another thread's read)
mirror_barrier        0
neighbour_in_place    95 race in global memory
own_in_place          0
bytes_side_by_side    0
past_end              97 past the end of its memory
to_end                0
misaligned            97 misaligned access
aligned               0
unwritten             95 device memory that nobody wrote
after_free            97 already freed
host_pointer          97 outside of any device memory
pinned_pointer        97 access to the host's pinned memory
written               0
host_reads_device     96 host code touches device memory
leak                  95 leak: device memory
leak_pinned           95 leak: pinned memory
freed_twice           97 freed twice
freed_by_another      97 was not allocated by its twin
wrong_direction       97 memcpy of kind
copy_past_end         97 overrun device memory
host_copies_device    0
pinned_reused         late96 while a copy of it is in flight
pinned_waited         0
result_not_waited     late96 while a copy of it is in flight
result_waited         0
streams_not_ordered   late1
streams_ordered       0
never_waited          late95 that nobody waited for
stream_destroyed      97 is no stream, or a destroyed one
waited                0
too_many_threads      95 of at most 1024 threads
beyond_bounds         95 of at most 64 threads
within_bounds         0
shared_not_allowed    95 bytes of dynamic shared memory
shared_allowed        0
graph_allocates       95 allocated while a stream captures
graph_waits           95 while a stream captures
graph_not_joined      95 not joined
graph_joined          0
graph_pageable        95 pageable side
graph_pinned          0
graph_event_kept      95 that a capture, now over, recorded
graph_event_fresh     0
graph_waits_outside   95 recorded outside of the capture
graph_in_graph        95 graph launch cannot be captured
many_mistakes         98 while a stream captures
END

# name, exit code, words: what is right also when work is done at once
while read -r name expected words; do
    expect "$libraries" "$([ "$expected" -ne 0 ] || echo eager) lazy" "$name" "$expected" "$words"
done << 'END'
forward              0
data_gradient        0
filter_gradient      0
small_workspace      97 workspace.*overrun device memory
small_output         97 overrun device memory
unwritten_input      95 nobody has written
wrong_shape          95 the real cuDNN refuses
no_pointer           97 the variant pack has no pointer
misaligned_tensor    97 is not aligned to its 16 bytes
not_finalized        97 executed before it is finalized
set_when_finalized   95 of a finalized descriptor is set
destroyed_descriptor 97 is no descriptor, or a destroyed one
product              0
product_leading      95 leading dimensions
product_operand      97 cuBLAS's A.*overrun device memory
product_workspace    97 no device memory aligned to 256
product_host         97 cuBLAS's A.*no device memory (a host pointer
product_freed        97 cuBLAS's A.*already freed
END

export CUDASIM_PATIENCE=2
expect "$mpiexec -n 2 $libraries" "eager lazy random:1" sum 0 ''
while read -r name expected words; do
    expect "$mpiexec -n 2 $libraries" lazy "$name" "$expected" "$words"
done << 'END'
sum_counts_differ 97 elements of type
sum_kinds_differ  97 is kind 1 of
sum_one_absent    97 for ever; a GPU would hang
sum_too_early     97 communicator that is not ready
sum_unwritten     95 nobody has written
END

# Every message in the sources was said above, but for those that no program under test can bring about.
checked=$((checked + 1))
out=$(python3 "$here/messages.py" "$said" "$here"/*.c) || fail "messages that no planted mistake brings about: $out"

echo "$((checked - failed)) passed, $failed failed"
[ $failed -eq 0 ]
